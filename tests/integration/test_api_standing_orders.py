"""Standing orders over HTTP: what is taken, what is refused, what is shown."""

import asyncio
import json
import uuid
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import Client as TemporalClient

from tests.support.api import Client, Json, new_key, problem_of
from tests.support.rows import counts_of_tenant, rows_of_tenant
from tests.support.stack import Stack
from tests.support.standing_orders import (
    backfill,
    change,
    make_order,
    now,
    post_order,
    runs_of,
    text_of,
    wait_for_runs,
)
from tests.support.tenants import TenantMaker

HOURLY = {"interval_seconds": 3_600}
FIELDS = {
    *("id", "idempotency_key", "type", "source", "destination", "amount", "currency"),
    *("description", "metadata", "schedule", "start_at", "end_at", "missed_runs", "status"),
    *("status_reason", "created_by", "created_at", "updated_at", "ended_at", "next_runs"),
    "last_run",
}


@pytest.fixture
async def body(tenant: Client) -> Json:
    """What makes a right order, hourly."""
    source, destination = await tenant.account(balance=100), await tenant.account()
    return {
        "source": source["id"],
        "destination": destination["id"],
        "amount": 10,
        "currency": "EUR",
        "schedule": HOURLY,
    }


async def test_an_order_tells_all_about_itself(tenant: Client, body: Json) -> None:
    start = now() + timedelta(days=1)
    asked = {
        **body,
        "description": "rent, März",
        "metadata": {"flat": 7},
        "start_at": text_of(start),
        "end_at": text_of(start + timedelta(days=1)),
        "missed_runs": "RUN_LATEST",
    }
    key = new_key()
    response = await post_order(tenant, key=key, **asked)
    order = response.json()
    assert response.status_code == 201, response.text
    assert response.headers["location"] == f"/v1/standing-orders/{order['id']}"
    assert "idempotency-replayed" not in response.headers
    assert order.keys() == FIELDS
    schedule = {"interval_seconds": 3_600, "cron": None, "time_zone": None}
    assert {name: order[name] for name in asked} == {**asked, "schedule": schedule}
    assert (order["type"], order["status"]) == ("INTERNAL", "ACTIVE")
    assert (order["idempotency_key"], order["last_run"]) == (key, None)
    assert order["created_by"] == str(tenant.record.id)
    hours = [text_of(start + timedelta(hours=hour)) for hour in range(10)]
    assert order["next_runs"] == hours
    assert await tenant.get(f"/standing-orders/{order['id']}") == order


async def test_intervals_are_counted_from_the_order_unless_it_names_a_start(
    tenant: Client, body: Json
) -> None:
    before = now()
    order = (await post_order(tenant, **body)).json()
    assert text_of(before + timedelta(hours=1)) <= order["start_at"]
    assert order["next_runs"][0] == order["start_at"]
    assert (order["missed_runs"], order["end_at"]) == ("RUN_ALL", None)


async def test_deposits_and_withdrawals_can_be_ordered_too(tenant: Client, body: Json) -> None:
    del body["source"]
    deposit = await post_order(tenant, **{**body, "type": "DEPOSIT"})
    assert (deposit.status_code, deposit.json()["type"]) == (201, "DEPOSIT")
    withdrawal = await post_order(tenant, **{**body, "type": "WITHDRAWAL"})
    problem_of(withdrawal, 422, "validation_failed")


async def test_a_key_makes_one_order_however_often_it_is_sent(
    tenant: Client, stack: Stack, body: Json
) -> None:
    key = new_key()
    answers = await asyncio.gather(*(post_order(tenant, key=key, **body) for _ in range(10)))
    assert {response.status_code for response in answers} == {201}
    assert len({response.json()["id"] for response in answers}) == 1
    replayed = [response.headers.get("idempotency-replayed") for response in answers]
    assert sorted(replayed, key=str) == [None, *["true"] * 9]
    spelled = {**body, "amount": "10", "type": "INTERNAL", "missed_runs": "RUN_ALL"}
    again = await post_order(tenant, key=key, **spelled)
    assert again.json()["id"] == answers[0].json()["id"]
    counts = await counts_of_tenant(stack.database_url, tenant.tenant_id)
    assert counts["standing_orders"] == 1


