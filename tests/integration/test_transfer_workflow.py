"""The saga on real servers, with steps that fail, wait or are overtaken."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from uuid import uuid4

import pytest
from temporalio.client import Client as TemporalClient
from temporalio.exceptions import ApplicationError

from activities.reconciliation import ReconciliationActivities
from domain.states import ProcessState, TransferStage
from domain.transfers import Transfer
from runtime.composition import Services
from tests.support.samples import no_sample
from tests.support.waiting import until
from tests.support.wallets import Wallets, make_wallets, reference
from tests.support.workers import InjectedSteps, RunningWorker, WorkerFactory
from workflows.batch_gateway import BatchGateway

STEPS = ("reserve_funds", "post_entries", "finalise")
WAIT_SECONDS = 30.0
FAST_PATH_ATTEMPTS = 2


@pytest.fixture
async def wallets(services: Services) -> Wallets:
    return await make_wallets(services)


async def submit(worker: RunningWorker, wallets: Wallets, amount_minor: int = 100) -> Transfer:
    submission = await worker.intake.submit(
        wallets.tenant_id, wallets.request(amount_minor), wait_seconds=WAIT_SECONDS
    )
    return submission.transfer


def failing(times: int, error: Callable[[], BaseException]) -> Callable[[], Awaitable[None]]:
    """Fail the first attempts of a step."""
    left = [times]

    async def fail() -> None:
        if left[0]:
            left[0] -= 1
            raise error()

    return fail


def transient() -> BaseException:
    return ApplicationError("the database is away", type="database_unavailable")


def bug() -> BaseException:
    return RuntimeError("a bug")


@pytest.mark.parametrize("runner", ["unsandboxed", "sandboxed"])
async def test_a_transfer_moves_the_money_on_the_fast_path(
    worker: WorkerFactory, services: Services, wallets: Wallets, runner: str
) -> None:
    steps = InjectedSteps(services)
    running = await worker(steps, runner=runner)

    transfer = await submit(running, wallets)

    assert (transfer.state, transfer.stage) == (ProcessState.SUCCESS, TransferStage.COMPLETED)
    assert await wallets.amounts() == (-100, 0, 100)
    assert steps.attempts == dict.fromkeys(STEPS, 1)


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("failures", [1, FAST_PATH_ATTEMPTS + 1])
async def test_a_step_that_fails_is_repeated_and_moves_the_money_once(
    worker: WorkerFactory,
    services: Services,
    wallets: Wallets,
    step: str,
    moment: str,
    failures: int,
) -> None:
    hooks = {step: failing(failures, transient)}
    steps = InjectedSteps(services, **{moment: hooks})
    running = await worker(steps)

    transfer = await submit(running, wallets)

    assert transfer.state is ProcessState.SUCCESS
    assert await wallets.amounts() == (-100, 0, 100)
    assert steps.attempts[step] == failures + 1
    events = await services.transactions.events(wallets.tenant_id, transfer.id)
    assert [event.stage for event in events] == [
        TransferStage.ACCEPTED,
        TransferStage.RESERVED,
        TransferStage.POSTED,
        TransferStage.COMPLETED,
    ]


async def test_a_step_that_keeps_failing_shows_its_attempt_and_failure(
    worker: WorkerFactory, services: Services, wallets: Wallets
) -> None:
    is_mended = asyncio.Event()

    async def fail_until_mended() -> None:
        if not is_mended.is_set():
            raise transient()

    running = await worker(InjectedSteps(services, before={"post_entries": fail_until_mended}))
    outcome = asyncio.create_task(submit(running, wallets))

    async def is_retried() -> bool:
        live = await running.gateway.live(wallets.workflow_id)
        return bool(live and live.pending_activities and live.pending_activities[0].attempt > 1)

    await until(is_retried)
    live = await running.gateway.live(wallets.workflow_id)
    assert live is not None
    assert (live.status, live.stage) == ("RUNNING", "RESERVED")
    assert live.pending_activities[0].name == "post_entries"
    assert live.pending_activities[0].last_failure == ("database_unavailable: the database is away")
    is_mended.set()
    assert (await outcome).state is ProcessState.SUCCESS


async def test_a_bug_in_a_step_holds_the_transfer_up_and_does_not_fail_it(
    worker: WorkerFactory, services: Services, wallets: Wallets
) -> None:
    steps = InjectedSteps(services, before={"post_entries": failing(4, bug)})
    running = await worker(steps)

    transfer = await submit(running, wallets)

    assert transfer.state is ProcessState.SUCCESS
    assert steps.attempts["post_entries"] == 5


async def test_a_refused_transfer_ends_its_workflow_normally(
    worker: WorkerFactory, wallets: Wallets
) -> None:
    running = await worker()

    transfer = await submit(running, wallets, amount_minor=1_001)

    assert transfer.failure is not None
    assert transfer.failure.code == "insufficient_funds"
    assert await wallets.amounts() == (0, 0, 0)
    await until(lambda: _is_closed(running, wallets, "COMPLETED"))


async def test_an_account_frozen_after_the_reserve_compensates_the_transfer(
    worker: WorkerFactory, services: Services, wallets: Wallets
) -> None:
    async def freeze() -> None:
        await services.accounts.freeze(wallets.tenant_id, reference(wallets.destination))

    running = await worker(InjectedSteps(services, after={"reserve_funds": freeze}))

    transfer = await submit(running, wallets)

    assert transfer.failure is not None
    assert transfer.failure.code == "account_frozen"
    assert await wallets.amounts() == (0, 0, 0)
    events = await services.transactions.events(wallets.tenant_id, transfer.id)
    assert [event.step for event in events] == ["accept", "reserve", "release"]


@pytest.mark.parametrize("failures", [1, FAST_PATH_ATTEMPTS + 1])
@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_compensation_that_fails_is_repeated_and_releases_once(
    worker: WorkerFactory, services: Services, wallets: Wallets, moment: str, failures: int
) -> None:
    async def freeze() -> None:
        await services.accounts.freeze(wallets.tenant_id, reference(wallets.source))

    hooks: dict[str, dict[str, Callable[[], Awaitable[None]]]]
    hooks = {"before": {}, "after": {"reserve_funds": freeze}}
    hooks[moment] = {**hooks[moment], "compensate": failing(failures, transient)}
    steps = InjectedSteps(services, **hooks)
    running = await worker(steps)

    transfer = await submit(running, wallets)

    assert transfer.failure is not None
    assert transfer.failure.code == "account_frozen"
    assert await wallets.amounts() == (0, 0, 0)
    assert steps.attempts["compensate"] == failures + 1


@pytest.mark.parametrize(
    ("step", "state"),
    [
        ("reserve_funds", ProcessState.FAILED),
        ("post_entries", ProcessState.SUCCESS),
        ("finalise", ProcessState.SUCCESS),
    ],
)
@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_cancel_during_a_step_is_decided_by_what_has_posted(
    worker: WorkerFactory,
    services: Services,
    wallets: Wallets,
    temporal_client: TemporalClient,
    step: str,
    moment: str,
    state: ProcessState,
) -> None:
    reached, go_on = asyncio.Event(), asyncio.Event()
    fail = failing(FAST_PATH_ATTEMPTS, transient)

    async def wait_on_the_durable_path() -> None:
        await fail()
        reached.set()
        await go_on.wait()

    running = await worker(InjectedSteps(services, **{moment: {step: wait_on_the_durable_path}}))
    outcome = asyncio.create_task(submit(running, wallets))
    await reached.wait()
    await temporal_client.get_workflow_handle(wallets.workflow_id).cancel()
    go_on.set()

    transfer = await outcome

    assert transfer.state is state
    if state is ProcessState.SUCCESS:
        assert await wallets.amounts() == (-100, 0, 100)
    else:
        assert transfer.failure is not None
        assert transfer.failure.code == "cancelled"
        assert await wallets.amounts() == (0, 0, 0)
    await until(lambda: _is_closed(running, wallets, "COMPLETED"))


async def test_a_cancel_on_the_fast_path_leaves_one_outcome_and_nothing_held(
    worker: WorkerFactory,
    services: Services,
    wallets: Wallets,
    temporal_client: TemporalClient,
) -> None:
    async def cancel() -> None:
        await temporal_client.get_workflow_handle(wallets.workflow_id).cancel()

    running = await worker(InjectedSteps(services, after={"reserve_funds": cancel}))

    transfer = await submit(running, wallets)

    assert transfer.is_final
    has_moved = transfer.state is ProcessState.SUCCESS
    assert await wallets.amounts() == ((-100, 0, 100) if has_moved else (0, 0, 0))
    await until(lambda: _is_closed(running, wallets, "COMPLETED"))


@pytest.mark.parametrize(
    ("step", "moment", "state"),
    [
        ("reserve_funds", "after", ProcessState.FAILED),
        ("post_entries", "before", ProcessState.FAILED),
        ("post_entries", "after", ProcessState.SUCCESS),
        ("finalise", "before", ProcessState.SUCCESS),
    ],
)
async def test_a_terminated_transfer_is_brought_to_its_one_right_end(
    worker: WorkerFactory,
    services: Services,
    wallets: Wallets,
    temporal_client: TemporalClient,
    step: str,
    moment: str,
    state: ProcessState,
) -> None:
    reached = asyncio.Event()

    async def wait_for_ever() -> None:
        reached.set()
        await asyncio.Event().wait()

    running = await worker(InjectedSteps(services, **{moment: {step: wait_for_ever}}))
    outcome = asyncio.create_task(submit(running, wallets))
    await reached.wait()
    await temporal_client.get_workflow_handle(wallets.workflow_id).terminate("by the test")

    transfer = await outcome

    assert transfer.state is state
    assert await wallets.amounts() == (
        (-100, 0, 100) if state is ProcessState.SUCCESS else (0, 0, 0)
    )


async def test_the_reconciliation_ends_a_terminated_transfer_that_nobody_asks_for(
    worker: WorkerFactory,
    services: Services,
    wallets: Wallets,
    temporal_client: TemporalClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reached = asyncio.Event()

    async def wait_for_ever() -> None:
        reached.set()
        await asyncio.Event().wait()

    running = await worker(InjectedSteps(services, before={"post_entries": wait_for_ever}))
    await running.intake.submit(wallets.tenant_id, wallets.request(), wait_seconds=0)
    await reached.wait()
    assert await wallets.amounts() == (0, 100, 0)
    await temporal_client.get_workflow_handle(wallets.workflow_id).terminate("by the test")
    monkeypatch.setattr("activities.reconciliation.IDLE_SECONDS", 0.0)
    reconciliation = ReconciliationActivities(
        services.transactions,
        services.batches,
        services.batch_posting,
        closed_status=running.gateway.closed_status,
        open_workflow_ids=running.gateway.open_workflow_ids,
        batch_workflows=BatchGateway(temporal_client, task_queue=running.task_queue),
        carry_on=running.gateway.carry_on,
        take_sample=no_sample,
    )

    report = await reconciliation.resolve_abandoned_transfers()

    assert report.resolved >= 1
    transfer = await wallets.transfer()
    assert transfer is not None
    assert transfer.failure is not None
    assert transfer.failure.code == "workflow_terminated"
    assert await wallets.amounts() == (0, 0, 0)


async def test_a_key_whose_workflow_was_terminated_before_its_record_can_still_be_used(
    worker: WorkerFactory,
    services: Services,
    wallets: Wallets,
    temporal_client: TemporalClient,
) -> None:
    reached = asyncio.Event()

    async def wait_for_ever() -> None:
        reached.set()
        await asyncio.Event().wait()

    stuck = await worker(InjectedSteps(services, before={"reserve_funds": wait_for_ever}))
    await stuck.intake.submit(wallets.tenant_id, wallets.request(), wait_seconds=0)
    await reached.wait()
    await temporal_client.get_workflow_handle(wallets.workflow_id).terminate("by the test")
    running = await worker()

    transfer = await submit(running, wallets)

    assert transfer.state is ProcessState.SUCCESS
    assert await wallets.amounts() == (-100, 0, 100)


async def test_a_workflow_that_is_run_again_moves_nothing(
    worker: WorkerFactory, wallets: Wallets
) -> None:
    running = await worker()
    transfer = await submit(running, wallets)
    await until(lambda: _is_closed(running, wallets, "COMPLETED"))
    order = await running.gateway.order_of(wallets.workflow_id)

    started = await running.gateway.start(replace(order, transfer_id=uuid4()), again=True)
    outcome = await running.gateway.outcome(started)

    assert outcome is not None
    assert (outcome.transfer_id, outcome.state) == (transfer.id, ProcessState.SUCCESS)
    assert await wallets.amounts() == (-100, 0, 100)


async def test_operators_find_a_workflow_by_its_search_attributes(
    worker: WorkerFactory, wallets: Wallets, temporal_client: TemporalClient
) -> None:
    running = await worker()
    transfer = await submit(running, wallets)
    query = (
        f"TransferId = '{transfer.id}' AND SourceAccountId = '{wallets.source.id}' "
        f"AND DestinationAccountId = '{wallets.destination.id}' AND TransferType = 'INTERNAL' "
        f"AND TransferState = 'SUCCESS' AND TenantId = '{wallets.tenant_id}'"
    )

    await until(lambda: _is_listed(temporal_client, query, transfer.workflow_id))


async def _is_closed(running: RunningWorker, wallets: Wallets, status: str) -> bool:
    return await running.gateway.closed_status(wallets.workflow_id) == status


async def _is_listed(client: TemporalClient, query: str, workflow_id: str) -> bool:
    return [workflow.id async for workflow in client.list_workflows(query)] == [workflow_id]
