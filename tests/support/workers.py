"""Workers inside the test's process, with steps that fail or wait as a test wants."""

import secrets
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass

from temporalio import activity
from temporalio.client import Client
from temporalio.exceptions import ApplicationError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker, WorkflowRunner
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from activities.contracts import (
    CompensationInput,
    ExpiryInput,
    OperationInput,
    RestingSteps,
    TransferInput,
    TransferKey,
    TransferProgress,
    TransferSteps,
)
from activities.resting import RestingActivities
from activities.transfers import TransferActivities
from api.transfer_intake import TransferIntake
from api.transfer_operations import TransferOperations
from runtime.composition import Services
from services.outcomes import OutcomeBoard
from workflows.gateway import TransferGateway
from workflows.transfer import TransferWorkflow

Hook = Callable[[], Awaitable[None]]
RUNNERS: Mapping[str, Callable[[], WorkflowRunner]] = {
    "unsandboxed": UnsandboxedWorkflowRunner,
    "sandboxed": SandboxedWorkflowRunner,
}


def failing(times: int) -> Hook:
    """Fail a step's first attempts, as where the database is away."""
    left = [times]

    async def fail() -> None:
        if left[0]:
            left[0] -= 1
            raise ApplicationError("the database is away", type="database_unavailable")

    return fail


class Injection:
    """Something done before or after steps: raise, wait, count.

    Parameters
    ----------
    before
        By the name of a step: awaited before each of its attempts.
    after
        Awaited after the step's transaction has committed, before Temporal hears of it.
    """

    def __init__(
        self, *, before: Mapping[str, Hook] | None = None, after: Mapping[str, Hook] | None = None
    ) -> None:
        self._before = dict(before or {})
        self._after = dict(after or {})
        self.attempts: dict[str, int] = {}

    async def run(
        self, name: str, step: Callable[[], Awaitable[TransferProgress]]
    ) -> TransferProgress:
        self.attempts[name] = self.attempts.get(name, 0) + 1
        if name in self._before:
            await self._before[name]()
        progress = await step()
        if name in self._after:
            await self._after[name]()
        return progress


class InjectedSteps(TransferSteps):
    """The real steps with an injection."""

    def __init__(
        self,
        services: Services,
        *,
        before: Mapping[str, Hook] | None = None,
        after: Mapping[str, Hook] | None = None,
    ) -> None:
        self._real = TransferActivities(services.transactions)
        self._injection = Injection(before=before, after=after)
        self.attempts = self._injection.attempts

    @activity.defn(name="reserve_funds")
    async def reserve_funds(self, order: TransferInput) -> TransferProgress:
        return await self._injection.run("reserve_funds", lambda: self._real.reserve_funds(order))

    @activity.defn(name="post_entries")
    async def post_entries(self, transfer: TransferKey) -> TransferProgress:
        return await self._injection.run("post_entries", lambda: self._real.post_entries(transfer))

    @activity.defn(name="finalise")
    async def finalise(self, transfer: TransferKey) -> TransferProgress:
        return await self._injection.run("finalise", lambda: self._real.finalise(transfer))

    @activity.defn(name="compensate")
    async def compensate(self, compensation: CompensationInput) -> TransferProgress:
        return await self._injection.run("compensate", lambda: self._real.compensate(compensation))


class InjectedResting(RestingSteps):
    """The real steps of transfers that rest with an injection."""

    def __init__(
        self,
        services: Services,
        *,
        before: Mapping[str, Hook] | None = None,
        after: Mapping[str, Hook] | None = None,
    ) -> None:
        self._real = RestingActivities(services.transactions, services.operations)
        self._injection = Injection(before=before, after=after)
        self.attempts = self._injection.attempts

    @activity.defn(name="schedule")
    async def schedule(self, order: TransferInput) -> TransferProgress:
        return await self._injection.run("schedule", lambda: self._real.schedule(order))

    @activity.defn(name="expire")
    async def expire(self, expiry: ExpiryInput) -> TransferProgress:
        return await self._injection.run("expire", lambda: self._real.expire(expiry))

    @activity.defn(name="carry_out_operation")
    async def carry_out_operation(self, operation: OperationInput) -> TransferProgress:
        return await self._injection.run(
            "carry_out_operation", lambda: self._real.carry_out_operation(operation)
        )


@dataclass(frozen=True, slots=True)
class RunningWorker:
    """A worker of this process and ways to reach it.

    Parameters
    ----------
    intake
        Takes transfers in as the API does, for this worker's task queue. No outcome is handed over
        inside the process: they come from Temporal and the database.
    """

    task_queue: str
    gateway: TransferGateway
    intake: TransferIntake
    operations: TransferOperations


class WorkerFactory:
    """Starts workers, each on a task queue of its own, and stops them when closed."""

    def __init__(self, client: Client, services: Services) -> None:
        self._client = client
        self._services = services
        self._running = AsyncExitStack()

    async def __call__(
        self,
        steps: TransferSteps | None = None,
        *,
        resting: RestingSteps | None = None,
        runner: str = "unsandboxed",
        task_queue: str | None = None,
    ) -> RunningWorker:
        """Start a worker.

        Parameters
        ----------
        steps, resting
            The real ones by default; ``InjectedSteps`` and ``InjectedResting`` for others.
        runner
            A name of ``RUNNERS``.
        task_queue
            A new one by default.
        """
        taken = steps or TransferActivities(self._services.transactions)
        resting = resting or RestingActivities(
            self._services.transactions, self._services.operations
        )
        queue = task_queue or f"test-{secrets.token_hex(6)}"
        worker = Worker(
            self._client,
            task_queue=queue,
            workflows=[TransferWorkflow],
            activities=[
                taken.reserve_funds,
                taken.post_entries,
                taken.finalise,
                taken.compensate,
                resting.schedule,
                resting.expire,
                resting.carry_out_operation,
            ],
            workflow_runner=RUNNERS[runner](),
        )
        await self._running.enter_async_context(worker)
        return self.without_worker(queue)

    def without_worker(self, task_queue: str) -> RunningWorker:
        """Reach a task queue that a worker may serve later."""
        gateway = TransferGateway(self._client, task_queue=task_queue)
        intake = TransferIntake(
            requests=self._services.requests,
            transactions=self._services.transactions,
            gateway=gateway,
            outcomes=OutcomeBoard(),
        )
        operations = TransferOperations(
            operations=self._services.operations,
            transactions=self._services.transactions,
            intake=intake,
            gateway=gateway,
        )
        return RunningWorker(task_queue, gateway, intake, operations)

    async def stop(self) -> None:
        """Stop all workers, and cancel what they still do."""
        await self._running.aclose()
