"""Batches and runs of standing orders that do not get on, as operators see and move them."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from domain.access import Scope
from tests.support.api import Client, Json, new_key, problem_of
from tests.support.batches import finished, post_batch
from tests.support.proof import require_clean_ledger
from tests.support.stack import Stack
from tests.support.standing_orders import make_order, now, text_of, wait_for_runs
from tests.support.stuck import (
    FAILURE,
    PATIENCE_SECONDS,
    REASON,
    SETTLING,
    BrokenPosting,
    act,
    act_on,
    broken_posting,
    listed,
    until_listed,
)
from tests.support.tenants import TenantMaker
from tests.support.waiting import until


@pytest.fixture
async def accounts(tenant: Client) -> tuple[Json, Json]:
    return await tenant.account(balance=1_000), await tenant.account()


@pytest.fixture
async def posting(stack: Stack, accounts: tuple[Json, Json]) -> AsyncIterator[BrokenPosting]:
    async with broken_posting(stack.database_url, accounts[1]) as posting:
        yield posting


@pytest.fixture
async def operator(make_tenant: TenantMaker) -> Client:
    return await make_tenant(
        scopes=[Scope.OPERATIONS_READ, Scope.OPERATIONS_WRITE, Scope.AUDIT_READ]
    )


async def until_cause(operator: Client, item: Json, cause: str | None) -> Json:
    """Wait until something is stuck for a cause, and give what operators see of it."""
    found: Json = {}

    async def is_so() -> bool:
        nonlocal found
        response = await operator.call("GET", f"/operations/stuck/{item['id']}")
        found = response.json()
        return bool(response.status_code == 200 and found["cause"] == cause)

    await until(is_so, timeout_seconds=PATIENCE_SECONDS)
    return found


async def until_closed(operator: Client, item: Json) -> Json:
    found: Json = {}

    async def is_so() -> bool:
        nonlocal found
        found = await operator.get(f"/operations/stuck/{item['id']}")
        return found["workflow_status"] not in {"RUNNING", "PAUSED"}

    await until(is_so, timeout_seconds=PATIENCE_SECONDS)
    return found


async def stuck_batch(tenant: Client, operator: Client, accounts: tuple[Json, Json]) -> Json:
    source, destination = accounts
    row = {"source": source["id"], "destination": destination["id"], "amount": 1}
    made = await post_batch(
        tenant, [{"idempotency_key": new_key(), "currency": "EUR", **row}], prefer=None
    )
    return await until_cause(operator, made.json(), "activity_failing")


async def audited(operator: Client, item: Json, action: str) -> Json:
    """Give the one row that an action has left in the log."""
    log = await operator.get("/audit-log", subject_id=item["id"], action=f"operations.{action}")
    (row,) = log["data"]
    found: Json = row
    return found


async def test_a_stuck_batch_is_retried_paused_and_resumed(
    stack: Stack,
    tenant: Client,
    operator: Client,
    accounts: tuple[Json, Json],
    posting: BrokenPosting,
) -> None:
    found = await stuck_batch(tenant, operator, accounts)
    await until_listed(operator, tenant.tenant_id, found)
    assert (found["kind"], found["actions"]) == ("BATCH", ["retry", "pause", "cancel"])
    assert FAILURE in found["last_error"]
    assert (await act_on(operator, found, "retry"))["outcome"] == "done"
    again = await operator.get(f"/operations/stuck/{found['id']}")
    assert again["attempts"] < found["attempts"]
    assert (await act_on(operator, found, "pause"))["outcome"] == "done"
    paused = await until_cause(operator, found, "paused")
    assert REASON in paused["explanation"]
    assert paused["actions"] == ["resume", "cancel"]
    await posting.mend()
    assert (await operator.get(f"/operations/stuck/{found['id']}"))["cause"] == "paused"
    row = await audited(operator, found, "pause")
    assert (row["subject_type"], row["reason"]) == ("transfer_batch", REASON)

    assert (await act_on(operator, found, "resume"))["outcome"] == "done"

    assert (await finished(tenant, found["id"]))["state"] == "SUCCESS"
    assert (await act_on(operator, found, "retry"))["outcome"] == "nothing_to_do"
    assert await listed(operator, tenant.tenant_id) == []
    await require_clean_ledger(stack)


@pytest.mark.parametrize("is_paused", [False, True])
async def test_a_stuck_batch_is_cancelled_and_its_workflow_ends(
    stack: Stack,
    tenant: Client,
    operator: Client,
    accounts: tuple[Json, Json],
    posting: BrokenPosting,
    *,
    is_paused: bool,
) -> None:
    found = await stuck_batch(tenant, operator, accounts)
    if is_paused:
        await act_on(operator, found, "pause")
    preview = await act_on(operator, found, "cancel", preview=True)
    assert "becomes CANCELLED with batch_cancelled" in preview["message"]
    assert (await tenant.get(f"/transfer-batches/{found['id']}"))["state"] == "PROCESSING"

    results = await asyncio.gather(*(act_on(operator, found, "cancel") for _ in range(2)))

    assert {each["outcome"] for each in results} <= {"done", "nothing_to_do"}
    assert results[0]["kind"] == "BATCH"
    batch = await tenant.get(f"/transfer-batches/{found['id']}")
    assert (batch["stage"], batch["failure"]["code"]) == ("CANCELLED", "batch_cancelled")
    assert (batch["counts"]["cancelled"], batch["counts"]["succeeded"]) == (1, 0)
    assert (await until_closed(operator, found))["workflow_status"] == "COMPLETED"
    assert (await act_on(operator, found, "cancel"))["outcome"] == "nothing_to_do"
    assert await tenant.balance(accounts[0]) == (1_000, 0)
    await posting.mend()
    await require_clean_ledger(stack)


@pytest.mark.usefixtures("posting")
async def test_what_does_not_fit_a_batch_is_refused_and_says_what_does(
    tenant: Client, operator: Client, accounts: tuple[Json, Json]
) -> None:
    found = await stuck_batch(tenant, operator, accounts)
    for action in ("resolve", "restart"):
        refused = await act_on(operator, found, action)
        assert (refused["outcome"], refused["code"]) == ("refused", "action_not_possible")
        assert "retried, paused, resumed or cancelled" in refused["message"]
    problem_of(await act(operator, found["id"], "cancel"), 404, "transfer_not_found")
    path = f"/operations/transfers/{found['id']}"
    problem_of(await operator.call("GET", path), 404, "transfer_not_found")
    for nothing in ("nonsense", tenant.tenant_id):
        response = await operator.call("GET", f"/operations/stuck/{nothing}")
        problem_of(response, 404, "transfer_not_found")

    await until_listed(operator, tenant.tenant_id, found)
    chosen = {"kind": "BATCH", "tenant": str(tenant.tenant_id)}
    body = {"action": "cancel", "stuck": chosen, "reason": REASON}
    response = await operator.call("POST", "/operations/actions", json=body)

    assert [(each["id"], each["outcome"]) for each in response.json()["data"]] == [
        (found["id"], "done")
    ]


async def test_a_stuck_run_of_a_standing_order_is_retried_paused_and_resumed(
    stack: Stack, tenant: Client, operator: Client, accounts: tuple[Json, Json]
) -> None:
    source, destination = (account["id"] for account in accounts)
    start = text_of(now() + timedelta(seconds=2))
    order = await make_order(
        tenant, source=source, destination=destination, seconds=3_600, start_at=start
    )
    async with broken_posting(stack.database_url, order, SETTLING) as settling:
        found = await until_cause(operator, order, "activity_failing")
        assert (found["kind"], found["actions"]) == ("STANDING_ORDER_RUN", ["retry", "pause"])
        assert FAILURE in found["last_error"]
        assert (await act_on(operator, order, "retry"))["outcome"] == "done"
        assert (await act_on(operator, order, "pause"))["outcome"] == "done"
        assert (await until_cause(operator, order, "paused"))["actions"] == ["resume"]
        refused = await act_on(operator, order, "cancel")
        assert (refused["outcome"], refused["code"]) == ("refused", "action_not_possible")
        row = await audited(operator, order, "pause")
        assert row["subject_type"] == "standing_order"
        assert row["details"]["scheduled_at"].startswith(start[:-1])
        await settling.mend()

        assert (await act_on(operator, order, "resume"))["outcome"] == "done"

    (run,) = await wait_for_runs(tenant, order, lambda runs: len(runs) == 1)
    assert run["state"] == "SUCCESS"
    assert (await act_on(operator, order, "retry"))["outcome"] == "nothing_to_do"
    await require_clean_ledger(stack)
