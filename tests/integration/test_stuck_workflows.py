"""Transfers that their workflow holds up: terminated, broken, without a worker, or out of step."""

import asyncio
import secrets
from contextlib import AbstractAsyncContextManager

import psycopg
import pytest
from temporalio import workflow
from temporalio.client import Client as TemporalClient
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from activities.contracts import TransferInput, TransferProgress, TransferSteps
from activities.transfers import TransferActivities
from domain.access import Scope
from domain.limits import OVERDUE_SECONDS
from domain.states import ProcessState, TransferStage
from runtime.composition import Services
from tests.support.api import Client, Json
from tests.support.command import Command
from tests.support.proof import require_clean_ledger
from tests.support.scraping import scraped
from tests.support.stack import Stack
from tests.support.stuck import REASON, act, done, listed, seen, until_stuck
from tests.support.tenants import TenantMaker
from tests.support.waiting import until
from tests.support.wallets import Wallets, make_wallets
from tests.support.workers import InjectedSteps, RunningWorker, WorkerFactory, failing
from workflows.transfer import FAST_ATTEMPT_TIMEOUT

MANY = 1_000


@pytest.fixture
async def wallets(services: Services) -> Wallets:
    return await make_wallets(services)


@pytest.fixture
async def operator(make_tenant: TenantMaker) -> Client:
    return await make_tenant(
        scopes=[
            Scope.AUDIT_READ,
            Scope.OPERATIONS_READ,
            Scope.OPERATIONS_WRITE,
            Scope.TRANSFERS_READ,
        ]
    )


async def promised(worker: RunningWorker, wallets: Wallets) -> str:
    submission = await worker.intake.submit(wallets.tenant_id, wallets.request(), wait_seconds=0)
    return str(submission.transfer.id)


async def until_stage(wallets: Wallets, stage: TransferStage) -> None:
    async def is_so() -> bool:
        transfer = await wallets.transfer()
        return transfer is not None and transfer.stage is stage

    await until(is_so)


async def until_ended(wallets: Wallets) -> ProcessState:
    async def is_final() -> bool:
        transfer = await wallets.transfer()
        return transfer is not None and transfer.is_final

    await until(is_final)
    transfer = await wallets.transfer()
    assert transfer is not None
    return transfer.state


async def stopped_before_posting(
    worker: WorkerFactory, services: Services, wallets: Wallets
) -> str:
    """Bring a transfer to RESERVED, where its posting fails for ever."""
    running = await worker(InjectedSteps(services, before={"post_entries": failing(MANY)}))
    transfer_id = await promised(running, wallets)
    await until_stage(wallets, TransferStage.RESERVED)
    return transfer_id


@pytest.mark.parametrize("times", [1, 3])
async def test_a_terminated_transfer_is_restarted_and_moves_the_money_once(
    worker: WorkerFactory,
    services: Services,
    wallets: Wallets,
    temporal_client: TemporalClient,
    operator: Client,
    stack: Stack,
    times: int,
) -> None:
    transfer_id = await stopped_before_posting(worker, services, wallets)
    await temporal_client.get_workflow_handle(wallets.workflow_id).terminate("by mistake")
    found = await seen(operator, transfer_id)
    assert (found["cause"], found["workflow_status"]) == ("workflow_closed", "TERMINATED")
    assert found["actions"] == ["cancel", "resolve", "restart"]

    results = await asyncio.gather(*(act(operator, transfer_id, "restart") for _ in range(times)))

    assert {result.status_code for result in results} == {200}
    log = (await operator.get("/audit-log", subject_id=transfer_id))["data"]
    assert {(row["action"], row["reason"]) for row in log} == {("operations.restart", REASON)}
    assert await until_ended(wallets) is ProcessState.SUCCESS
    assert await wallets.amounts() == (-100, 0, 100)
    await until_told_of_all_runs(operator, transfer_id, runs=1 + times)
    await require_clean_ledger(stack)


async def until_told_of_all_runs(operator: Client, transfer_id: str, *, runs: int) -> None:
    """Wait until the evidence has each run with its attempts, the oldest first."""
    found: Json = {}

    async def is_told() -> bool:
        nonlocal found
        found = (await operator.get(f"/transfers/{transfer_id}/evidence"))["workflow"]
        return len(found["runs"]) > 1 and found["status"] == "COMPLETED"

    await until(is_told)
    run_ids = [run["run_id"] for run in found["runs"]]
    # Restarts at one moment end one another: those that came too late have begun no run.
    assert 2 <= len(set(run_ids)) == len(run_ids) <= runs
    assert found["runs"][0]["status"] == "TERMINATED"
    assert found["run_id"] == run_ids[-1]
    steps = {(record["run_id"], record["step"]) for record in found["history"]}
    assert {(run_ids[0], "reserve_funds"), (run_ids[-1], "finalise")} <= steps
    told = [record["run_id"] for record in found["history"]]
    assert told == sorted(told, key=run_ids.index)
    assert found["is_complete"]


