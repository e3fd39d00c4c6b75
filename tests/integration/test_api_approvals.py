"""Maker and checker: transfers above a threshold wait until others have approved."""

import asyncio
from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import pytest
from temporalio.client import Client as TemporalClient

from domain.access import Scope
from tests.support.api import Client, Json, new_key, problem_of
from tests.support.approvals import Desk
from tests.support.proof import require_clean_ledger
from tests.support.stack import Stack
from tests.support.standing_orders import at_least, change, make_order, wait_for_runs
from tests.support.tenants import TenantMaker
from tests.support.waiting import SOON, in_seconds, until


@pytest.fixture
async def desk(tenant: Client, make_tenant: TenantMaker) -> Desk:
    """A desk with a rule for more than 500."""
    opened = await Desk.open(tenant, make_tenant)
    await tenant.rule(500)
    return opened


def leg(source: Json, destination: Json, amount: int, currency: str = "EUR") -> Json:
    return {
        "source": source["id"],
        "destination": destination["id"],
        "amount": amount,
        "currency": currency,
    }


async def post_legs(tenant: Client, *legs: Json) -> Any:
    return await tenant.call(
        "POST", "/transfers", json={"legs": legs}, headers={"Idempotency-Key": new_key()}
    )


async def test_an_amount_at_the_threshold_passes_and_one_above_it_waits(
    desk: Desk, stack: Stack
) -> None:
    assert (await desk.ask(500)).status_code == 201
    await desk.maker.deposit(desk.source["id"], 500)
    waiting = await desk.waiting(501)
    assert (waiting["approvals_required"], waiting["state"]) == (1, "PROCESSING")
    assert await desk.balances() == (1_000, 501, 500)
    assert (await desk.maker.get(f"/transfers/{waiting['id']}/approvals"))["data"] == []
    await require_clean_ledger(stack)


async def test_an_approved_transfer_goes_through(desk: Desk, stack: Stack) -> None:
    waiting = await desk.waiting()
    [approver, _] = desk.approvers
    approved = await approver.operate(waiting, "approve", note="seen the invoice")
    assert (approved.status_code, approved.json()["stage"]) == (200, "RESERVED")
    done = await desk.reached(waiting)
    assert (done["state"], done["failure"]) == ("SUCCESS", None)
    assert await desk.balances() == (400, 0, 600)
    assert await desk.steps(done) == [
        ("accept", "ACCEPTED"),
        ("reserve", "AWAITING_APPROVAL"),
        ("approve", "RESERVED"),
        ("post", "POSTED"),
        ("finalise", "COMPLETED"),
    ]
    await require_clean_ledger(stack)


async def test_who_decided_is_on_record(desk: Desk) -> None:
    waiting = await desk.waiting()
    [approver, other] = desk.approvers
    assert waiting["requested_by"] == str(desk.maker.record.id)
    await approver.operate(waiting, "reject", note="never heard of it")
    [decision] = (await other.get(f"/transfers/{waiting['id']}/approvals"))["data"]
    assert (decision["decision"], decision["note"]) == ("reject", "never heard of it")
    assert decision["decided_by"] == str(approver.record.id)
    assert decision["fingerprint"] == waiting["fingerprint"]
    events = (await other.get(f"/transfers/{waiting['id']}/events"))["data"]
    assert (events[-1]["step"], events[-1]["cause"]) == ("reject", "rejected")
    assert events[-1]["details"] == {"note": "never heard of it", "by": str(approver.record.id)}


async def test_a_rejected_transfer_gives_its_hold_back(desk: Desk, stack: Stack) -> None:
    waiting = await desk.waiting()
    [approver, other] = desk.approvers
    rejected = (await approver.operate(waiting, "reject", note="too much")).json()
    assert (rejected["state"], rejected["failure"]) == (
        "FAILED",
        {"code": "rejected", "message": "too much"},
    )
    assert await desk.balances() == (1_000, 0, 0)
    problem_of(await other.operate(waiting, "approve"), 409, "not_awaiting_approval")
    repeat = await desk.ask(600, key=waiting["idempotency_key"])
    assert problem_of(repeat, 422, "rejected")["transfer"]["id"] == waiting["id"]
    await require_clean_ledger(stack)


