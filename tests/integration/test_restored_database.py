"""A database as it was at an earlier point, behind a Temporal that has gone on."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pytest
from temporalio.client import Client as TemporalClient
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from activities.batches import BatchActivities
from activities.orders import input_of
from activities.reconciliation import ReconciliationActivities
from activities.resting import RestingActivities
from activities.transfers import TransferActivities
from domain.batches import BatchRow, BatchStage, TransferBatch
from domain.errors import TemporalUnavailable
from domain.operations import Operation
from domain.states import ProcessState, TransferStage
from domain.transfers import CaptureMode, Transfer
from runtime.composition import Services
from runtime.restoration import Loss, LostOutcome, lost_outcomes
from services.batch_posting import BatchPostingService
from services.verification import VerificationService
from tests.support.postgres import PostgresServer
from tests.support.restored import Restorable
from tests.support.samples import no_sample
from tests.support.staged import new_keys, stage_batch
from tests.support.waiting import until
from tests.support.wallets import Wallets, make_wallets
from tests.support.workers import RunningWorker, WorkerFactory
from workflows.batch_gateway import BatchGateway
from workflows.transfer import TransferWorkflow
from workflows.transfer_batch import TransferBatchWorkflow

CHUNK_ROWS = 2
ROWS = 7
AMOUNT_MINOR = 100


@dataclass(frozen=True, slots=True)
class Ground:
    """One task queue over a database: as it went on, or as it was before."""

    services: Services
    wallets: Wallets
    posting: BatchPostingService
    running: RunningWorker
    batches: BatchGateway

    async def submit(self) -> Transfer:
        """Ask for the wallets' transfer, and wait until its workflow has ended."""
        told = await self.running.intake.submit(
            self.wallets.tenant_id, self.wallets.request(AMOUNT_MINOR), wait_seconds=30
        )
        await self.until_closed()
        return told.transfer

    async def until_closed(self) -> None:
        """Wait until the workflow of the wallets' transfer has ended."""

        async def is_closed() -> bool:
            status = await self.running.gateway.closed_status(self.wallets.workflow_id)
            return status == "COMPLETED"

        await until(is_closed)

    async def carry_out(self, batch: TransferBatch) -> TransferBatch:
        """Start a batch's workflow, and wait for its end."""
        await self.batches.start(batch)
        await self.batches.wait(batch, seconds=30)
        return await self.services.batches.get(batch.tenant_id, batch.id)

    async def rows(self, batch: TransferBatch) -> list[BatchRow]:
        return list((await self.services.batches.rows(batch, (), after=0, limit=ROWS)).items)

    async def reconcile(self) -> int:
        """Let the reconciliation look once; tell how many it brought to their right end."""
        gateway = self.running.gateway
        reconciliation = ReconciliationActivities(
            self.services.transactions,
            self.services.batches,
            self.posting,
            closed_status=gateway.closed_status,
            open_workflow_ids=gateway.open_workflow_ids,
            batch_workflows=self.batches,
            carry_on=gateway.carry_on,
            take_sample=no_sample,
        )
        return (await reconciliation.resolve_abandoned_transfers()).resolved

    async def lost(self, since: datetime) -> list[LostOutcome]:
        """Tell what of the wallets' tenant was told and is not on record."""
        found = lost_outcomes(self.services, self.running.gateway, since=since)
        return [each async for each in found if each.order.tenant_id == self.wallets.tenant_id]

    async def require_clean(self) -> None:
        gateway = self.running.gateway

        async def own_open() -> AsyncIterator[str]:
            async for workflow_id in gateway.open_workflow_ids():
                if workflow_id.startswith(str(self.wallets.tenant_id)):
                    yield workflow_id

        proof = VerificationService(
            self.services.database,
            self.services.transactions,
            self.services.batches,
            closed_status=gateway.closed_status,
            open_workflow_ids=own_open,
            open_batch_workflow_ids=own_open,
        )
        report = await proof.verify()
        assert [found for check in report.checks for found in check.violations] == []


