"""The reconciliation with many transfers that rest."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from temporalio.client import Client as TemporalClient

from activities.contracts import BatchProgress
from activities.reconciliation import ReconciliationActivities
from domain.batches import TransferBatch
from domain.errors import DatabaseUnavailable
from domain.states import TransferStage
from domain.transfers import CaptureMode, Transfer
from runtime.composition import Services
from services.verification import VerificationService
from services.workflow_census import DESCRIBED_MAXIMUM
from tests.support.samples import no_sample
from tests.support.waiting import until
from tests.support.wallets import make_wallets
from tests.support.workers import RunningWorker, WorkerFactory
from workflows.gateway import TransferGateway

HOLDS = DESCRIBED_MAXIMUM + 100
HELD_AT_ONCE = 20
ABANDONED = 2


class CountingGateway:
    """Temporal as the reconciliation sees it, with a count of what it is asked."""

    def __init__(self, gateway: TransferGateway) -> None:
        self._gateway = gateway
        self.described = self.listed = 0

    async def closed_status(self, workflow_id: str) -> str | None:
        self.described += 1
        return await self._gateway.closed_status(workflow_id)

    async def open_workflow_ids(self) -> AsyncIterator[str]:
        self.listed += 1
        async for found in self._gateway.open_workflow_ids():
            yield found


async def none_open() -> AsyncIterator[str]:
    nothing: tuple[str, ...] = ()
    for workflow_id in nothing:
        yield workflow_id


class NoBatches:
    """No batch is unfinished."""

    async def start(self, batch: TransferBatch) -> None:
        raise AssertionError(batch)

    carry_on = start

    async def told(self, batch: TransferBatch) -> BatchProgress | None:
        raise AssertionError(batch)


async def database_away() -> bool:
    raise DatabaseUnavailable


async def no_transfer(workflow_id: str) -> None:
    raise AssertionError(workflow_id)


@pytest.fixture
async def own_worker(
    temporal_client: TemporalClient, own_services: Services
) -> AsyncIterator[WorkerFactory]:
    factory = WorkerFactory(temporal_client, own_services)
    yield factory
    await factory.stop()


async def hold_many(services: Services, running: RunningWorker) -> list[Transfer]:
    """Hold a cent many times, and give the holds, oldest first."""
    wallets = await make_wallets(services)
    turns = asyncio.Semaphore(HELD_AT_ONCE)

    async def hold(number: int) -> Transfer:
        asked = wallets.changed(1, capture=CaptureMode.MANUAL)
        request = replace(asked, idempotency_key=f"hold-{number}")
        async with turns:
            submission = await running.intake.submit(wallets.tenant_id, request, wait_seconds=30)
        return submission.transfer

    holds = await asyncio.gather(*(hold(number) for number in range(HOLDS)))
    assert {held.stage for held in holds} == {TransferStage.RESERVED}
    return sorted(holds, key=lambda held: held.id)


async def test_of_many_holds_only_those_without_an_open_workflow_are_asked_for_one_by_one(
    own_services: Services,
    own_worker: WorkerFactory,
    temporal_client: TemporalClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    running = await own_worker()
    holds = await hold_many(own_services, running)
    abandoned = holds[-ABANDONED:]
    for held in abandoned:
        await temporal_client.get_workflow_handle(held.workflow_id).terminate("by the test")
    expected = {held.workflow_id for held in holds[:-ABANDONED]}

    async def is_listed_rightly() -> bool:
        listed = {found async for found in running.gateway.open_workflow_ids()}
        return listed & {held.workflow_id for held in holds} == expected

    await until(is_listed_rightly)
    monkeypatch.setattr("activities.reconciliation.IDLE_SECONDS", 0.0)
    asked = CountingGateway(running.gateway)
    reconciliation = ReconciliationActivities(
        own_services.transactions,
        own_services.batches,
        own_services.batch_posting,
        closed_status=asked.closed_status,
        open_workflow_ids=asked.open_workflow_ids,
        batch_workflows=NoBatches(),
        carry_on=no_transfer,
        take_sample=no_sample,
    )

    report = await reconciliation.resolve_abandoned_transfers()

    assert (report.examined, report.resolved, report.is_complete) == (HOLDS, ABANDONED, True)
    assert (asked.described, asked.listed) == (DESCRIBED_MAXIMUM + ABANDONED, 1)
    for held in abandoned:
        ended = await own_services.transactions.get(held.tenant_id, held.id)
        assert ended.failure is not None
        assert ended.failure.code == "workflow_terminated"

    proof = VerificationService(
        own_services.database,
        own_services.transactions,
        own_services.batches,
        closed_status=asked.closed_status,
        open_workflow_ids=asked.open_workflow_ids,
        open_batch_workflow_ids=none_open,
    )
    asked.described = 0
    assert (await proof.verify()).is_clean
    assert asked.described == DESCRIBED_MAXIMUM


async def test_a_run_that_takes_too_long_says_that_it_did_not_get_through(
    own_services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    wallets = await make_wallets(own_services)
    prepared = await own_services.requests.prepare(wallets.tenant_id, wallets.request())
    await own_services.transactions.reserve(prepared.order)
    monkeypatch.setattr("activities.reconciliation.IDLE_SECONDS", 0.0)
    monkeypatch.setattr("activities.reconciliation.RUN_SECONDS", -1.0)

    async def lost(_workflow_id: str) -> str | None:
        return "NOT_FOUND"

    reconciliation = ReconciliationActivities(
        own_services.transactions,
        own_services.batches,
        own_services.batch_posting,
        closed_status=lost,
        open_workflow_ids=none_open,
        batch_workflows=NoBatches(),
        carry_on=no_transfer,
        take_sample=database_away,
    )
    report = await reconciliation.resolve_abandoned_transfers()
    assert (report.examined, report.is_complete) == (0, False)
    monkeypatch.setattr("activities.reconciliation.RUN_SECONDS", 60.0)
    report = await reconciliation.resolve_abandoned_transfers()
    assert (report.examined, report.resolved, report.is_complete) == (1, 1, True)