@pytest.mark.parametrize("action", ["resolve", "cancel"])
async def test_a_terminated_transfer_is_ended_at_once(
    worker: WorkerFactory,
    services: Services,
    wallets: Wallets,
    temporal_client: TemporalClient,
    operator: Client,
    action: str,
) -> None:
    transfer_id = await stopped_before_posting(worker, services, wallets)
    await temporal_client.get_workflow_handle(wallets.workflow_id).terminate()

    await done(operator, transfer_id, action)

    transfer = await wallets.transfer()
    assert transfer is not None
    assert transfer.failure is not None
    expected = {"resolve": "resolved_by_operator", "cancel": "cancelled"}
    assert transfer.failure.code == expected[action]
    assert await wallets.amounts() == (0, 0, 0)


async def test_what_has_posted_is_resolved_as_success(
    worker: WorkerFactory, services: Services, wallets: Wallets, operator: Client, stack: Stack
) -> None:
    running = await worker(InjectedSteps(services, before={"finalise": failing(MANY)}))
    transfer_id = await promised(running, wallets)
    found = await until_stuck(operator, transfer_id, "activity_failing")
    assert (found["stage"], found["has_moved"], found["held_amount"]) == ("POSTED", True, 0)
    assert "cancel" not in found["actions"]
    assert (await act(operator, transfer_id, "cancel")).status_code == 409
    preview = await act(operator, transfer_id, "resolve", preview=True)
    assert "becomes SUCCESS" in preview.json()["message"]

    await done(operator, transfer_id, "resolve")

    assert await until_ended(wallets) is ProcessState.SUCCESS
    assert await wallets.amounts() == (-100, 0, 100)
    await require_clean_ledger(stack)


@pytest.mark.parametrize("action", ["resolve", "cancel"])
@pytest.mark.parametrize("moment", ["before", "after"])
async def test_an_end_by_an_operator_and_the_posting_at_one_moment_leave_one_outcome(
    worker: WorkerFactory,
    services: Services,
    wallets: Wallets,
    operator: Client,
    stack: Stack,
    action: str,
    moment: str,
) -> None:
    """Let the posting go on just when the operator acts, before and after it has committed."""
    fail, reached, go_on = failing(4), asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        await fail()
        reached.set()
        await go_on.wait()

    running = await worker(InjectedSteps(services, **{moment: {"post_entries": wait}}))
    transfer_id = await promised(running, wallets)
    await reached.wait()

    async def go() -> None:
        go_on.set()

    await asyncio.gather(act(operator, transfer_id, action), go())

    state = await until_ended(wallets)
    if state is ProcessState.SUCCESS:
        assert await wallets.amounts() == (-100, 0, 100)
    else:
        assert await wallets.amounts() == (0, 0, 0)
    if moment == "after":
        assert state is ProcessState.SUCCESS

    async def is_closed() -> bool:
        return await running.gateway.closed_status(wallets.workflow_id) is not None

    await until(is_closed)
    await require_clean_ledger(stack)


@workflow.defn(name="TransferWorkflow", sandboxed=False)
class BrokenTransferWorkflow:
    """A build that reserves the funds, and then has a bug."""

    @workflow.run
    async def run(self, order: TransferInput) -> TransferProgress:
        await workflow.execute_local_activity_method(
            TransferSteps.reserve_funds, order, start_to_close_timeout=FAST_ATTEMPT_TIMEOUT
        )
        # The reserve is in the history before the task that fails.
        await workflow.sleep(0.01)
        raise RuntimeError("a build with a bug")


def broken_worker(
    client: TemporalClient, services: Services, task_queue: str
) -> AbstractAsyncContextManager[Worker]:
    steps = TransferActivities(services.transactions)
    return Worker(
        client,
        task_queue=task_queue,
        workflows=[BrokenTransferWorkflow],
        activities=[steps.reserve_funds],
        workflow_runner=UnsandboxedWorkflowRunner(),
    )


