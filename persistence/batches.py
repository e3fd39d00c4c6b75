"""Batches and their rows in SQL, as they are read."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    RowMapping,
    Select,
    Uuid,
    bindparam,
    func,
    literal_column,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.batches import BatchRow, BatchStage, RowCounts, RowStatus, TransferBatch
from domain.ids import ApiKeyId, BatchId, TenantId, TransferId
from domain.transfers import Failure, TransferType
from persistence.tables.batches import transfer_batch_rows as rows
from persistence.tables.batches import transfer_batches as batches

_OF_TENANT: Final = batches.c.tenant_id == bindparam("tenant", type_=Uuid)
_GET_ONE: Final = select(batches).where(_OF_TENANT, batches.c.id == bindparam("batch", type_=Uuid))
_GET_BY_KEY: Final = select(batches).where(
    _OF_TENANT, batches.c.idempotency_key == bindparam("key")
)


class BatchRepository:
    """Rows of ``transfer_batches`` and ``transfer_batch_rows``."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def get(self, tenant_id: TenantId, batch_id: BatchId) -> TransferBatch | None:
        """Read one batch."""
        return await self._one(_GET_ONE, {"tenant": tenant_id, "batch": batch_id})

    async def get_by_key(self, tenant_id: TenantId, key: str) -> TransferBatch | None:
        """Read the batch of an idempotency key."""
        return await self._one(_GET_BY_KEY, {"tenant": tenant_id, "key": key})

    async def page(
        self, tenant_id: TenantId, *, after: UUID | None, limit: int
    ) -> list[TransferBatch]:
        """Read batches, newest first, from just behind ``after``."""
        conditions: list[ColumnElement[bool]] = [batches.c.tenant_id == tenant_id]
        if after is not None:
            conditions.append(batches.c.id < after)
        result = await self._connection.execute(
            select(batches).where(*conditions).order_by(batches.c.id.desc()).limit(limit)
        )
        return [batch_from(row) for row in result.mappings()]

    async def rows(
        self,
        batch_id: BatchId,
        *,
        statuses: Sequence[RowStatus] = (),
        after: int = 0,
        limit: int,
    ) -> list[BatchRow]:
        """Read rows in their order, from just behind a position; of some statuses, or of all."""
        conditions: list[ColumnElement[bool]] = [
            rows.c.batch_id == batch_id,
            rows.c.position > after,
        ]
        if statuses:
            conditions.append(rows.c.status.in_([status.value for status in statuses]))
        result = await self._connection.execute(
            select(rows).where(*conditions).order_by(rows.c.position).limit(limit)
        )
        return [row_from(row) for row in result.mappings()]

    async def codes(self, batch_id: BatchId) -> dict[str, int]:
        """Count the rows that moved no money, by the code of the reason."""
        result = await self._connection.execute(
            select(rows.c.code, func.count())
            .where(rows.c.batch_id == batch_id, rows.c.code.is_not(None))
            .group_by(rows.c.code)
            .order_by(func.count().desc(), rows.c.code)
        )
        return {code: count for code, count in result.tuples() if code is not None}

    async def request_cancel(self, tenant_id: TenantId, batch_id: BatchId) -> bool:
        """Note that an unfinished batch is to stop; tell whether that is news.

        Notes
        -----
        Waits for the end of a chunk that is just being posted.
        """
        result = await self._connection.execute(
            update(batches)
            .where(
                batches.c.tenant_id == tenant_id,
                batches.c.id == batch_id,
                batches.c.state == "PROCESSING",
                batches.c.cancel_requested_at.is_(None),
            )
            .values(cancel_requested_at=func.now())
        )
        return result.rowcount == 1

    async def unfinished(
        self, *, idle_seconds: float, after: UUID | None, limit: int
    ) -> list[TransferBatch]:
        """Read PROCESSING batches of all tenants that have not moved for a while, oldest first."""
        statement = select(batches).where(
            # Written out: a prepared statement could not use the partial index else.
            literal_column("state") == literal_column("'PROCESSING'"),
            batches.c.updated_at <= func.now() - timedelta(seconds=idle_seconds),
        )
        if after is not None:
            statement = statement.where(batches.c.id > after)
        result = await self._connection.execute(statement.order_by(batches.c.id).limit(limit))
        return [batch_from(row) for row in result.mappings()]

    async def _one(
        self, statement: Select[Any], parameters: Mapping[str, Any]
    ) -> TransferBatch | None:
        result = await self._connection.execute(statement, parameters)
        row = result.mappings().one_or_none()
        return None if row is None else batch_from(row)


def batch_from(row: RowMapping | Mapping[str, Any]) -> TransferBatch:
    """Read a batch from a row of its table."""
    return TransferBatch(
        id=BatchId(row["id"]),
        tenant_id=TenantId(row["tenant_id"]),
        idempotency_key=row["idempotency_key"],
        fingerprint=bytes(row["fingerprint"]),
        is_atomic=row["is_atomic"],
        description=row["description"],
        stage=BatchStage(row["stage"]),
        failure=_failure(row["failure_code"], row["failure_message"]),
        counts=RowCounts(
            total=row["total_rows"],
            succeeded=row["succeeded_rows"],
            replayed=row["replayed_rows"],
            failed=row["failed_rows"],
            rejected=row["rejected_rows"],
            cancelled=row["cancelled_rows"],
        ),
        position=row["position"],
        requested_by=None if row["requested_by"] is None else ApiKeyId(row["requested_by"]),
        cancel_requested_at=row["cancel_requested_at"],
        created_at=row["created_at"],
        started_at=row["started_at"],
        updated_at=row["updated_at"],
        completed_at=row["completed_at"],
    )


def row_from(row: RowMapping | Mapping[str, Any]) -> BatchRow:
    """Read a batch's row from a row of its table."""
    return BatchRow(
        position=row["position"],
        idempotency_key=row["idempotency_key"],
        type=TransferType(row["type"]),
        source=row["source"],
        destination=row["destination"],
        amount_minor=row["amount_minor"],
        currency=row["currency"],
        description=row["description"],
        metadata=row["metadata"],
        effective_at=row["effective_at"],
        status=RowStatus(row["status"]),
        failure=_failure(row["code"], row["message"]),
        transfer_id=None if row["transfer_id"] is None else TransferId(row["transfer_id"]),
    )


def _failure(code: str | None, message: str | None) -> Failure | None:
    return None if code is None or message is None else Failure(code, message)
