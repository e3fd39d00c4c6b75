"""Decisions at one moment: whoever is first under the transfer's lock decides."""

import asyncio
from collections import Counter

import pytest

from tests.support.api import Client, Json, new_key, problem_of
from tests.support.approvals import Desk
from tests.support.proof import require_clean_ledger
from tests.support.stack import Stack
from tests.support.tenants import TenantMaker
from tests.support.waiting import SOON

ROUNDS = 6


@pytest.fixture
async def desk(tenant: Client, make_tenant: TenantMaker) -> Desk:
    """A desk with a rule for any amount."""
    opened = await Desk.open(tenant, make_tenant, approvers=3)
    await tenant.rule(0)
    return opened


async def until_all_ended(desk: Desk, waiting: list[Json]) -> list[Json]:
    return list(await asyncio.gather(*(desk.reached(transfer) for transfer in waiting)))


async def require_balances_of(desk: Desk, ended: list[Json]) -> None:
    """Require that what has succeeded has moved, and nothing else is held or gone."""
    moved = sum(transfer["amount"] for transfer in ended if transfer["state"] == "SUCCESS")
    assert await desk.balances() == (1_000 - moved, 0, moved)


async def test_of_an_approval_and_a_rejection_at_once_one_wins(desk: Desk, stack: Stack) -> None:
    waiting = [await desk.waiting(10) for _ in range(ROUNDS)]
    first, second, _ = desk.approvers
    for transfer in waiting:
        approval, rejection = await asyncio.gather(
            first.operate(transfer, "approve"), second.operate(transfer, "reject")
        )
        won = approval if approval.status_code == 200 else rejection
        lost = rejection if won is approval else approval
        assert won.status_code == 200
        problem_of(lost, 409, "not_awaiting_approval")
        expected = "SUCCESS" if won is approval else "FAILED"
        assert (await desk.reached(transfer))["state"] == expected
    await require_balances_of(desk, await until_all_ended(desk, waiting))
    await require_clean_ledger(stack)


async def test_of_an_approval_and_a_cancel_at_once_the_outcome_is_one(
    desk: Desk, stack: Stack
) -> None:
    waiting = [await desk.waiting(10) for _ in range(ROUNDS)]
    for transfer in waiting:
        approval, cancel = await asyncio.gather(
            desk.approvers[0].operate(transfer, "approve"), desk.maker.operate(transfer, "cancel")
        )
        ended = await desk.reached(transfer)
        if cancel.status_code == 200:
            # Also behind the approval, as long as nothing has moved.
            assert ended["failure"]["code"] == "cancelled"
        else:
            problem_of(cancel, 409, "already_posted")
            assert (approval.status_code, ended["state"]) == (200, "SUCCESS")
    await require_balances_of(desk, await until_all_ended(desk, waiting))
    await require_clean_ledger(stack)


async def test_of_an_approval_and_the_deadline_at_the_same_moment_one_wins(
    tenant: Client, make_tenant: TenantMaker, stack: Stack
) -> None:
    desk = await Desk.open(tenant, make_tenant, approvers=1)
    await tenant.rule(0, deadline_seconds=SOON)

    async def race(delay_seconds: float) -> Json:
        transfer = await desk.waiting(10)
        await asyncio.sleep(delay_seconds)
        approval = await desk.approvers[0].operate(transfer, "approve")
        ended = await desk.reached(transfer)
        if approval.status_code == 200:
            assert (ended["state"], ended["failure"]) == ("SUCCESS", None)
        else:
            problem_of(approval, 409, "not_awaiting_approval")
            assert ended["failure"]["code"] == "approval_expired"
        return ended

    ended = await asyncio.gather(*(race(SOON - 0.15 + step * 0.02) for step in range(12)))
    await require_balances_of(desk, list(ended))
    await require_clean_ledger(stack)


async def test_of_two_approvers_at_once_each_counts_once(desk: Desk, stack: Stack) -> None:
    await desk.maker.rule(9, approvers=2)
    waiting = [await desk.waiting(10) for _ in range(ROUNDS)]
    first, second, _ = desk.approvers
    for transfer in waiting:
        responses = await asyncio.gather(
            first.operate(transfer, "approve"), second.operate(transfer, "approve")
        )
        stages = Counter(response.json()["stage"] for response in responses)
        assert stages == Counter({"AWAITING_APPROVAL": 1, "RESERVED": 1})
        assert (await desk.reached(transfer))["state"] == "SUCCESS"
    await require_balances_of(desk, await until_all_ended(desk, waiting))
    await require_clean_ledger(stack)


async def test_one_approver_many_times_at_once_counts_once(desk: Desk, stack: Stack) -> None:
    await desk.maker.rule(9, approvers=2)
    transfer, key = await desk.waiting(10), new_key()
    first, second, _ = desk.approvers
    with_one_key = [first.operate(transfer, "approve", key=key) for _ in range(6)]
    with_others = [first.operate(transfer, "approve") for _ in range(6)]
    responses = await asyncio.gather(*with_one_key, *with_others)
    outcomes = Counter(response.json().get("code", "done") for response in responses)
    assert set(outcomes) == {"done", "already_approved"}
    assert (await desk.maker.get(f"/transfers/{transfer['id']}"))["stage"] == "AWAITING_APPROVAL"
    decisions = (await desk.maker.get(f"/transfers/{transfer['id']}/approvals"))["data"]
    assert [decision["decided_by"] for decision in decisions] == [str(first.record.id)]
    assert (await second.operate(transfer, "approve")).status_code == 200
    await desk.reached(transfer)
    await require_clean_ledger(stack)


async def test_of_three_approvers_at_once_the_third_comes_too_late(
    desk: Desk, stack: Stack
) -> None:
    await desk.maker.rule(9, approvers=2)
    transfer = await desk.waiting(10)
    responses = await asyncio.gather(
        *(approver.operate(transfer, "approve") for approver in desk.approvers)
    )
    codes = Counter(response.json().get("code", "done") for response in responses)
    assert codes == Counter({"done": 2, "not_awaiting_approval": 1})
    assert (await desk.reached(transfer))["state"] == "SUCCESS"
    await require_clean_ledger(stack)
