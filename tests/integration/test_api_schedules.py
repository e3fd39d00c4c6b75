"""Transfers that are carried out later, at a time that the client names."""

from datetime import datetime
from typing import Any

import pytest

from domain.limits import EXECUTE_AT_SECONDS_MAXIMUM
from tests.support.api import Client, Json, new_key, problem_of
from tests.support.proof import require_clean_ledger
from tests.support.stack import Stack
from tests.support.waiting import SOON, in_seconds, until


async def schedule(tenant: Client, source: Json, destination: Json, **body: Any) -> Json:
    response = await tenant.post_transfer(
        key=body.pop("key", None) or new_key(),
        source=source["id"],
        destination=destination["id"],
        currency="EUR",
        **{"amount": 100, **body},
    )
    assert response.status_code == 202, response.text
    transfer: Json = response.json()
    return transfer


async def ended(tenant: Client, transfer: Json, stage: str | None = None) -> Json:
    async def is_there() -> bool:
        now = await tenant.get(f"/transfers/{transfer['id']}")
        return bool(now["stage"] == stage if stage else now["state"] != "PROCESSING")

    await until(is_there)
    return await tenant.get(f"/transfers/{transfer['id']}")


async def test_a_scheduled_transfer_waits_for_its_time_and_checks_funds_then(
    tenant: Client, stack: Stack
) -> None:
    source, destination = await tenant.account(), await tenant.account()
    execute_at = in_seconds(SOON)
    scheduled = await schedule(tenant, source, destination, execute_at=execute_at)
    assert (scheduled["state"], scheduled["stage"]) == ("PROCESSING", "SCHEDULED")
    assert datetime.fromisoformat(scheduled["execute_at"]) == datetime.fromisoformat(execute_at)
    assert scheduled["effective_at"] == scheduled["execute_at"]
    assert await tenant.balance(source) == (0, 0)
    await tenant.deposit(source["id"], 100)
    done = await ended(tenant, scheduled)
    assert (done["state"], done["failure"]) == ("SUCCESS", None)
    assert done["completed_at"] >= done["execute_at"]
    assert await tenant.balance(destination) == (100, 0)
    events = (await tenant.get(f"/transfers/{done['id']}/events"))["data"]
    assert [event["step"] for event in events] == [
        *("accept", "schedule", "reserve", "post", "finalise"),
    ]
    await require_clean_ledger(stack)


async def test_a_scheduled_transfer_without_funds_at_its_time_fails(tenant: Client) -> None:
    source, destination = await tenant.account(), await tenant.account()
    scheduled = await schedule(tenant, source, destination, execute_at=in_seconds(SOON))
    assert (await ended(tenant, scheduled))["failure"]["code"] == "insufficient_funds"


async def test_a_scheduled_transfer_is_cancelled_until_then(tenant: Client, stack: Stack) -> None:
    source, destination = await tenant.account(balance=100), await tenant.account()
    scheduled = await schedule(tenant, source, destination, execute_at=in_seconds(3_600))
    cancelled = (await tenant.operate(scheduled, "cancel")).json()
    assert (cancelled["state"], cancelled["failure"]["code"]) == ("FAILED", "cancelled")
    await require_clean_ledger(stack)


async def test_a_schedule_has_one_outcome_for_its_key(tenant: Client) -> None:
    source, destination = await tenant.account(balance=100), await tenant.account()
    body: dict[str, Any] = {"execute_at": in_seconds(SOON), "key": new_key()}
    scheduled = await schedule(tenant, source, destination, **body)
    assert await schedule(tenant, source, destination, **body) == scheduled
    await ended(tenant, scheduled)
    again = await tenant.post_transfer(
        source=source["id"],
        destination=destination["id"],
        amount=100,
        currency="EUR",
        **body,
    )
    assert (again.status_code, again.json()["id"]) == (201, scheduled["id"])
    assert await tenant.balance(source) == (0, 0)


async def test_a_hold_can_be_scheduled_and_lasts_from_its_reserve(tenant: Client) -> None:
    source, destination = await tenant.account(balance=100), await tenant.account()
    scheduled = await schedule(
        tenant,
        *(source, destination),
        execute_at=in_seconds(SOON),
        capture="manual",
        expires_in_seconds=600,
    )
    held = await ended(tenant, scheduled, "RESERVED")
    assert held["expires_at"] > in_seconds(590)
    assert (await tenant.operate(held, "capture")).json()["state"] == "SUCCESS"


async def test_a_scheduled_transfer_may_have_legs(tenant: Client, stack: Stack) -> None:
    source, destination = await tenant.account(balance=100), await tenant.account()
    leg = {"source": source["id"], "destination": destination["id"], "currency": "EUR"}
    response = await tenant.call(
        "POST",
        "/transfers",
        json={
            "legs": [{**leg, "amount": 60}, {**leg, "amount": 40}],
            "execute_at": in_seconds(SOON),
        },
        headers={"Idempotency-Key": new_key()},
    )
    assert (response.status_code, response.json()["stage"]) == (202, "SCHEDULED")
    assert (await ended(tenant, response.json()))["state"] == "SUCCESS"
    assert await tenant.balance(destination) == (100, 0)
    await require_clean_ledger(stack)


@pytest.mark.parametrize("seconds", [-10, EXECUTE_AT_SECONDS_MAXIMUM + 60])
async def test_a_time_out_of_its_bounds_is_refused(tenant: Client, seconds: int) -> None:
    source, destination = await tenant.account(balance=100), await tenant.account()
    response = await tenant.post_transfer(
        key=new_key(),
        source=source["id"],
        destination=destination["id"],
        amount=1,
        currency="EUR",
        execute_at=in_seconds(seconds),
    )
    problem = problem_of(response, 422, "validation_failed")
    assert [error["field"] for error in problem["errors"]] == ["execute_at"]
