"""Operations on transfers in SQL: one row for each idempotency key that did something."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, FromClause, RowMapping, Select, func, insert, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.ids import ApiKeyId, TenantId, TransferId
from domain.operations import Operation, OperationOrder, OperationRecord
from domain.transfers import Leg
from persistence.tables.tenants import idempotency_keys
from persistence.tables.transfers import transfer_operations, transfers
from persistence.transfers import transfer_from

_DECISIONS: Final = (Operation.APPROVE.value, Operation.REJECT.value)
"""One of them by each key at most: the database holds it."""

# What JSON has no type for.
_TIMES: Final = (
    "effective_at",
    "created_at",
    "updated_at",
    "completed_at",
    "expires_at",
    "execute_at",
    "approval_deadline_at",
)
_IDS: Final = (
    "id",
    "tenant_id",
    "source_account_id",
    "destination_account_id",
    "reversal_of",
    "requested_by",
)


class OperationRepository:
    """Rows of ``transfer_operations``."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def insert(self, order: OperationOrder, *, amount_minor: int | None) -> None:
        """Record an operation with the transfer as it stands now in this transaction.

        Raises
        ------
        AlreadyApproved
            The same key has approved or rejected the transfer before.
        """
        present = select(func.to_jsonb(transfers.table_valued())).where(
            transfers.c.id == order.transfer_id
        )
        await self._connection.execute(
            insert(transfer_operations).values(
                tenant_id=order.tenant_id,
                idempotency_key=order.idempotency_key,
                transfer_id=order.transfer_id,
                operation=order.operation.value,
                amount_minor=amount_minor,
                note=order.note,
                requested_by=order.requested_by,
                result=present.scalar_subquery(),
            )
        )

    async def find(
        self, tenant_id: TenantId, key: str, legs: Sequence[Leg] = ()
    ) -> tuple[OperationRecord, bytes] | None:
        """Read the operation of an idempotency key, and the fingerprint of its request."""
        result = await self._connection.execute(
            select(transfer_operations, idempotency_keys.c.fingerprint)
            .join(
                idempotency_keys,
                (idempotency_keys.c.tenant_id == transfer_operations.c.tenant_id)
                & (idempotency_keys.c.key == transfer_operations.c.idempotency_key),
            )
            .where(
                transfer_operations.c.tenant_id == tenant_id,
                transfer_operations.c.idempotency_key == key,
            )
        )
        row = result.mappings().one_or_none()
        return None if row is None else (_record(row, legs), bytes(row["fingerprint"]))

    async def of_transfer(
        self, transfer_id: TransferId, *wanted: Operation
    ) -> list[OperationRecord]:
        """Read what was done to a transfer in some ways, oldest first."""
        result = await self._connection.execute(
            _done_to(transfer_id, [operation.value for operation in wanted])
        )
        return [_record(row, ()) for row in result.mappings()]

    async def decisions(
        self, transfer_id: TransferId, *, after: UUID | None, limit: int
    ) -> list[OperationRecord]:
        """Read who approved or rejected a transfer, oldest first, from just behind a key's."""
        statement = _done_to(transfer_id, _DECISIONS)
        if after is not None:
            last = transfer_operations.alias()
            place = select(*_place(last)).where(
                last.c.transfer_id == transfer_id,
                last.c.requested_by == after,
                last.c.operation.in_(_DECISIONS),
            )
            statement = statement.where(
                tuple_(*_place(transfer_operations)) > place.scalar_subquery()
            )
        result = await self._connection.execute(statement.limit(limit))
        return [_record(row, ()) for row in result.mappings()]


def _done_to(transfer_id: TransferId, wanted: Collection[str]) -> Select[Any]:
    return (
        select(transfer_operations)
        .where(
            transfer_operations.c.transfer_id == transfer_id,
            transfer_operations.c.operation.in_(wanted),
        )
        .order_by(*_place(transfer_operations))
    )


def _place(operations: FromClause) -> tuple[ColumnElement[Any], ...]:
    """Say where an operation stands among those on its transfer."""
    return operations.c.created_at, operations.c.idempotency_key


def _record(row: RowMapping, legs: Sequence[Leg]) -> OperationRecord:
    return OperationRecord(
        operation=Operation(row["operation"]),
        transfer=transfer_from(_columns(row["result"]), legs),
        amount_minor=row["amount_minor"],
        note=row["note"],
        requested_by=ApiKeyId(row["requested_by"]),
        created_at=row["created_at"],
    )


def _columns(document: Mapping[str, Any]) -> dict[str, Any]:
    """Give a row that went through JSON its types back."""
    columns = dict(document)
    for name in _TIMES:
        if columns[name] is not None:
            columns[name] = datetime.fromisoformat(columns[name])
    for name in _IDS:
        if columns[name] is not None:
            columns[name] = UUID(columns[name])
    columns["fingerprint"] = bytes.fromhex(columns["fingerprint"].removeprefix("\\x"))
    return columns
