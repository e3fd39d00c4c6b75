"""Workers for standing orders inside the test's process, and orders whose runs they make."""

import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from temporalio import activity
from temporalio.client import Client
from temporalio.worker import Worker

from activities.contracts import TransferSteps
from activities.standing_order_contracts import (
    PreparedRun,
    RunOutcome,
    StandingOrderRunKey,
    StandingOrdersReport,
    StandingOrderSteps,
)
from activities.standing_orders import StandingOrderActivities
from activities.transfers import TransferActivities
from domain.standing_orders import (
    IntervalSchedule,
    MissedRuns,
    StandingOrder,
    StandingOrderRequest,
    StandingOrderRun,
)
from runtime.composition import Services
from tests.support.wallets import Wallets
from tests.support.workers import RUNNERS, Hook
from workflows.gateway import TransferGateway
from workflows.standing_order import (
    StandingOrderReconciliationWorkflow,
    StandingOrderWorkflow,
)
from workflows.standing_order_schedules import StandingOrderSchedules
from workflows.transfer import TransferWorkflow


class InjectedOrderSteps(StandingOrderSteps):
    """The real steps with something done before or after one, as ``InjectedSteps``."""

    def __init__(
        self,
        real: StandingOrderSteps,
        *,
        before: Mapping[str, Hook] | None = None,
        after: Mapping[str, Hook] | None = None,
    ) -> None:
        self._real = real
        self._before = dict(before or {})
        self._after = dict(after or {})

    @activity.defn(name="prepare_standing_order_run")
    async def prepare_standing_order_run(self, run: StandingOrderRunKey) -> PreparedRun:
        await self._hook(self._before, "prepare")
        prepared = await self._real.prepare_standing_order_run(run)
        await self._hook(self._after, "prepare")
        return prepared

    @activity.defn(name="settle_standing_order_run")
    async def settle_standing_order_run(self, run: StandingOrderRunKey) -> RunOutcome:
        await self._hook(self._before, "settle")
        outcome = await self._real.settle_standing_order_run(run)
        await self._hook(self._after, "settle")
        return outcome

    @activity.defn(name="reconcile_standing_orders")
    async def reconcile_standing_orders(self) -> StandingOrdersReport:
        return await self._real.reconcile_standing_orders()

    @staticmethod
    async def _hook(hooks: Mapping[str, Hook], step: str) -> None:
        if step in hooks:
            await hooks[step]()


@dataclass(frozen=True, slots=True)
class OrderGround:
    """A task queue of a test's own: its schedules start runs that only its workers make.

    The stack's reconciliation sees the same orders. It leaves a schedule as it is that is in line.
    """

    client: Client
    services: Services
    wallets: Wallets
    task_queue: str
    schedules: StandingOrderSchedules
    steps: StandingOrderActivities

    async def order(
        self, *, seconds: int = 1, scheduled: bool = True, **asked: Any
    ) -> StandingOrder:
        """Record an order over 100, and make its schedule unless that is to be missing."""
        request = StandingOrderRequest(
            transfer=self.wallets.request(),
            schedule=IntervalSchedule(seconds),
            start_at=asked.get("start_at"),
            end_at=asked.get("end_at"),
            missed_runs=asked.get("missed_runs", MissedRuns.RUN_ALL),
        )
        key = (await self.services.access.list_keys(None))[0]
        recorded = await self.services.standing_orders.create(
            self.wallets.tenant_id, key.id, request
        )
        if scheduled:
            await self.align(recorded.order)
        return recorded.order

    async def align(self, order: StandingOrder) -> None:
        await self.schedules.align(order, since=datetime.now(UTC))

    async def cancel(self, order: StandingOrder) -> None:
        await self.align(
            await self.services.standing_orders.cancel(order.tenant_id, order.id, reason=None)
        )

    async def runs(self, order: StandingOrder) -> list[StandingOrderRun]:
        """Read the runs of an order, the oldest time first."""
        page = await self.services.standing_order_runs.page(
            order.tenant_id, order.id, before=None, limit=200
        )
        return list(page.items)[::-1]

    @asynccontextmanager
    async def worker(
        self,
        steps: StandingOrderSteps | None = None,
        *,
        transfers: TransferSteps | None = None,
        runner: str = "unsandboxed",
    ) -> AsyncIterator[None]:
        """Run a worker on the task queue; with the real steps by default."""
        orders = steps or self.steps
        taken = transfers or TransferActivities(self.services.transactions)
        async with Worker(
            self.client,
            task_queue=self.task_queue,
            workflows=[
                TransferWorkflow,
                StandingOrderWorkflow,
                StandingOrderReconciliationWorkflow,
            ],
            activities=[
                taken.reserve_funds,
                taken.post_entries,
                taken.finalise,
                taken.compensate,
                orders.prepare_standing_order_run,
                orders.settle_standing_order_run,
                orders.reconcile_standing_orders,
            ],
            workflow_runner=RUNNERS[runner](),
        ):
            yield


def order_ground(
    client: Client, services: Services, wallets: Wallets, *, task_queue: str | None = None
) -> OrderGround:
    """Give a task queue, a new one unless one is named."""
    task_queue = task_queue or f"test-{secrets.token_hex(6)}"
    schedules = StandingOrderSchedules(client, task_queue=task_queue)
    gateway = TransferGateway(client, task_queue=task_queue)
    steps = StandingOrderActivities(
        orders=services.standing_orders,
        runs=services.standing_order_runs,
        transactions=services.transactions,
        schedules=schedules,
        closed_status=gateway.closed_status,
        carry_on=gateway.carry_on,
    )
    return OrderGround(client, services, wallets, task_queue, schedules, steps)
