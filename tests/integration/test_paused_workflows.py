"""Workflows that somebody paused as a whole, where the server lets them."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from temporalio.api.workflowservice.v1 import PauseWorkflowExecutionRequest
from temporalio.client import Client as TemporalClient

from domain.stuck import OperatorAction, StuckCause
from domain.transfers import CaptureMode
from persistence.stuck import StuckFilter, StuckOrder
from runtime.composition import Services
from runtime.embedded_temporal import EmbeddedTemporal
from runtime.stack_files import throwaway_data_dir
from runtime.temporal import connect
from services.stuck import StuckService
from tests.support.waiting import until
from tests.support.wallets import make_wallets
from tests.support.workers import WorkerFactory
from workflows.operations_gateway import OperationsGateway
from workflows.search_attributes import SEARCH_ATTRIBUTE_NAMES

PAUSABLE = {"frontend.WorkflowPauseEnabled": True}


@pytest.fixture
async def pausing_client() -> AsyncIterator[TemporalClient]:
    with throwaway_data_dir() as folder:
        server = EmbeddedTemporal(
            folder, search_attributes=SEARCH_ATTRIBUTE_NAMES, dynamic_config=PAUSABLE
        )
        await server.start()
        try:
            yield await connect(server.address, server.namespace)
        finally:
            await server.stop()


async def test_a_paused_workflow_is_listed_read_and_resumed(
    pausing_client: TemporalClient, own_services: Services
) -> None:
    wallets = await make_wallets(own_services)
    worker = WorkerFactory(pausing_client, own_services)
    running = await worker()
    held = wallets.changed(
        capture=CaptureMode.MANUAL, expires_at=datetime.now(UTC) + timedelta(days=1)
    )
    await running.intake.submit(wallets.tenant_id, held, wait_seconds=10)
    control = OperationsGateway(pausing_client, task_queue=running.task_queue)
    stuck = StuckService(own_services.database, control)
    await pausing_client.workflow_service.pause_workflow_execution(
        PauseWorkflowExecutionRequest(
            namespace=pausing_client.namespace,
            workflow_id=wallets.workflow_id,
            reason="to be looked at",
            identity="somebody",
            request_id="1",
        )
    )

    async def is_listed() -> bool:
        page = await stuck.page(StuckFilter(), StuckOrder.AGE, after=None, limit=10)
        return [item.cause for item in page.items] == [StuckCause.PAUSED]

    await until(is_listed)
    sight = await control.look(wallets.workflow_id)
    assert (sight.status, sight.pause_reason) == ("PAUSED", "to be looked at")
    (item,) = (await stuck.page(StuckFilter(), StuckOrder.AGE, after=None, limit=10)).items
    assert OperatorAction.RESUME in item.actions

    assert await control.resume(sight, "looked at") == 1

    assert (await control.look(wallets.workflow_id)).status == "RUNNING"
    await worker.stop()