async def test_the_key_that_made_a_transfer_decides_nothing(
    desk: Desk, make_tenant: TenantMaker
) -> None:
    waiting = await desk.waiting()
    for verb in ("approve", "reject"):
        problem_of(await desk.maker.operate(waiting, verb), 403, "maker_cannot_approve")
    writer = await make_tenant(desk.maker.record.tenant_name, scopes=[Scope.TRANSFERS_WRITE])
    problem_of(await writer.operate(waiting, "approve"), 403, "scope_missing")
    stranger = await make_tenant()
    problem_of(await stranger.operate(waiting, "approve"), 404, "transfer_not_found")
    assert (await desk.maker.get(f"/transfers/{waiting['id']}")) == waiting


async def test_two_approvers_are_two_keys(desk: Desk, stack: Stack) -> None:
    await desk.maker.rule(700, approvers=2)
    waiting = await desk.waiting(800)
    assert waiting["approvals_required"] == 2
    [first, second] = desk.approvers
    once = (await first.operate(waiting, "approve")).json()
    assert (once["state"], once["stage"]) == ("PROCESSING", "AWAITING_APPROVAL")
    for verb in ("approve", "reject"):
        problem_of(await first.operate(waiting, verb), 409, "already_approved")
    assert await desk.balances() == (1_000, 800, 0)
    assert (await second.operate(waiting, "approve")).json()["stage"] == "RESERVED"
    assert (await desk.reached(waiting))["state"] == "SUCCESS"
    decided = (await first.get(f"/transfers/{waiting['id']}/approvals"))["data"]
    assert [decision["decided_by"] for decision in decided] == [
        str(first.record.id),
        str(second.record.id),
    ]
    await require_clean_ledger(stack)


async def test_after_one_approval_another_can_still_reject(desk: Desk, stack: Stack) -> None:
    await desk.maker.rule(700, approvers=2)
    waiting = await desk.waiting(800)
    [first, second] = desk.approvers
    await first.operate(waiting, "approve")
    assert (await second.operate(waiting, "reject")).json()["failure"]["code"] == "rejected"
    assert await desk.balances() == (1_000, 0, 0)
    await require_clean_ledger(stack)


async def test_a_transfer_that_nobody_approves_in_time_fails(
    tenant: Client, make_tenant: TenantMaker, stack: Stack
) -> None:
    desk = await Desk.open(tenant, make_tenant, approvers=1)
    await tenant.rule(500, deadline_seconds=SOON)
    waiting = await desk.waiting()
    deadline = datetime.fromisoformat(waiting["approval_deadline_at"])
    made = datetime.fromisoformat(waiting["created_at"])
    assert timedelta(seconds=SOON) <= deadline - made < timedelta(minutes=1)
    ended = await desk.reached(waiting)
    assert (ended["state"], ended["failure"]["code"]) == ("FAILED", "approval_expired")
    assert await desk.balances() == (1_000, 0, 0)
    late = await desk.approvers[0].operate(waiting, "approve")
    problem_of(late, 409, "not_awaiting_approval")
    problem_of(await desk.ask(600, key=waiting["idempotency_key"]), 422, "approval_expired")
    assert (await desk.steps(ended))[-1] == ("expire", "FAILED")
    await require_clean_ledger(stack)


async def test_who_saw_another_request_does_not_approve_this_one(desk: Desk) -> None:
    waiting, other = await desk.waiting(600), await desk.ask(400)
    [approver, _] = desk.approvers
    for verb in ("approve", "reject"):
        seen = other.json()["fingerprint"]
        response = await approver.operate(waiting, verb, fingerprint=seen)
        problem_of(response, 409, "fingerprint_mismatch")
    response = await approver.operate(waiting, "approve", fingerprint="deadbeef")
    problem_of(response, 422, "validation_failed")
    right = await approver.operate(waiting, "approve", fingerprint=waiting["fingerprint"])
    assert right.status_code == 200


