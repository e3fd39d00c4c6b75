"""The Temporal Schedules that drive standing orders."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.workflowservice.v1 import ListScheduleMatchingTimesRequest
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleBackfill,
    ScheduleDescription,
    ScheduleHandle,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
    ScheduleState,
)
from temporalio.common import SearchAttributePair, TypedSearchAttributes
from temporalio.service import RPCError, RPCStatusCode

from activities.standing_order_contracts import StandingOrderKey
from domain.errors import ScheduleRefused
from domain.ids import StandingOrderId, parse_uuid
from domain.limits import (
    NEXT_RUNS_MAXIMUM,
    STANDING_ORDER_CATCH_UP_DAYS,
    STANDING_ORDER_LATE_SECONDS,
)
from domain.standing_orders import (
    SCHEDULE_PREFIX,
    WHOLE_SECOND,
    IntervalSchedule,
    MissedRuns,
    StandingOrder,
    StandingOrderStatus,
    schedule_id,
)
from workflows.cron import calendars_of
from workflows.search_attributes import TENANT_ID
from workflows.standing_order import StandingOrderWorkflow
from workflows.temporal_calls import LIST_PAGE_SIZE, RPC_TIMEOUT, temporal_errors

OVERLAP: Final = ScheduleOverlapPolicy.BUFFER_ALL
"""Runs of one order follow each other; a slow one holds up the next and loses none."""

NOTE: Final = "follows the standing order's status; change it through the API"


class StandingOrderSchedules:
    """Makes, pauses and removes the schedules of orders, and reads their times.

    Notes
    -----
    Every call raises ``TemporalUnavailable`` where Temporal does not answer in time. What an order
    is stands in the database; all here may be done again, and is by the reconciliation.
    """

    def __init__(self, client: Client, *, task_queue: str) -> None:
        self._client = client
        self._task_queue = task_queue

    async def align(self, order: StandingOrder, *, since: datetime) -> None:
        """Make an order's schedule what the order says: there or not, paused or not.

        Parameters
        ----------
        since
            Where the schedule has to be made or resumed, times from here on are made up for.

        Raises
        ------
        ScheduleRefused
            Temporal does not take the schedule.
        """
        if order.is_over:
            await self._remove(order.id)
        elif not await self._set(order, since):
            await self._create(order, since)

    async def next_times(self, order: StandingOrder) -> Sequence[datetime]:
        """Give the times of an order's next runs; none while it is paused, or once it is over."""
        if order.status is not StandingOrderStatus.ACTIVE:
            return ()
        described = await self._describe(order.id)
        return described.info.next_action_times[:NEXT_RUNS_MAXIMUM] if described else ()

    async def due_times(
        self, order_id: StandingOrderId, *, first: datetime, last: datetime
    ) -> Sequence[datetime]:
        """Give an order's times in a range, both ends included; none where it has no schedule.

        Notes
        -----
        Temporal gives the first thousand.
        """
        request = ListScheduleMatchingTimesRequest(
            namespace=self._client.namespace, schedule_id=schedule_id(order_id)
        )
        # Temporal leaves out the start itself.
        request.start_time.FromDatetime(first - WHOLE_SECOND)
        request.end_time.FromDatetime(last)
        try:
            with temporal_errors():
                found = await self._client.workflow_service.list_schedule_matching_times(
                    request, timeout=RPC_TIMEOUT
                )
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return ()
            raise
        return [_moment(time) for time in found.start_time]

    async def paused(self) -> Mapping[StandingOrderId, bool]:
        """Tell of each order's schedule whether it is paused.

        Notes
        -----
        From Temporal's visibility store, which follows the truth with a small delay.
        """
        found: dict[StandingOrderId, bool] = {}
        with temporal_errors():
            async for listed in await self._client.list_schedules(
                page_size=LIST_PAGE_SIZE, rpc_timeout=RPC_TIMEOUT
            ):
                order_id = parse_uuid(listed.id.removeprefix(SCHEDULE_PREFIX))
                if order_id is not None and listed.schedule is not None:
                    found[StandingOrderId(order_id)] = listed.schedule.state.paused
        return found

    async def is_done(self, order_id: StandingOrderId) -> bool:
        """Tell whether a schedule has no run to start any more, and none under way."""
        described = await self._describe(order_id)
        if described is None:
            return True
        info = described.raw_description.info
        return not (info.future_action_times or info.buffer_size or info.running_workflows)

    async def _set(self, order: StandingOrder, since: datetime) -> bool:
        """Pause or resume a schedule; false where there is none.

        Notes
        -----
        Whatever its state seems to be: a description may be older than a change that the schedule
        has yet to make. Changes are made in the order in which they are asked for.
        """
        handle = self._handle(order.id)
        try:
            with temporal_errors():
                if order.status is StandingOrderStatus.PAUSED:
                    await handle.pause(note=NOTE, rpc_timeout=RPC_TIMEOUT)
                    return True
                await handle.unpause(note=NOTE, rpc_timeout=RPC_TIMEOUT)
                for missed in _missed(since):
                    await handle.backfill(missed, rpc_timeout=RPC_TIMEOUT)
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return False
            raise
        return True

    async def _create(self, order: StandingOrder, since: datetime) -> None:
        is_paused = order.status is StandingOrderStatus.PAUSED
        schedule = Schedule(
            action=ScheduleActionStartWorkflow(
                StandingOrderWorkflow.run,
                StandingOrderKey(order.id),
                id=schedule_id(order.id),
                task_queue=self._task_queue,
                typed_search_attributes=_attributes(order),
            ),
            spec=_spec(order),
            policy=SchedulePolicy(overlap=OVERLAP, catchup_window=_catch_up(order)),
            state=ScheduleState(paused=is_paused, note=NOTE),
        )
        with suppress(ScheduleAlreadyRunningError), _refusals(), temporal_errors():
            await self._client.create_schedule(
                schedule_id(order.id),
                schedule,
                backfill=() if is_paused else _missed(since),
                search_attributes=_attributes(order),
                rpc_timeout=RPC_TIMEOUT,
            )

    async def _remove(self, order_id: StandingOrderId) -> None:
        try:
            with temporal_errors():
                await self._handle(order_id).delete(rpc_timeout=RPC_TIMEOUT)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise

    async def _describe(self, order_id: StandingOrderId) -> ScheduleDescription | None:
        try:
            with temporal_errors():
                return await self._handle(order_id).describe(rpc_timeout=RPC_TIMEOUT)
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return None
            raise

    def _handle(self, order_id: StandingOrderId) -> ScheduleHandle:
        return self._client.get_schedule_handle(schedule_id(order_id))


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except RPCError as error:
        if error.status is RPCStatusCode.INVALID_ARGUMENT:
            raise ScheduleRefused(error.message) from error
        raise


