import uuid
from typing import Any

import pytest

from domain.account_numbers import is_account_number
from runtime.composition import Services
from tests.support.api import NOBODY, Client, Json, problem_of
from tests.support.holds import held

FIELDS = {
    "id",
    "account_number",
    "user_id",
    "external_id",
    "kind",
    "currency",
    "status",
    "overdraft_limit",
    "balance",
    "metadata",
    "created_at",
}
VERBS = ("freeze", "unfreeze", "close")


def references(account: Json) -> list[str]:
    """The three ways to name an account."""
    return [account["id"], account["account_number"], f"ext:{account['external_id']}"]


async def settlement_of(tenant: Client, currency: str) -> Json:
    accounts = (await tenant.get("/accounts", currency=currency))["data"]
    return next(account for account in accounts if account["kind"] == "SYSTEM")


async def test_a_new_account_is_active_and_empty_with_a_checked_number(tenant: Client) -> None:
    user = await tenant.user()
    body = {
        "user_id": user["id"],
        "currency": "JPY",
        "external_id": "wallet:1",
        "overdraft_limit": 10**30,
        "metadata": {"purpose": "savings"},
    }
    response = await tenant.call("POST", "/accounts", json=body)
    account = response.json()
    assert response.status_code == 201
    assert response.headers["location"] == f"/v1/accounts/{account['id']}"
    assert account.keys() == FIELDS
    assert {name: account[name] for name in body} == body
    assert (account["kind"], account["status"]) == ("CUSTOMER", "ACTIVE")
    assert account["balance"] == {"posted": 0, "held": 0, "available": 10**30}
    assert is_account_number(account["account_number"])


async def test_every_reference_names_the_account_in_paths(tenant: Client) -> None:
    account = await tenant.account(external_id="wallet:~!*'()", balance=5)
    expected = await tenant.get(f"/accounts/{account['id']}")
    for reference in [*references(account), account["id"].upper()]:
        assert await tenant.get(f"/accounts/{reference}") == expected
        assert await tenant.posted(reference) == 5
        assert len((await tenant.get(f"/accounts/{reference}/entries"))["data"]) == 1


async def test_every_reference_names_the_account_in_bodies(tenant: Client) -> None:
    source = await tenant.account(external_id="from", balance=100)
    destination = await tenant.account(external_id="to")
    for named_source in references(source):
        for named_destination in references(destination):
            transfer = await tenant.transfer(
                source=named_source, destination=named_destination, amount=10
            )
            assert transfer["source"] == source["id"]
            assert transfer["destination"] == destination["id"]
    assert await tenant.posted(destination["id"]) == 90


async def test_the_settlement_account_of_a_currency_appears_by_itself_and_once(
    tenant: Client,
) -> None:
    for _ in range(2):
        await tenant.account("CHF", balance=50)
    accounts = (await tenant.get("/accounts", currency="CHF"))["data"]
    system = [account for account in accounts if account["kind"] == "SYSTEM"]
    assert len(accounts) == 3
    assert [account["balance"]["posted"] for account in system] == [-100]
    assert (system[0]["user_id"], system[0]["overdraft_limit"]) == (None, None)


@pytest.mark.parametrize(
    "reference",
    [NOBODY, "ext:nobody", "1000000000000001", "nonsense", "ext:", "ext:%00", "..%2F.."],
)
@pytest.mark.parametrize("tail", ["", "/balance", "/entries"])
async def test_an_unknown_account_is_not_found(tenant: Client, reference: str, tail: str) -> None:
    response = await tenant.call("GET", f"/accounts/{reference}{tail}")
    assert response.status_code == 404
    assert response.json()["code"] in {"account_not_found", "not_found"}


async def test_an_account_of_an_unknown_user_is_refused(tenant: Client) -> None:
    body = {"user_id": str(uuid.uuid4()), "currency": "EUR"}
    problem_of(await tenant.call("POST", "/accounts", json=body), 404, "user_not_found")


async def test_an_external_id_belongs_to_one_account_of_a_tenant(tenant: Client) -> None:
    account = await tenant.account(external_id="mine")
    body = {"user_id": account["user_id"], "currency": "USD", "external_id": "mine"}
    problem_of(await tenant.call("POST", "/accounts", json=body), 409, "external_id_taken")


async def test_freezing_and_unfreezing_may_be_repeated(tenant: Client) -> None:
    account = await tenant.account(balance=10)
    for verb, status in [("freeze", "FROZEN")] * 2 + [("unfreeze", "ACTIVE")] * 2:
        assert (await tenant.change_status(account["id"], verb))["status"] == status
    assert (await tenant.withdraw(account["id"], 10))["state"] == "SUCCESS"


