"""Two versions of the workers beside each other, on a real server."""

import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import pytest
from temporalio.client import Client as TemporalClient
from temporalio.worker import Worker

from domain.operations import Operation
from domain.states import ProcessState
from domain.transfers import CaptureMode, Transfer
from runtime.composition import Services
from runtime.settings import Settings
from runtime.temporal import connect, make_worker
from runtime.worker_versions import (
    VersionRefused,
    deployment_of,
    describe,
    set_current,
    set_ramping,
)
from tests.support.command import Command
from tests.support.temporal import TemporalServer
from tests.support.waiting import until
from tests.support.wallets import Wallets, make_wallets
from tests.support.workers import RunningWorker, WorkerFactory
from workflows.gateway import TransferGateway

WAIT_SECONDS = 30.0
OLD, NEW = "1.0", "1.1"


class Deployment:
    """Workers of two versions on one task queue, each with a client of its own, as processes have.

    Parameters
    ----------
    client
        Has no worker: Temporal alone decides who gets what it starts.
    """

    def __init__(
        self, client: TemporalClient, services: Services, temporal: TemporalServer
    ) -> None:
        self.client = client
        self.name = f"transfers-{secrets.token_hex(4)}"
        self.services = services
        self.task_queue = f"test-{secrets.token_hex(6)}"
        self._temporal = temporal

    @asynccontextmanager
    async def worker(self, build_id: str) -> AsyncIterator[TemporalClient]:
        """Run a worker of a version from when it is known to Temporal; gives its client."""
        settings = Settings(
            database_url="postgresql://nobody@nowhere/none",
            worker_deployment_name=self.name,
            worker_build_id=build_id,
        )
        client = await connect(self._temporal.address, self._temporal.namespace)
        async with self._worker(client, settings):
            await until(lambda: self._is_known(build_id))
            yield client

    def _worker(self, client: TemporalClient, settings: Settings) -> Worker:
        services = self.services
        return make_worker(
            client,
            database=services.database,
            transactions=services.transactions,
            operations=services.operations,
            standing_orders=services.standing_orders,
            standing_order_runs=services.standing_order_runs,
            batches=services.batches,
            batch_posting=services.batch_posting,
            gateway=TransferGateway(client, task_queue=self.task_queue),
            task_queue=self.task_queue,
            deployment=deployment_of(settings),
        )

    async def _is_known(self, build_id: str) -> bool:
        try:
            found = await describe(self.client, self.name)
        except VersionRefused:
            return False
        return build_id in {version.build_id for version in found.versions}

    async def set_current(self, build_id: str) -> None:
        """Choose a version, as soon as its workers have reported for all their task queues."""

        async def is_taken() -> bool:
            with suppress(VersionRefused):
                await set_current(self.client, self.name, build_id)
                return True
            return False

        await until(is_taken)

    def running(self, client: TemporalClient | None = None) -> RunningWorker:
        factory = WorkerFactory(client or self.client, self.services)
        return factory.without_worker(self.task_queue)

    async def submit(
        self, wallets: Wallets, *, client: TemporalClient | None = None, **terms: Any
    ) -> Transfer:
        submission = await self.running(client).intake.submit(
            wallets.tenant_id, wallets.changed(**terms), wait_seconds=WAIT_SECONDS
        )
        return submission.transfer

    async def builds_of(self, wallets: Wallets) -> list[str]:
        """Tell which versions worked on a workflow's tasks, in their order."""
        handle = self.client.get_workflow_handle(wallets.workflow_id)
        tasks = [
            event.workflow_task_completed_event_attributes
            async for event in handle.fetch_history_events()
            if event.HasField("workflow_task_completed_event_attributes")
        ]
        return [task.deployment_version.build_id for task in tasks]

    async def is_eager(self, wallets: Wallets) -> bool:
        """Tell whether a workflow's first task came with the answer to its start."""
        history = await self.client.get_workflow_handle(wallets.workflow_id).fetch_history()
        started = history.events[0].workflow_execution_started_event_attributes
        return started.eager_execution_accepted


@pytest.fixture
def deployment(
    temporal_client: TemporalClient, services: Services, temporal: TemporalServer
) -> Deployment:
    return Deployment(temporal_client, services, temporal)


