"""Transfers and their log of stages in SQL."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    DateTime,
    RowMapping,
    Select,
    Uuid,
    bindparam,
    case,
    func,
    insert,
    literal,
    literal_column,
    select,
    text,
    union,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.base import ReadOnlyColumnCollection

from domain.errors import LedgerRuleViolated
from domain.ids import AccountId, ApiKeyId, BatchId, TenantId, TransferId, first_id_since
from domain.limits import METADATA_MATCHES_MAXIMUM
from domain.money import Money
from domain.states import ProcessState, Step, TransferStage, require_transition, state_of
from domain.transfers import (
    CaptureMode,
    Failure,
    Leg,
    Transfer,
    TransferEvent,
    TransferOrder,
    TransferType,
)
from persistence.tables.transfers import transfer_events, transfer_legs, transfers

RECORDED_LATE: Final = timedelta(days=7)
"""How long a transfer may be accepted, and so have its id, before it is recorded: as long as the
database may be away."""

CLOCKS_APART: Final = timedelta(hours=1)
"""How far the clock that draws an id may be ahead of the database's."""


@dataclass(frozen=True, slots=True)
class TransferFilter:
    """Which transfers a list holds; ``None`` does not restrict.

    Parameters
    ----------
    created_from
        Inclusive.
    created_to
        Exclusive.
    amount_from_minor, amount_to_minor
        Both inclusive, in minor units.
    metadata
        What a transfer's own metadata holds at least.
    """

    state: ProcessState | None = None
    stage: TransferStage | None = None
    type: TransferType | None = None
    account_id: AccountId | None = None
    idempotency_key: str | None = None
    created_from: datetime | None = None
    created_to: datetime | None = None
    currency: str | None = None
    amount_from_minor: int | None = None
    amount_to_minor: int | None = None
    metadata: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Approval:
    """What a transfer waits for before it goes on.

    Parameters
    ----------
    required
        Different approvers, 1 to ``APPROVERS_MAXIMUM``.
    """

    required: int
    deadline_at: datetime


# Written out: a prepared statement could not use the partial index else.
_IS_PROCESSING: Final = literal_column("transfers.state") == literal_column("'PROCESSING'")

_HAS_METADATA: Final = literal_column("transfers.metadata <> '{}'::jsonb", Boolean)

_WITH_METADATA: Final = text("SELECT transfers_with_metadata(:wanted, :maximum)").bindparams(
    bindparam("wanted", type_=JSONB)
)

# The statements of every transfer are built once: building one costs more than running it.
_OF_TENANT: Final = transfers.c.tenant_id == bindparam("tenant", type_=Uuid)
_GET_ONE: Final = select(transfers).where(
    _OF_TENANT, transfers.c.id == bindparam("transfer", type_=Uuid)
)
_LOCK_ONE: Final = _GET_ONE.with_for_update(key_share=True)
_GET_BY_KEY: Final = select(transfers).where(
    _OF_TENANT, transfers.c.idempotency_key == bindparam("key")
)
_COMPLETED_AT: Final = case((bindparam("is_final", type_=Boolean), func.now()))
_INSERT: Final = (
    insert(transfers)
    .values(
        effective_at=func.coalesce(
            bindparam("given_effective_at", type_=DateTime(timezone=True)), func.now()
        ),
        completed_at=_COMPLETED_AT,
    )
    .returning(transfers)
)
_ADVANCE: Final = (
    update(transfers)
    .where(
        transfers.c.id == bindparam("advanced", type_=Uuid),
        transfers.c.stage == bindparam("present"),
    )
    .values(updated_at=func.now(), completed_at=_COMPLETED_AT)
    .returning(transfers)
)
_INSERT_EVENTS: Final = insert(transfer_events)
_INSERT_NEXT_EVENT: Final = insert(transfer_events).values(
    sequence=select(func.max(transfer_events.c.sequence) + 1)
    .where(transfer_events.c.transfer_id == bindparam("of_transfer", type_=Uuid))
    .scalar_subquery()
)


