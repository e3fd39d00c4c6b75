import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support.api import NOBODY, Client, Json, new_key, problem_of
from tests.support.rows import counts_of_tenant
from tests.support.stack import Stack

TOMORROW = (datetime.now(UTC) + timedelta(days=1)).isoformat()
FIELDS = {
    "id",
    "idempotency_key",
    "workflow_id",
    "type",
    "state",
    "stage",
    "source",
    "destination",
    "amount",
    "currency",
    "description",
    "metadata",
    "failure",
    "reversal_of",
    "effective_at",
    "created_at",
    "updated_at",
    "completed_at",
    "capture",
    "captured_amount",
    "reversed_amount",
    "expires_at",
    "execute_at",
    "approvals_required",
    "approval_deadline_at",
    "legs",
    "fingerprint",
    "requested_by",
    "batch_id",
}


async def final(tenant: Client, transfer_id: str) -> Json:
    """Read a transfer until it is no longer PROCESSING."""
    async with asyncio.timeout(10):
        while True:
            transfer = await tenant.get(f"/transfers/{transfer_id}")
            if transfer["state"] != "PROCESSING":
                return transfer
            await asyncio.sleep(0.02)


async def test_a_transfer_moves_money_and_tells_all_about_itself(tenant: Client) -> None:
    source, destination = await tenant.account(balance=1_000), await tenant.account()
    body = {
        "source": source["id"],
        "destination": destination["id"],
        "amount": 300,
        "currency": "EUR",
        "description": "rent, März 🏠",
        "metadata": {"invoice": 7, "nested": {"ok": [True, None]}},
    }
    key = new_key()
    response = await tenant.post_transfer(key=key, **body)
    transfer = response.json()
    assert response.status_code == 201
    assert response.headers["location"] == f"/v1/transfers/{transfer['id']}"
    assert "idempotency-replayed" not in response.headers
    assert transfer.keys() == FIELDS
    assert {name: transfer[name] for name in body} == body
    assert (transfer["type"], transfer["state"], transfer["stage"]) == (
        *("INTERNAL", "SUCCESS", "COMPLETED"),
    )
    assert transfer["workflow_id"] == f"{tenant.tenant_id}:{key}"
    assert (transfer["failure"], transfer["reversal_of"]) == (None, None)
    assert transfer["created_at"] <= transfer["completed_at"]
    assert await tenant.get(f"/transfers/{transfer['id']}") == transfer
    assert await tenant.posted(source["id"]) == 700
    assert await tenant.posted(destination["id"]) == 300


async def test_deposits_and_withdrawals_meet_the_settlement_account(tenant: Client) -> None:
    account = await tenant.account("JPY")
    deposit = await tenant.deposit(account["id"], 500, "JPY")
    withdrawal = await tenant.withdraw(account["id"], 200, "JPY")
    settlement = await tenant.get(f"/accounts/{deposit['source']}")
    assert settlement["kind"] == "SYSTEM"
    assert withdrawal["destination"] == settlement["id"]
    assert settlement["balance"]["posted"] == -300
    assert await tenant.posted(account["id"]) == 300


async def test_a_transfer_counts_from_the_time_that_it_names(tenant: Client) -> None:
    account = await tenant.account()
    transfer = await tenant.transfer(
        type="DEPOSIT",
        destination=account["id"],
        amount=1,
        effective_at="2026-02-03T04:05:06.789+02:00",
    )
    assert transfer["effective_at"] == "2026-02-03T02:05:06.789000Z"
    entries = (await tenant.get(f"/transfers/{transfer['id']}/entries"))["data"]
    assert {entry["effective_at"] for entry in entries} == {transfer["effective_at"]}


REFUSED: list[tuple[str, str, str]] = [
    ("poor", "other", "insufficient_funds"),
    ("frozen", "other", "account_frozen"),
    ("rich", "frozen", "account_frozen"),
    ("closed", "other", "account_closed"),
    ("rich", "closed", "account_closed"),
]


