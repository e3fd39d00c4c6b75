from typing import Any

import pytest

from tests.support.api import NOBODY, Client, Json, new_key, problem_of
from tests.support.approvals import Desk
from tests.support.tenants import TenantMaker

TIMES = [("1899-12-31T00:00:00Z", "time_range"), ("2201-01-01T00:00:00Z", "time_range")] + [
    (text, "time_form")
    for text in [
        "yesterday",
        "2026-01-01",
        "2026-01-01T00:00:00",
        "2026-13-01T00:00:00Z",
        "2026-01-01T25:00:00Z",
        "2026-01-01 00:00:00Z",
        "1767225600",
        "2026-01-01T00:00:00+99:99",
        "0001-01-01T00:00:00+14:00",
        "٢٠٢٦-01-01T00:00:00Z",
        "",
    ]
]


async def some_transfers(tenant: Client) -> tuple[Json, Json, list[Json]]:
    """Two accounts, and five transfers of three types of which one failed, oldest first."""
    one, two = await tenant.account(), await tenant.account("EUR")
    made = [
        await tenant.deposit(one["id"], 100),
        await tenant.transfer(source=one["id"], destination=two["id"], amount=30),
        await tenant.withdraw(two["id"], 5),
        await tenant.deposit(two["id"], 1),
    ]
    failed = await tenant.post_transfer(
        key=new_key(), type="WITHDRAWAL", source=one["id"], amount=1_000, currency="EUR"
    )
    return one, two, [*made, failed.json()["transfer"]]


async def test_transfers_are_filtered_by_each_field_and_by_all(tenant: Client) -> None:
    one, two, made = await some_transfers(tenant)

    async def positions(**wanted: str) -> list[int]:
        found = (await tenant.get("/transfers", **wanted))["data"]
        return [made.index(transfer) for transfer in found]

    assert await positions() == [4, 3, 2, 1, 0]
    assert await positions(state="FAILED") == [4]
    assert await positions(state="SUCCESS") == [3, 2, 1, 0]
    assert await positions(state="PROCESSING") == []
    assert await positions(type="DEPOSIT") == [3, 0]
    assert await positions(type="WITHDRAWAL") == [4, 2]
    assert await positions(type="REVERSAL") == []
    for name in (one["id"], one["account_number"]):
        assert await positions(account=name) == [4, 1, 0]
    assert await positions(account=two["id"], type="DEPOSIT", state="SUCCESS") == [3]
    assert await positions(account=made[0]["source"]) == [4, 3, 2, 0]
    assert await positions(idempotency_key=made[1]["idempotency_key"]) == [1]
    assert await positions(idempotency_key="none") == []


async def test_transfers_are_found_by_when_they_were_created(tenant: Client) -> None:
    *_, made = await some_transfers(tenant)

    async def positions(**wanted: str) -> list[int]:
        found = (await tenant.get("/transfers", **wanted))["data"]
        return [made.index(transfer) for transfer in found]

    third = made[2]["created_at"]
    assert await positions(created_from=third) == [4, 3, 2]
    assert await positions(created_to=third) == [1, 0]
    assert await positions(created_from=made[1]["created_at"], created_to=third) == [1]
    assert await positions(created_from=third, created_to=third) == []


@pytest.mark.parametrize("limit", [1, 3, 8, 9, 200])
@pytest.mark.parametrize("path", ["/users", "/accounts", "/transfers"])
async def test_pages_have_no_gap_and_no_repeat(tenant: Client, path: str, limit: int) -> None:
    user = await tenant.user()
    account = await tenant.account(user_id=user["id"])
    for _ in range(7):
        await tenant.user()
        await tenant.account(user_id=user["id"])
        await tenant.deposit(account["id"], 1)
    everything = (await tenant.get(path))["data"]
    pages = [page async for page in tenant.walk(path, limit=limit)]
    assert all(len(page) == limit for page in pages[:-1])
    assert len(pages[-1]) <= limit
    assert [item for page in pages for item in page] == everything
    ids = [item["id"] for item in everything]
    assert ids == sorted(set(ids), reverse=True)


async def test_a_walk_is_not_disturbed_by_what_is_added_meanwhile(tenant: Client) -> None:
    before = [await tenant.user(f"user {n}") for n in range(6)]
    walked: list[Json] = []
    async for page in tenant.walk("/users", limit=2):
        walked += page
        await tenant.user("newcomer")
    assert walked == before[::-1]


async def test_fifty_are_listed_where_no_limit_is_named(tenant: Client) -> None:
    for _ in range(51):
        await tenant.user()
    page = await tenant.get("/users")
    assert len(page["data"]) == 50
    assert page["next_cursor"] == page["data"][-1]["id"]


async def much_done_to(desk: Desk) -> Json:
    """Make a transfer that was approved by two, captured in three parts and reversed in three."""
    await desk.maker.rule(500, approvers=2)
    held = await desk.waiting(600, capture="manual")
    for approver in desk.approvers:
        assert (await approver.operate(held, "approve")).status_code == 200
    await desk.reached(held, "RESERVED")
    for is_final in (False, False, True):
        captured = await desk.maker.operate(held, "capture", amount=100, final=is_final)
        assert captured.status_code == 200, captured.text
    for _ in range(3):
        assert (await desk.maker.operate(held, "reversals", amount=50)).status_code == 201
    return held


