"""Standing orders: made, paused, resumed and cancelled; their runs decided and settled."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from domain.audit import SYSTEM_ACTOR, Actor, Change
from domain.errors import (
    FieldProblem,
    IdempotencyKeyReused,
    StandingOrderNotFound,
    StandingOrderOver,
    ValidationFailed,
)
from domain.ids import ApiKeyId, StandingOrderId, TenantId
from domain.pages import Page
from domain.standing_orders import (
    IntervalSchedule,
    OrderSchedule,
    StandingOrder,
    StandingOrderRequest,
    StandingOrderStatus,
    time_name,
)
from persistence.database import Database, UnitOfWork
from persistence.standing_orders import NewStandingOrder
from services.idempotency import digest, fingerprint_of
from services.identifiers import new_uuid
from services.transfer_sides import find_sides, identify_sides, require_sides

CREATE_STANDING_ORDER: Final = "standing_order.create"
SCAN_PAGE_SIZE: Final = 500


@dataclass(frozen=True, slots=True)
class RecordedOrder:
    """An order, and whether an earlier request with the same key made it."""

    order: StandingOrder
    is_replay: bool


class StandingOrderService:
    """Keeps standing orders and their runs. What they say is law; a schedule only drives them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(
        self,
        tenant_id: TenantId,
        created_by: ApiKeyId,
        request: StandingOrderRequest,
        *,
        actor: Actor = SYSTEM_ACTOR,
    ) -> RecordedOrder:
        """Record an order, or give the one that its key was used for.

        Raises
        ------
        ValidationFailed
            The type and the named sides do not fit, a side is a settlement account, or the end
            has passed or comes before the first run.
        AccountNotFound, SameAccount, CurrencyMismatch
            As ``TransferRequestService.prepare``; the key is not used up.
        IdempotencyKeyReused
            The key was used for another request.
        DatabaseUnavailable
            No connection, or the outcome is unknown; send the request again.

        Notes
        -----
        One transaction: the key is never taken without its order.
        """
        require_sides(request.transfer)
        async with self._database.direct() as statements:
            found = await find_sides(statements, tenant_id, request.transfer)
        source, destination = identify_sides(request.transfer, found.accounts)
        new = NewStandingOrder(
            id=StandingOrderId(new_uuid()),
            tenant_id=tenant_id,
            created_by=created_by,
            fingerprint=_fingerprint(
                request,
                fingerprint_of(request.transfer, source=source.id, destination=destination.id),
            ),
            source_account_id=source.id,
            destination_account_id=destination.id,
            start_at=request.starting_at(datetime.now(UTC)),
            request=request,
        )
        async with self._database.transaction() as unit_of_work:
            recorded = await _record(unit_of_work, new)
            if not recorded.is_replay:
                await _audit(unit_of_work, recorded.order, Change("standing_order.create", actor))
            return recorded

    async def get(self, tenant_id: TenantId, order_id: StandingOrderId) -> StandingOrder:
        """Read an order.

        Raises
        ------
        StandingOrderNotFound
            The tenant has no such order.
        """
        async with self._database.reading() as unit_of_work:
            order = await unit_of_work.standing_orders.get(tenant_id, order_id)
        if order is None:
            raise StandingOrderNotFound(str(order_id))
        return order

    async def find(self, order_id: StandingOrderId) -> StandingOrder | None:
        """Read an order of whichever tenant."""
        async with self._database.reading() as unit_of_work:
            return await unit_of_work.standing_orders.find(order_id)

    async def page(
        self,
        tenant_id: TenantId,
        *,
        status: StandingOrderStatus | None,
        after: UUID | None,
        limit: int,
    ) -> Page[StandingOrder]:
        """Read a page of orders, newest first."""
        async with self._database.reading() as unit_of_work:
            found = await unit_of_work.standing_orders.page(
                tenant_id, status=status, after=after, limit=limit + 1
            )
        return Page.of(found, limit, lambda order: str(order.id))

    async def pause(
        self,
        tenant_id: TenantId,
        order_id: StandingOrderId,
        *,
        reason: str | None,
        actor: Actor = SYSTEM_ACTOR,
    ) -> StandingOrder:
        """Make no runs until the order is resumed; pausing it again changes nothing.

        Raises
        ------
        StandingOrderNotFound
            The tenant has no such order.
        StandingOrderOver
            The order has ended or was cancelled.

        Notes
        -----
        Locks the order. A run that was begun before goes on.
        """
        return await self._change(
            tenant_id,
            order_id,
            StandingOrderStatus.PAUSED,
            Change("standing_order.pause", actor, reason),
        )

    async def resume(
        self,
        tenant_id: TenantId,
        order_id: StandingOrderId,
        *,
        reason: str | None = None,
        actor: Actor = SYSTEM_ACTOR,
    ) -> StandingOrder:
        """Make runs again, from now on; resuming an active order changes nothing.

        Raises
        ------
        StandingOrderNotFound
            The tenant has no such order.
        StandingOrderOver
            The order has ended or was cancelled.
        """
        return await self._change(
            tenant_id,
            order_id,
            StandingOrderStatus.ACTIVE,
            Change("standing_order.resume", actor, reason),
        )

    async def cancel(
        self,
        tenant_id: TenantId,
        order_id: StandingOrderId,
        *,
        reason: str | None,
        actor: Actor = SYSTEM_ACTOR,
    ) -> StandingOrder:
        """Make no runs any more, for ever; cancelling it again changes nothing.

        Raises
        ------
        StandingOrderNotFound
            The tenant has no such order.
        StandingOrderOver
            The order has ended by itself.
        """
        return await self._change(
            tenant_id,
            order_id,
            StandingOrderStatus.CANCELLED,
            Change("standing_order.cancel", actor, reason),
        )

    async def end(self, tenant_id: TenantId, order_id: StandingOrderId) -> StandingOrder:
        """Note that an order's end has passed and its last run is begun.

        Raises
        ------
        StandingOrderNotFound, StandingOrderOver
            As for `cancel`.
        """
        return await self._change(
            tenant_id,
            order_id,
            StandingOrderStatus.ENDED,
            Change("standing_order.end", SYSTEM_ACTOR),
        )

    async def open_orders(self) -> AsyncIterator[StandingOrder]:
        """Go through the orders of all tenants that are not over."""
        last: UUID | None = None
        while True:
            async with self._database.reading() as unit_of_work:
                found = await unit_of_work.standing_orders.open_page(
                    after=last, limit=SCAN_PAGE_SIZE
                )
            for order in found:
                yield order
            if len(found) < SCAN_PAGE_SIZE:
                return
            last = found[-1].id

    async def _change(
        self,
        tenant_id: TenantId,
        order_id: StandingOrderId,
        status: StandingOrderStatus,
        change: Change,
    ) -> StandingOrder:
        async with self._database.transaction() as unit_of_work:
            order = await unit_of_work.standing_orders.lock(tenant_id, order_id)
            if order is None:
                raise StandingOrderNotFound(str(order_id))
            if order.status is status:
                return order
            if order.is_over:
                raise StandingOrderOver(status=order.status)
            await _audit(unit_of_work, order, change)
            # What was a reason to pause is none to go on, and is not kept as the order's own.
            kept = None if status is StandingOrderStatus.ACTIVE else change.reason
            return await unit_of_work.standing_orders.set_status(order_id, status, reason=kept)