@pytest.mark.parametrize(("source", "destination", "code"), REFUSED)
async def test_a_refused_transfer_is_recorded_as_failed_and_moves_nothing(
    tenant: Client, stack: Stack, source: str, destination: str, code: str
) -> None:
    accounts = {
        "rich": await tenant.account(balance=100),
        "poor": await tenant.account(balance=99),
        "frozen": await tenant.account(balance=100),
        "closed": await tenant.account(),
        "other": await tenant.account(),
    }
    await tenant.change_status(accounts["frozen"]["id"], "freeze")
    await tenant.change_status(accounts["closed"]["id"], "close")
    before = await counts_of_tenant(stack.database_url, tenant.tenant_id)
    response = await tenant.post_transfer(
        key=new_key(),
        source=accounts[source]["id"],
        destination=accounts[destination]["id"],
        amount=100,
        currency="EUR",
    )
    transfer = problem_of(response, 422, code)["transfer"]
    assert (transfer["state"], transfer["stage"]) == ("FAILED", "FAILED")
    assert transfer["failure"]["code"] == code
    assert response.headers["location"] == f"/v1/transfers/{transfer['id']}"
    assert await tenant.get(f"/transfers/{transfer['id']}") == transfer
    added = {"transfers": 1, "transfer_events": 2, "idempotency_keys": 1}
    after = await counts_of_tenant(stack.database_url, tenant.tenant_id)
    assert {name: after[name] - before[name] for name in after if after[name] != before[name]} == (
        added
    )


async def test_all_that_is_available_can_be_moved_and_not_one_more(tenant: Client) -> None:
    account = await tenant.account(balance=70, overdraft_limit=30)
    more = await tenant.post_transfer(
        key=new_key(), type="WITHDRAWAL", source=account["id"], amount=101, currency="EUR"
    )
    problem_of(more, 422, "insufficient_funds")
    await tenant.withdraw(account["id"], 100)
    balance = (await tenant.get(f"/accounts/{account['id']}"))["balance"]
    assert balance == {"posted": -30, "held": 0, "available": 0}


@pytest.mark.parametrize("prefer", ["respond-async", "wait=0", "Respond-Async", "return=x, wait=0"])
async def test_who_prefers_not_to_wait_is_answered_202_and_can_read_it_at_once(
    tenant: Client, prefer: str
) -> None:
    account = await tenant.account()
    response = await tenant.post_transfer(
        key=new_key(),
        headers={"Prefer": prefer},
        type="DEPOSIT",
        destination=account["id"],
        amount=5,
        currency="EUR",
    )
    transfer = response.json()
    assert (response.status_code, transfer["state"]) == (202, "PROCESSING")
    assert response.headers["location"] == f"/v1/transfers/{transfer['id']}"
    found = (await tenant.http.get(response.headers["location"])).json()
    assert found["id"] == transfer["id"]
    for tail in ("events", "entries", "workflow"):
        await tenant.get(f"/transfers/{transfer['id']}/{tail}")
    assert (await final(tenant, transfer["id"]))["state"] == "SUCCESS"
    assert await tenant.posted(account["id"]) == 5


@pytest.mark.parametrize("prefer", ["wait=1", 'wait="2"', "wait=999999", "soon", "wait=-1", ""])
async def test_any_other_preference_waits_for_the_outcome(tenant: Client, prefer: str) -> None:
    account = await tenant.account()
    response = await tenant.post_transfer(
        key=new_key(),
        headers={"Prefer": prefer},
        type="DEPOSIT",
        destination=account["id"],
        amount=5,
        currency="EUR",
    )
    assert (response.status_code, response.json()["state"]) == (201, "SUCCESS")


async def test_a_failure_that_nobody_waited_for_is_read_from_the_transfer(tenant: Client) -> None:
    account = await tenant.account()
    body = {"type": "WITHDRAWAL", "source": account["id"], "amount": 5, "currency": "EUR"}
    key = new_key()
    response = await tenant.post_transfer(key=key, headers={"Prefer": "respond-async"}, **body)
    assert response.status_code == 202
    transfer = await final(tenant, response.json()["id"])
    assert transfer["failure"]["code"] == "insufficient_funds"
    again = await tenant.post_transfer(key=key, **body)
    assert problem_of(again, 422, "insufficient_funds")["transfer"] == transfer


async def test_the_log_tells_each_stage_in_order(tenant: Client) -> None:
    account = await tenant.account()
    transfer = await tenant.deposit(account["id"], 1)
    events = (await tenant.get(f"/transfers/{transfer['id']}/events"))["data"]
    assert [(event["sequence"], event["step"], event["stage"]) for event in events] == [
        (1, "accept", "ACCEPTED"),
        (2, "reserve", "RESERVED"),
        (3, "post", "POSTED"),
        (4, "finalise", "COMPLETED"),
    ]
    times = [event["occurred_at"] for event in events]
    assert times == sorted(times)
    assert {event["cause"] for event in events} == {None}


