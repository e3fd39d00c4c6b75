"""Money taken back along a transfer, in full or in part, never more than has moved."""

import asyncio
from collections import Counter

import pytest

from tests.support.api import Client, Json, new_key, problem_of
from tests.support.proof import require_clean_ledger
from tests.support.stack import Stack


@pytest.fixture
async def accounts(tenant: Client) -> tuple[Json, Json]:
    return await tenant.account(balance=1_000), await tenant.account()


async def moved(tenant: Client, accounts: tuple[Json, Json], amount: int = 600) -> Json:
    source, destination = accounts
    return await tenant.transfer(source=source["id"], destination=destination["id"], amount=amount)


async def test_a_reversal_is_a_new_transfer_linked_both_ways(
    tenant: Client, accounts: tuple[Json, Json]
) -> None:
    original = await moved(tenant, accounts)
    response = await tenant.operate(original, "reversals", reason="damaged", metadata={"case": 7})
    reversal = response.json()
    assert (response.status_code, reversal["state"], reversal["type"]) == (
        *(201, "SUCCESS"),
        "REVERSAL",
    )
    assert reversal["reversal_of"] == original["id"]
    assert (reversal["source"], reversal["destination"]) == (
        original["destination"],
        original["source"],
    )
    assert (reversal["amount"], reversal["description"]) == (600, "damaged")
    now = await tenant.get(f"/transfers/{original['id']}")
    assert (now["state"], now["reversed_amount"]) == ("SUCCESS", 600)
    assert {**now, "reversed_amount": 0} == original
    listed = await tenant.get(f"/transfers/{original['id']}/reversals")
    assert listed["data"] == [reversal]
    assert await tenant.balance(accounts[0]) == (1_000, 0)


async def test_the_request_of_a_transfer_gets_its_first_answer_after_a_reversal_too(
    tenant: Client, accounts: tuple[Json, Json]
) -> None:
    source, destination = accounts
    asked = {"source": source["id"], "destination": destination["id"], "amount": 600}
    key = new_key()
    original = await tenant.transfer(key=key, **asked)
    assert (await tenant.operate(original, "reversals", amount=100)).status_code == 201
    assert await tenant.transfer(key=key, **asked) == original
    assert (await tenant.get(f"/transfers/{original['id']}"))["reversed_amount"] == 100


async def test_parts_are_reversed_until_the_whole_is(
    tenant: Client, accounts: tuple[Json, Json]
) -> None:
    original = await moved(tenant, accounts)
    assert (await tenant.operate(original, "reversals", amount=100)).status_code == 201
    problem = problem_of(
        await tenant.operate(original, "reversals", amount=501), 422, "reversal_exceeds_transfer"
    )
    assert problem["transfer"]["state"] == "FAILED"
    assert (await tenant.operate(original, "reversals")).json()["amount"] == 500
    problem_of(await tenant.operate(original, "reversals"), 409, "not_reversible")
    assert await tenant.balance(accounts[1]) == (0, 0)


async def test_a_repeated_reversal_gives_the_first_answer(
    tenant: Client, accounts: tuple[Json, Json]
) -> None:
    original = await moved(tenant, accounts)
    key = new_key()
    first = await tenant.operate(original, "reversals", key=key)
    again = await tenant.operate(original, "reversals", key=key)
    assert (again.status_code, again.json()) == (201, first.json())
    assert again.headers["idempotency-replayed"] == "true"
    problem_of(
        await tenant.operate(original, "reversals", key=key, amount=600),
        *(422, "idempotency_key_reused"),
    )


async def test_deposits_and_withdrawals_are_reversed_through_settlement(tenant: Client) -> None:
    account = await tenant.account(balance=1_000)
    deposit = await tenant.deposit(account["id"], 50)
    withdrawal = await tenant.withdraw(account["id"], 70)
    assert (await tenant.operate(withdrawal, "reversals")).status_code == 201
    assert (await tenant.operate(deposit, "reversals")).status_code == 201
    assert await tenant.balance(account) == (1_000, 0)


async def test_a_reversal_that_fails_leaves_the_transfer_reversible(
    tenant: Client, accounts: tuple[Json, Json]
) -> None:
    original = await moved(tenant, accounts)
    await tenant.withdraw(accounts[1]["id"], 500)
    problem_of(await tenant.operate(original, "reversals"), 422, "insufficient_funds")
    await tenant.change_status(accounts[0]["id"], "freeze")
    problem_of(await tenant.operate(original, "reversals", amount=100), 422, "account_frozen")
    assert (await tenant.get(f"/transfers/{original['id']}"))["reversed_amount"] == 0
    await tenant.change_status(accounts[0]["id"], "unfreeze")
    assert (await tenant.operate(original, "reversals", amount=100)).status_code == 201


async def test_only_what_has_moved_can_be_reversed(
    tenant: Client, accounts: tuple[Json, Json]
) -> None:
    source, destination = accounts
    held = await tenant.hold(source=source["id"], destination=destination["id"], amount=300)
    problem_of(await tenant.operate(held, "reversals"), 409, "not_reversible")
    await tenant.operate(held, "capture", amount=120, final=True)
    problem_of(
        await tenant.operate(held, "reversals", amount=121), 422, "reversal_exceeds_transfer"
    )
    reversal = (await tenant.operate(held, "reversals")).json()
    assert reversal["amount"] == 120
    problem_of(await tenant.operate(reversal, "reversals"), 409, "not_reversible")
    failed = await tenant.post_transfer(
        key=new_key(), source=destination["id"], destination=source["id"], amount=1, currency="EUR"
    )
    problem_of(await tenant.operate(failed.json()["transfer"], "reversals"), 409, "not_reversible")


async def test_fifty_reversals_at_once_never_take_back_more_than_has_moved(
    tenant: Client, accounts: tuple[Json, Json], stack: Stack
) -> None:
    original = await moved(tenant, accounts, amount=100)
    await tenant.deposit(accounts[1]["id"], 10_000)
    responses = await asyncio.gather(
        *(tenant.operate(original, "reversals", amount=9) for _ in range(50))
    )
    outcomes = Counter(response.json().get("code", "SUCCESS") for response in responses)
    assert outcomes == Counter({"SUCCESS": 11, "reversal_exceeds_transfer": 39})
    assert (await tenant.get(f"/transfers/{original['id']}"))["reversed_amount"] == 99
    assert await tenant.balance(accounts[0]) == (999, 0)
    await require_clean_ledger(stack)
