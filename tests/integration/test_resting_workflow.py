"""Transfers that rest on real servers, with steps that fail, workers that are away, and ends."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio.client import Client as TemporalClient
from temporalio.exceptions import ApplicationError

from api.transfer_operations import OperationAnswer
from domain.errors import AlreadyFailed, IdempotencyKeyReused, TemporalUnavailable
from domain.operations import Operation, OperationOrder
from domain.states import ProcessState, TransferStage
from domain.transfers import CaptureMode, Failure, Transfer
from runtime.composition import Services
from runtime.embedded_temporal import EmbeddedTemporal
from runtime.temporal import connect
from tests.support.rules import require_approval
from tests.support.temporal import embedded_temporal
from tests.support.waiting import until
from tests.support.wallets import Wallets, make_wallets
from tests.support.workers import (
    InjectedResting,
    InjectedSteps,
    RunningWorker,
    WorkerFactory,
    failing,
)

WAIT_SECONDS = 30.0
FAST_PATH_ATTEMPTS = 2
EVENTS_BEFORE_A_NEW_RUN = 40


@pytest.fixture
async def wallets(services: Services) -> Wallets:
    return await make_wallets(services)


async def start(worker: RunningWorker, wallets: Wallets, **terms: Any) -> Transfer:
    submission = await worker.intake.submit(
        wallets.tenant_id,
        wallets.changed(**terms),
        requested_by=wallets.api_key_id,
        wait_seconds=WAIT_SECONDS,
    )
    return submission.transfer


async def hold(worker: RunningWorker, wallets: Wallets, **terms: Any) -> Transfer:
    held = await start(worker, wallets, capture=CaptureMode.MANUAL, **terms)
    assert held.stage is TransferStage.RESERVED
    return held


async def operate(
    worker: RunningWorker, order: OperationOrder, wait_seconds: float = WAIT_SECONDS
) -> OperationAnswer:
    return await worker.operations.submit(order, wait_seconds=wait_seconds)


@pytest.mark.parametrize("runner", ["unsandboxed", "sandboxed"])
async def test_a_hold_is_captured_in_parts_and_its_workflow_ends(
    worker: WorkerFactory, services: Services, wallets: Wallets, runner: str
) -> None:
    steps = InjectedResting(services)
    running = await worker(resting=steps, runner=runner)
    held = await hold(running, wallets)

    for amount in (30, 50):
        part = wallets.operation(Operation.CAPTURE, held, amount_minor=amount)
        assert (await operate(running, part)).transfer.stage is TransferStage.RESERVED
    last = await operate(running, wallets.operation(Operation.CAPTURE, held))

    assert last.transfer.state is ProcessState.SUCCESS
    assert await wallets.amounts() == (-100, 0, 100)
    assert steps.attempts == {"carry_out_operation": 3}
    await until(lambda: _is_closed(running, wallets, "COMPLETED"))


async def test_a_hold_that_ends_before_it_is_answered_is_answered_as_its_repeats_are(
    worker: WorkerFactory,
    services: Services,
    wallets: Wallets,
    temporal_client: TemporalClient,
) -> None:
    async def end_at_once() -> None:
        transfer = await wallets.transfer()
        assert transfer is not None
        await services.transactions.compensate(*key_of(transfer), Failure("cancelled", "a test"))

    running = await worker(InjectedSteps(services, after={"reserve_funds": end_at_once}))
    held = await hold(running, wallets)

    assert await hold(running, wallets) == held
    assert await _has_failed(wallets, "cancelled")
    await temporal_client.get_workflow_handle(wallets.workflow_id).cancel()
    await until(lambda: _is_closed(running, wallets, "COMPLETED"))


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("failures", [1, FAST_PATH_ATTEMPTS + 1])
async def test_an_operation_whose_step_fails_happens_once(
    worker: WorkerFactory, services: Services, wallets: Wallets, moment: str, failures: int
) -> None:
    steps = InjectedResting(services, **{moment: {"carry_out_operation": failing(failures)}})
    running = await worker(resting=steps)
    held = await hold(running, wallets)

    answer = await operate(running, wallets.operation(Operation.CAPTURE, held, amount_minor=40))

    assert answer.is_done
    assert answer.transfer.captured_minor == 40
    assert await wallets.amounts() == (-40, 60, 40)
    assert steps.attempts["carry_out_operation"] == failures + 1
    steps_taken = [event.step for event in await services.transactions.events(*key_of(held))]
    assert steps_taken == ["accept", "reserve", "capture"]


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_an_expiry_whose_step_fails_releases_once(
    worker: WorkerFactory, services: Services, wallets: Wallets, moment: str
) -> None:
    steps = InjectedResting(services, **{moment: {"expire": failing(FAST_PATH_ATTEMPTS + 1)}})
    running = await worker(resting=steps)
    await start(running, wallets, capture=CaptureMode.MANUAL, hold_for=timedelta(milliseconds=100))

    await until(lambda: _has_failed(wallets, "expired"))

    assert await wallets.amounts() == (0, 0, 0)
    await until(lambda: _is_closed(running, wallets, "COMPLETED"))


async def test_an_operation_that_is_stuck_is_answered_in_time_and_happens_later(
    worker: WorkerFactory, services: Services, wallets: Wallets
) -> None:
    is_mended = asyncio.Event()

    async def fail_until_mended() -> None:
        if not is_mended.is_set():
            raise ApplicationError("the database is away", type="database_unavailable")

    steps = InjectedResting(services, before={"carry_out_operation": fail_until_mended})
    running = await worker(resting=steps)
    held = await hold(running, wallets)
    capture = wallets.operation(Operation.CAPTURE, held)

    promised = await operate(running, capture, wait_seconds=1)
    assert (promised.is_done, promised.transfer.stage) == (False, TransferStage.RESERVED)
    is_mended.set()
    done = await operate(running, capture)

    assert (done.is_done, done.transfer.state) == (True, ProcessState.SUCCESS)
    assert await wallets.amounts() == (-100, 0, 100)


async def test_an_operation_without_a_worker_is_promised_and_happens_when_one_comes(
    worker: WorkerFactory, services: Services, temporal_client: TemporalClient, wallets: Wallets
) -> None:
    workers = WorkerFactory(temporal_client, services)
    running = await workers()
    held = await hold(running, wallets)
    await workers.stop()
    capture = wallets.operation(Operation.CAPTURE, held, amount_minor=40)

    promised = await operate(running, capture, wait_seconds=0)
    assert (promised.is_done, promised.is_replay) == (False, False)
    assert await wallets.amounts() == (0, 100, 0)
    back = await worker(task_queue=running.task_queue)
    await until(lambda: _has_captured(wallets, 40))

    answer = await operate(back, capture)
    assert (answer.is_done, answer.transfer.captured_minor) == (True, 40)
    assert await wallets.amounts() == (-40, 60, 40)
    other = wallets.operation(Operation.CANCEL, held, key=capture.idempotency_key)
    with pytest.raises(IdempotencyKeyReused):
        await operate(back, other)


async def _rest(
    running: RunningWorker, services: Services, wallets: Wallets, stage: TransferStage
) -> Transfer:
    """Bring a transfer to rest in a stage."""
    if stage is TransferStage.SCHEDULED:
        return await start(running, wallets, execute_at=datetime.now(UTC) + timedelta(hours=1))
    if stage is TransferStage.RESERVED:
        return await hold(running, wallets)
    await require_approval(services, wallets.tenant_id, deadline=timedelta(hours=1))
    return await start(running, wallets)


RESTING = (TransferStage.SCHEDULED, TransferStage.AWAITING_APPROVAL, TransferStage.RESERVED)


@pytest.mark.parametrize("stage", RESTING)
async def test_a_cancelled_workflow_releases_what_rests(
    worker: WorkerFactory,
    services: Services,
    wallets: Wallets,
    temporal_client: TemporalClient,
    stage: TransferStage,
) -> None:
    running = await worker()
    assert (await _rest(running, services, wallets, stage)).stage is stage

    await temporal_client.get_workflow_handle(wallets.workflow_id).cancel()

    await until(lambda: _has_failed(wallets, "cancelled"))
    assert await wallets.amounts() == (0, 0, 0)
    await until(lambda: _is_closed(running, wallets, "COMPLETED"))


@pytest.mark.parametrize("stage", RESTING)
async def test_an_operation_on_a_transfer_whose_workflow_was_terminated_ends_it(
    worker: WorkerFactory,
    services: Services,
    wallets: Wallets,
    temporal_client: TemporalClient,
    stage: TransferStage,
) -> None:
    running = await worker()
    resting = await _rest(running, services, wallets, stage)
    await temporal_client.get_workflow_handle(wallets.workflow_id).terminate("by the test")

    with pytest.raises(AlreadyFailed):
        await operate(running, wallets.operation(Operation.CANCEL, resting))

    assert await _has_failed(wallets, "workflow_terminated")
    assert await wallets.amounts() == (0, 0, 0)


async def test_a_workflow_that_is_terminated_during_a_capture_leaves_one_outcome(
    worker: WorkerFactory, services: Services, wallets: Wallets, temporal_client: TemporalClient
) -> None:
    reached = asyncio.Event()

    async def wait_for_ever() -> None:
        reached.set()
        await asyncio.Event().wait()

    fail = failing(FAST_PATH_ATTEMPTS)

    async def wait_on_the_durable_path() -> None:
        await fail()
        await wait_for_ever()

    steps = InjectedResting(services, after={"carry_out_operation": wait_on_the_durable_path})
    running = await worker(resting=steps)
    held = await hold(running, wallets)
    capture = wallets.operation(Operation.CAPTURE, held, amount_minor=40)
    answering = asyncio.create_task(operate(running, capture))
    await reached.wait()

    await temporal_client.get_workflow_handle(wallets.workflow_id).terminate("by the test")

    # The capture had committed; nobody is left to wait for the rest of the hold.
    answer = await answering
    assert (answer.is_done, answer.transfer.captured_minor) == (True, 40)
    ended = await wallets.transfer()
    assert ended is not None
    assert (ended.state, ended.captured_minor) == (ProcessState.SUCCESS, 40)
    assert await wallets.amounts() == (-40, 0, 40)


async def test_an_operation_is_refused_for_the_time_while_temporal_is_away(
    own_services: Services,
) -> None:
    wallets = await make_wallets(own_services)
    async with own_temporal(own_services) as (server, _client, workers):
        running = await workers()
        held = await hold(running, wallets)
        await workers.stop()
        await server.stop()
        with pytest.raises(TemporalUnavailable):
            await operate(running, wallets.operation(Operation.CAPTURE, held), wait_seconds=1)
        assert await wallets.amounts() == (0, 100, 0)
        await own_services.transactions.compensate(
            *key_of(held), Failure("given_up", "by the test")
        )


async def test_a_hold_with_a_long_history_goes_on_in_a_new_run(
    own_services: Services,
) -> None:
    wallets = await make_wallets(own_services)
    limits = {"limit.historyCount.suggestContinueAsNew": EVENTS_BEFORE_A_NEW_RUN}
    async with own_temporal(own_services, **limits) as (_server, client, workers):
        running = await workers()
        held = await hold(running, wallets, hold_for=timedelta(seconds=60))
        handle = client.get_workflow_handle(wallets.workflow_id)
        first_run = (await handle.describe()).run_id
        later = datetime.now(UTC) + timedelta(seconds=90)
        await operate(running, wallets.operation(Operation.EXTEND, held, expires_at=later))
        captured = 0

        async def has_new_run() -> bool:
            return (await handle.describe()).run_id != first_run

        while not await has_new_run():
            captured += 1
            part = wallets.operation(Operation.CAPTURE, held, amount_minor=1)
            await operate(running, part)
        assert captured < EVENTS_BEFORE_A_NEW_RUN

        last = await operate(running, wallets.operation(Operation.CAPTURE, held))

        assert last.transfer.state is ProcessState.SUCCESS
        assert last.transfer.expires_at == later
        assert await wallets.amounts() == (-100, 0, 100)
        await until(lambda: _is_closed(running, wallets, "COMPLETED"))


def key_of(transfer: Transfer) -> tuple[Any, Any]:
    return transfer.tenant_id, transfer.id


@asynccontextmanager
async def own_temporal(
    services: Services, **dynamic_config: Any
) -> AsyncIterator[tuple[EmbeddedTemporal, TemporalClient, WorkerFactory]]:
    """Give a Temporal server of the test's own, to be stopped or set otherwise."""
    async with embedded_temporal(**dynamic_config) as server:
        client = await connect(server.address, server.namespace)
        workers = WorkerFactory(client, services)
        try:
            yield server, client, workers
        finally:
            await workers.stop()