async def test_a_closed_account_stays_closed(tenant: Client) -> None:
    account = await tenant.account()
    for _ in range(2):
        assert (await tenant.change_status(account["id"], "close"))["status"] == "CLOSED"
    path = f"/accounts/{account['id']}"
    for verb in ("freeze", "unfreeze"):
        problem_of(await tenant.call("POST", f"{path}/{verb}"), 409, "account_closed")
    change = await tenant.call("PATCH", path, json={"metadata": {"a": 1}})
    problem_of(change, 409, "account_closed")
    assert (await tenant.get(path))["status"] == "CLOSED"


async def test_an_account_with_money_or_holds_cannot_be_closed(
    tenant: Client, services: Services
) -> None:
    rich = await tenant.account(balance=1)
    problem_of(await tenant.call("POST", f"/accounts/{rich['id']}/close"), 409, "account_not_empty")
    holding = await tenant.account(overdraft_limit=100)
    async with held(services, tenant, holding, 60):
        balance = (await tenant.get(f"/accounts/{holding['id']}"))["balance"]
        assert balance == {"posted": 0, "held": 60, "available": 40}
        closing = await tenant.call("POST", f"/accounts/{holding['id']}/close")
        problem_of(closing, 409, "account_not_empty")
    assert (await tenant.change_status(holding["id"], "close"))["status"] == "CLOSED"


async def test_a_frozen_account_can_be_closed_when_it_is_empty(tenant: Client) -> None:
    account = await tenant.account()
    await tenant.change_status(account["id"], "freeze")
    assert (await tenant.change_status(account["id"], "close"))["status"] == "CLOSED"


@pytest.mark.parametrize("verb", VERBS)
async def test_settlement_accounts_are_not_the_callers_to_change(tenant: Client, verb: str) -> None:
    await tenant.account("SEK")
    path = f"/accounts/{(await settlement_of(tenant, 'SEK'))['id']}"
    problem_of(await tenant.call("POST", f"{path}/{verb}"), 409, "system_account_protected")
    change = await tenant.call("PATCH", path, json={"overdraft_limit": 1})
    problem_of(change, 409, "system_account_protected")


async def test_a_change_leaves_what_it_does_not_name(tenant: Client) -> None:
    account = await tenant.account(overdraft_limit=7, metadata={"a": 1}, external_id="patched")
    path = f"/accounts/{account['id']}"
    changes: list[dict[str, Any]] = [
        {"overdraft_limit": "9"},
        {"metadata": {"b": [2]}},
        {},
        {"metadata": {}},
    ]
    for change in changes:
        response = await tenant.call("PATCH", path, json=change)
        assert response.status_code == 200
    changed = await tenant.get(path)
    assert (changed["overdraft_limit"], changed["metadata"]) == (9, {})
    assert changed["balance"]["available"] == 9
    assert changed["external_id"] == "patched"


async def test_an_overdraft_can_be_used_and_then_not_be_lowered_below(tenant: Client) -> None:
    account = await tenant.account(overdraft_limit=100)
    await tenant.withdraw(account["id"], 60)
    path = f"/accounts/{account['id']}"
    assert (await tenant.get(path))["balance"] == {"posted": -60, "held": 0, "available": 40}
    lower = await tenant.call("PATCH", path, json={"overdraft_limit": 59})
    problem_of(lower, 409, "overdraft_limit_in_use")
    assert (await tenant.call("PATCH", path, json={"overdraft_limit": 60})).status_code == 200


async def test_accounts_are_filtered_by_each_field_and_by_all(tenant: Client) -> None:
    one = await tenant.account("EUR", external_id="one")
    two = await tenant.account("USD", user_id=one["user_id"], external_id="two")
    three = await tenant.account("USD")
    await tenant.change_status(three["id"], "freeze")

    async def ids(**wanted: str) -> list[str]:
        accounts = (await tenant.get("/accounts", **wanted))["data"]
        return [account["id"] for account in accounts if account["kind"] == "CUSTOMER"]

    assert await ids() == [three["id"], two["id"], one["id"]]
    assert await ids(user_id=one["user_id"]) == [two["id"], one["id"]]
    assert await ids(external_id="two") == [two["id"]]
    assert await ids(currency="USD") == [three["id"], two["id"]]
    assert await ids(status="FROZEN") == [three["id"]]
    assert await ids(user_id=one["user_id"], currency="USD", status="ACTIVE") == [two["id"]]
    assert await ids(status="CLOSED") == []