@pytest.mark.parametrize(
    "other",
    [
        {"amount": 11},
        {"description": "other"},
        {"schedule": {"interval_seconds": 3_601}},
        {"schedule": {"cron": "0 * * * *", "time_zone": "UTC"}},
        {"end_at": "2199-01-01T00:00:00Z"},
        {"missed_runs": "SKIP"},
    ],
    ids=str,
)
async def test_a_key_is_not_to_be_had_for_another_order(
    tenant: Client, body: Json, other: Json
) -> None:
    key = new_key()
    assert (await post_order(tenant, key=key, **body)).status_code == 201
    problem_of(
        await post_order(tenant, key=key, **{**body, **other}), 422, "idempotency_key_reused"
    )


async def test_a_transfers_key_is_not_to_be_had_for_an_order(tenant: Client, body: Json) -> None:
    key = new_key()
    transfer = {name: value for name, value in body.items() if name != "schedule"}
    assert (await tenant.post_transfer(key=key, **transfer)).status_code == 201
    problem_of(await post_order(tenant, key=key, **body), 422, "idempotency_key_reused")


BAD: list[Any] = [
    ("schedule", None, "schedule"),
    ("schedule", {}, "schedule"),
    ("schedule", "hourly", "schedule"),
    ("schedule", {"interval_seconds": 60, "cron": "0 * * * *", "time_zone": "UTC"}, "schedule"),
    ("schedule", {"interval_seconds": 60, "time_zone": "UTC"}, "schedule"),
    ("schedule", {"cron": "0 * * * *"}, "schedule"),
    ("schedule", {"time_zone": "UTC"}, "schedule"),
    ("schedule", {"every": 60}, "schedule.every"),
    *(
        ("schedule", {"interval_seconds": seconds}, "schedule.interval_seconds")
        for seconds in (0, -1, 1.5, "60", True, 366 * 86_400 + 1, 10**30)
    ),
    *(
        ("schedule", {"cron": cron, "time_zone": "UTC"}, "schedule.cron")
        for cron in (
            *("", "* * * *", "* * * * * *", "60 * * * *", "@daily", "0 0 31 2 *", "0 0 L * *"),
            *("0 0 * * 5#2", "CRON_TZ=UTC 0 9 * * *", "x" * 300, "*/0 * * * *", "0 0 30 2 *", 5),
        )
    ),
    *(
        ("schedule", {"cron": "0 * * * *", "time_zone": zone}, "schedule.time_zone")
        for zone in ("", "Mars/Base", "CET+1", "europe/berlin", "../etc/passwd", "localtime", 1)
    ),
    ("start_at", "tomorrow", "start_at"),
    ("start_at", "2026-01-01T00:00:00", "start_at"),
    ("end_at", "2020-01-01T00:00:00Z", "end_at"),
    pytest.param("end_at", text_of(now() + timedelta(minutes=5)), "end_at", id="end_at-early"),
    ("end_at", 7, "end_at"),
    ("missed_runs", "PERHAPS", "missed_runs"),
    ("type", "REVERSAL", "type"),
    ("amount", 0, "amount"),
    ("amount", 1.5, "amount"),
    ("currency", "eur", "currency"),
    ("description", "x" * 1_001, "description"),
    ("metadata", [], "metadata"),
    ("source", None, "source"),
    ("extra", 1, "extra"),
]


@pytest.mark.parametrize(("name", "value", "field"), BAD, ids=lambda part: str(part)[:40])
async def test_what_is_not_right_is_refused_by_its_field(
    tenant: Client, stack: Stack, body: Json, name: str, value: Any, field: str
) -> None:
    before = await rows_of_tenant(stack.database_url, tenant.tenant_id)
    response = await post_order(tenant, **{**body, name: value})
    problem = problem_of(response, 422, "validation_failed")
    assert [error["field"] for error in problem["errors"]] == [field]
    assert await rows_of_tenant(stack.database_url, tenant.tenant_id) == before


async def test_accounts_are_held_against_the_order_as_for_a_transfer(
    tenant: Client, make_tenant: TenantMaker, body: Json
) -> None:
    dollars = await tenant.account("USD")
    foreign = await (await make_tenant()).account()
    for destination, code in [
        (str(uuid.uuid4()), "account_not_found"),
        (foreign["id"], "account_not_found"),
        (body["source"], "same_account"),
        (dollars["id"], "currency_mismatch"),
    ]:
        response = await post_order(tenant, **{**body, "destination": destination})
        problem_of(response, 422, code)


async def test_the_key_is_required(tenant: Client, body: Json) -> None:
    response = await tenant.call("POST", "/standing-orders", json=body)
    problem_of(response, 400, "idempotency_key_missing")