async def _is_closed(running: RunningWorker, wallets: Wallets, status: str) -> bool:
    return await running.gateway.closed_status(wallets.workflow_id) == status


async def _has_failed(wallets: Wallets, code: str) -> bool:
    transfer = await wallets.transfer()
    return bool(transfer and transfer.failure and transfer.failure.code == code)


async def _has_captured(wallets: Wallets, amount_minor: int) -> bool:
    transfer = await wallets.transfer()
    return bool(transfer and transfer.captured_minor == amount_minor)


async def test_a_key_that_an_operation_takes_first_promises_no_transfer(
    worker: WorkerFactory, services: Services, wallets: Wallets, temporal_client: TemporalClient
) -> None:
    first = await start(await worker(), wallets, capture=CaptureMode.MANUAL)
    asked = replace(wallets, key=f"{wallets.key}-again")

    async def take_the_key() -> None:
        order = wallets.operation(Operation.CANCEL, first, key=asked.key)
        await services.operations.carry_out(order)

    running = await worker(InjectedSteps(services, before={"reserve_funds": take_the_key}))
    with pytest.raises(IdempotencyKeyReused):
        await start(running, asked)
    assert await asked.transfer() is None
    # Cancelled beside its workflow, which would stay open once its worker is gone.
    await temporal_client.get_workflow_handle(first.workflow_id).cancel()
    await until(lambda: _is_closed(running, wallets, "COMPLETED"))