class TransferRepository:
    """Rows of ``transfers`` and ``transfer_events``."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def insert(
        self,
        order: TransferOrder,
        step: Step,
        stage: TransferStage,
        *,
        failure: Failure | None = None,
        approval: Approval | None = None,
    ) -> Transfer:
        """Record an order whose idempotency key is claimed, with the log of its stages.

        Parameters
        ----------
        step
            The step after its acceptance, and ``stage`` what that led to.
        """
        terms = order.terms
        is_manual = terms.capture is CaptureMode.MANUAL
        result = await self._connection.execute(
            _INSERT,
            {
                "id": order.id,
                "tenant_id": order.tenant_id,
                "idempotency_key": order.idempotency_key,
                "fingerprint": order.fingerprint,
                "type": order.type,
                "source_account_id": order.source_account_id,
                "destination_account_id": order.destination_account_id,
                "amount_minor": order.money.amount_minor,
                "currency": order.money.currency,
                "description": order.description,
                "metadata": dict(order.metadata),
                "given_effective_at": order.effective_at or terms.execute_at,
                "captured_minor": 0 if is_manual else None,
                "expires_at": terms.expires_at,
                "execute_at": terms.execute_at,
                "leg_count": len(terms.legs) or None,
                "reversal_of": terms.reversal_of,
                "requested_by": order.requested_by,
                **_approval(approval),
                **_stage(stage, failure),
            },
        )
        transfer = transfer_from(result.mappings().one(), terms.legs)
        if terms.legs:
            await self._connection.execute(
                insert(transfer_legs),
                [_leg_row(transfer, position, leg) for position, leg in enumerate(terms.legs, 1)],
            )
        await self._connection.execute(
            _INSERT_EVENTS,
            [
                {
                    "sequence": 1,
                    **_event(transfer, Step.ACCEPT, TransferStage.ACCEPTED, None),
                    "details": asked_by(order),
                },
                {"sequence": 2, **_event(transfer, step, stage, failure), "details": None},
            ],
        )
        return transfer

    async def lock(self, tenant_id: TenantId, transfer_id: TransferId) -> Transfer | None:
        """Read a transfer and lock it until the transaction ends."""
        return await self._one(_LOCK_ONE, {"tenant": tenant_id, "transfer": transfer_id})

    async def advance(
        self,
        transfer: Transfer,
        step: Step,
        stage: TransferStage,
        *,
        failure: Failure | None = None,
        details: Mapping[str, Any] | None = None,
        changes: Mapping[str, Any] | None = None,
    ) -> Transfer:
        """Bring a locked transfer to its next stage, and log that.

        Parameters
        ----------
        details
            What the log is to tell beside the stage.
        changes
            Other columns to be set with it.

        Raises
        ------
        IllegalTransition
            The stage does not follow from the present one.
        LedgerRuleViolated
            The step was done before, or the transfer is final.
        """
        if stage is not transfer.stage:
            require_transition(transfer.stage, stage)
        result = await self._connection.execute(
            _ADVANCE,
            {
                "advanced": transfer.id,
                "present": transfer.stage,
                **_stage(stage, failure),
                **(changes or {}),
            },
        )
        row = result.mappings().one_or_none()
        if row is None:
            raise LedgerRuleViolated("transfers_stage_of_state")
        await self._connection.execute(
            _INSERT_NEXT_EVENT,
            {
                "of_transfer": transfer.id,
                **_event(transfer, step, stage, failure),
                "details": details,
            },
        )
        return transfer_from(row, transfer.more_legs)

    async def change_reversed(self, transfer_id: TransferId, *, by_minor: int) -> None:
        """Raise or lower what is reversed of a locked transfer.

        Raises
        ------
        LedgerRuleViolated
            More would be reversed than has moved.
        """
        await self._connection.execute(
            update(transfers)
            .where(transfers.c.id == transfer_id)
            .values(reversed_minor=transfers.c.reversed_minor + by_minor)
        )

    async def get(self, tenant_id: TenantId, transfer_id: TransferId) -> Transfer | None:
        """Read one transfer."""
        return await self._one(_GET_ONE, {"tenant": tenant_id, "transfer": transfer_id})

    async def get_by_key(self, tenant_id: TenantId, key: str) -> Transfer | None:
        """Read the transfer of an idempotency key."""
        return await self._one(_GET_BY_KEY, {"tenant": tenant_id, "key": key})

    async def reversals(
        self,
        tenant_id: TenantId,
        transfer_id: TransferId,
        *,
        after: UUID | None = None,
        limit: int | None = None,
    ) -> list[Transfer]:
        """Read the reversals of a transfer, oldest first, from just behind one; without their legs.

        All of them where no ``limit`` is given.
        """
        statement = select(transfers).where(_OF_TENANT, transfers.c.reversal_of == transfer_id)
        if after is not None:
            statement = statement.where(transfers.c.id > after)
        result = await self._connection.execute(
            statement.order_by(transfers.c.id).limit(limit), {"tenant": tenant_id}
        )
        return [transfer_from(row) for row in result.mappings()]

    async def page(
        self, tenant_id: TenantId, wanted: TransferFilter, *, after: UUID | None, limit: int
    ) -> list[Transfer]:
        """Read transfers, newest first, from just behind ``after``, in their tenant's session."""
        conditions: list[ColumnElement[bool]] = [transfers.c.tenant_id == tenant_id]
        if wanted.state is not None:
            conditions.append(transfers.c.state == wanted.state.value)
        if wanted.stage is not None:
            conditions.append(transfers.c.stage == wanted.stage.value)
            if state_of(wanted.stage) is ProcessState.PROCESSING:
                conditions.append(_IS_PROCESSING)
        if wanted.type is not None:
            conditions.append(transfers.c.type == wanted.type.value)
        if wanted.idempotency_key is not None:
            conditions.append(transfers.c.idempotency_key == wanted.idempotency_key)
        conditions += [*_times(wanted), *_bounds(wanted)]
        conditions += await self._with_metadata(wanted.metadata)
        if after is not None:
            conditions.append(transfers.c.id < after)
        statement = _newest(select(transfers).where(*conditions), transfers.c, limit)
        if wanted.account_id is not None:
            # Each side from its own index; an OR would read all of an account, or of the tenant.
            of_account = [
                side == wanted.account_id
                for side in (transfers.c.source_account_id, transfers.c.destination_account_id)
            ]
            of_account += [
                transfers.c.id.in_(
                    select(transfer_legs.c.transfer_id).where(
                        side == wanted.account_id, transfer_legs.c.position > 1
                    )
                )
                for side in (
                    transfer_legs.c.source_account_id,
                    transfer_legs.c.destination_account_id,
                )
            ]
            # Without doubles: an account may be in several legs.
            merged = union(
                *(statement.where(side).subquery().select() for side in of_account)
            ).subquery()
            statement = _newest(select(merged), merged.c, limit)
        result = await self._connection.execute(statement)
        rows = result.mappings().all()
        legs = await self._legs([row["id"] for row in rows if row["leg_count"]])
        return [transfer_from(row, legs.get(row["id"], ())) for row in rows]

    async def events(
        self, transfer_id: TransferId, *, after: int = 0, limit: int | None = None
    ) -> list[TransferEvent]:
        """Read the log of a transfer, oldest first, from just behind a sequence.

        All of it where no ``limit`` is given.
        """
        sequence = transfer_events.c.sequence
        result = await self._connection.execute(
            select(transfer_events)
            .where(
                transfer_events.c.transfer_id == transfer_id,
                # A client may name any number.
                sequence > literal(after, BigInteger),
            )
            .order_by(sequence)
            .limit(limit)
        )
        return [
            TransferEvent(
                transfer_id=TransferId(row["transfer_id"]),
                sequence=row["sequence"],
                step=Step(row["step"]),
                stage=TransferStage(row["stage"]),
                cause=row["cause"],
                occurred_at=row["occurred_at"],
                details=row["details"],
            )
            for row in result.mappings()
        ]

    async def unfinished(
        self, *, idle_seconds: float, after: Transfer | None, limit: int
    ) -> Sequence[Transfer]:
        """Read PROCESSING transfers of all tenants that have not moved for a while, oldest first.

        Without their legs.

        Parameters
        ----------
        idle_seconds
            Only transfers whose last change is longer ago.
        after
            The last transfer of the page before.

        Notes
        -----
        By their ids, which the partial index has in order: by time of change, every page would
        sort all that rest.
        """
        statement = select(transfers).where(
            _IS_PROCESSING,
            transfers.c.updated_at <= func.now() - timedelta(seconds=idle_seconds),
        )
        if after is not None:
            statement = statement.where(transfers.c.id > after.id)
        result = await self._connection.execute(statement.order_by(transfers.c.id).limit(limit))
        return [transfer_from(row) for row in result.mappings()]

    async def _with_metadata(self, metadata: Mapping[str, Any] | None) -> list[ColumnElement[bool]]:
        """Name the few transfers of the session's tenant that have metadata; nothing where many do.

        Notes
        -----
        Row-level security keeps ``@>`` from its index: migration 0017.
        """
        if metadata is None:
            return []
        found = await self._connection.execute(
            _WITH_METADATA, {"wanted": dict(metadata), "maximum": METADATA_MATCHES_MAXIMUM + 1}
        )
        ids = found.scalars().all()
        return [transfers.c.id.in_(ids)] if len(ids) <= METADATA_MATCHES_MAXIMUM else []

    async def _one(self, statement: Select[Any], parameters: Mapping[str, Any]) -> Transfer | None:
        result = await self._connection.execute(statement, parameters)
        row = result.mappings().one_or_none()
        if row is None:
            return None
        legs = await self._legs([row["id"]]) if row["leg_count"] else {}
        return transfer_from(row, legs.get(row["id"], ()))

    async def _legs(self, transfer_ids: Collection[UUID]) -> dict[UUID, tuple[Leg, ...]]:
        """Read the legs of the transfers that have several, each in their order."""
        if not transfer_ids:
            return {}
        result = await self._connection.execute(
            select(transfer_legs)
            .where(transfer_legs.c.transfer_id.in_(transfer_ids))
            .order_by(transfer_legs.c.transfer_id, transfer_legs.c.position)
        )
        found: dict[UUID, tuple[Leg, ...]] = {}
        for row in result.mappings():
            leg = Leg(
                AccountId(row["source_account_id"]),
                AccountId(row["destination_account_id"]),
                Money(row["amount_minor"], row["currency"]),
            )
            found[row["transfer_id"]] = (*found.get(row["transfer_id"], ()), leg)
        return found


