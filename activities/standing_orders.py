"""The steps of standing orders as Temporal activities."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.contracts import FailureDetails
from activities.heartbeats import beating
from activities.orders import input_of
from activities.reconciliation import COMPLETED, CarryOn
from activities.standing_order_contracts import (
    PreparedRun,
    RunOutcome,
    StandingOrderRunKey,
    StandingOrdersReport,
    StandingOrderSteps,
)
from domain.errors import (
    DomainError,
    NotScheduled,
    ScheduleRefused,
    StandingOrderNotFound,
    StandingOrderOver,
    WorkflowTerminated,
)
from domain.ids import StandingOrderId
from domain.standing_orders import (
    WHOLE_SECOND,
    RunState,
    StandingOrder,
    StandingOrderRun,
    StandingOrderStatus,
    run_workflow_id,
)
from domain.transfers import Failure, Transfer
from services.standing_order_runs import DecidedRun, StandingOrderRunService
from services.standing_orders import StandingOrderService
from services.transactions import TransactionService
from services.workflow_census import ClosedStatus

IDLE_SECONDS: Final = 5.0
"""A run that began more recently is left to its workflow."""

GRACE: Final = timedelta(seconds=60)
"""How long an order that has come to its end is kept for a last run that has not begun."""

UNFINISHED: Final = "transfer_unfinished"
NOT_DUE: Final = "not_due"


class OrderSchedules(Protocol):
    """What drives the orders, as the activities see it."""

    async def align(self, order: StandingOrder, *, since: datetime) -> None:
        """Make an order's schedule what the order says."""

    async def due_times(
        self, order_id: StandingOrderId, *, first: datetime, last: datetime
    ) -> Sequence[datetime]:
        """Give an order's times in a range, both ends included."""

    async def paused(self) -> Mapping[StandingOrderId, bool]:
        """Tell of each order's schedule whether it is paused."""

    async def is_done(self, order_id: StandingOrderId) -> bool:
        """Tell whether a schedule has no run to start any more, and none under way."""


