"""Limits of accounts: how much they may send in a transfer, a day and a month."""

import asyncio
from collections import Counter
from typing import Any

import pytest

from domain.limits import AMOUNT_MAXIMUM_MINOR
from tests.support.api import Client, Json, new_key, problem_of
from tests.support.approvals import Desk
from tests.support.proof import require_clean_ledger
from tests.support.stack import Stack
from tests.support.tenants import TenantMaker
from tests.support.waiting import SOON, in_seconds

NO_LIMITS = {
    "per_transfer": None,
    "per_day": None,
    "per_month": None,
    "used_today": None,
    "used_this_month": None,
    "left_today": None,
    "left_this_month": None,
}


@pytest.fixture
async def desk(tenant: Client, make_tenant: TenantMaker) -> Desk:
    return await Desk.open(tenant, make_tenant, approvers=1)


async def limits_of(desk: Desk) -> Json:
    return await desk.maker.get(f"/accounts/{desk.source['id']}/limits")


async def used(desk: Desk) -> tuple[int, int]:
    limits = await limits_of(desk)
    return limits["used_today"], limits["used_this_month"]


async def test_limits_are_set_one_by_one_and_taken_away_by_null(desk: Desk) -> None:
    assert await limits_of(desk) == {
        "account_id": desk.source["id"],
        "currency": "EUR",
        **NO_LIMITS,
    }
    first = await desk.maker.limit(desk.source, per_transfer=50, per_day="300")
    assert (first["per_transfer"], first["per_day"], first["per_month"]) == (50, 300, None)
    assert (first["used_today"], first["left_today"], first["left_this_month"]) == (0, 300, None)
    second = await desk.maker.limit(desk.source, per_transfer=None, per_month=1_000)
    assert (second["per_transfer"], second["per_day"], second["per_month"]) == (None, 300, 1_000)
    assert await desk.maker.limit(desk.source) == second == await limits_of(desk)
    third = await desk.maker.limit(desk.source, per_day=None, per_month=None)
    assert NO_LIMITS.items() <= third.items()


async def test_limits_are_cleared_as_a_whole(desk: Desk, stack: Stack) -> None:
    await desk.maker.limit(desk.source, per_transfer=0, per_day=0)
    problem_of(await desk.ask(1), 422, "limit_exceeded")
    path = f"/accounts/{desk.source['id']}/limits"
    for _ in range(2):
        cleared = await desk.maker.call("DELETE", path)
        assert cleared.status_code == 200
        assert NO_LIMITS.items() <= cleared.json().items()
    assert (await desk.ask(1)).status_code == 201
    await require_clean_ledger(stack)


@pytest.mark.parametrize("period", ["transfer", "day", "month"])
async def test_a_limit_is_reached_and_not_passed(desk: Desk, stack: Stack, period: str) -> None:
    await desk.maker.limit(desk.source, **{f"per_{period}": 100})
    assert (await desk.ask(100)).status_code == 201
    refused = problem_of(await desk.ask(101), 422, "limit_exceeded")
    assert f"100 (minor units) per {period}" in refused["detail"]
    failed = refused["transfer"]
    assert (failed["state"], failed["failure"]["code"]) == ("FAILED", "limit_exceeded")
    assert await used(desk) == (100, 100)
    assert await desk.balances() == (900, 0, 100)
    again = await desk.ask(101, key=failed["idempotency_key"])
    assert problem_of(again, 422, "limit_exceeded")["transfer"] == failed
    await require_clean_ledger(stack)


async def test_what_was_sent_this_month_counts_from_the_first_limit_on(
    desk: Desk, stack: Stack
) -> None:
    assert (await desk.ask(70)).status_code == 201
    held = (await desk.ask(50, capture="manual")).json()
    part = (await desk.ask(40, capture="manual")).json()
    await desk.maker.operate(part, "capture", amount=10, final=True)
    open_part = (await desk.ask(30, capture="manual")).json()
    await desk.maker.operate(open_part, "capture", amount=5)
    cancelled = (await desk.ask(20, capture="manual")).json()
    await desk.maker.operate(cancelled, "cancel")
    problem_of(await desk.ask(100_000), 422, "insufficient_funds")
    await desk.maker.deposit(desk.source["id"], 5_000)
    limits = await desk.maker.limit(desk.source, per_day=1_000, per_month=1_000)
    assert (limits["used_today"], limits["used_this_month"]) == (160, 160)
    assert (limits["left_today"], limits["left_this_month"]) == (840, 840)
    await require_clean_ledger(stack)
    await desk.maker.operate(held, "capture", amount=20, final=True)
    await desk.maker.operate(open_part, "capture", amount=0, final=True)
    assert await used(desk) == (105, 105)
    await require_clean_ledger(stack)