@pytest.mark.parametrize(
    "terms",
    [
        {"type": "DEPOSIT"},
        {"type": "DEPOSIT", "capture": "manual"},
        {"type": "WITHDRAWAL"},
        {"type": "DEPOSIT", "execute_at": TOMORROW},
    ],
    ids=["at once", "held", "refused", "scheduled"],
)
async def test_the_log_tells_who_asked_and_from_where(tenant: Client, terms: Json) -> None:
    account = await tenant.account()
    side = "source" if terms["type"] == "WITHDRAWAL" else "destination"
    key, body = new_key(), {side: account["id"], "amount": 1, "currency": "EUR", **terms}
    answer = await tenant.post_transfer(key=key, headers={"X-Request-Id": "asked-once"}, **body)
    await tenant.post_transfer(key=key, headers={"X-Request-Id": "asked-again"}, **body)
    told = answer.json()
    transfer = told.get("transfer", told)
    events = (await tenant.get(f"/transfers/{transfer['id']}/events"))["data"]
    assert events[0]["details"] == {
        "by": transfer["requested_by"],
        "source_address": "127.0.0.1",
        "request_id": "asked-once",
    }


async def test_the_log_of_a_failure_names_its_cause(tenant: Client) -> None:
    account = await tenant.account()
    refused = await tenant.post_transfer(
        key=new_key(), type="WITHDRAWAL", source=account["id"], amount=1, currency="EUR"
    )
    path = f"/transfers/{refused.json()['transfer']['id']}"
    events = (await tenant.get(f"{path}/events"))["data"]
    assert [(event["stage"], event["cause"]) for event in events] == [
        ("ACCEPTED", None),
        ("FAILED", "insufficient_funds"),
    ]
    assert (await tenant.get(f"{path}/entries"))["data"] == []


async def test_the_entries_of_a_transfer_balance(tenant: Client) -> None:
    source, destination = await tenant.account(balance=10), await tenant.account(balance=3)
    transfer = await tenant.transfer(source=source["id"], destination=destination["id"], amount=4)
    debit, credit = (await tenant.get(f"/transfers/{transfer['id']}/entries"))["data"]
    assert (debit["direction"], debit["account_id"]) == ("DEBIT", source["id"])
    assert (credit["direction"], credit["account_id"]) == ("CREDIT", destination["id"])
    assert (debit["amount"], credit["amount"]) == (4, 4)
    assert (debit["balance_after"], credit["balance_after"]) == (6, 7)
    assert {debit["transfer_id"], credit["transfer_id"]} == {transfer["id"]}


async def test_the_workflow_is_seen_live_with_a_link_to_temporal(
    tenant: Client, stack: Stack
) -> None:
    account = await tenant.account()
    transfer = await tenant.deposit(account["id"], 1)
    async with asyncio.timeout(10):
        # The outcome is answered before the workflow's own closing.
        while True:
            seen = await tenant.get(f"/transfers/{transfer['id']}/workflow")
            if seen["status"] != "RUNNING":
                break
    assert (seen["status"], seen["stage"]) == ("COMPLETED", "COMPLETED")
    assert seen["workflow_id"] == transfer["workflow_id"]
    assert seen["pending_activities"] == []
    assert seen["started_at"] <= seen["closed_at"]
    if stack.temporal_ui_url:
        assert seen["temporal_ui_url"].startswith(f"{stack.temporal_ui_url}/namespaces/")
        assert seen["run_id"] in seen["temporal_ui_url"]


@pytest.mark.parametrize("reference", [NOBODY, "1", "..%2F..%2Faccounts", "%00", "é"])
@pytest.mark.parametrize("tail", ["", "/events", "/entries", "/workflow"])
async def test_an_unknown_transfer_is_not_found(tenant: Client, reference: str, tail: str) -> None:
    response = await tenant.call("GET", f"/transfers/{reference}{tail}")
    assert response.status_code == 404
    assert response.json()["code"] in {"transfer_not_found", "not_found"}


SPELLINGS: list[Any] = [250, "250"]


@pytest.mark.parametrize("amount", SPELLINGS)
async def test_an_amount_is_an_integer_or_a_string_of_digits(tenant: Client, amount: Any) -> None:
    account = await tenant.account()
    transfer = await tenant.transfer(type="DEPOSIT", destination=account["id"], amount=amount)
    assert transfer["amount"] == 250
