"""Transfers with several legs: all or nothing, funds checked net over all of them."""

import asyncio
from collections import Counter
from typing import Any

from domain.limits import LEGS_MAXIMUM
from tests.support.api import Client, Json, new_key, problem_of
from tests.support.proof import require_clean_ledger
from tests.support.stack import Stack


def leg(source: Json, destination: Json, amount: int, currency: str = "EUR") -> Json:
    return {
        "source": source["id"],
        "destination": destination["id"],
        "amount": amount,
        "currency": currency,
    }


async def post_legs(tenant: Client, *legs: Json, key: str | None = None, **fields: Any) -> Any:
    return await tenant.call(
        "POST",
        "/transfers",
        json={"legs": list(legs), **fields},
        headers={"Idempotency-Key": key or new_key()},
    )


async def test_a_payment_with_a_fee_moves_both_or_neither(tenant: Client, stack: Stack) -> None:
    payer, shop, house = (
        await tenant.account(balance=105),
        await tenant.account(),
        (await tenant.account()),
    )
    paid = await post_legs(tenant, leg(payer, shop, 100), leg(payer, house, 5), description="tea")
    transfer = paid.json()
    assert (paid.status_code, transfer["state"]) == (201, "SUCCESS")
    assert [(part["destination"], part["amount"]) for part in transfer["legs"]] == [
        (shop["id"], 100),
        (house["id"], 5),
    ]
    assert (transfer["source"], transfer["amount"]) == (payer["id"], 100)
    assert await tenant.balance(payer) == (0, 0)
    assert await tenant.balance(house) == (5, 0)
    entries = (await tenant.get(f"/transfers/{transfer['id']}/entries"))["data"]
    assert len(entries) == 4
    assert await tenant.get(f"/transfers/{transfer['id']}") == transfer
    refused = await post_legs(tenant, leg(payer, shop, 0 + 1), leg(shop, house, 1))
    problem = problem_of(refused, 422, "insufficient_funds")
    assert len(problem["transfer"]["legs"]) == 2
    assert await tenant.balance(shop) == (100, 0)
    await require_clean_ledger(stack)


async def test_funds_are_checked_net_over_all_legs(tenant: Client) -> None:
    first, middle, last = (
        await tenant.account(balance=100),
        await tenant.account(),
        (await tenant.account()),
    )
    # What the middle account passes on comes in only with a later leg.
    through = await post_legs(tenant, leg(middle, last, 90), leg(first, middle, 100))
    assert through.status_code == 201
    assert [await tenant.balance(account) for account in (first, middle, last)] == [
        *((0, 0), (10, 0), (90, 0)),
    ]


async def test_legs_may_have_different_currencies(tenant: Client, stack: Stack) -> None:
    euros, dollars = await tenant.account(balance=100), await tenant.account("USD", balance=100)
    more_euros, more_dollars = await tenant.account(), await tenant.account("USD")
    exchanged = await post_legs(
        tenant, leg(euros, more_euros, 10), leg(dollars, more_dollars, 11, "USD")
    )
    assert exchanged.status_code == 201
    assert await tenant.balance(more_dollars) == (11, 0)
    mixed = await post_legs(tenant, leg(euros, more_euros, 1), leg(dollars, more_euros, 1, "USD"))
    problem_of(mixed, 422, "currency_mismatch")
    await require_clean_ledger(stack)


async def test_every_leg_is_found_by_its_accounts(tenant: Client) -> None:
    payer, shop, house = (
        await tenant.account(balance=105),
        await tenant.account(),
        (await tenant.account()),
    )
    transfer = (await post_legs(tenant, leg(payer, shop, 100), leg(payer, house, 5))).json()
    for account in (payer, shop, house):
        listed = await tenant.get("/transfers", account=account["id"], type="INTERNAL")
        assert listed["data"] == [transfer]