async def test_the_lists_of_a_transfer_have_pages_without_gap_or_repeat(
    tenant: Client, make_tenant: TenantMaker
) -> None:
    transfer = await much_done_to(await Desk.open(tenant, make_tenant))
    lists = {"approvals": 2, "entries": 6, "events": 9, "reversals": 3}
    for part, count in lists.items():
        path = f"/transfers/{transfer['id']}/{part}"
        everything = (await tenant.get(path))["data"]
        assert len(everything) == count, everything
        for limit in (1, 2, count, 200):
            pages = [page async for page in tenant.walk(path, limit=limit)]
            assert all(len(page) == limit for page in pages[:-1])
            assert [item for page in pages for item in page] == everything
    entries = (await tenant.get(f"/transfers/{transfer['id']}/entries"))["data"]
    assert [entry["direction"] for entry in entries] == ["DEBIT"] * 3 + ["CREDIT"] * 3


async def test_fifty_entries_of_a_transfer_are_listed_where_no_limit_is_named(
    tenant: Client,
) -> None:
    one, two = await tenant.account(balance=100), await tenant.account()
    leg = {"source": one["id"], "destination": two["id"], "amount": 1, "currency": "EUR"}
    body = {"legs": [leg] * 26}
    headers = {"Idempotency-Key": new_key()}
    made = await tenant.call("POST", "/transfers", json=body, headers=headers)
    path = f"/transfers/{made.json()['id']}/entries"
    page = await tenant.get(path)
    assert len(page["data"]) == 50
    rest = await tenant.get(path, cursor=page["next_cursor"])
    assert [entry["direction"] for entry in rest["data"]] == ["CREDIT"] * 2
    assert rest["next_cursor"] is None


PARTS = [f"/transfers/{NOBODY}/{part}" for part in ("approvals", "entries", "events", "reversals")]


@pytest.mark.parametrize("limit", ["0", "-1", "201", "many", "1.5", "", "9" * 30])
@pytest.mark.parametrize("path", ["/users", "/accounts", "/transfers", *PARTS])
async def test_a_limit_is_1_to_200(tenant: Client, path: str, limit: str) -> None:
    response = await tenant.call("GET", path, params={"limit": limit})
    problem = problem_of(response, 422, "validation_failed")
    assert [error["field"] for error in problem["errors"]] == ["limit"]


@pytest.mark.parametrize("cursor", ["x", "", "0", "{}", "' OR 1=1", "\x00", "1" * 40])
@pytest.mark.parametrize(
    "path", ["/users", "/accounts", "/transfers", *(p for p in PARTS if "events" not in p)]
)
async def test_a_cursor_comes_from_the_page_before(tenant: Client, path: str, cursor: str) -> None:
    response = await tenant.call("GET", path, params={"cursor": cursor})
    problem = problem_of(response, 422, "validation_failed")
    assert [error["code"] for error in problem["errors"]] == ["cursor_form"]


@pytest.mark.parametrize("cursor", ["x", "", "-1", "1.0", "٣", "9" * 19])
async def test_a_cursor_of_an_accounts_entries_or_of_events_is_a_sequence(
    tenant: Client, cursor: str
) -> None:
    account = await tenant.account()
    transfer = await tenant.deposit(account["id"], 1)
    for path in (f"/accounts/{account['id']}/entries", f"/transfers/{transfer['id']}/events"):
        response = await tenant.call("GET", path, params={"cursor": cursor})
        problem_of(response, 422, "validation_failed")
        assert (await tenant.get(path, cursor="9" * 18, order="asc"))["data"] == []


@pytest.mark.parametrize(("moment", "code"), TIMES)
async def test_times_have_the_form_of_rfc_3339(tenant: Client, moment: str, code: str) -> None:
    account = await tenant.account()
    path = f"/accounts/{account['id']}"
    for where, name in [
        ("/transfers", "created_from"),
        ("/transfers", "created_to"),
        (f"{path}/balance", "as_of"),
        (f"{path}/entries", "from"),
        (f"{path}/entries", "to"),
    ]:
        response = await tenant.call("GET", where, params={name: moment})
        errors = problem_of(response, 422, "validation_failed")["errors"]
        assert [(error["field"], error["code"]) for error in errors] == [(name, code)]


BAD_FILTERS: list[tuple[str, dict[str, Any]]] = [
    ("/transfers", {"state": "DONE"}),
    ("/transfers", {"state": "success"}),
    ("/transfers", {"type": "GIFT"}),
    ("/transfers", {"account": "nonsense"}),
    ("/transfers", {"account": "1000000000000001"}),
    *(("/transfers", {"idempotency_key": key}) for key in ["", "\x00", "é", "a b", "x" * 201]),
    ("/accounts", {"status": "OPEN"}),
    ("/accounts", {"currency": "eur"}),
    ("/accounts", {"user_id": "me"}),
    ("/accounts", {"external_id": "a b"}),
    ("/users", {"external_id": "a/b"}),
    ("/users", {"external_id": "\x00"}),
]


@pytest.mark.parametrize(("path", "wanted"), BAD_FILTERS)
async def test_a_filter_of_the_wrong_form_is_an_error_and_not_silence(
    tenant: Client, path: str, wanted: dict[str, Any]
) -> None:
    response = await tenant.call("GET", path, params=wanted)
    errors = problem_of(response, 422, "validation_failed")["errors"]
    assert [error["field"] for error in errors] == list(wanted)


async def test_transfers_of_an_unknown_account_are_not_found(
    tenant: Client, make_tenant: TenantMaker
) -> None:
    foreign = await (await make_tenant()).account()
    for reference in ("ext:nobody", foreign["id"], foreign["account_number"]):
        response = await tenant.call("GET", "/transfers", params={"account": reference})
        problem_of(response, 404, "account_not_found")