def _times(wanted: TransferFilter) -> list[ColumnElement[bool]]:
    """Give the conditions on the time, and on the ids, which the tenant's index has in order."""
    conditions: list[ColumnElement[bool]] = []
    if wanted.created_from is not None:
        earliest = first_id_since(wanted.created_from - RECORDED_LATE)
        conditions += [
            transfers.c.created_at >= wanted.created_from,
            transfers.c.id >= earliest,
        ]
    if wanted.created_to is not None:
        latest = first_id_since(wanted.created_to + CLOCKS_APART)
        conditions += [transfers.c.created_at < wanted.created_to, transfers.c.id < latest]
    return conditions


def _bounds(wanted: TransferFilter) -> list[ColumnElement[bool]]:
    """Give the conditions on what a transfer moves and says of itself."""
    conditions: list[ColumnElement[bool]] = []
    if wanted.currency is not None:
        conditions.append(transfers.c.currency == wanted.currency)
    if wanted.amount_from_minor is not None:
        conditions.append(transfers.c.amount_minor >= wanted.amount_from_minor)
    if wanted.amount_to_minor is not None:
        conditions.append(transfers.c.amount_minor <= wanted.amount_to_minor)
    if wanted.metadata is not None:
        conditions += [transfers.c.metadata.contains(dict(wanted.metadata)), _HAS_METADATA]
    return conditions


