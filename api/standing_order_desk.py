"""Standing orders as the routes see them: recorded in the database, then driven by Temporal."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from domain.audit import SYSTEM_ACTOR, Actor
from domain.errors import ScheduleRefused, TemporalUnavailable
from domain.ids import ApiKeyId, StandingOrderId, TenantId
from domain.pages import Page
from domain.standing_orders import (
    StandingOrder,
    StandingOrderRequest,
    StandingOrderRun,
    StandingOrderStatus,
)
from services.standing_order_runs import StandingOrderRunService
from services.standing_orders import StandingOrderService
from workflows.standing_order_schedules import StandingOrderSchedules


@dataclass(frozen=True, slots=True)
class OrderInDetail:
    """An order with its neighbouring runs.

    Parameters
    ----------
    next_runs
        ``None`` where Temporal does not answer.
    is_replay
        An earlier request with the same key made the order.
    """

    order: StandingOrder
    next_runs: Sequence[datetime] | None
    last_run: StandingOrderRun | None
    is_replay: bool = False


class StandingOrderDesk:
    """Takes in standing orders and what is to change about them.

    Notes
    -----
    Each change stands once it is in the database. Where Temporal does not hear of it, the caller
    gets ``TemporalUnavailable`` and may repeat the request; the reconciliation does so anyway.
    """

    def __init__(
        self,
        *,
        orders: StandingOrderService,
        runs: StandingOrderRunService,
        schedules: StandingOrderSchedules,
    ) -> None:
        self._orders = orders
        self._runs = runs
        self._schedules = schedules

    async def create(
        self,
        tenant_id: TenantId,
        created_by: ApiKeyId,
        request: StandingOrderRequest,
        *,
        actor: Actor = SYSTEM_ACTOR,
    ) -> OrderInDetail:
        """Record an order and make its schedule, or give the order that its key was used for.

        Raises
        ------
        ValidationFailed, AccountNotFound, SameAccount, CurrencyMismatch, IdempotencyKeyReused
            As ``StandingOrderService.create``.
        ScheduleRefused
            Temporal does not take the schedule; the order is cancelled.
        DatabaseUnavailable, TemporalUnavailable
            The same request later gives the one order.
        """
        recorded = await self._orders.create(tenant_id, created_by, request, actor=actor)
        order = recorded.order
        try:
            await self._align(order)
        except ScheduleRefused as refusal:
            await self._orders.cancel(tenant_id, order.id, reason=refusal.message)
            raise
        return await self._detail(order, is_replay=recorded.is_replay)

    async def get(self, tenant_id: TenantId, order_id: StandingOrderId) -> OrderInDetail:
        """Read an order.

        Raises
        ------
        StandingOrderNotFound
            The tenant has no such order.
        """
        return await self._detail(await self._orders.get(tenant_id, order_id))

    async def page(
        self,
        tenant_id: TenantId,
        *,
        status: StandingOrderStatus | None,
        after: StandingOrderId | None,
        limit: int,
    ) -> Page[StandingOrder]:
        """Read a page of orders, newest first."""
        return await self._orders.page(tenant_id, status=status, after=after, limit=limit)

    async def runs(
        self,
        tenant_id: TenantId,
        order_id: StandingOrderId,
        *,
        before: datetime | None,
        limit: int,
    ) -> Page[StandingOrderRun]:
        """Read a page of an order's runs, the latest time first.

        Raises
        ------
        StandingOrderNotFound
            The tenant has no such order.
        """
        return await self._runs.page(tenant_id, order_id, before=before, limit=limit)

    async def pause(
        self,
        tenant_id: TenantId,
        order_id: StandingOrderId,
        *,
        reason: str | None,
        actor: Actor = SYSTEM_ACTOR,
    ) -> OrderInDetail:
        """Make no runs until the order is resumed. Raises as ``StandingOrderService.pause``."""
        changed = await self._orders.pause(tenant_id, order_id, reason=reason, actor=actor)
        return await self._changed(changed)

    async def resume(
        self,
        tenant_id: TenantId,
        order_id: StandingOrderId,
        *,
        reason: str | None = None,
        actor: Actor = SYSTEM_ACTOR,
    ) -> OrderInDetail:
        """Make runs again, from now on. Raises as ``StandingOrderService.resume``."""
        changed = await self._orders.resume(tenant_id, order_id, reason=reason, actor=actor)
        return await self._changed(changed)

    async def cancel(
        self,
        tenant_id: TenantId,
        order_id: StandingOrderId,
        *,
        reason: str | None,
        actor: Actor = SYSTEM_ACTOR,
    ) -> OrderInDetail:
        """Make no runs any more. Raises as ``StandingOrderService.cancel``."""
        changed = await self._orders.cancel(tenant_id, order_id, reason=reason, actor=actor)
        return await self._changed(changed)

    async def _changed(self, order: StandingOrder) -> OrderInDetail:
        await self._align(order)
        return await self._detail(order)

    async def _align(self, order: StandingOrder) -> None:
        last = await self._runs.last(order.id)
        since = order.unattended_since(last, now=datetime.now(UTC))
        await self._schedules.align(order, since=since)

    async def _detail(self, order: StandingOrder, *, is_replay: bool = False) -> OrderInDetail:
        next_runs: Sequence[datetime] | None = None
        try:
            next_runs = await self._schedules.next_times(order)
        except TemporalUnavailable:
            # All else stands in the database, and is worth reading without.
            next_runs = None
        return OrderInDetail(order, next_runs, await self._runs.last(order.id), is_replay)
