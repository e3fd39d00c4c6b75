"""Standing orders and their runs in SQL."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import RowMapping, Select, func, insert, literal_column, select, tuple_, update
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.ids import AccountId, ApiKeyId, StandingOrderId, TenantId, TransferId
from domain.money import Money
from domain.standing_orders import (
    CronSchedule,
    IntervalSchedule,
    MissedRuns,
    OrderSchedule,
    RunState,
    StandingOrder,
    StandingOrderRequest,
    StandingOrderRun,
    StandingOrderStatus,
)
from domain.transfers import Failure, TransferType
from persistence.tables.standing_orders import standing_order_runs as runs
from persistence.tables.standing_orders import standing_orders as orders

# Written out, not parameters: a prepared statement could not match the partial indexes else.
_IS_OPEN: Final = literal_column("status").in_(
    [literal_column("'ACTIVE'"), literal_column("'PAUSED'")]
)
_IS_PROCESSING: Final = literal_column("state") == literal_column("'PROCESSING'")


@dataclass(frozen=True, slots=True)
class NewStandingOrder:
    """A checked request, with what the service adds to it."""

    id: StandingOrderId
    tenant_id: TenantId
    created_by: ApiKeyId
    fingerprint: bytes
    source_account_id: AccountId
    destination_account_id: AccountId
    start_at: datetime
    request: StandingOrderRequest


class StandingOrderRepository:
    """Rows of ``standing_orders`` and ``standing_order_runs``."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def insert(self, order: NewStandingOrder) -> StandingOrder:
        """Record a new order whose idempotency key is claimed."""
        transfer = order.request.transfer
        result = await self._connection.execute(
            insert(orders)
            .values(
                id=order.id,
                tenant_id=order.tenant_id,
                idempotency_key=transfer.idempotency_key,
                fingerprint=order.fingerprint,
                type=transfer.type,
                source_account_id=order.source_account_id,
                destination_account_id=order.destination_account_id,
                amount_minor=transfer.money.amount_minor,
                currency=transfer.money.currency,
                description=transfer.description,
                metadata=dict(transfer.metadata),
                **_schedule_columns(order.request.schedule),
                start_at=order.start_at,
                end_at=order.request.end_at,
                missed_runs=order.request.missed_runs,
                created_by=order.created_by,
            )
            .returning(orders)
        )
        return _order(result.mappings().one())

    async def get(self, tenant_id: TenantId, order_id: StandingOrderId) -> StandingOrder | None:
        """Read one order of a tenant."""
        return await self._one(
            select(orders).where(orders.c.tenant_id == tenant_id, orders.c.id == order_id)
        )

    async def get_by_key(self, tenant_id: TenantId, key: str) -> StandingOrder | None:
        """Read the order of an idempotency key."""
        return await self._one(
            select(orders).where(orders.c.tenant_id == tenant_id, orders.c.idempotency_key == key)
        )

    async def find(self, order_id: StandingOrderId) -> StandingOrder | None:
        """Read an order of whichever tenant."""
        return await self._one(select(orders).where(orders.c.id == order_id))

    async def keep(self, order_id: StandingOrderId) -> StandingOrder | None:
        """Read an order of whichever tenant, and keep its status until the transaction ends."""
        return await self._one(
            select(orders).where(orders.c.id == order_id).with_for_update(read=True)
        )

    async def lock(self, tenant_id: TenantId, order_id: StandingOrderId) -> StandingOrder | None:
        """Read an order of a tenant and lock it until the transaction ends."""
        return await self._one(
            select(orders)
            .where(orders.c.tenant_id == tenant_id, orders.c.id == order_id)
            .with_for_update(key_share=True)
        )

    async def page(
        self,
        tenant_id: TenantId,
        *,
        status: StandingOrderStatus | None,
        after: UUID | None,
        limit: int,
    ) -> list[StandingOrder]:
        """Read orders, newest first, from just behind ``after``."""
        statement = select(orders).where(orders.c.tenant_id == tenant_id)
        if status is not None:
            statement = statement.where(orders.c.status == status)
        if after is not None:
            statement = statement.where(orders.c.id < after)
        result = await self._connection.execute(statement.order_by(orders.c.id.desc()).limit(limit))
        return [_order(row) for row in result.mappings()]

    async def open_page(self, *, after: UUID | None, limit: int) -> list[StandingOrder]:
        """Read orders of all tenants that are not over, oldest first."""
        statement = select(orders).where(_IS_OPEN)
        if after is not None:
            statement = statement.where(orders.c.id > after)
        result = await self._connection.execute(statement.order_by(orders.c.id).limit(limit))
        return [_order(row) for row in result.mappings()]

    async def set_status(
        self, order_id: StandingOrderId, status: StandingOrderStatus, *, reason: str | None
    ) -> StandingOrder:
        """Change the status of a locked order, and note the time where it matters later."""
        times: dict[str, Any] = {
            StandingOrderStatus.PAUSED: {"paused_at": func.now()},
            StandingOrderStatus.ACTIVE: {"resumed_at": func.now()},
        }.get(status, {"ended_at": func.now()})
        result = await self._connection.execute(
            update(orders)
            .where(orders.c.id == order_id)
            .values(status=status, status_reason=reason, updated_at=func.now(), **times)
            .returning(orders)
        )
        return _order(result.mappings().one())

    async def record_run(
        self,
        order: StandingOrder,
        scheduled_at: datetime,
        *,
        transfer_id: TransferId | None,
        failure: Failure | None,
    ) -> StandingOrderRun:
        """Record the run of a time, unless there is one already; gives the recorded one.

        Parameters
        ----------
        transfer_id
            ``None`` for a run that is skipped.
        failure
            Why it is skipped.
        """
        state = RunState.SKIPPED if transfer_id is None else RunState.PROCESSING
        await self._connection.execute(
            postgresql.insert(runs)
            .values(
                order_id=order.id,
                scheduled_at=scheduled_at,
                tenant_id=order.tenant_id,
                state=state,
                transfer_id=transfer_id,
                failure_code=failure.code if failure else None,
                failure_message=failure.message if failure else None,
                completed_at=func.now() if state is RunState.SKIPPED else None,
            )
            .on_conflict_do_nothing(index_elements=["order_id", "scheduled_at"])
        )
        recorded = await self.run(order.id, scheduled_at)
        if recorded is None:
            raise LookupError(f"run {order.id} {scheduled_at} was just recorded")
        return recorded

    async def settle_run(
        self,
        run: StandingOrderRun,
        state: RunState,
        *,
        transfer_id: TransferId | None,
        failure: Failure | None,
    ) -> StandingOrderRun:
        """Record the outcome of a run; one that has its outcome keeps it."""
        await self._connection.execute(
            update(runs)
            .where(
                runs.c.order_id == run.order_id,
                runs.c.scheduled_at == run.scheduled_at,
                _IS_PROCESSING,
            )
            .values(
                state=state,
                transfer_id=transfer_id,
                failure_code=failure.code if failure else None,
                failure_message=failure.message if failure else None,
                completed_at=func.now(),
            )
        )
        settled = await self.run(run.order_id, run.scheduled_at)
        return settled or run

    async def run(
        self, order_id: StandingOrderId, scheduled_at: datetime
    ) -> StandingOrderRun | None:
        """Read one run."""
        result = await self._connection.execute(
            select(runs).where(runs.c.order_id == order_id, runs.c.scheduled_at == scheduled_at)
        )
        row = result.mappings().one_or_none()
        return None if row is None else _run(row)

    async def runs_page(
        self, order_id: StandingOrderId, *, before: datetime | None, limit: int
    ) -> list[StandingOrderRun]:
        """Read runs of an order, the latest time first."""
        statement = select(runs).where(runs.c.order_id == order_id)
        if before is not None:
            statement = statement.where(runs.c.scheduled_at < before)
        result = await self._connection.execute(
            statement.order_by(runs.c.scheduled_at.desc()).limit(limit)
        )
        return [_run(row) for row in result.mappings()]

    async def processing_runs(
        self, *, idle_seconds: float, after: StandingOrderRun | None, limit: int
    ) -> Sequence[StandingOrderRun]:
        """Read runs of all tenants that have had no outcome for a while."""
        position = tuple_(runs.c.order_id, runs.c.scheduled_at)
        statement = select(runs).where(
            _IS_PROCESSING, runs.c.created_at <= func.now() - timedelta(seconds=idle_seconds)
        )
        if after is not None:
            statement = statement.where(position > (after.order_id, after.scheduled_at))
        result = await self._connection.execute(
            statement.order_by(runs.c.order_id, runs.c.scheduled_at).limit(limit)
        )
        return [_run(row) for row in result.mappings()]

    async def _one(self, statement: Select[Any]) -> StandingOrder | None:
        row = (await self._connection.execute(statement)).mappings().one_or_none()
        return None if row is None else _order(row)