@pytest.mark.parametrize(
    ("action", "state"), [("restart", ProcessState.SUCCESS), ("resolve", ProcessState.FAILED)]
)
async def test_what_a_broken_build_holds_up_is_restarted_on_a_sound_one_or_resolved(
    worker: WorkerFactory,
    services: Services,
    wallets: Wallets,
    temporal_client: TemporalClient,
    operator: Client,
    stack: Stack,
    action: str,
    state: ProcessState,
) -> None:
    queue = f"test-{secrets.token_hex(6)}"
    async with broken_worker(temporal_client, services, queue):
        transfer_id = await promised(worker.without_worker(queue), wallets)
        found = await until_stuck(operator, transfer_id, "workflow_task_failing")
        assert found["last_error"] == "RuntimeError: a build with a bug"
        assert found["attempts"] >= 3
        assert found["actions"] == ["cancel", "resolve", "restart"]
        transfers = Command(TRANSFERS_API_URL=operator.api_url, TRANSFERS_API_KEY=operator.api_key)
        shown = await transfers.printed("operate", "show", transfer_id)
        assert "a build with a bug" in shown.output
        acted = await transfers.printed("operate", action, transfer_id, "--reason", REASON)
        assert " done " in acted.output
        assert await until_ended(wallets) is state
    await require_clean_ledger(stack)


async def test_what_no_worker_takes_up_is_listed_though_the_database_has_no_record_of_it(
    worker: WorkerFactory, wallets: Wallets, operator: Client
) -> None:
    queue = f"test-{secrets.token_hex(6)}"
    transfer_id = await promised(worker.without_worker(queue), wallets)
    found = await until_stuck(operator, transfer_id, "no_worker")
    assert (found["stage"], found["held_amount"]) == ("ACCEPTED", 0)

    async def is_listed() -> bool:
        items = await listed(operator, wallets.tenant_id)
        return [item["id"] for item in items] == [transfer_id]

    await until(is_listed)
    assert (await act(operator, transfer_id, "resolve")).status_code == 409
    cancelled = await act(operator, transfer_id, "cancel")
    assert cancelled.json()["outcome"] == "under_way"

    await worker(task_queue=queue)

    assert await until_ended(wallets) is ProcessState.FAILED
    assert await wallets.amounts() == (0, 0, 0)


async def let_it_be_older(database_url: str, transfer_id: str, seconds: int) -> None:
    """Let the last change of a transfer be longer ago than it is."""
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        await connection.execute(
            "UPDATE transfers SET updated_at = updated_at - make_interval(secs => %s)"
            " WHERE id = %s",
            (seconds, transfer_id),
        )


async def test_what_takes_too_long_is_overdue_though_temporal_shows_nothing(
    worker: WorkerFactory, services: Services, wallets: Wallets, operator: Client, stack: Stack
) -> None:
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        reached.set()
        await go_on.wait()

    running = await worker(InjectedSteps(services, before={"post_entries": wait}))
    transfer_id = await promised(running, wallets)
    await reached.wait()
    assert (await seen(operator, transfer_id))["cause"] is None
    await let_it_be_older(stack.database_url, transfer_id, OVERDUE_SECONDS + 1)

    found = await until_stuck(operator, transfer_id, "overdue")

    assert found["explanation"].startswith("It is RESERVED for longer than the 30 s")
    assert "resolve" in found["actions"]
    (item,) = await listed(operator, wallets.tenant_id, cause="overdue")
    assert (item["id"], item["held_amount"]) == (transfer_id, 100)

    async def is_counted() -> bool:
        return (await scraped(stack.api_url))["transfers_overdue", "RESERVED"] >= 1

    await until(is_counted)
    go_on.set()
    assert await until_ended(wallets) is ProcessState.SUCCESS
    await require_clean_ledger(stack)


async def test_a_workflow_left_open_behind_its_transfer_is_listed_and_closed(
    worker: WorkerFactory,
    services: Services,
    wallets: Wallets,
    operator: Client,
) -> None:
    waiting = asyncio.Event()

    async def wait() -> None:
        await waiting.wait()

    running = await worker(InjectedSteps(services, after={"finalise": wait}))
    transfer_id = await promised(running, wallets)
    await until_stage(wallets, TransferStage.COMPLETED)

    async def is_listed() -> bool:
        items = await listed(operator, wallets.tenant_id, cause="workflow_left_open")
        return [item["id"] for item in items] == [transfer_id]

    await until(is_listed, timeout_seconds=40)
    await done(operator, transfer_id, "resolve")
    waiting.set()
    assert await listed(operator, wallets.tenant_id) == []
    assert await wallets.amounts() == (-100, 0, 100)
