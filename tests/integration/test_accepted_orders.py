"""Orders that Temporal has accepted, and that are not on record yet: promises stand."""

import pytest
from temporalio.client import Client as TemporalClient

from domain.ids import TransferId
from domain.states import ProcessState
from domain.transfers import ReversalRequest, Transfer
from runtime.composition import Services
from tests.support.wallets import Wallets, make_wallets
from tests.support.workers import RunningWorker, WorkerFactory

QUEUE = "accepted-{}"
WAIT_SECONDS = 30.0


@pytest.fixture
async def wallets(services: Services) -> Wallets:
    return await make_wallets(services)


async def submit(running: RunningWorker, wallets: Wallets, wait_seconds: float) -> Transfer:
    submission = await running.intake.submit(
        wallets.tenant_id, wallets.request(), wait_seconds=wait_seconds
    )
    return submission.transfer


async def reverse(
    running: RunningWorker, wallets: Wallets, original: TransferId, key: str, wait_seconds: float
) -> Transfer:
    submission = await running.intake.submit_reversal(
        wallets.tenant_id,
        ReversalRequest(key, original, None, None, {}),
        requested_by=wallets.api_key_id,
        wait_seconds=wait_seconds,
    )
    return submission.transfer


async def test_a_promised_id_stands_where_the_workflow_was_terminated_before_its_first_step(
    worker: WorkerFactory, temporal_client: TemporalClient, wallets: Wallets
) -> None:
    queue = QUEUE.format(wallets.key)
    promised = await submit(worker.without_worker(queue), wallets, 0)
    await temporal_client.get_workflow_handle(wallets.workflow_id).terminate()

    done = await submit(await worker(task_queue=queue), wallets, WAIT_SECONDS)

    assert (done.id, done.state) == (promised.id, ProcessState.SUCCESS)


async def test_a_reversal_that_was_accepted_is_not_refused_for_what_others_did_meanwhile(
    worker: WorkerFactory, wallets: Wallets
) -> None:
    running = await worker()
    original = await submit(running, wallets, WAIT_SECONDS)
    queue = QUEUE.format(wallets.key)
    waiting = worker.without_worker(queue)
    promised = await reverse(waiting, wallets, original.id, "first", 0)
    other = await reverse(running, wallets, original.id, "second", WAIT_SECONDS)
    assert other.state is ProcessState.SUCCESS

    again = await reverse(waiting, wallets, original.id, "first", 0)
    done = await reverse(
        await worker(task_queue=queue), wallets, original.id, "first", WAIT_SECONDS
    )

    assert {again.id, done.id} == {promised.id}
    assert done.failure is not None
    assert done.failure.code == "reversal_exceeds_transfer"
