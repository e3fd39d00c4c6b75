"""Transfers that a failing step of the database holds up, as operators see and move them."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from domain.access import Scope
from tests.support.api import Client, Json, new_key, problem_of
from tests.support.proof import require_clean_ledger
from tests.support.rows import rows_of_tenant
from tests.support.scraping import scraped
from tests.support.stack import Stack
from tests.support.stuck import (
    FAILURE,
    PATIENCE_SECONDS,
    REASON,
    BrokenPosting,
    act,
    broken_posting,
    done,
    listed,
    promised,
    seen,
    until_closed,
    until_listed,
    until_state,
    until_stuck,
)
from tests.support.tenants import TenantMaker
from tests.support.waiting import until

AMOUNT = 600


@pytest.fixture
async def accounts(tenant: Client) -> tuple[Json, Json]:
    return await tenant.account(balance=1_000), await tenant.account()


@pytest.fixture
async def posting(stack: Stack, accounts: tuple[Json, Json]) -> AsyncIterator[BrokenPosting]:
    """Break what posts to the destination."""
    async with broken_posting(stack.database_url, accounts[1]) as posting:
        yield posting


async def stuck_transfer(tenant: Client, accounts: tuple[Json, Json]) -> Json:
    transfer = await promised(tenant, *accounts, AMOUNT)
    return await until_stuck(tenant, transfer["id"], "activity_failing")


async def test_what_fails_again_and_again_is_listed_in_words_and_goes_on_when_it_is_retried(
    stack: Stack, tenant: Client, accounts: tuple[Json, Json], posting: BrokenPosting
) -> None:
    found = await stuck_transfer(tenant, accounts)

    (item,) = await until_listed(tenant, tenant.tenant_id, found)
    assert (item["stage"], item["amount"], item["held_amount"]) == ("RESERVED", AMOUNT, AMOUNT)
    assert item["tenant_name"] == tenant.record.tenant_name
    assert item["explanation"].startswith("Its step post_entries fails again and again")
    assert FAILURE in item["last_error"]
    assert item["attempts"] >= 5
    assert item["actions"] == ["retry", "pause", "cancel", "resolve"]

    async def is_counted() -> bool:
        found = await scraped(stack.api_url)
        return found.get(("transfers_stuck", "activity_failing,TRANSFER"), 0) >= 1

    # A search follows a scrape, and the one before may have been a moment ago.
    await until(is_counted, timeout_seconds=PATIENCE_SECONDS)
    await done(tenant, found["id"], "retry")
    assert (await seen(tenant, found["id"]))["attempts"] < item["attempts"]
    await posting.mend()
    first, second = await asyncio.gather(*(act(tenant, found["id"], "retry") for _ in range(2)))
    assert {first.status_code, second.status_code} == {200}
    await until_state(tenant, found["id"], "SUCCESS")
    assert [await tenant.balance(account) for account in accounts] == [(400, 0), (AMOUNT, 0)]
    assert (await act(tenant, found["id"], "retry")).json()["outcome"] == "nothing_to_do"
    assert await listed(tenant, tenant.tenant_id) == []
    await require_clean_ledger(stack)


async def test_what_is_paused_is_not_tried_until_it_is_resumed(
    stack: Stack, tenant: Client, accounts: tuple[Json, Json], posting: BrokenPosting
) -> None:
    found = await stuck_transfer(tenant, accounts)
    await done(tenant, found["id"], "pause")
    paused = await until_stuck(tenant, found["id"], "paused")
    assert REASON in paused["explanation"]
    assert "resume" in paused["actions"]
    assert "retry" not in paused["actions"]
    assert (await act(tenant, found["id"], "pause")).json()["outcome"] == "nothing_to_do"
    problem_of(await act(tenant, found["id"], "retry"), 409, "action_not_possible")
    await posting.mend()
    assert (await seen(tenant, found["id"]))["cause"] == "paused"

    await done(tenant, found["id"], "resume")

    await until_state(tenant, found["id"], "SUCCESS")
    assert (await act(tenant, found["id"], "resume")).json()["outcome"] == "nothing_to_do"
    log = (await tenant.get("/audit-log", subject_id=found["id"]))["data"][::-1]
    assert [(row["action"], row["reason"]) for row in log] == [
        ("operations.pause", REASON),
        ("operations.resume", REASON),
    ]
    await require_clean_ledger(stack)


async def test_its_own_client_cancels_what_cannot_post_and_gets_its_money_back(
    stack: Stack, tenant: Client, accounts: tuple[Json, Json], posting: BrokenPosting
) -> None:
    found = await stuck_transfer(tenant, accounts)
    assert await tenant.balance(accounts[0]) == (1_000, AMOUNT)
    assert found["actions"], "it is between its reserve and its posting"
    key = new_key()

    cancelled, again = [
        await tenant.operate(found, "cancel", key=key, reason=REASON) for _ in range(2)
    ]

    assert (cancelled.status_code, cancelled.json()["state"]) == (200, "FAILED")
    assert cancelled.json()["failure"] == {"code": "cancelled", "message": REASON}
    assert (again.status_code, again.json()) == (200, cancelled.json())
    assert await tenant.balance(accounts[0]) == (1_000, 0)
    problem_of(await tenant.operate(found, "cancel"), 409, "already_failed")
    await posting.mend()
    assert await until_closed(tenant, found["id"]) == "COMPLETED"
    assert (await tenant.get(f"/transfers/{found['id']}/entries"))["data"] == []
    await require_clean_ledger(stack)


@pytest.mark.parametrize("is_paused", [False, True])
async def test_a_cancel_releases_what_is_held_and_lets_the_workflow_end(
    stack: Stack,
    tenant: Client,
    accounts: tuple[Json, Json],
    posting: BrokenPosting,
    *,
    is_paused: bool,
) -> None:
    found = await stuck_transfer(tenant, accounts)
    if is_paused:
        await done(tenant, found["id"], "pause")

    results = await asyncio.gather(*(act(tenant, found["id"], "cancel") for _ in range(2)))

    assert {result.status_code for result in results} == {200}
    transfer = await tenant.get(f"/transfers/{found['id']}")
    assert transfer["failure"] == {"code": "cancelled", "message": REASON}
    assert await tenant.balance(accounts[0]) == (1_000, 0)
    assert await until_closed(tenant, found["id"]) == "COMPLETED"
    await posting.mend()
    assert (await act(tenant, found["id"], "cancel")).json()["outcome"] == "nothing_to_do"
    await require_clean_ledger(stack)


async def test_what_has_not_posted_is_resolved_as_failed_and_its_workflow_is_closed(
    stack: Stack, tenant: Client, accounts: tuple[Json, Json], posting: BrokenPosting
) -> None:
    found = await stuck_transfer(tenant, accounts)

    await done(tenant, found["id"], "resolve")

    transfer = await tenant.get(f"/transfers/{found['id']}")
    assert transfer["failure"] == {"code": "resolved_by_operator", "message": REASON}
    assert await tenant.balance(accounts[0]) == (1_000, 0)
    assert await until_closed(tenant, found["id"]) == "TERMINATED"
    await posting.mend()
    assert (await act(tenant, found["id"], "resolve")).json()["outcome"] == "nothing_to_do"
    assert (await tenant.get(f"/transfers/{found['id']}/entries"))["data"] == []
    await require_clean_ledger(stack)


@pytest.mark.usefixtures("posting")
async def test_a_preview_says_what_would_happen_to_each_and_changes_nothing(
    stack: Stack, tenant: Client, accounts: tuple[Json, Json]
) -> None:
    found = await stuck_transfer(tenant, accounts)
    final = (await tenant.get("/transfers", state="SUCCESS"))["data"][0]
    rows = await rows_of_tenant(stack.database_url, tenant.tenant_id)
    body = {
        "action": "resolve",
        "ids": [found["id"], final["id"], tenant.tenant_id.hex],
        "reason": REASON,
        "preview": True,
    }

    response = await tenant.call("POST", "/operations/actions", json=body)

    results = response.json()["data"]
    assert [each["outcome"] for each in results] == [
        "would_be_done",
        "nothing_to_do",
        "refused",
    ]
    assert "becomes FAILED with resolved_by_operator, and 600 EUR" in results[0]["message"]
    assert results[2]["code"] == "transfer_not_found"
    assert (await seen(tenant, found["id"]))["cause"] == "activity_failing"
    assert await rows_of_tenant(stack.database_url, tenant.tenant_id) == rows


async def test_all_that_is_stuck_is_moved_on_at_once_and_each_has_its_audit_row(
    stack: Stack, tenant: Client, accounts: tuple[Json, Json], posting: BrokenPosting
) -> None:
    first, second = await asyncio.gather(
        *(promised(tenant, *accounts, amount) for amount in (100, 200))
    )
    for transfer in (first, second):
        await until_stuck(tenant, transfer["id"], "activity_failing")
    await until_listed(tenant, tenant.tenant_id, first, second)
    largest = await listed(tenant, tenant.tenant_id, sort="amount")
    assert [item["amount"] for item in largest] == [200, 100]
    body = {
        "action": "cancel",
        "stuck": {"tenant": str(tenant.tenant_id), "cause": "activity_failing"},
        "reason": REASON,
    }

    response = await tenant.call("POST", "/operations/actions", json=body)

    assert {each["id"] for each in response.json()["data"]} == {first["id"], second["id"]}
    assert {each["outcome"] for each in response.json()["data"]} == {"done"}
    assert not response.json()["has_more"]
    for transfer in (first, second):
        log = await tenant.get("/audit-log", subject_id=transfer["id"], action="operations.cancel")
        (row,) = log["data"]
        assert row["reason"] == REASON
        await until_closed(tenant, transfer["id"])
    await posting.mend()
    assert await tenant.balance(accounts[0]) == (1_000, 0)
    await require_clean_ledger(stack)


async def test_what_rests_is_not_stuck_before_its_time_and_is_not_resolved(
    tenant: Client, accounts: tuple[Json, Json]
) -> None:
    source, destination = accounts
    held = await tenant.hold(source=source["id"], destination=destination["id"], amount=100)

    assert await listed(tenant, tenant.tenant_id) == []
    assert (await seen(tenant, held["id"]))["cause"] is None
    problem_of(await act(tenant, held["id"], "resolve"), 409, "action_not_possible")
    problem_of(await act(tenant, held["id"], "pause"), 409, "action_not_possible")
    assert (await act(tenant, held["id"], "retry")).json()["outcome"] == "nothing_to_do"
    assert (await act(tenant, held["id"], "restart")).json()["outcome"] == "nothing_to_do"
    await done(tenant, held["id"], "cancel")
    assert await tenant.balance(source) == (1_000, 0)


async def test_what_has_posted_cannot_be_cancelled(
    tenant: Client, accounts: tuple[Json, Json]
) -> None:
    source, destination = accounts
    final = await tenant.transfer(source=source["id"], destination=destination["id"], amount=1)

    problem_of(await act(tenant, final["id"], "cancel"), 409, "already_posted")

    assert (await act(tenant, final["id"], "resolve")).json()["outcome"] == "nothing_to_do"


async def test_operators_see_and_move_all_tenants_and_others_nothing(
    make_tenant: TenantMaker, tenant: Client, accounts: tuple[Json, Json]
) -> None:
    held = await tenant.hold(source=accounts[0]["id"], destination=accounts[1]["id"], amount=100)
    operator = await make_tenant(scopes=[Scope.OPERATIONS_READ, Scope.OPERATIONS_WRITE])
    reader = await make_tenant(scopes=[Scope.OPERATIONS_READ])
    client = await make_tenant(
        tenant.record.tenant_name,
        scopes=set(Scope) - {Scope.OPERATIONS_READ, Scope.OPERATIONS_WRITE},
    )

    assert (await seen(reader, held["id"]))["tenant_id"] == str(tenant.tenant_id)
    problem_of(await act(reader, held["id"], "cancel"), 403, "scope_missing")
    for path in ("/operations/stuck", f"/operations/transfers/{held['id']}"):
        problem_of(await client.call("GET", path), 403, "scope_missing")
    problem_of(await act(client, held["id"], "cancel"), 403, "scope_missing")
    body = {"action": "cancel", "ids": [held["id"]], "reason": REASON}
    problem_of(await client.call("POST", "/operations/actions", json=body), 403, "scope_missing")
    await done(operator, held["id"], "cancel")
    assert (await tenant.get(f"/transfers/{held['id']}"))["failure"]["code"] == "cancelled"


async def test_a_request_that_means_nothing_is_refused(tenant: Client) -> None:
    nobody = str(tenant.tenant_id)
    problem_of(await act(tenant, nobody, "retry"), 404, "transfer_not_found")
    problem_of(await act(tenant, nobody, "explode"), 422, "validation_failed")
    problem_of(await act(tenant, nobody, "retry", reason=""), 422, "validation_failed")
    both = {"action": "retry", "reason": REASON, "ids": [nobody], "stuck": {}}
    for body in (both, {"action": "retry", "reason": REASON}):
        response = await tenant.call("POST", "/operations/actions", json=body)
        problem_of(response, 422, "validation_failed")
    for cursor in ("nonsense", "fHw=", "MjAyNi0wMS0wMXwxfHg="):
        response = await tenant.call("GET", "/operations/stuck", params={"cursor": cursor})
        problem_of(response, 422, "validation_failed")
