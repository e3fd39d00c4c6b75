"""Runs whose steps fail, whose workflows are stopped, and whose schedules go astray."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from temporalio.client import Client as TemporalClient
from temporalio.client import WorkflowExecutionStatus, WorkflowFailureError
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.standing_order_contracts import StandingOrderKey
from domain.ids import TransferId
from domain.standing_orders import (
    MissedRuns,
    RunState,
    StandingOrder,
    StandingOrderRun,
    StandingOrderStatus,
    run_workflow_id,
    schedule_id,
)
from runtime.composition import Services
from tests.support.order_workers import InjectedOrderSteps, OrderGround, order_ground
from tests.support.standing_orders import now
from tests.support.waiting import until
from tests.support.wallets import make_wallets
from tests.support.workers import InjectedSteps
from workflows.standing_order import StandingOrderWorkflow

SECOND = timedelta(seconds=1)
HOUR_SECONDS = 3_600


@pytest.fixture
async def ground(temporal_client: TemporalClient, services: Services) -> OrderGround:
    return order_ground(temporal_client, services, await make_wallets(services))


def failing(times: int) -> Callable[[], Awaitable[None]]:
    left = [times]

    async def fail() -> None:
        if left[0]:
            left[0] -= 1
            raise ApplicationError("the database is away", type="database_unavailable")

    return fail


async def settled(ground: OrderGround, order: StandingOrder, count: int) -> list[StandingOrderRun]:
    """Wait until so many runs have their outcome."""
    found: list[StandingOrderRun] = []

    async def are_there() -> bool:
        nonlocal found
        found = [r for r in await ground.runs(order) if r.state is not RunState.PROCESSING]
        return len(found) >= count

    await until(are_there)
    return found


async def moved(ground: OrderGround) -> int:
    return (await ground.wallets.balance(ground.wallets.destination)).posted_minor


async def soon(ground: OrderGround) -> StandingOrder:
    """Make an order with one run, in a moment."""
    return await ground.order(seconds=HOUR_SECONDS, start_at=now() + 2 * SECOND)


@pytest.mark.parametrize("runner", ["unsandboxed", "sandboxed"])
@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("step", ["prepare", "settle"])
async def test_a_step_that_fails_is_repeated_and_makes_one_transfer(
    ground: OrderGround, step: str, moment: str, runner: str
) -> None:
    steps = InjectedOrderSteps(ground.steps, **{moment: {step: failing(2)}})
    order = await soon(ground)

    async with ground.worker(steps, runner=runner):
        (run,) = await settled(ground, order, 1)

    assert (run.state, run.scheduled_at) == (RunState.SUCCESS, order.start_at)
    assert await moved(ground) == 100


async def test_a_run_that_is_decided_many_times_at_once_is_decided_once(
    ground: OrderGround,
) -> None:
    order = await ground.order(seconds=HOUR_SECONDS, start_at=now())
    time = order.start_at
    decided = await asyncio.gather(
        *(
            ground.services.standing_order_runs.decide(order.id, time, due=[time], now=time)
            for _ in range(10)
        )
    )
    assert len({run.transfer.id for run in decided if run.transfer}) == 1
    assert len(await ground.runs(order)) == 1


async def test_a_run_waits_for_a_pause_that_is_under_way_and_heeds_it(
    ground: OrderGround, database_url: str
) -> None:
    order = await ground.order(seconds=HOUR_SECONDS, start_at=now())
    time = order.start_at
    async with await psycopg.AsyncConnection.connect(database_url) as pausing:
        await pausing.execute(
            "UPDATE standing_orders SET status = 'PAUSED', paused_at = now() WHERE id = %s",
            (order.id,),
        )
        deciding = asyncio.create_task(
            ground.services.standing_order_runs.decide(order.id, time, due=[time], now=time)
        )
        await until(lambda: is_waited_for(database_url, pausing.info.backend_pid))
        await pausing.commit()
    decided = await deciding
    assert (decided.run.state, decided.transfer) == (RunState.SKIPPED, None)


async def is_waited_for(database_url: str, pid: int) -> bool:
    """Tell whether somebody waits for a lock that a session holds."""
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        found = await connection.execute(
            "SELECT FROM pg_stat_activity WHERE %s = ANY (pg_blocking_pids(pid))", (pid,)
        )
        return await found.fetchone() is not None


async def test_a_transfer_that_was_started_before_is_found_and_waited_for(
    ground: OrderGround,
) -> None:
    order = await soon(ground)
    decided = await ground.services.standing_order_runs.decide(
        order.id, order.start_at, due=[order.start_at], now=order.start_at
    )
    assert decided.transfer is not None
    await ground.services.transactions.reserve(decided.transfer)
    await ground.services.transactions.post(order.tenant_id, decided.transfer.id)
    await ground.services.transactions.finalise(order.tenant_id, decided.transfer.id)

    async with ground.worker():
        (run,) = await settled(ground, order, 1)

    assert (run.state, run.transfer_id) == (RunState.SUCCESS, decided.transfer.id)
    assert await moved(ground) == 100


async def test_a_terminated_transfer_is_a_failed_run_and_holds_nothing(
    ground: OrderGround, temporal_client: TemporalClient
) -> None:
    order = await soon(ground)
    is_held = asyncio.Event()

    async def hold_up() -> None:
        is_held.set()
        raise ApplicationError("held up", type="database_unavailable")

    transfers = InjectedSteps(ground.services, before={"post_entries": hold_up})
    async with ground.worker(transfers=transfers):
        async with asyncio.timeout(20):
            await is_held.wait()
        key = f"{order.tenant_id}:{order.run_key(order.start_at)}"
        await temporal_client.get_workflow_handle(key).terminate()
        (run,) = await settled(ground, order, 1)

    assert run.state is RunState.FAILED
    assert run.failure is not None
    assert run.failure.code == "workflow_terminated"
    assert await ground.wallets.amounts() == (0, 0, 0)


@pytest.mark.parametrize("way", ["cancel", "terminate"])
async def test_a_run_whose_workflow_is_stopped_gets_the_outcome_of_its_transfer(
    ground: OrderGround, temporal_client: TemporalClient, way: str
) -> None:
    order = await soon(ground)
    is_held, may_go_on = asyncio.Event(), asyncio.Event()

    async def hold_up() -> None:
        is_held.set()
        if not may_go_on.is_set():
            raise ApplicationError("held up", type="database_unavailable")

    transfers = InjectedSteps(ground.services, before={"reserve_funds": hold_up})
    async with ground.worker(transfers=transfers):
        async with asyncio.timeout(20):
            await is_held.wait()
        handle = temporal_client.get_workflow_handle(run_workflow_id(order.id, order.start_at))
        await (handle.cancel() if way == "cancel" else handle.terminate())
        may_go_on.set()

        async def is_settled() -> bool:
            await ground.steps.reconcile_standing_orders()
            return (await ground.runs(order))[0].state is not RunState.PROCESSING

        await until(is_settled)

    (run,) = await ground.runs(order)
    transfer = await ground.services.transactions.find_by_key(
        order.tenant_id, order.run_key(order.start_at)
    )
    assert transfer is not None
    assert transfer.is_final
    assert (run.state.value, run.transfer_id) == (transfer.state.value, transfer.id)


async def test_a_run_that_lost_its_workflow_before_its_transfer_is_settled_as_failed(
    ground: OrderGround,
) -> None:
    beats: list[object] = []
    worker = ActivityEnvironment()
    worker.on_heartbeat = lambda *details: beats.append(details)
    order = await ground.order(seconds=HOUR_SECONDS, start_at=now())
    await ground.services.standing_order_runs.decide(
        order.id, order.start_at, due=[order.start_at], now=order.start_at
    )

    async def is_settled() -> bool:
        beats.clear()
        await worker.run(ground.steps.reconcile_standing_orders)
        return (await ground.runs(order))[0].state is not RunState.PROCESSING

    await until(is_settled)

    (run,) = await ground.runs(order)
    assert beats
    assert (run.state, run.transfer_id) == (RunState.FAILED, None)
    assert run.failure is not None
    assert run.failure.code == "workflow_terminated"


async def test_a_key_that_a_client_took_for_another_transfer_fails_the_run(
    ground: OrderGround,
) -> None:
    order = await soon(ground)
    other = await ground.services.standing_order_runs.decide(
        order.id, order.start_at, due=[order.start_at], now=order.start_at
    )
    assert other.transfer is not None
    stolen = other.transfer
    await ground.services.transactions.reserve(
        replace(stolen, id=TransferId(order.id), fingerprint=b"\x07" * 32)
    )

    async with ground.worker():
        (run,) = await settled(ground, order, 1)

    assert (run.state, run.transfer_id) == (RunState.FAILED, None)
    assert run.failure is not None
    assert run.failure.code == "idempotency_key_reused"


@pytest.mark.parametrize("policy", [MissedRuns.RUN_ALL, MissedRuns.RUN_LATEST])
async def test_runs_of_a_time_without_workers_are_made_up_for_as_the_order_says(
    ground: OrderGround, policy: MissedRuns
) -> None:
    order = await ground.order(missed_runs=policy)
    await until(lambda: has_passed(order.start_at + 4 * SECOND))

    async with ground.worker():
        runs = await settled(ground, order, 6)
        await ground.cancel(order)

    missed = runs[:4]
    wanted = [order.start_at + count * SECOND for count in range(4)]
    assert [run.scheduled_at for run in missed] == wanted
    states = {run.state for run in missed}
    assert states == {RunState.SUCCESS if policy is MissedRuns.RUN_ALL else RunState.SKIPPED}


async def has_passed(time: datetime) -> bool:
    return datetime.now(UTC) > time


async def test_an_order_without_a_schedule_gets_one_and_what_it_missed(
    ground: OrderGround,
) -> None:
    # As after a crash between the record and the schedule.
    order = await ground.order(scheduled=False)
    await until(lambda: has_passed(order.start_at + 2 * SECOND))

    async with ground.worker():
        await ground.steps.reconcile_standing_orders()
        runs = await settled(ground, order, 4)
        await ground.cancel(order)

    assert runs[0].scheduled_at == order.start_at
    assert {run.state for run in runs} == {RunState.SUCCESS}


async def state_of(client: TemporalClient, order: StandingOrder) -> str:
    """Tell how an order's schedule is, as Temporal lists it."""
    async for listed in await client.list_schedules():
        if listed.id == schedule_id(order.id) and listed.schedule is not None:
            return "PAUSED" if listed.schedule.state.paused else "RUNNING"
    return "GONE"