def _order(row: RowMapping) -> StandingOrder:
    return StandingOrder(
        id=StandingOrderId(row["id"]),
        tenant_id=TenantId(row["tenant_id"]),
        idempotency_key=row["idempotency_key"],
        fingerprint=bytes(row["fingerprint"]),
        type=TransferType(row["type"]),
        source_account_id=AccountId(row["source_account_id"]),
        destination_account_id=AccountId(row["destination_account_id"]),
        money=Money(row["amount_minor"], row["currency"]),
        description=row["description"],
        metadata=row["metadata"],
        schedule=_schedule(row),
        start_at=row["start_at"],
        end_at=row["end_at"],
        missed_runs=MissedRuns(row["missed_runs"]),
        status=StandingOrderStatus(row["status"]),
        status_reason=row["status_reason"],
        created_by=ApiKeyId(row["created_by"]),
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        paused_at=row["paused_at"],
        resumed_at=row["resumed_at"],
        ended_at=row["ended_at"],
    )


def _schedule_columns(schedule: OrderSchedule) -> dict[str, Any]:
    if isinstance(schedule, IntervalSchedule):
        return {"interval_seconds": schedule.seconds}
    return {"cron": schedule.expression, "time_zone": schedule.time_zone}


def _schedule(row: RowMapping) -> OrderSchedule:
    if row["interval_seconds"] is not None:
        return IntervalSchedule(row["interval_seconds"])
    return CronSchedule(row["cron"], row["time_zone"])


def _run(row: RowMapping) -> StandingOrderRun:
    code = row["failure_code"]
    return StandingOrderRun(
        order_id=StandingOrderId(row["order_id"]),
        tenant_id=TenantId(row["tenant_id"]),
        scheduled_at=row["scheduled_at"],
        state=RunState(row["state"]),
        transfer_id=None if row["transfer_id"] is None else TransferId(row["transfer_id"]),
        failure=None if code is None else Failure(code, row["failure_message"]),
        created_at=row["created_at"],
        completed_at=row["completed_at"],
    )