async def test_limits_that_were_cleared_and_set_again_count_the_same(
    desk: Desk, stack: Stack
) -> None:
    await desk.maker.limit(desk.source, per_day=500)
    await desk.ask(70)
    await desk.maker.call("DELETE", f"/accounts/{desk.source['id']}/limits")
    await desk.ask(30)
    await desk.maker.limit(desk.source, per_month=500)
    assert await used(desk) == (100, 100)
    await require_clean_ledger(stack)


async def test_a_limit_below_what_is_used_leaves_nothing(desk: Desk) -> None:
    await desk.ask(70)
    limits = await desk.maker.limit(desk.source, per_day=60)
    assert (limits["used_today"], limits["left_today"]) == (70, 0)
    problem_of(await desk.ask(1), 422, "limit_exceeded")


async def test_what_is_released_is_given_back(desk: Desk, stack: Stack) -> None:
    await desk.maker.limit(desk.source, per_day=100, per_month=100)
    held = (await desk.ask(100, capture="manual")).json()
    problem_of(await desk.ask(1), 422, "limit_exceeded")
    await desk.maker.operate(held, "cancel")
    assert await used(desk) == (0, 0)
    part = (await desk.ask(100, capture="manual")).json()
    await desk.maker.operate(part, "capture", amount=30)
    assert await used(desk) == (100, 100)
    await desk.maker.operate(part, "capture", amount=20, final=True)
    assert await used(desk) == (50, 50)
    assert (await desk.ask(50)).status_code == 201
    await require_clean_ledger(stack)


async def test_what_waits_for_approval_is_used_until_it_is_rejected(
    desk: Desk, stack: Stack
) -> None:
    await desk.maker.limit(desk.source, per_day=100)
    await desk.maker.rule(50)
    waiting = await desk.waiting(90)
    assert await used(desk) == (90, 90)
    problem_of(await desk.ask(60), 422, "limit_exceeded")
    await desk.approvers[0].operate(waiting, "reject")
    assert await used(desk) == (0, 0)
    await require_clean_ledger(stack)


async def test_a_transfer_that_fails_after_its_reserve_is_given_back(
    desk: Desk, stack: Stack
) -> None:
    await desk.maker.limit(desk.source, per_day=100)
    await desk.maker.rule(50)
    waiting = await desk.waiting(90)
    await desk.maker.change_status(desk.destination["id"], "freeze")
    await desk.approvers[0].operate(waiting, "approve")
    assert (await desk.reached(waiting))["failure"]["code"] == "account_frozen"
    assert await used(desk) == (0, 0)
    await require_clean_ledger(stack)


async def test_reversals_neither_count_nor_are_held_up(desk: Desk, stack: Stack) -> None:
    sent = (await desk.ask(100)).json()
    limits = {"per_transfer": 0, "per_day": 0, "per_month": 0}
    await desk.maker.limit(desk.destination, **limits)
    back = await desk.maker.operate(sent, "reversals", amount=60)
    assert back.status_code == 201
    path = f"/accounts/{desk.destination['id']}/limits"
    assert (await desk.maker.get(path))["used_today"] == 0
    await require_clean_ledger(stack)
    await desk.maker.call("DELETE", path)
    assert (await desk.maker.limit(desk.destination, **limits))["used_this_month"] == 0
    await require_clean_ledger(stack)


async def test_a_reversal_that_is_refused_leaves_what_is_used_as_it_is(
    desk: Desk, stack: Stack
) -> None:
    sent = (await desk.ask(100)).json()
    await desk.maker.limit(desk.destination, per_day=1_000)
    await desk.maker.withdraw(desk.destination["id"], 10)
    await desk.maker.change_status(desk.source["id"], "freeze")
    problem_of(await desk.maker.operate(sent, "reversals", amount=60), 422, "account_frozen")
    path = f"/accounts/{desk.destination['id']}/limits"
    assert (await desk.maker.get(path))["used_today"] == 10
    await require_clean_ledger(stack)