@pytest.mark.parametrize(
    ("stray", "status", "expected"),
    [
        ("PAUSED", StandingOrderStatus.ACTIVE, "RUNNING"),
        ("RUNNING", StandingOrderStatus.PAUSED, "PAUSED"),
        ("GONE", StandingOrderStatus.ACTIVE, "RUNNING"),
        ("GONE", StandingOrderStatus.PAUSED, "PAUSED"),
        ("RUNNING", StandingOrderStatus.CANCELLED, "GONE"),
    ],
)
async def test_a_schedule_that_differs_from_its_order_is_brought_in_line(
    ground: OrderGround,
    temporal_client: TemporalClient,
    stray: str,
    status: StandingOrderStatus,
    expected: str,
) -> None:
    order = await ground.order(seconds=HOUR_SECONDS)
    service = ground.services.standing_orders
    if status is StandingOrderStatus.PAUSED:
        await service.pause(order.tenant_id, order.id, reason=None)
    if status is StandingOrderStatus.CANCELLED:
        await service.cancel(order.tenant_id, order.id, reason=None)
    handle = temporal_client.get_schedule_handle(schedule_id(order.id))
    if stray == "PAUSED":
        await handle.pause()
    if stray == "GONE":
        await handle.delete()

    async def is_in_line() -> bool:
        await ground.steps.reconcile_standing_orders()
        return await state_of(temporal_client, order) == expected

    await until(is_in_line)