async def test_what_rests_moves_to_the_new_version_and_new_transfers_start_there(
    deployment: Deployment, services: Services
) -> None:
    resting, fresh = await make_wallets(services), await make_wallets(services)
    async with AsyncExitStack() as opened:
        async with deployment.worker(OLD):
            await deployment.set_current(OLD)
            held = await deployment.submit(resting, capture=CaptureMode.MANUAL)
            await opened.enter_async_context(deployment.worker(NEW))
            await deployment.set_current(NEW)

        capture = resting.operation(Operation.CAPTURE, held)
        await deployment.running().operations.submit(capture, wait_seconds=WAIT_SECONDS)
        started = await deployment.submit(fresh)

        assert started.state is ProcessState.SUCCESS
        assert set(await deployment.builds_of(fresh)) == {NEW}
        builds = await deployment.builds_of(resting)
        assert (builds[0], builds[-1]) == (OLD, NEW)


async def test_going_back_takes_new_transfers_back(
    deployment: Deployment, services: Services
) -> None:
    wallets = await make_wallets(services)
    async with deployment.worker(OLD), deployment.worker(NEW):
        await deployment.set_current(OLD)
        await deployment.set_current(NEW)
        await deployment.set_current(OLD)
        await deployment.submit(wallets)
        assert set(await deployment.builds_of(wallets)) == {OLD}


async def test_a_new_version_gets_nothing_before_it_is_current(
    deployment: Deployment, services: Services
) -> None:
    wallets = await make_wallets(services)
    async with deployment.worker(OLD), deployment.worker(NEW):
        await deployment.set_current(OLD)
        await deployment.submit(wallets)
        assert set(await deployment.builds_of(wallets)) == {OLD}
        await set_ramping(deployment.client, deployment.name, NEW, 100.0)
        ramped = await make_wallets(services)
        await deployment.submit(ramped)
        assert set(await deployment.builds_of(ramped)) == {NEW}
        found = await describe(deployment.client, deployment.name)
        assert (found.current, found.ramping, found.ramping_percentage) == (OLD, NEW, 100.0)


async def test_a_process_starts_its_own_transfers_in_one_task_on_its_own_version(
    deployment: Deployment, services: Services
) -> None:
    first, second = await make_wallets(services), await make_wallets(services)
    async with deployment.worker(OLD) as old, deployment.worker(NEW) as new:
        await deployment.set_current(OLD)
        for wallets, client, build_id in ((first, old, OLD), (second, new, NEW)):
            transfer = await deployment.submit(wallets, client=client)
            assert transfer.state is ProcessState.SUCCESS
            assert await deployment.is_eager(wallets)
            assert await deployment.builds_of(wallets) == [build_id]


async def test_operators_choose_the_version_by_command(
    deployment: Deployment, database_url: str, temporal: TemporalServer
) -> None:
    command = Command(
        DATABASE_URL=database_url,
        TEMPORAL_ADDRESS=temporal.address,
        TEMPORAL_NAMESPACE=temporal.namespace,
        WORKER_DEPLOYMENT_NAME=deployment.name,
        WORKER_BUILD_ID=OLD,
    )
    async with deployment.worker(OLD), deployment.worker(NEW):
        await deployment.set_current(NEW)
        await deployment.set_current(OLD)
        await command.printed("versions", "set-current", OLD)
        await command.printed("versions", "ramp", NEW, "--percentage", 5)
        shown = (await command.printed("versions", "show", "--json")).document
        assert (shown["current"], shown["ramping"], shown["ramping_percentage"]) == (OLD, NEW, 5)
        statuses = {version["build_id"]: version["status"] for version in shown["versions"]}
        assert statuses == {OLD: "CURRENT", NEW: "RAMPING"}
        refused = await command("versions", "set-current", "9.9")
        assert refused.code == 1
        assert "Temporal does not take it" in refused.messages


async def test_a_version_without_workers_does_not_become_current(
    deployment: Deployment,
) -> None:
    async with deployment.worker(OLD):
        with pytest.raises(VersionRefused):
            await set_current(deployment.client, deployment.name, "9.9")
