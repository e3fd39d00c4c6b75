from datetime import datetime

import pytest

from runtime.composition import Services
from tests.support.api import Client, Json
from tests.support.holds import held

DAY_1, DAY_2, DAY_3 = (f"2026-01-0{day}T12:00:00Z" for day in (1, 2, 3))


async def dated(tenant: Client, account: Json, amount: int, effective_at: str) -> Json:
    return await tenant.transfer(
        type="DEPOSIT", destination=account["id"], amount=amount, effective_at=effective_at
    )


async def three_days(tenant: Client) -> Json:
    """Open an account with one deposit a day, recorded in another order."""
    account = await tenant.account()
    for amount, day in [(200, DAY_2), (100, DAY_1), (400, DAY_3)]:
        await dated(tenant, account, amount, day)
    return account


async def test_the_present_balance_is_that_of_the_account(tenant: Client) -> None:
    account = await tenant.account(balance=70, overdraft_limit=30)
    balance = await tenant.get(f"/accounts/{account['id']}/balance")
    assert balance == {
        "account_id": account["id"],
        "currency": "EUR",
        "posted": 70,
        "held": 0,
        "available": 100,
        "as_of": None,
    }


@pytest.mark.parametrize(
    ("as_of", "posted"),
    [
        ("2025-12-31T23:59:59Z", 0),
        ("2026-01-01T11:59:59.999999Z", 0),
        (DAY_1, 100),
        ("2026-01-01T13:00:00+01:00", 100),
        ("2026-01-02T11:59:59Z", 100),
        (DAY_2, 300),
        (DAY_3, 700),
        ("2199-12-31T00:00:00Z", 700),
    ],
)
async def test_a_balance_as_of_a_time_counts_what_was_effective_by_then(
    tenant: Client, as_of: str, posted: int
) -> None:
    account = await three_days(tenant)
    balance = await tenant.get(f"/accounts/{account['id']}/balance", as_of=as_of)
    assert (balance["posted"], balance["available"]) == (posted, posted)
    assert datetime.fromisoformat(balance["as_of"]) == datetime.fromisoformat(as_of)


async def now(tenant: Client) -> str:
    """Read the database's clock, which dates holds."""
    created_at: str = (await tenant.user())["created_at"]
    return created_at


async def test_a_hold_counts_from_its_opening_to_its_close(
    tenant: Client, services: Services
) -> None:
    account = await tenant.account(balance=50)
    path = f"/accounts/{account['id']}/balance"
    before = await now(tenant)
    async with held(services, tenant, account, 20):
        during = await now(tenant)
        assert (await tenant.get(path))["held"] == 20
    for moment, held_then in [(before, 0), (during, 20), (await now(tenant), 0)]:
        balance = await tenant.get(path, as_of=moment)
        assert (balance["held"], balance["available"]) == (held_then, 50 - held_then)


async def test_entries_tell_every_change_newest_first_or_oldest_first(tenant: Client) -> None:
    account = await three_days(tenant)
    withdrawal = await tenant.withdraw(account["id"], 50)
    path = f"/accounts/{account['id']}/entries"
    entries = (await tenant.get(path))["data"]
    assert [entry["sequence"] for entry in entries] == [4, 3, 2, 1]
    assert [entry["balance_after"] for entry in entries] == [650, 700, 300, 200]
    assert [entry["amount"] for entry in entries] == [50, 400, 100, 200]
    assert [entry["direction"] for entry in entries] == ["DEBIT", "CREDIT", "CREDIT", "CREDIT"]
    assert entries[0]["transfer_id"] == withdrawal["id"]
    assert {(entry["account_id"], entry["currency"]) for entry in entries} == {
        (account["id"], "EUR")
    }
    assert (await tenant.get(path, order="asc"))["data"] == entries[::-1]
    assert (await tenant.get(path, order="desc"))["data"] == entries


@pytest.mark.parametrize(
    ("start", "end", "amounts"),
    [
        (None, None, [200, 100, 400]),
        (DAY_2, None, [200, 400]),
        (None, DAY_2, [100]),
        (DAY_1, DAY_3, [200, 100]),
        (DAY_3, DAY_3, []),
        ("2026-01-03T12:00:00.000001Z", None, []),
    ],
)
async def test_entries_from_a_time_on_and_before_another(
    tenant: Client, start: str | None, end: str | None, amounts: list[int]
) -> None:
    account = await three_days(tenant)
    entries = await tenant.get(
        f"/accounts/{account['id']}/entries", from_=start, to=end, order="asc"
    )
    assert [entry["amount"] for entry in entries["data"]] == amounts


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("limit", [1, 2, 3, 7])
async def test_pages_of_entries_have_no_gap_and_no_repeat(
    tenant: Client, order: str, limit: int
) -> None:
    account = await tenant.account()
    for amount in range(1, 7):
        await tenant.deposit(account["id"], amount)
    path = f"/accounts/{account['id']}/entries"
    pages = [page async for page in tenant.walk(path, limit=limit, order=order)]
    assert all(len(page) == limit for page in pages[:-1])
    amounts = [entry["amount"] for page in pages for entry in page]
    assert amounts == sorted(range(1, 7), reverse=order == "desc")


async def test_largest_amounts_stay_exact(tenant: Client) -> None:
    account = await tenant.account()
    await tenant.deposit(account["id"], 10**30)
    await tenant.transfer(type="DEPOSIT", destination=account["id"], amount=str(10**30))
    assert await tenant.posted(account["id"]) == 2 * 10**30
    await tenant.withdraw(account["id"], 10**30 - 1)
    assert await tenant.posted(account["id"]) == 10**30 + 1