async def test_an_order_whose_end_has_passed_is_ended_behind_its_last_run(
    ground: OrderGround, temporal_client: TemporalClient
) -> None:
    start = now() + 2 * SECOND
    order = await ground.order(start_at=start, end_at=start + 2 * SECOND)

    async def is_ended() -> bool:
        await ground.steps.reconcile_standing_orders()
        found = await ground.services.standing_orders.get(order.tenant_id, order.id)
        return found.status is StandingOrderStatus.ENDED

    async with ground.worker():
        await until(is_ended)

    runs = await ground.runs(order)
    assert [run.scheduled_at for run in runs] == [start, start + SECOND, start + 2 * SECOND]
    assert {run.state for run in runs} == {RunState.SUCCESS}
    assert await state_of(temporal_client, order) == "GONE"


async def test_a_run_that_no_schedule_started_fails_and_moves_nothing(
    ground: OrderGround, temporal_client: TemporalClient
) -> None:
    order = await ground.order(seconds=HOUR_SECONDS)
    async with ground.worker():
        handle = await temporal_client.start_workflow(
            StandingOrderWorkflow.run,
            StandingOrderKey(order.id),
            id=f"by-hand-{order.id}",
            task_queue=ground.task_queue,
        )
        with pytest.raises(WorkflowFailureError):
            await handle.result()
    assert (await handle.describe()).status is WorkflowExecutionStatus.FAILED
    assert await ground.runs(order) == []