async def test_of_legs_an_account_uses_what_it_sends_net(desk: Desk, stack: Stack) -> None:
    tenant, third = desk.maker, await desk.maker.account(balance=40)
    await tenant.limit(desk.source, per_transfer=60)
    await tenant.limit(third, per_transfer=0)

    def leg(source: Json, destination: Json, amount: int) -> Json:
        sides = {"source": source["id"], "destination": destination["id"]}
        return {**sides, "amount": amount, "currency": "EUR"}

    async def post(*legs: Json) -> Any:
        headers = {"Idempotency-Key": new_key()}
        return await tenant.call("POST", "/transfers", json={"legs": legs}, headers=headers)

    # The source sends 100 and receives 40; the third account passes on less than it receives.
    through = leg(desk.source, third, 100), leg(third, desk.source, 40)
    assert (await post(*through)).status_code == 201
    assert await used(desk) == (60, 60)
    more = leg(desk.source, third, 100), leg(third, desk.source, 39)
    problem_of(await post(*more), 422, "limit_exceeded")
    problem_of(
        await post(leg(third, desk.source, 1), leg(third, desk.destination, 1)),
        422,
        "limit_exceeded",
    )
    assert await used(desk) == (60, 60)
    await require_clean_ledger(stack)


async def test_limits_of_the_one_who_receives_do_not_matter(desk: Desk) -> None:
    await desk.maker.limit(desk.destination, per_transfer=0)
    assert (await desk.ask(10)).status_code == 201
    assert (await desk.maker.deposit(desk.destination["id"], 10))["state"] == "SUCCESS"


async def test_a_scheduled_transfer_is_held_against_the_limits_of_its_time(
    desk: Desk, stack: Stack
) -> None:
    scheduled = (await desk.ask(100, execute_at=in_seconds(SOON))).json()
    await desk.maker.limit(desk.source, per_transfer=99)
    ended = await desk.reached(scheduled)
    assert (ended["state"], ended["failure"]["code"]) == ("FAILED", "limit_exceeded")
    await require_clean_ledger(stack)


async def test_settlement_and_closed_accounts_have_no_limits(desk: Desk) -> None:
    tenant, closed = desk.maker, await desk.maker.account()
    await tenant.change_status(closed["id"], "close")
    accounts = (await tenant.get("/accounts"))["data"]
    [settlement] = [account for account in accounts if account["kind"] == "SYSTEM"]
    for account, code in ((settlement, "system_account_protected"), (closed, "account_closed")):
        path = f"/accounts/{account['id']}/limits"
        problem_of(await tenant.call("PUT", path, json={"per_day": 1}), 409, code)
        problem_of(await tenant.call("DELETE", path), 409, code)


@pytest.mark.parametrize("amount", [-1, 1.5, True, "", "01", AMOUNT_MAXIMUM_MINOR + 1])
async def test_a_limit_that_cannot_be_is_refused_by_its_field(desk: Desk, amount: Any) -> None:
    for field in ("per_transfer", "per_day", "per_month"):
        path = f"/accounts/{desk.source['id']}/limits"
        response = await desk.maker.call("PUT", path, json={field: amount})
        problem = problem_of(response, 422, "validation_failed")
        assert [error["field"] for error in problem["errors"]] == [field]


async def test_twenty_at_once_take_the_last_of_a_limit_once(desk: Desk, stack: Stack) -> None:
    await desk.maker.limit(desk.source, per_day=100)
    await desk.ask(70)
    responses = await asyncio.gather(*(desk.ask(30) for _ in range(20)))
    outcomes = Counter(response.json().get("code", "done") for response in responses)
    assert outcomes == Counter({"done": 1, "limit_exceeded": 19})
    assert await used(desk) == (100, 100)
    assert await desk.balances() == (900, 0, 100)
    await require_clean_ledger(stack)


async def test_limits_that_are_set_in_the_middle_of_transfers_miss_none(
    desk: Desk, stack: Stack
) -> None:
    async def change_now_and_then() -> None:
        for _ in range(8):
            await desk.maker.limit(desk.source, per_month=1_000)
            await asyncio.sleep(0.02)
            await desk.maker.call("DELETE", f"/accounts/{desk.source['id']}/limits")
            await asyncio.sleep(0.02)
        await desk.maker.limit(desk.source, per_month=1_000)

    changing = asyncio.create_task(change_now_and_then())
    responses = []
    while not changing.done():
        responses += await asyncio.gather(*(desk.ask(1) for _ in range(12)))
    await changing
    sent = sum(response.status_code == 201 for response in responses)
    assert sent == len(responses)
    assert (await used(desk))[1] == sent
    await require_clean_ledger(stack)