async def _record(unit_of_work: UnitOfWork, new: NewStandingOrder) -> RecordedOrder:
    key = new.request.transfer.idempotency_key
    is_new = await unit_of_work.idempotency_keys.claim(
        new.tenant_id, key, operation=CREATE_STANDING_ORDER, fingerprint=new.fingerprint
    )
    if is_new:
        _require_end_ahead(new)
        return RecordedOrder(await unit_of_work.standing_orders.insert(new), is_replay=False)
    earlier = await unit_of_work.standing_orders.get_by_key(new.tenant_id, key)
    if earlier is None or earlier.fingerprint != new.fingerprint:
        raise IdempotencyKeyReused(key)
    return RecordedOrder(earlier, is_replay=True)


async def _audit(unit_of_work: UnitOfWork, order: StandingOrder, change: Change) -> None:
    await unit_of_work.audit.record(
        change.actor,
        change.action,
        tenant_id=order.tenant_id,
        subject_type="standing_order",
        subject_id=order.id,
        reason=change.reason,
    )


def _require_end_ahead(new: NewStandingOrder) -> None:
    """Refuse an order without a run. Only for a new one: a repeat may come after the end."""
    end_at = new.request.end_at
    if end_at is None:
        return
    if end_at <= datetime.now(UTC):
        raise ValidationFailed([FieldProblem("end_at", "end_past", "must lie in the future")])
    if end_at < new.start_at:
        first = f"must not be before the first run, at {time_name(new.start_at)}"
        raise ValidationFailed([FieldProblem("end_at", "end_before_start", first)])


def _fingerprint(request: StandingOrderRequest, transfer: bytes) -> bytes:
    """Digest what a client asked for: what each run moves, and when."""
    meaning: dict[str, Any] = {
        "transfer": transfer.hex(),
        "schedule": _meaning(request.schedule),
        "start_at": request.start_at.isoformat() if request.start_at else None,
        "end_at": request.end_at.isoformat() if request.end_at else None,
        "missed_runs": request.missed_runs,
    }
    return digest(meaning)


def _meaning(schedule: OrderSchedule) -> list[Any]:
    if isinstance(schedule, IntervalSchedule):
        return [schedule.seconds]
    return [schedule.expression, schedule.time_zone]