def _newest(
    statement: Select[Any], columns: ReadOnlyColumnCollection[str, Any], limit: int
) -> Select[Any]:
    return statement.order_by(columns.id.desc()).limit(limit)


def _stage(stage: TransferStage, failure: Failure | None) -> dict[str, Any]:
    state = state_of(stage)
    return {
        "state": state,
        "stage": stage,
        "failure_code": failure.code if failure else None,
        "failure_message": failure.message if failure else None,
        "is_final": state is not ProcessState.PROCESSING,
    }


def _approval(approval: Approval | None) -> dict[str, Any]:
    return {
        "approvals_required": approval.required if approval else None,
        "approval_deadline_at": approval.deadline_at if approval else None,
    }


def _leg_row(transfer: Transfer, position: int, leg: Leg) -> dict[str, Any]:
    return {
        "transfer_id": transfer.id,
        "position": position,
        "tenant_id": transfer.tenant_id,
        "source_account_id": leg.source_account_id,
        "destination_account_id": leg.destination_account_id,
        "amount_minor": leg.money.amount_minor,
        "currency": leg.money.currency,
    }


def asked_by(order: TransferOrder) -> dict[str, str | None] | None:
    """Write who asked for a transfer and from where, for the first event of its log."""
    actor = order.actor
    if actor is None:
        return None
    return {
        "by": actor.id or actor.name,
        "source_address": actor.source_address,
        "request_id": actor.request_id,
    }


