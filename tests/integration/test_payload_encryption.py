"""Workflows of every kind with encrypted payloads, on real servers."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import DescribeWorkflowExecutionRequest
from temporalio.client import Client as TemporalClient
from temporalio.exceptions import ApplicationError
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner

from domain.operations import Operation
from domain.standing_orders import RunState
from domain.states import ProcessState, TransferStage
from domain.transfers import CaptureMode, Transfer
from runtime.composition import Services
from runtime.payloads import encrypting
from tests.support.order_workers import order_ground
from tests.support.payloads import connect_with_keys, new_payload_key, ring_of
from tests.support.temporal import TemporalServer
from tests.support.waiting import until
from tests.support.wallets import Wallets, make_wallets
from tests.support.workers import InjectedSteps, RunningWorker, WorkerFactory
from workflows.history import HistoryReader
from workflows.operations_gateway import OperationsGateway
from workflows.transfer import TransferWorkflow

WAIT_SECONDS = 30.0
K1, K2 = new_payload_key("k1"), new_payload_key("k2")
WITH_SEARCH_ATTRIBUTES: Final[Sequence[Any]] = (
    "workflow_execution_started_event_attributes",
    "upsert_workflow_search_attributes_event_attributes",
)
WORDS = "for the flat in Elm Street"


@pytest.fixture
async def encrypted(temporal: TemporalServer) -> TemporalClient:
    return await connect_with_keys(temporal, K1)


@pytest.fixture
async def wallets(services: Services) -> Wallets:
    return await make_wallets(services)


@pytest.fixture
async def secret_worker(
    encrypted: TemporalClient, services: Services
) -> AsyncIterator[WorkerFactory]:
    factory = WorkerFactory(encrypted, services)
    yield factory
    await factory.stop()


async def submit(running: RunningWorker, wallets: Wallets, **terms: Any) -> Transfer:
    request = wallets.changed(description=WORDS, metadata={"flat": WORDS}, **terms)
    submission = await running.intake.submit(
        wallets.tenant_id,
        request,
        requested_by=wallets.api_key_id,
        wait_seconds=WAIT_SECONDS,
    )
    return submission.transfer


async def capture(running: RunningWorker, wallets: Wallets, held: Transfer) -> None:
    await running.operations.submit(
        wallets.operation(Operation.CAPTURE, held), wait_seconds=WAIT_SECONDS
    )


async def raw_history(client: TemporalClient, workflow_id: str) -> str:
    """Give a workflow's history as it stands in Temporal, as text, without search attributes."""
    history = await client.get_workflow_handle(workflow_id).fetch_history()
    for event in history.events:
        for name in WITH_SEARCH_ATTRIBUTES:
            # Only where it is there: to touch another one would make it the event's.
            if event.HasField(name):
                getattr(event, name).ClearField("search_attributes")
    return "".join(repr(event.SerializeToString()) for event in history.events)


async def test_a_transfer_passes_and_its_history_shows_nothing_of_it(
    secret_worker: WorkerFactory, encrypted: TemporalClient, wallets: Wallets
) -> None:
    transfer = await submit(await secret_worker(), wallets)
    assert transfer.state is ProcessState.SUCCESS
    history = await raw_history(encrypted, wallets.workflow_id)
    # Long enough not to turn up in ciphertext by chance.
    sides = str(wallets.source.id), str(wallets.destination.id)
    for told in (WORDS, "amount_minor", '"EUR"', *sides):
        assert told not in history
    assert "binary/encrypted" in history


async def test_an_encrypted_history_replays(
    secret_worker: WorkerFactory, encrypted: TemporalClient, wallets: Wallets
) -> None:
    running = await secret_worker()
    held = await submit(running, wallets, capture=CaptureMode.MANUAL)
    await capture(running, wallets, held)
    handle = encrypted.get_workflow_handle(wallets.workflow_id)
    await handle.result()
    replayer = Replayer(
        workflows=[TransferWorkflow],
        workflow_runner=UnsandboxedWorkflowRunner(),
        data_converter=encrypting(ring_of(K2, K1)),
    )
    result = await replayer.replay_workflow(
        await handle.fetch_history(), raise_on_replay_failure=False
    )
    assert result.replay_failure is None