async def test_a_transfer_with_legs_is_repeated_and_reversed_as_a_whole(
    tenant: Client, stack: Stack
) -> None:
    payer, shop, house = (
        await tenant.account(balance=105),
        await tenant.account(),
        (await tenant.account()),
    )
    legs, key = (leg(payer, shop, 100), leg(payer, house, 5)), new_key()
    transfer = (await post_legs(tenant, *legs, key=key)).json()
    again = await post_legs(tenant, *legs, key=key)
    assert (again.status_code, again.json()) == (201, transfer)
    problem_of(await post_legs(tenant, *reversed(legs), key=key), 422, "idempotency_key_reused")
    problem_of(await tenant.operate(transfer, "reversals", amount=5), 409, "not_reversible")
    reversal = (await tenant.operate(transfer, "reversals")).json()
    assert (reversal["state"], len(reversal["legs"])) == ("SUCCESS", 2)
    assert await tenant.balance(payer) == (105, 0)
    problem_of(await tenant.operate(transfer, "reversals"), 409, "not_reversible")
    await require_clean_ledger(stack)


async def test_legs_that_cannot_be_are_refused_by_their_field(tenant: Client) -> None:
    payer, shop = await tenant.account(balance=100), await tenant.account()
    good = leg(payer, shop, 1)
    for wrong, field in (
        ([good], "legs"),
        ([good] * (LEGS_MAXIMUM + 1), "legs"),
        ([good, {**good, "amount": 0}], "legs.1.amount"),
        ([good, {"source": payer["id"]}], "legs.1.destination"),
    ):
        problem = problem_of(await post_legs(tenant, *wrong), 422, "validation_failed")
        assert field in [error["field"] for error in problem["errors"]]
    both = problem_of(await post_legs(tenant, good, good, amount=1), 422, "validation_failed")
    assert [error["field"] for error in both["errors"]] == ["amount"]
    problem_of(await post_legs(tenant, good, leg(payer, payer, 1)), 422, "same_account")
    stranger = {"id": "01a20691-1f54-7347-8bf2-a7dd97391817"}
    problem_of(await post_legs(tenant, good, leg(payer, stranger, 1)), 422, "account_not_found")


async def test_the_most_legs_move_at_once_beside_others_the_other_way(
    tenant: Client, stack: Stack
) -> None:
    accounts = [await tenant.account(balance=1_000) for _ in range(5)]
    pairs = [(i, (i + 1) % 5) for i in range(5)] * (LEGS_MAXIMUM // 5)
    there = [leg(accounts[i], accounts[j], 1) for i, j in pairs]
    back = [leg(accounts[j], accounts[i], 1) for i, j in pairs]
    responses = await asyncio.gather(
        *(post_legs(tenant, *legs) for legs in (there, back) for _ in range(4))
    )
    assert [response.status_code for response in responses] == [201] * 8
    assert [await tenant.balance(account) for account in accounts] == [(1_000, 0)] * 5
    await require_clean_ledger(stack)


async def test_a_statement_names_the_other_side_of_each_leg(tenant: Client) -> None:
    first, middle, last = (
        await tenant.account(balance=100),
        await tenant.account(),
        (await tenant.account()),
    )
    legs = (leg(first, middle, 50), leg(middle, last, 20), leg(last, first, 5))
    paid = (await post_legs(tenant, *legs)).json()
    await tenant.operate(paid, "reversals")
    for account, others in (
        (first, [(-50, middle), (5, last), (-5, last), (50, middle)]),
        (middle, [(50, first), (-20, last), (20, last), (-50, first)]),
        (last, [(20, middle), (-5, first), (5, first), (-20, middle)]),
    ):
        entries = (await tenant.get(f"/accounts/{account['id']}/statement"))["entries"]
        found = [
            (
                entry["amount"] * (1 if entry["direction"] == "CREDIT" else -1),
                entry["counterparty_id"],
                entry["counterparty_account_number"],
            )
            for entry in entries
            if entry["type"] != "DEPOSIT"
        ]
        assert Counter(found) == Counter(
            (amount, other["id"], other["account_number"]) for amount, other in others
        )