def _event(
    transfer: Transfer, step: Step, stage: TransferStage, failure: Failure | None
) -> dict[str, Any]:
    return {
        "transfer_id": transfer.id,
        "tenant_id": transfer.tenant_id,
        "step": step,
        "stage": stage,
        "cause": failure.code if failure else None,
    }


def transfer_from(row: RowMapping | Mapping[str, Any], legs: Sequence[Leg] = ()) -> Transfer:
    """Read a transfer from a row of its table.

    Parameters
    ----------
    legs
        All legs of a transfer with several.
    """
    failure = (
        None
        if row["failure_code"] is None
        else Failure(code=row["failure_code"], message=row["failure_message"])
    )
    return Transfer(
        id=TransferId(row["id"]),
        tenant_id=TenantId(row["tenant_id"]),
        idempotency_key=row["idempotency_key"],
        fingerprint=bytes(row["fingerprint"]),
        type=TransferType(row["type"]),
        stage=TransferStage(row["stage"]),
        source_account_id=AccountId(row["source_account_id"]),
        destination_account_id=AccountId(row["destination_account_id"]),
        money=Money(row["amount_minor"], row["currency"]),
        description=row["description"],
        metadata=row["metadata"],
        failure=failure,
        reversal_of=None if row["reversal_of"] is None else TransferId(row["reversal_of"]),
        effective_at=row["effective_at"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        completed_at=row["completed_at"],
        captured_minor=row["captured_minor"],
        reversed_minor=row["reversed_minor"],
        expires_at=row["expires_at"],
        execute_at=row["execute_at"],
        approvals_required=row["approvals_required"],
        approval_deadline_at=row["approval_deadline_at"],
        requested_by=None if row["requested_by"] is None else ApiKeyId(row["requested_by"]),
        more_legs=tuple(legs),
        batch_id=None if row["batch_id"] is None else BatchId(row["batch_id"]),
    )