async def test_a_repeated_approval_gives_its_first_answer(desk: Desk) -> None:
    waiting, key = await desk.waiting(), new_key()
    [approver, other] = desk.approvers
    first = await approver.operate(waiting, "approve", key=key, note="yes")
    await desk.reached(waiting)
    again = await approver.operate(waiting, "approve", key=key, note="yes")
    assert (again.status_code, again.json()) == (200, first.json())
    assert again.headers["idempotency-replayed"] == "true"
    changed = await approver.operate(waiting, "approve", key=key, note="no")
    problem_of(changed, 422, "idempotency_key_reused")
    problem_of(await other.operate(waiting, "reject", key=key), 422, "idempotency_key_reused")


async def test_a_transfer_that_waits_is_one_for_its_key(desk: Desk) -> None:
    key = new_key()
    responses = await asyncio.gather(*(desk.ask(600, key=key) for _ in range(10)))
    assert {response.status_code for response in responses} == {202}
    assert {response.json()["stage"] for response in responses} == {"AWAITING_APPROVAL"}
    [transfer_id] = {response.json()["id"] for response in responses}
    assert await desk.balances() == (1_000, 600, 0)
    again = await desk.ask(600, key=key)
    assert (again.status_code, again.json()["id"]) == (202, transfer_id)
    assert again.headers["idempotency-replayed"] == "true"
    problem_of(await desk.ask(601, key=key), 422, "idempotency_key_reused")
    await desk.approvers[0].operate(again.json(), "approve")
    done = await desk.reached(again.json())
    last = await desk.ask(600, key=key)
    assert (last.status_code, last.json()) == (201, done)


async def test_an_approver_need_not_wait(desk: Desk) -> None:
    waiting = await desk.waiting()
    accepted = await desk.approvers[0].call(
        "POST",
        f"/transfers/{waiting['id']}/approve",
        headers={"Idempotency-Key": new_key(), "Prefer": "respond-async"},
    )
    assert accepted.status_code in {200, 202}
    assert accepted.headers["location"] == f"/v1/transfers/{waiting['id']}"
    assert (await desk.reached(waiting))["state"] == "SUCCESS"


async def test_a_refused_decision_does_not_use_its_key_up(desk: Desk) -> None:
    waiting, key = await desk.waiting(), new_key()
    [approver, _] = desk.approvers
    problem_of(await desk.maker.operate(waiting, "approve", key=key), 403, "maker_cannot_approve")
    assert (await approver.operate(waiting, "approve", key=key)).status_code == 200


async def test_a_transfer_that_waits_can_be_cancelled(desk: Desk, stack: Stack) -> None:
    waiting = await desk.waiting()
    cancelled = (await desk.maker.operate(waiting, "cancel", reason="a slip")).json()
    assert (cancelled["state"], cancelled["failure"]["code"]) == ("FAILED", "cancelled")
    assert await desk.balances() == (1_000, 0, 0)
    [approver, _] = desk.approvers
    problem_of(await approver.operate(waiting, "approve"), 409, "not_awaiting_approval")
    await require_clean_ledger(stack)


async def test_what_is_refused_waits_for_nobody(desk: Desk) -> None:
    problem_of(await desk.ask(1_001), 422, "insufficient_funds")
    await desk.maker.change_status(desk.destination["id"], "freeze")
    problem_of(await desk.ask(600), 422, "account_frozen")


async def test_an_account_that_is_frozen_meanwhile_stops_an_approved_transfer(
    desk: Desk, stack: Stack
) -> None:
    waiting = await desk.waiting()
    await desk.maker.change_status(desk.source["id"], "freeze")
    assert (await desk.approvers[0].operate(waiting, "approve")).status_code == 200
    assert (await desk.reached(waiting))["failure"]["code"] == "account_frozen"
    assert await desk.balances() == (1_000, 0, 0)
    await require_clean_ledger(stack)