def _spec(order: StandingOrder) -> ScheduleSpec:
    schedule = order.schedule
    if isinstance(schedule, IntervalSchedule):
        # Temporal counts intervals from 1970; the offset lets them be counted from the start.
        offset = timedelta(seconds=int(order.start_at.timestamp()) % schedule.seconds)
        every = ScheduleIntervalSpec(every=timedelta(seconds=schedule.seconds), offset=offset)
        return ScheduleSpec(intervals=[every], start_at=order.start_at, end_at=order.end_at)
    return ScheduleSpec(
        calendars=calendars_of(schedule.expression),
        time_zone_name=schedule.time_zone,
        start_at=order.start_at,
        end_at=order.end_at,
    )


def _catch_up(order: StandingOrder) -> timedelta:
    if order.missed_runs is MissedRuns.SKIP:
        return timedelta(seconds=STANDING_ORDER_LATE_SECONDS)
    return timedelta(days=STANDING_ORDER_CATCH_UP_DAYS)


def _missed(since: datetime) -> tuple[ScheduleBackfill, ...]:
    now = datetime.now(UTC)
    return (ScheduleBackfill(since, now, overlap=OVERLAP),) if since < now else ()


def _attributes(order: StandingOrder) -> TypedSearchAttributes:
    return TypedSearchAttributes([SearchAttributePair(TENANT_ID, str(order.tenant_id))])


def _moment(time: Timestamp) -> datetime:
    return time.ToDatetime(tzinfo=UTC)
