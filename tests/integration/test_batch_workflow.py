"""The workflow of a batch that goes on in new runs."""

import secrets
from collections.abc import AsyncIterator, Sequence

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client as TemporalClient
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from activities.batches import CHUNKS_AN_ATTEMPT, BatchActivities
from domain.batches import BatchStage, RowStatus, TransferBatch
from domain.transfers import Failure, Transfer
from runtime.composition import Services
from services.batch_posting import BatchPostingService
from tests.support.staged import new_keys, stage_batch
from tests.support.waiting import until
from tests.support.wallets import Wallets, make_wallets
from workflows.batch_gateway import BatchGateway
from workflows.transfer_batch import TransferBatchWorkflow

WAIT_SECONDS = 30.0


@pytest.fixture
async def wallets(own_services: Services) -> Wallets:
    return await make_wallets(own_services)


@pytest.fixture
async def gateway(
    temporal_client: TemporalClient, own_services: Services, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[BatchGateway]:
    """A gateway to a worker whose chunks have one row, and whose runs one step."""
    monkeypatch.setattr("workflows.transfer_batch.STEPS_A_RUN", 1)
    steps = BatchActivities(BatchPostingService(own_services.database, chunk_rows=1))
    queue = f"test-{secrets.token_hex(6)}"
    async with Worker(
        temporal_client,
        task_queue=queue,
        workflows=[TransferBatchWorkflow],
        activities=[steps.post_batch_chunks, steps.stop_batch],
        workflow_runner=UnsandboxedWorkflowRunner(),
    ):
        yield BatchGateway(temporal_client, task_queue=queue)


async def later_run(client: TemporalClient, batch: TransferBatch) -> Sequence[HistoryEvent]:
    """Give what has happened in the latest run; nothing where that is the first one."""
    history = await client.get_workflow_handle(batch.workflow_id).fetch_history()
    started = history.events[0].workflow_execution_started_event_attributes
    return history.events if started.continued_execution_run_id else ()


async def waiting_batch(wallets: Wallets) -> tuple[TransferBatch, Transfer]:
    """Stage a batch whose one row is a transfer that is under way."""
    transactions, requests = wallets.services.transactions, wallets.services.requests
    prepared = await requests.prepare(wallets.tenant_id, wallets.request())
    transfer = await transactions.reserve(prepared.order)
    return await stage_batch(wallets, [wallets.key]), transfer


async def test_a_batch_of_many_steps_goes_on_in_new_runs_and_posts_each_row_once(
    temporal_client: TemporalClient, gateway: BatchGateway, wallets: Wallets
) -> None:
    rows = 2 * CHUNKS_AN_ATTEMPT + 1
    batch = await stage_batch(wallets, new_keys(rows), amount_minor=1)
    await gateway.start(batch)
    await gateway.wait(batch, seconds=WAIT_SECONDS)
    done = await wallets.services.batches.get(batch.tenant_id, batch.id)
    assert (done.stage, done.counts.succeeded) == (BatchStage.COMPLETED, rows)
    assert await wallets.amounts() == (-rows, 0, rows)
    assert await later_run(temporal_client, batch)


@pytest.mark.parametrize("end", ["settle", "signal", "cancel"])
async def test_a_batch_that_waits_through_runs_hears_of_its_rows_end_and_of_a_cancel(
    temporal_client: TemporalClient, gateway: BatchGateway, wallets: Wallets, end: str
) -> None:
    batch, transfer = await waiting_batch(wallets)
    await gateway.start(batch)

    async def rests_in_a_later_run() -> bool:
        events = await later_run(temporal_client, batch)
        return bool(events and events[-1].event_type == EventType.EVENT_TYPE_TIMER_STARTED)

    await until(rests_in_a_later_run)
    if end == "settle":
        failure = Failure("given_up", "by the test")
        await wallets.services.transactions.compensate(batch.tenant_id, transfer.id, failure)
    elif end == "signal":
        await gateway.cancel(batch)
    else:
        await temporal_client.get_workflow_handle(batch.workflow_id).cancel()
    await gateway.wait(batch, seconds=WAIT_SECONDS)
    done = await wallets.services.batches.get(batch.tenant_id, batch.id)
    [row] = (await wallets.services.batches.rows(done, (), after=0, limit=2)).items
    expected = (
        (BatchStage.COMPLETED, RowStatus.FAILED)
        if end == "settle"
        else (BatchStage.CANCELLED, RowStatus.CANCELLED)
    )
    assert (done.stage, row.status) == expected
