"""Workflows that outlive their transfer are ended, and what disagrees is reported."""

import secrets
from collections.abc import AsyncIterator

import pytest
from temporalio.client import Client as TemporalClient
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from activities.batches import BatchActivities
from domain.errors import BatchCancelled, WorkflowTerminated
from domain.states import ProcessState, TransferStage
from domain.transfers import CaptureMode, Failure, Transfer
from persistence.tenancy import EVERY_TENANT
from runtime.composition import Services
from services.idle_workflows import WORKFLOWS, IdleWorkflowService
from tests.support.staged import new_keys, stage_batch
from tests.support.temporal import TemporalServer
from tests.support.waiting import until
from tests.support.wallets import Wallets, make_wallets
from tests.support.workers import RunningWorker, WorkerFactory
from workflows.batch_gateway import BatchGateway
from workflows.cancelling import WorkflowCanceller
from workflows.transfer_batch import TransferBatchWorkflow


class Rest:
    """A hold whose workflow rests, and the look at workflows."""

    def __init__(
        self, services: Services, wallets: Wallets, running: RunningWorker, client: TemporalClient
    ) -> None:
        self.services = services
        self.wallets = wallets
        self.running = running
        self.client = client

    async def hold(self) -> Transfer:
        asked = self.wallets.changed(100, capture=CaptureMode.MANUAL)
        submission = await self.running.intake.submit(
            self.wallets.tenant_id, asked, wait_seconds=30
        )
        assert submission.transfer.stage is TransferStage.RESERVED
        await until(self._is_listed)
        return submission.transfer

    def look(self) -> IdleWorkflowService:
        gateway = self.running.gateway
        return IdleWorkflowService(
            self.services.database,
            self.services.transactions,
            closed_status=gateway.closed_status,
            open_workflow_ids=self._own_open,
            open_batch_workflow_ids=self._own_open_batches,
            cancel=WorkflowCanceller(self.client).cancel,
        )

    async def closed_status(self, workflow_id: str | None = None) -> str | None:
        return await self.running.gateway.closed_status(workflow_id or self.wallets.workflow_id)

    async def violations(self) -> list[str]:
        status = await self.services.proofs.status()
        return [
            f"{found.subject} {found.message}"
            for invariant in status.invariants
            for found in invariant.violations
        ]

    async def _own_open(self) -> AsyncIterator[str]:
        async for workflow_id in self.running.gateway.open_workflow_ids():
            if workflow_id == self.wallets.workflow_id:
                yield workflow_id

    async def _own_open_batches(self) -> AsyncIterator[str]:
        async for workflow_id in self.running.gateway.open_batch_workflow_ids():
            if workflow_id.startswith(f"batch/{self.wallets.tenant_id}/"):
                yield workflow_id

    async def until_batch_is_listed(self) -> None:
        async def is_listed() -> bool:
            return [found async for found in self._own_open_batches()] != []

        await until(is_listed)

    async def _is_listed(self) -> bool:
        return [found async for found in self._own_open()] != []


@pytest.fixture
async def rest(
    own_services: Services, temporal: TemporalServer, temporal_client: TemporalClient
) -> AsyncIterator[Rest]:
    del temporal
    workers = WorkerFactory(temporal_client, own_services)
    yield Rest(own_services, await make_wallets(own_services), await workers(), temporal_client)
    await workers.stop()


async def test_a_workflow_whose_transfer_is_final_is_asked_to_end_and_ends(
    rest: Rest, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = await rest.hold()
    await rest.services.transactions.compensate(
        held.tenant_id, held.id, Failure.of(WorkflowTerminated("lost"))
    )
    early = await rest.look().end_idle()
    assert early is not None
    assert (early.asked, await rest.closed_status()) == (0, None)

    monkeypatch.setattr("services.idle_workflows.SETTLED_SECONDS", 0.0)
    monkeypatch.setattr("services.idle_workflows.STUCK_SECONDS", 0.0)
    monkeypatch.setattr("services.idle_workflows.PAUSE_SECONDS", 0.0)
    report = await rest.look().end_idle()
    assert report is not None
    assert report.asked == 1
    said = f"transfer {held.id} is FAILED, and its workflow still runs"
    assert await rest.violations() == [said]

    async def has_ended() -> bool:
        return await rest.closed_status() is not None

    await until(has_ended)
    after = await rest.services.transactions.get(held.tenant_id, held.id)
    assert (after.state, after.failure) == (
        ProcessState.FAILED,
        Failure.of(WorkflowTerminated("lost")),
    )
    assert await rest.wallets.amounts() == (0, 0, 0)
    for _ in range(2):
        await rest.look().end_idle()
    assert await rest.violations() == []


async def test_a_workflow_whose_transfer_rests_is_left_alone(
    rest: Rest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.idle_workflows.SETTLED_SECONDS", 0.0)
    await rest.hold()
    report = await rest.look().end_idle()
    assert report is not None
    assert (report.examined, report.asked, report.violations) == (1, 0, ())
    assert await rest.closed_status() is None
    assert await rest.look().end_idle() is None


async def test_a_workflow_whose_batch_is_final_is_asked_to_end_and_ends(
    rest: Rest, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = f"test-{secrets.token_hex(6)}"
    batch = await stage_batch(rest.wallets, new_keys(3))
    await BatchGateway(rest.client, task_queue=queue).start(batch)
    await rest.until_batch_is_listed()
    monkeypatch.setattr("services.idle_workflows.PAUSE_SECONDS", 0.0)
    monkeypatch.setattr("services.idle_workflows.SETTLED_SECONDS", 0.0)
    monkeypatch.setattr("services.idle_workflows.STUCK_SECONDS", 0.0)
    under_way = await rest.look().end_idle()
    assert under_way is not None
    assert (under_way.examined, under_way.asked) == (1, 0)

    posting = rest.services.batch_posting
    await posting.stop(batch.tenant_id, batch.id, Failure.of(BatchCancelled()))
    report = await rest.look().end_idle()

    assert report is not None
    assert (report.examined, report.asked) == (1, 1)
    said = f"batch {batch.id} is FAILED, and its workflow still runs"
    assert await rest.violations() == [said]
    steps = BatchActivities(posting)
    async with Worker(
        rest.client,
        task_queue=queue,
        workflows=[TransferBatchWorkflow],
        activities=[steps.post_batch_chunks, steps.stop_batch],
        workflow_runner=UnsandboxedWorkflowRunner(),
    ):

        async def has_ended() -> bool:
            return await rest.closed_status(batch.workflow_id) is not None

        await until(has_ended)
    assert await rest.wallets.amounts() == (0, 0, 0)
    for _ in range(2):
        await rest.look().end_idle()
    assert await rest.violations() == []


async def test_a_transfer_that_stays_without_a_workflow_is_reported(
    rest: Rest, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = await rest.hold()
    await rest.client.get_workflow_handle(held.workflow_id).terminate("by the test")
    monkeypatch.setattr("services.idle_workflows.ABANDONED_SECONDS", 0.0)
    await rest.look().end_idle()
    said = f"transfer {held.id} is PROCESSING, and its workflow is TERMINATED"
    assert await rest.violations() == [said]
    async with rest.services.database.reading(EVERY_TENANT) as unit_of_work:
        names = [walk.name for walk in await unit_of_work.proofs.progress()]
    assert names == [WORKFLOWS]
