"""Orders that Temporal has accepted, and that are not on record yet: promises stand."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from temporalio.client import Client as TemporalClient

from domain.accounts import AccountReference
from domain.errors import ValidationFailed
from domain.ids import AccountId, TransferId
from domain.money import Money
from domain.states import ProcessState
from domain.transfers import ReversalRequest, Transfer, TransferRequest, TransferType
from runtime.composition import Services
from tests.support.api import Client
from tests.support.batches import row, rows_of, run_batch
from tests.support.waiting import until
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


async def test_a_transfer_that_was_accepted_is_not_refused_once_its_time_has_passed(
    worker: WorkerFactory, wallets: Wallets
) -> None:
    queue = QUEUE.format(wallets.key)
    running = worker.without_worker(queue)
    soon = datetime.now(UTC) + timedelta(seconds=1)
    asked = wallets.changed(execute_at=soon)
    promised = (await running.intake.submit(wallets.tenant_id, asked, wait_seconds=0)).transfer
    await asyncio.sleep((soon - datetime.now(UTC)).total_seconds())

    again = (await running.intake.submit(wallets.tenant_id, asked, wait_seconds=0)).transfer
    with pytest.raises(ValidationFailed):
        await running.intake.submit(
            wallets.tenant_id, replace(asked, idempotency_key="another"), wait_seconds=0
        )
    with pytest.raises(ValidationFailed):
        await running.intake.submit(
            wallets.tenant_id, replace(asked, description="another"), wait_seconds=0
        )

    assert again.id == promised.id
    await worker(task_queue=queue)
    done = await running.intake.submit(wallets.tenant_id, asked, wait_seconds=WAIT_SECONDS)
    assert (done.transfer.id, done.transfer.state) == (promised.id, ProcessState.SUCCESS)


async def test_a_promised_id_leads_to_the_row_of_a_batch_that_was_faster(
    worker: WorkerFactory, tenant: Client, temporal_client: TemporalClient
) -> None:
    account = (await tenant.account())["id"]
    asked = row(3, type="DEPOSIT", destination=account)
    running = worker.without_worker(QUEUE.format(asked["idempotency_key"]))
    request = TransferRequest(
        idempotency_key=asked["idempotency_key"],
        type=TransferType.DEPOSIT,
        source=None,
        destination=AccountReference(account, id=AccountId(UUID(account))),
        money=Money(asked["amount"], asked["currency"]),
        description=None,
        metadata={},
        effective_at=None,
    )
    promised = (await running.intake.submit(tenant.tenant_id, request, wait_seconds=0)).transfer
    batch = await run_batch(tenant, [asked])
    [recorded] = await rows_of(tenant, batch["id"])
    assert recorded["transfer_id"] != str(promised.id)

    async def is_found() -> bool:
        answer = await tenant.call("GET", f"/transfers/{promised.id}")
        return answer.is_success and answer.json()["id"] == recorded["transfer_id"]

    await until(is_found)
    await worker(task_queue=running.task_queue)
    await temporal_client.get_workflow_handle(promised.workflow_id).result()
    await until(is_found)
    assert await tenant.posted(account) == 3