async def test_orders_are_listed_newest_first_and_by_status(tenant: Client, body: Json) -> None:
    orders = [(await post_order(tenant, **body)).json()["id"] for _ in range(3)]
    await change(tenant, {"id": orders[1]}, "pause")
    pages = [page async for page in tenant.walk("/standing-orders", limit=2)]
    assert [[order["id"] for order in page] for page in pages] == [orders[:0:-1], orders[:1]]
    for status, expected in (("PAUSED", [orders[1]]), ("CANCELLED", [])):
        found = await tenant.get("/standing-orders", status=status)
        assert [order["id"] for order in found["data"]] == expected


async def test_runs_are_listed_latest_first_by_pages_and_shown_in_the_order(
    tenant: Client, body: Json, temporal_client: TemporalClient
) -> None:
    start = now() - timedelta(hours=4)
    order = await make_order(
        tenant, **{**body, "schedule": HOURLY, "start_at": text_of(start), "missed_runs": "SKIP"}
    )
    await backfill(temporal_client, order, start, start + timedelta(hours=2))
    runs = await wait_for_runs(tenant, order, lambda found: len(found) == 3)
    pages = [page async for page in tenant.walk(f"/standing-orders/{order['id']}/runs", limit=2)]
    assert [len(page) for page in pages] == [2, 1]
    assert await runs_of(tenant, order) == runs
    assert (await tenant.get(f"/standing-orders/{order['id']}"))["last_run"] == runs[-1]
    bad = await tenant.call(
        "GET", f"/standing-orders/{order['id']}/runs", params={"cursor": str(uuid.uuid4())}
    )
    problem_of(bad, 422, "validation_failed")


async def test_other_tenants_know_nothing_of_an_order(
    tenant: Client, make_tenant: TenantMaker, body: Json
) -> None:
    order = (await post_order(tenant, **body)).json()
    other = await make_tenant()
    assert (await other.get("/standing-orders"))["data"] == []
    for identifier in (order["id"], str(uuid.uuid4()), "x"):
        path = f"/standing-orders/{identifier}"
        for method, tail in [
            ("GET", ""),
            ("GET", "/runs"),
            ("POST", "/pause"),
            ("POST", "/resume"),
            ("POST", "/cancel"),
        ]:
            response = await other.call(method, path + tail)
            problem_of(response, 404, "standing_order_not_found")
    assert (await tenant.get(f"/standing-orders/{order['id']}"))["status"] == "ACTIVE"


SPRING = [
    *("2027-03-26T01:30:00Z", "2027-03-27T01:30:00Z"),
    # On the 28th there is no 02:30.
    *("2027-03-29T00:30:00Z", "2027-03-30T00:30:00Z"),
]
AUTUMN = [
    *("2027-10-30T00:30:00Z", "2027-10-31T01:30:00Z"),
    # Twice 02:30 on the 31st: one run.
    *("2027-11-01T01:30:00Z", "2027-11-02T01:30:00Z"),
]


@pytest.mark.parametrize(("start", "expected"), [("2027-03-26", SPRING), ("2027-10-30", AUTUMN)])
async def test_cron_follows_the_clocks_of_its_time_zone(
    tenant: Client, body: Json, start: str, expected: list[str]
) -> None:
    body["schedule"] = {"cron": "30  2 * * *", "time_zone": "Europe/Berlin"}
    order = (await post_order(tenant, **body, start_at=f"{start}T00:00:00+01:00")).json()
    assert order["schedule"]["cron"] == "30 2 * * *"
    assert order["next_runs"][:4] == expected


async def test_cron_takes_either_of_two_named_days_as_a_crontab_does(
    tenant: Client, body: Json
) -> None:
    body["schedule"] = {"cron": "0 9 1 * MON", "time_zone": "UTC"}
    order = (await post_order(tenant, **body, start_at="2027-03-27T00:00:00Z")).json()
    days = [run[:10] for run in order["next_runs"][:3]]
    assert days == ["2027-03-29", "2027-04-01", "2027-04-05"]


async def test_amounts_stay_exact_however_large(tenant: Client, body: Json) -> None:
    response = await post_order(tenant, **{**body, "amount": str(10**30)})
    assert json.loads(response.text)["amount"] == 10**30


async def test_an_orders_key_is_not_to_be_had_for_a_transfer(tenant: Client, body: Json) -> None:
    key = new_key()
    assert (await post_order(tenant, key=key, **body)).status_code == 201
    transfer = {name: value for name, value in body.items() if name != "schedule"}
    response = await tenant.post_transfer(key=key, **transfer)
    problem_of(response, 422, "idempotency_key_reused")
