"""What operators ask for is on record before it is done, and nothing is done without the record."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
from temporalio.client import Client as TemporalClient

from api.operator_desk import ActionRequest, OperatorDesk
from domain.audit import Actor, ActorKind
from domain.errors import TemporalUnavailable
from domain.ids import TransferId
from domain.states import TransferStage
from domain.stuck import Judgement, OperatorAction, WorkflowSight
from persistence.audit import AuditFilter
from runtime.composition import Services
from services.operator_actions import OperatorActionService
from services.stuck import StuckService
from tests.support.stuck import REASON
from tests.support.waiting import until
from tests.support.wallets import Wallets, make_wallets
from tests.support.workers import InjectedSteps, RunningWorker, WorkerFactory, failing
from workflows.operations_gateway import OperationsGateway

ADA = Actor(ActorKind.API_KEY, str(uuid4()), "ada", "127.0.0.1", "request-1")
MANY = 1_000


class Gone:
    """A server that goes away between the look at a transfer and what is done about it."""

    def __getattr__(self, _name: str) -> Any:
        raise TemporalUnavailable


class HeldUp:
    """A transfer whose posting fails for ever, and the desk that operators stand at."""

    def __init__(
        self, services: Services, wallets: Wallets, running: RunningWorker, client: TemporalClient
    ) -> None:
        self.services = services
        self.wallets = wallets
        self.control = OperationsGateway(client, task_queue=running.task_queue)
        self.handle = client.get_workflow_handle(wallets.workflow_id)
        self.stuck = StuckService(services.database, self.control)
        self.parts: dict[str, Any] = {
            "actions": OperatorActionService(services.database),
            "transactions": services.transactions,
            "operations": services.operations,
            "batch_posting": services.batch_posting,
            "gateway": running.gateway,
            "control": self.control,
        }

    async def look(self) -> Judgement:
        transfer = await self.wallets.transfer()
        assert transfer is not None
        assert transfer.stage is TransferStage.RESERVED
        assert await self.wallets.amounts() == (0, 100, 0)
        return await self.stuck.find(transfer.id)

    async def sight(self) -> WorkflowSight:
        sight = (await self.look()).sight
        assert sight is not None
        return sight

    async def until_possible(self, action: OperatorAction) -> None:
        async def is_so() -> bool:
            transfer = await self.wallets.transfer()
            is_there = transfer is not None and transfer.stage is TransferStage.RESERVED
            return is_there and action in (await self.look()).actions

        await until(is_so)

    async def cannot(self, action: OperatorAction, *gone: str) -> None:
        """Ask for something while parts of the service are away, and find nothing done."""
        await self.until_possible(action)
        before = await self.sight()
        desk = OperatorDesk(stuck=self.stuck, **self.parts | {name: Gone() for name in gone})
        request = ActionRequest(action, REASON, ADA, self.wallets.api_key_id)
        with pytest.raises(TemporalUnavailable):
            await desk.act(TransferId((await self.look()).candidate.id), request)
        after = await self.sight()
        assert (after.status, after.has_paused) == (before.status, before.has_paused)
        assert after.run_id == before.run_id

    async def recorded(self) -> list[tuple[str, str | None, str]]:
        """Read action, reason and actor of the audit log's rows of it, oldest first."""
        found = await self.look()
        wanted = AuditFilter(found.candidate.tenant_id, subject_id=str(found.candidate.id))
        page = await self.services.audit.page(wanted, before=None, limit=50)
        assert all(row.details["stage"] == "RESERVED" for row in page.items)
        return [(row.action, row.reason, row.actor.name) for row in reversed(page.items)]


@pytest.fixture
async def held_up(own_services: Services, temporal_client: TemporalClient) -> AsyncIterator[HeldUp]:
    wallets = await make_wallets(own_services)
    workers = WorkerFactory(temporal_client, own_services)
    steps = InjectedSteps(own_services, before={"post_entries": failing(MANY)})
    running = await workers(steps)
    await running.intake.submit(wallets.tenant_id, wallets.request(), wait_seconds=0)
    yield HeldUp(own_services, wallets, running, temporal_client)
    await workers.stop()


async def test_an_action_is_on_record_though_its_effect_fails(held_up: HeldUp) -> None:
    effects = ("transactions", "operations", "gateway", "control")
    for action in (OperatorAction.RETRY, OperatorAction.PAUSE, OperatorAction.CANCEL):
        await held_up.cannot(action, *effects)
    assert await held_up.control.pause(await held_up.sight(), "for the next") == 1
    await held_up.cannot(OperatorAction.RESUME, *effects)
    await held_up.handle.terminate()
    for action in (OperatorAction.RESOLVE, OperatorAction.RESTART):
        await held_up.cannot(action, *effects)

    assert await held_up.recorded() == [
        (f"operations.{action}", REASON, "ada")
        for action in ("retry", "pause", "cancel", "resume", "resolve", "restart")
    ]


async def test_what_cannot_be_put_on_record_is_not_done(held_up: HeldUp) -> None:
    await held_up.until_possible(OperatorAction.PAUSE)
    await held_up.handle.terminate()
    for action in (OperatorAction.CANCEL, OperatorAction.RESOLVE, OperatorAction.RESTART):
        await held_up.cannot(action, "actions")

    assert await held_up.recorded() == []