async def test_an_approved_hold_waits_for_its_capture(desk: Desk, stack: Stack) -> None:
    waiting = await desk.waiting(capture="manual")
    [approver, _] = desk.approvers
    problem_of(await desk.maker.operate(waiting, "capture"), 409, "not_held")
    held = (await approver.operate(waiting, "approve")).json()
    assert (held["state"], held["stage"]) == ("PROCESSING", "RESERVED")
    assert await desk.balances() == (1_000, 600, 0)
    captured = (await desk.maker.operate(waiting, "capture", amount=200, final=True)).json()
    assert (captured["state"], captured["captured_amount"]) == ("SUCCESS", 200)
    assert await desk.balances() == (800, 0, 200)
    await require_clean_ledger(stack)


async def test_a_hold_is_approved_before_it_ends_or_not_at_all(desk: Desk, stack: Stack) -> None:
    waiting = await desk.waiting(capture="manual", expires_in_seconds=SOON)
    assert waiting["approval_deadline_at"] == waiting["expires_at"]
    assert (await desk.reached(waiting))["failure"]["code"] == "approval_expired"
    assert await desk.balances() == (1_000, 0, 0)
    await require_clean_ledger(stack)


async def test_a_scheduled_transfer_waits_for_approval_from_its_time_on(
    desk: Desk, stack: Stack
) -> None:
    response = await desk.ask(600, execute_at=in_seconds(SOON))
    scheduled = response.json()
    assert (response.status_code, scheduled["stage"]) == (202, "SCHEDULED")
    [approver, _] = desk.approvers
    problem_of(await approver.operate(scheduled, "approve"), 409, "not_awaiting_approval")
    waiting = await desk.reached(scheduled, "AWAITING_APPROVAL")
    assert waiting["approval_deadline_at"] > in_seconds(23 * 3_600)
    assert await desk.balances() == (1_000, 600, 0)
    await approver.operate(waiting, "approve")
    assert (await desk.reached(waiting))["state"] == "SUCCESS"
    await require_clean_ledger(stack)


async def test_of_legs_the_sum_of_each_currency_counts(desk: Desk, stack: Stack) -> None:
    tenant, source, destination = desk.maker, desk.source, desk.destination
    third = await tenant.account()
    dollars, more_dollars = await tenant.account("USD", balance=900), await tenant.account("USD")
    await tenant.rule(800, "USD", approvers=2, deadline_seconds=60)
    below = await post_legs(
        tenant,
        leg(source, destination, 250),
        leg(source, third, 250),
        leg(dollars, more_dollars, 1, "USD"),
    )
    assert below.status_code == 201
    await tenant.deposit(source["id"], 1)
    one = await post_legs(tenant, leg(source, destination, 250), leg(source, third, 251))
    assert (one.status_code, one.json()["approvals_required"]) == (202, 1)
    both = await post_legs(tenant, leg(third, source, 1), leg(dollars, more_dollars, 801, "USD"))
    assert both.json()["approvals_required"] == 2
    for approver in desk.approvers:
        await approver.operate(both.json(), "approve")
    assert (await desk.reached(both.json()))["state"] == "SUCCESS"
    assert await tenant.balance(more_dollars) == (802, 0)
    await desk.approvers[0].operate(one.json(), "reject")
    await require_clean_ledger(stack)


async def test_a_reversal_waits_for_nobody(desk: Desk, stack: Stack) -> None:
    waiting = await desk.waiting()
    await desk.approvers[0].operate(waiting, "approve")
    await desk.reached(waiting)
    reversal = await desk.maker.operate(waiting, "reversals")
    assert (reversal.status_code, reversal.json()["state"]) == (201, "SUCCESS")
    assert await desk.balances() == (1_000, 0, 0)
    await require_clean_ledger(stack)