class StandingOrderActivities(StandingOrderSteps):
    """Decides on runs, settles them, and keeps the schedules in line with the orders."""

    def __init__(
        self,
        *,
        orders: StandingOrderService,
        runs: StandingOrderRunService,
        transactions: TransactionService,
        schedules: OrderSchedules,
        closed_status: ClosedStatus,
        carry_on: CarryOn,
    ) -> None:
        self._orders = orders
        self._runs = runs
        self._transactions = transactions
        self._schedules = schedules
        self._closed_status = closed_status
        self._carry_on = carry_on

    @activity.defn(name="prepare_standing_order_run")
    async def prepare_standing_order_run(self, run: StandingOrderRunKey) -> PreparedRun:
        """See ``StandingOrderSteps.prepare_standing_order_run``.

        Notes
        -----
        A run that is not due yet, as one of an operator's backfill may be, waits for its time.
        """
        order_id, now = StandingOrderId(run.order_id), datetime.now(UTC)
        if run.scheduled_at > now:
            raise ApplicationError(
                "The run is not due yet.", type=NOT_DUE, next_retry_delay=run.scheduled_at - now
            )
        with _application_errors():
            due = await self._schedules.due_times(order_id, first=run.scheduled_at, last=now)
            decided = await self._runs.decide(order_id, run.scheduled_at, due=due, now=now)
        is_open = decided.run.state is RunState.PROCESSING
        return PreparedRun(
            outcome=_outcome(decided.run),
            transfer=input_of(decided.transfer) if is_open and decided.transfer else None,
        )

    @activity.defn(name="settle_standing_order_run")
    async def settle_standing_order_run(self, run: StandingOrderRunKey) -> RunOutcome:
        """See ``StandingOrderSteps.settle_standing_order_run``."""
        with _application_errors():
            settled = await self._settle(StandingOrderId(run.order_id), run.scheduled_at)
        if settled.state is RunState.PROCESSING:
            raise ApplicationError("The run's transfer is under way.", type=UNFINISHED)
        return _outcome(settled)

    @activity.defn(name="reconcile_standing_orders")
    async def reconcile_standing_orders(self) -> StandingOrdersReport:
        """See ``StandingOrderSteps.reconcile_standing_orders``.

        Notes
        -----
        Schedules are read before the orders: an order is recorded before its schedule is made, so
        that one that is only in Temporal is over. It takes as long as there are orders, and tells
        Temporal meanwhile that it goes on.
        """
        async with beating():
            return await self._reconcile()

    async def _reconcile(self) -> StandingOrdersReport:
        paused = dict(await self._schedules.paused())
        orders = aligned = ended = 0
        now = datetime.now(UTC)
        async for order in self._orders.open_orders():
            orders += 1
            is_paused = paused.pop(order.id, None)
            if is_paused is not (order.status is StandingOrderStatus.PAUSED):
                aligned += await self._align(order)
            elif order.end_at is not None and order.end_at < now:
                ended += await self._end(order, order.end_at)
        for order_id in paused:
            over = await self._orders.find(order_id)
            if over is not None and over.is_over:
                aligned += await self._align(over)
        return StandingOrdersReport(orders, aligned, ended, await self._settle_abandoned())

    async def _align(self, order: StandingOrder) -> bool:
        last = await self._runs.last(order)
        since = order.unattended_since(last, now=datetime.now(UTC))
        try:
            await self._schedules.align(order, since=since)
        except ScheduleRefused as refusal:
            # The others are to be brought in line all the same.
            activity.logger.error("schedule_refused: %s: %s", order.id, refusal.message)
            return False
        return True

    async def _end(self, order: StandingOrder, end_at: datetime) -> bool:
        """End an order whose last run is begun; its schedule is removed with it.

        Notes
        -----
        A schedule may look done because it has yet to see its last time: that is waited for.
        """
        now = datetime.now(UTC)
        if order.status is StandingOrderStatus.ACTIVE and now < end_at + GRACE:
            since = order.unattended_since(await self._runs.last(order), now=now)
            if await self._schedules.due_times(order.id, first=since + WHOLE_SECOND, last=end_at):
                return False
        if not await self._schedules.is_done(order.id):
            return False
        try:
            over = await self._orders.end(order.tenant_id, order.id)
        except StandingOrderOver:
            return False
        return await self._align(over)

    async def _settle_abandoned(self) -> int:
        settled = 0
        async for run in self._runs.unsettled(idle_seconds=IDLE_SECONDS):
            workflow_id = run_workflow_id(run.order_id, run.scheduled_at)
            if await self._closed_status(workflow_id) is not None:
                found = await self._settle(run.order_id, run.scheduled_at)
                settled += found.state is not RunState.PROCESSING
        return settled

    async def _settle(self, order_id: StandingOrderId, scheduled_at: datetime) -> StandingOrderRun:
        """Record what became of a run's transfer; PROCESSING where it is under way.

        Notes
        -----
        Temporal is asked first: what a workflow does, it has done before it is closed. Where it
        completed and the transfer has not, or is in no table, the database was restored to an
        earlier time, and the transfer goes on, under the key and the id that it had.
        """
        decided, transfer = await self._runs.with_transfer(order_id, scheduled_at)
        if decided.transfer is None or decided.run.state is not RunState.PROCESSING:
            return decided.run
        workflow_id = decided.transfer.workflow_id
        status = None
        if transfer is None or not transfer.is_final:
            status = await self._closed_status(workflow_id)
            if status is None:
                return decided.run
            decided, transfer = await self._runs.with_transfer(order_id, scheduled_at)
            if status == COMPLETED and (transfer is None or not transfer.is_final):
                await self._carry_on(workflow_id)
                return decided.run
        abandoned = Failure.of(WorkflowTerminated(status or "CLOSED"))
        return await self._runs.settle(
            decided, await self._final(decided, transfer, abandoned), otherwise=abandoned
        )

    async def _final(
        self, decided: DecidedRun, transfer: Transfer | None, abandoned: Failure
    ) -> Transfer | None:
        """Bring a transfer without a workflow to its right end, as the reconciliation does."""
        if transfer is None or transfer.is_final:
            return transfer
        return await self._transactions.compensate(decided.run.tenant_id, transfer.id, abandoned)


@contextmanager
def _application_errors() -> Iterator[None]:
    """Tell Temporal which of the domain's errors another attempt cannot change."""
    try:
        yield
    except DomainError as error:
        raise ApplicationError(
            error.message,
            type=error.code,
            non_retryable=isinstance(error, NotScheduled | StandingOrderNotFound),
        ) from error


def _outcome(run: StandingOrderRun) -> RunOutcome:
    failure = run.failure
    return RunOutcome(
        state=run.state,
        transfer_id=run.transfer_id,
        failure=FailureDetails(failure.code, failure.message) if failure else None,
    )