@asynccontextmanager
async def ground(
    client: TemporalClient, at: Restorable, wallets: Wallets, task_queue: str
) -> AsyncIterator[Ground]:
    async with at.services() as services:
        posting = BatchPostingService(services.database, chunk_rows=CHUNK_ROWS)
        steps, transfers = BatchActivities(posting), TransferActivities(services.transactions)
        resting = RestingActivities(services.transactions, services.operations)
        async with Worker(
            client,
            task_queue=task_queue,
            workflows=[TransferWorkflow, TransferBatchWorkflow],
            activities=[
                transfers.reserve_funds,
                transfers.post_entries,
                transfers.finalise,
                transfers.compensate,
                resting.expire,
                resting.carry_out_operation,
                steps.post_batch_chunks,
                steps.stop_batch,
            ],
            workflow_runner=UnsandboxedWorkflowRunner(),
        ):
            yield Ground(
                services,
                replace(wallets, services=services),
                posting,
                WorkerFactory(client, services).without_worker(task_queue),
                BatchGateway(client, task_queue=task_queue),
            )


@pytest.fixture
async def database(postgres: PostgresServer) -> AsyncIterator[Restorable]:
    async with postgres.database() as url:
        yield Restorable(postgres, url)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the reconciliation wait for nobody."""
    monkeypatch.setattr("activities.reconciliation.IDLE_SECONDS", 0.0)


@pytest.fixture
def task_queue() -> str:
    return f"test-{secrets.token_hex(6)}"


@pytest.mark.parametrize("stage", [TransferStage.RESERVED, TransferStage.POSTED])
async def test_a_transfer_goes_on_to_the_success_that_was_told_before_the_restore(
    database: Restorable, temporal_client: TemporalClient, task_queue: str, stage: TransferStage
) -> None:
    began_at = datetime.now(UTC)
    async with database.services() as services:
        wallets = await make_wallets(services)
        asked = wallets.request(AMOUNT_MINOR)
        order = (await services.requests.prepare(wallets.tenant_id, asked)).order
        await services.transactions.reserve(order)
        if stage is TransferStage.POSTED:
            await services.transactions.post(order.tenant_id, order.id)
    async with database.backed_up() as backup:
        async with ground(temporal_client, database, wallets, task_queue) as later:
            told = await later.submit()
        assert (told.id, told.state) == (order.id, ProcessState.SUCCESS)

        async with ground(temporal_client, backup, wallets, task_queue) as earlier:

            async def is_different() -> bool:
                found = await earlier.lost(began_at)
                return [(each.loss, each.can_be_repeated) for each in found] == [
                    (Loss.DIFFERENT, False)
                ]

            await until(is_different)
            assert await earlier.reconcile() == 1

            async def is_final() -> bool:
                return (await earlier.services.transactions.get(told.tenant_id, told.id)).is_final

            await until(is_final)
            again = await earlier.submit()
            assert (again.id, again.state) == (told.id, ProcessState.SUCCESS)
            assert await earlier.wallets.amounts() == (-AMOUNT_MINOR, 0, AMOUNT_MINOR)
            assert await earlier.lost(began_at) == []
            assert await earlier.reconcile() == 0
            await earlier.require_clean()


async def test_a_capture_that_is_sent_again_finds_its_hold_and_not_a_released_one(
    database: Restorable, temporal_client: TemporalClient, task_queue: str
) -> None:
    async with database.services() as services:
        wallets = await make_wallets(services)
        asked = wallets.changed(AMOUNT_MINOR, capture=CaptureMode.MANUAL)
        order = (await services.requests.prepare(wallets.tenant_id, asked)).order
        held = await services.transactions.reserve(order)
    capture = wallets.operation(Operation.CAPTURE, held, amount_minor=AMOUNT_MINOR)
    async with database.backed_up() as backup:
        async with ground(temporal_client, database, wallets, task_queue) as later:
            await later.running.gateway.start(input_of(order))
            told = await later.running.operations.submit(capture, wait_seconds=30)
            await later.until_closed()
        assert told.transfer.state is ProcessState.SUCCESS

        async with ground(temporal_client, backup, wallets, task_queue) as earlier:
            # Before the reconciliation has come to it.
            with pytest.raises(TemporalUnavailable):
                await earlier.running.operations.submit(capture, wait_seconds=30)
            again = await earlier.running.operations.submit(capture, wait_seconds=30)
            assert again.transfer.state is ProcessState.SUCCESS
            assert await earlier.wallets.amounts() == (-AMOUNT_MINOR, 0, AMOUNT_MINOR)
            await earlier.until_closed()
            await earlier.require_clean()


async def post_chunk(services: Services, batch: TransferBatch) -> None:
    posting = BatchPostingService(services.database, chunk_rows=CHUNK_ROWS)
    await posting.post(batch.tenant_id, batch.id, chunks=1, on_chunk=lambda _batch: None)


async def move(services: Services, wallets: Wallets, amount_minor: int) -> None:
    asked = wallets.request(amount_minor)
    order = (await services.requests.prepare(wallets.tenant_id, asked)).order
    await services.transactions.reserve(order)
    await services.transactions.post(order.tenant_id, order.id)
    await services.transactions.finalise(order.tenant_id, order.id)


async def settled(here: Ground, batch: TransferBatch) -> TransferBatch:
    """Let the reconciliation bring a batch to its end."""
    assert await here.reconcile() == 1

    async def is_final() -> bool:
        return (await here.services.batches.get(batch.tenant_id, batch.id)).is_final

    await until(is_final)
    assert await here.reconcile() == 0
    return await here.services.batches.get(batch.tenant_id, batch.id)


@pytest.mark.parametrize("is_cancelled", [False, True], ids=["completed", "cancelled"])
async def test_a_batch_goes_on_to_where_clients_were_told_that_it_was(
    database: Restorable, temporal_client: TemporalClient, task_queue: str, *, is_cancelled: bool
) -> None:
    async with database.services() as services:
        wallets = await make_wallets(services)
        batch = await stage_batch(wallets, new_keys(ROWS), amount_minor=AMOUNT_MINOR)
        await post_chunk(services, batch)
    async with database.backed_up() as backup:
        async with ground(temporal_client, database, wallets, task_queue) as later:
            if is_cancelled:
                await post_chunk(later.services, batch)
                await later.services.batches.request_cancel(batch.tenant_id, batch.id)
            told = await later.carry_out(batch)
            told_rows = await later.rows(told)
        moved = 2 * CHUNK_ROWS if is_cancelled else ROWS
        stage = BatchStage.CANCELLED if is_cancelled else BatchStage.COMPLETED
        assert (told.stage, told.counts.succeeded) == (stage, moved)

        async with ground(temporal_client, backup, wallets, task_queue) as earlier:
            again = await settled(earlier, batch)
            assert (again.stage, again.counts, again.position) == (
                told.stage,
                told.counts,
                told.position,
            )
            rows = await earlier.rows(again)
            assert [row.status for row in rows] == [row.status for row in told_rows]
            kept, lost = rows[:CHUNK_ROWS], rows[CHUNK_ROWS:moved]
            assert [row.transfer_id for row in kept] == [
                row.transfer_id for row in told_rows[:CHUNK_ROWS]
            ]
            # A batch's transfers are made anew under their keys, and have other ids then.
            for row in lost:
                made = await earlier.services.transactions.find_by_key(
                    batch.tenant_id, row.idempotency_key
                )
                assert made is not None
                assert made.id == row.transfer_id
            amount_minor = moved * AMOUNT_MINOR
            assert await earlier.wallets.amounts() == (-amount_minor, 0, amount_minor)
            await earlier.require_clean()


async def test_a_batch_that_was_told_to_be_rejected_moves_nothing_after_a_restore(
    database: Restorable, temporal_client: TemporalClient, task_queue: str
) -> None:
    async with database.services() as services:
        wallets = await make_wallets(services)
        batch = await stage_batch(
            wallets, new_keys(ROWS), amount_minor=AMOUNT_MINOR, is_atomic=True
        )
    async with database.backed_up() as backup:
        async with ground(temporal_client, database, wallets, task_queue) as later:
            await move(later.services, wallets, 900)
            told = await later.carry_out(batch)
        assert told.stage is BatchStage.REJECTED

        async with ground(temporal_client, backup, wallets, task_queue) as earlier:
            again = await settled(earlier, batch)
            assert again.failure is not None
            assert (again.state, again.failure.code) == (ProcessState.FAILED, "batch_rejected")
            assert again.counts.cancelled == ROWS
            assert await earlier.wallets.amounts() == (0, 0, 0)
            await earlier.require_clean()