async def test_money_that_comes_in_and_leaves_waits_too(desk: Desk, stack: Stack) -> None:
    account = desk.source["id"]
    for fields in (
        {"type": "DEPOSIT", "destination": account},
        {"type": "WITHDRAWAL", "source": account},
    ):
        response = await desk.maker.post_transfer(
            key=new_key(), amount=501, currency="EUR", **fields
        )
        assert (response.status_code, response.json()["stage"]) == (202, "AWAITING_APPROVAL")
        await desk.approvers[0].operate(response.json(), "approve")
        assert (await desk.reached(response.json()))["state"] == "SUCCESS"
    await require_clean_ledger(stack)


async def test_each_run_of_a_standing_order_waits_for_others_than_who_made_the_order(
    desk: Desk, stack: Stack
) -> None:
    order = await make_order(
        desk.maker,
        source=desk.source["id"],
        destination=desk.destination["id"],
        amount=600,
        seconds=3_600,
        start_at=in_seconds(SOON),
    )
    found: list[Json] = []

    async def is_waiting() -> bool:
        nonlocal found
        found = (await desk.maker.get("/transfers", stage="AWAITING_APPROVAL"))["data"]
        return bool(found)

    await until(is_waiting)
    [waiting] = found
    problem_of(await desk.maker.operate(waiting, "approve"), 403, "maker_cannot_approve")
    await desk.approvers[0].operate(waiting, "approve")
    [run] = await wait_for_runs(desk.maker, order, at_least(1))
    assert (run["state"], run["transfer_id"]) == ("SUCCESS", waiting["id"])
    await change(desk.maker, order, "cancel")
    await require_clean_ledger(stack)


async def test_a_rule_that_is_retired_lets_new_transfers_through_and_waiting_ones_wait(
    desk: Desk, stack: Stack
) -> None:
    waiting = await desk.waiting(501)
    [rule] = (await desk.maker.get("/approval-rules"))["data"]
    await desk.maker.call("POST", f"/approval-rules/{rule['id']}/retire")
    await desk.maker.deposit(desk.source["id"], 501)
    assert (await desk.ask(501)).status_code == 201
    assert (await desk.maker.get(f"/transfers/{waiting['id']}")) == waiting
    await desk.approvers[0].operate(waiting, "approve")
    assert (await desk.reached(waiting))["state"] == "SUCCESS"
    await require_clean_ledger(stack)


async def test_a_transfer_whose_workflow_was_ended_by_force_can_not_be_approved(
    desk: Desk, stack: Stack, temporal_client: TemporalClient
) -> None:
    waiting = await desk.waiting()
    await temporal_client.get_workflow_handle(waiting["workflow_id"]).terminate("by a test")
    response = await desk.approvers[0].operate(waiting, "approve")
    problem_of(response, 409, "not_awaiting_approval")
    ended = await desk.reached(waiting)
    assert ended["failure"]["code"] == "workflow_terminated"
    assert await desk.balances() == (1_000, 0, 0)
    await require_clean_ledger(stack)


async def test_approvers_find_what_waits(desk: Desk) -> None:
    await desk.ask(1)
    waiting = [await desk.waiting(501)]
    [approver, _] = desk.approvers
    assert (await approver.get("/transfers", stage="AWAITING_APPROVAL"))["data"] == waiting
    stages = Counter(found["stage"] for found in (await approver.get("/transfers"))["data"])
    assert stages == Counter({"COMPLETED": 2, "AWAITING_APPROVAL": 1})
    completed = (await approver.get("/transfers", stage="COMPLETED"))["data"]
    assert len(completed) == 2
    of_account = {"account": desk.destination["id"], "stage": "AWAITING_APPROVAL"}
    assert (await approver.get("/transfers", **of_account))["data"] == waiting
    problem_of(await approver.call("GET", "/transfers?stage=WAITING"), 422, "validation_failed")