async def test_failures_are_encrypted_and_shown_to_operators(
    secret_worker: WorkerFactory,
    encrypted: TemporalClient,
    temporal: TemporalServer,
    wallets: Wallets,
) -> None:
    go_on = asyncio.Event()

    async def fail() -> None:
        if not go_on.is_set():
            raise ApplicationError(WORDS, type="database_unavailable")

    running = await secret_worker(InjectedSteps(wallets.services, before={"post_entries": fail}))
    submitting = asyncio.create_task(submit(running, wallets))

    async def shown() -> str | None:
        live = await running.gateway.live(wallets.workflow_id)
        pending = live.pending_activities if live else ()
        return pending[0].last_failure if pending else None

    async def is_shown() -> bool:
        return await shown() is not None

    await until(is_shown)
    told = f"database_unavailable: {WORDS}"
    assert await shown() == told
    operations = OperationsGateway(encrypted, task_queue=running.task_queue)
    assert [s.last_failure for s in (await operations.look(wallets.workflow_id)).steps] == [told]
    transfer = await wallets.transfer()
    assert transfer is not None
    evidence = await HistoryReader(encrypted).read(transfer)
    errors = {record.what: record.error for record in evidence.records if record.error}
    assert errors == {"local activity failed": told, "activity pending": told}
    described = await encrypted.workflow_service.describe_workflow_execution(
        DescribeWorkflowExecutionRequest(
            namespace=temporal.namespace,
            execution=WorkflowExecution(workflow_id=wallets.workflow_id),
        )
    )
    assert WORDS.encode() not in described.SerializeToString()
    go_on.set()
    assert (await submitting).state is ProcessState.SUCCESS
    assert WORDS not in await raw_history(encrypted, wallets.workflow_id)


async def test_encryption_can_be_switched_on_while_a_transfer_rests(
    worker: WorkerFactory, secret_worker: WorkerFactory, wallets: Wallets
) -> None:
    plain = await worker()
    held = await submit(plain, wallets, capture=CaptureMode.MANUAL)
    await worker.stop()

    await capture(await secret_worker(task_queue=plain.task_queue), wallets, held)

    transfer = await wallets.transfer()
    assert transfer is not None
    assert (transfer.state, transfer.stage) == (ProcessState.SUCCESS, TransferStage.COMPLETED)


async def test_a_workflow_whose_key_is_missing_waits_for_it(
    secret_worker: WorkerFactory, temporal: TemporalServer, services: Services, wallets: Wallets
) -> None:
    first = await secret_worker()
    held = await submit(first, wallets, capture=CaptureMode.MANUAL)
    await secret_worker.stop()
    without = WorkerFactory(await connect_with_keys(temporal, K2), services)
    capturing = asyncio.create_task(
        capture(await without(task_queue=first.task_queue), wallets, held)
    )
    client = await connect_with_keys(temporal, K2, K1)
    handle = client.get_workflow_handle(wallets.workflow_id)

    async def has_failed() -> bool:
        failures = [
            (await client.data_converter.decode_failure(attributes.failure))
            async for event in handle.fetch_history_events()
            if (attributes := event.workflow_task_failed_event_attributes).HasField("failure")
        ]
        return any("the key 'k1'" in str(failure) for failure in failures)

    await until(has_failed)
    await without.stop()
    with_both = WorkerFactory(client, services)
    await with_both(task_queue=first.task_queue)
    await capturing
    await handle.result()
    transfer = await wallets.transfer()
    assert transfer is not None
    assert transfer.state is ProcessState.SUCCESS
    await with_both.stop()


async def test_a_standing_order_runs_with_encrypted_payloads(
    encrypted: TemporalClient, services: Services, wallets: Wallets
) -> None:
    ground = order_ground(encrypted, services, wallets)
    order = await ground.order(seconds=3_600, start_at=datetime.now(UTC) + timedelta(seconds=2))

    async def has_run() -> bool:
        return any(run.state is RunState.SUCCESS for run in await ground.runs(order))

    async with ground.worker():
        await until(has_run)
    await ground.cancel(order)
