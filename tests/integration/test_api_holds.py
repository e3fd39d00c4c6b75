"""Two-phase transfers: authorise now, capture later, in one or several parts."""

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from domain.access import Scope
from domain.limits import CAPTURES_MAXIMUM, HOLD_SECONDS_DEFAULT, HOLD_SECONDS_MAXIMUM
from tests.support.api import Client, Json, new_key, problem_of
from tests.support.proof import require_clean_ledger
from tests.support.stack import Stack
from tests.support.tenants import TenantMaker
from tests.support.waiting import SOON, in_seconds, until


@pytest.fixture
async def accounts(tenant: Client) -> tuple[Json, Json]:
    return await tenant.account(balance=1_000), await tenant.account()


async def hold(tenant: Client, accounts: tuple[Json, Json], amount: int = 600, **body: Any) -> Json:
    source, destination = accounts
    return await tenant.hold(
        source=source["id"], destination=destination["id"], amount=amount, **body
    )


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


async def until_final(tenant: Client, transfer: Json) -> Json:
    async def is_final() -> bool:
        return bool((await tenant.get(f"/transfers/{transfer['id']}"))["state"] != "PROCESSING")

    await until(is_final)
    return await tenant.get(f"/transfers/{transfer['id']}")


async def test_a_hold_reserves_and_moves_nothing(
    tenant: Client, accounts: tuple[Json, Json]
) -> None:
    held = await hold(tenant, accounts)
    assert (held["state"], held["stage"], held["capture"]) == ("PROCESSING", "RESERVED", "manual")
    assert (held["captured_amount"], held["completed_at"]) == (0, None)
    assert moment(held["expires_at"]) - moment(held["created_at"]) == timedelta(
        seconds=HOLD_SECONDS_DEFAULT
    )
    assert await tenant.balance(accounts[0]) == (1_000, 600)
    assert await tenant.balance(accounts[1]) == (0, 0)
    assert (await tenant.get(f"/transfers/{held['id']}/entries"))["data"] == []


async def test_a_capture_without_an_amount_moves_all(
    tenant: Client, accounts: tuple[Json, Json]
) -> None:
    held = await hold(tenant, accounts)
    response = await tenant.operate(held, "capture")
    captured = response.json()
    assert (response.status_code, captured["state"]) == (200, "SUCCESS")
    assert captured["captured_amount"] == 600
    assert await tenant.balance(accounts[0]) == (400, 0)
    assert await tenant.balance(accounts[1]) == (600, 0)
    steps = [
        event["step"] for event in (await tenant.get(f"/transfers/{held['id']}/events"))["data"]
    ]
    assert steps == ["accept", "reserve", "capture", "post", "finalise"]


async def test_captures_in_parts_are_entries_of_their_own_until_the_final_one_releases_the_rest(
    tenant: Client, accounts: tuple[Json, Json]
) -> None:
    held = await hold(tenant, accounts)
    first = (await tenant.operate(held, "capture", amount=100)).json()
    assert (first["state"], first["stage"], first["captured_amount"]) == (
        *("PROCESSING", "RESERVED"),
        100,
    )
    assert await tenant.balance(accounts[0]) == (900, 500)
    last = (await tenant.operate(held, "capture", amount=200, final=True)).json()
    assert (last["state"], last["captured_amount"]) == ("SUCCESS", 300)
    assert await tenant.balance(accounts[0]) == (700, 0)
    assert await tenant.balance(accounts[1]) == (300, 0)
    entries = (await tenant.get(f"/transfers/{held['id']}/entries"))["data"]
    assert Counter((entry["direction"], entry["amount"]) for entry in entries) == Counter(
        {("DEBIT", 100): 1, ("CREDIT", 100): 1, ("DEBIT", 200): 1, ("CREDIT", 200): 1}
    )


async def test_the_rest_of_a_partly_captured_hold_is_released_by_a_final_capture_of_nothing(
    tenant: Client, accounts: tuple[Json, Json]
) -> None:
    held = await hold(tenant, accounts)
    await tenant.operate(held, "capture", amount=100)
    problem_of(await tenant.operate(held, "cancel"), 409, "already_posted")
    released = (await tenant.operate(held, "capture", amount=0, final=True)).json()
    assert (released["state"], released["captured_amount"]) == ("SUCCESS", 100)
    assert await tenant.balance(accounts[0]) == (900, 0)


async def test_more_than_is_left_cannot_be_captured_and_the_key_is_not_used_up(
    tenant: Client, accounts: tuple[Json, Json]
) -> None:
    held = await hold(tenant, accounts)
    key = new_key()
    problem_of(
        await tenant.operate(held, "capture", key=key, amount=601), 422, "capture_exceeds_hold"
    )
    for final in (True, False):
        problem_of(
            await tenant.operate(held, "capture", key=key, amount=0, final=final),
            *(422, "capture_exceeds_hold"),
        )
    assert (await tenant.operate(held, "capture", key=key, amount=600)).json()["state"] == "SUCCESS"


async def test_a_repeated_capture_gives_the_first_answer_and_moves_nothing(
    tenant: Client, accounts: tuple[Json, Json]
) -> None:
    held = await hold(tenant, accounts)
    key = new_key()
    first = await tenant.operate(held, "capture", key=key, amount=100)
    await tenant.operate(held, "capture", amount=50)
    again = await tenant.operate(held, "capture", key=key, amount=100)
    assert (again.status_code, again.json()) == (200, first.json())
    assert again.headers["idempotency-replayed"] == "true"
    assert await tenant.balance(accounts[0]) == (850, 450)
    problem_of(
        await tenant.operate(held, "capture", key=key, amount=99), 422, "idempotency_key_reused"
    )
    problem_of(
        await tenant.operate(held, "cancel", key=held["idempotency_key"]),
        *(422, "idempotency_key_reused"),
    )
    problem_of(
        await tenant.post_transfer(
            key=key, type="DEPOSIT", destination=accounts[1]["id"], amount=1, currency="EUR"
        ),
        *(422, "idempotency_key_reused"),
    )


async def test_the_request_of_a_hold_gets_its_first_answer_whatever_became_of_it(
    tenant: Client, accounts: tuple[Json, Json]
) -> None:
    key = new_key()
    held = await hold(tenant, accounts, key=key)
    assert await hold(tenant, accounts, key=key) == held
    await tenant.operate(held, "capture", amount=100)
    for days in (10, 20):
        await tenant.operate(held, "extend", expires_at=in_seconds(days * 24 * 3600))
    assert await hold(tenant, accounts, key=key) == held
    await tenant.operate(held, "capture")
    assert await hold(tenant, accounts, key=key) == held


async def test_a_cancelled_hold_is_released_once(
    tenant: Client, accounts: tuple[Json, Json]
) -> None:
    held = await hold(tenant, accounts)
    cancelled = (await tenant.operate(held, "cancel", reason="out of stock")).json()
    assert (cancelled["state"], cancelled["failure"]["code"]) == ("FAILED", "cancelled")
    assert cancelled["failure"]["message"] == "out of stock"
    assert await tenant.balance(accounts[0]) == (1_000, 0)
    problem_of(await tenant.operate(held, "cancel"), 409, "already_failed")
    problem_of(await tenant.operate(held, "capture"), 409, "already_failed")
    assert await hold(tenant, accounts, key=held["idempotency_key"]) == held


async def test_a_hold_expires_by_itself(tenant: Client, accounts: tuple[Json, Json]) -> None:
    held = await hold(tenant, accounts, expires_in_seconds=SOON)
    expired = await until_final(tenant, held)
    assert (expired["state"], expired["failure"]["code"]) == ("FAILED", "expired")
    assert await tenant.balance(accounts[0]) == (1_000, 0)
    problem_of(await tenant.operate(held, "capture"), 409, "expired")
    problem_of(await tenant.operate(held, "extend", expires_at=in_seconds(60)), 409, "expired")


async def test_a_partly_captured_hold_that_expires_keeps_what_was_captured(
    tenant: Client, accounts: tuple[Json, Json]
) -> None:
    held = await hold(tenant, accounts, expires_at=in_seconds(SOON))
    await tenant.operate(held, "capture", amount=250)
    ended = await until_final(tenant, held)
    assert (ended["state"], ended["captured_amount"], ended["failure"]) == ("SUCCESS", 250, None)
    assert await tenant.balance(accounts[0]) == (750, 0)


async def test_an_extended_hold_outlives_its_first_end(
    tenant: Client, accounts: tuple[Json, Json]
) -> None:
    held = await hold(tenant, accounts, expires_in_seconds=SOON)
    later = in_seconds(30)
    extended = (await tenant.operate(held, "extend", expires_at=later)).json()
    assert moment(extended["expires_at"]) == moment(later)

    async def has_passed() -> bool:
        return datetime.now(UTC) > moment(held["expires_at"]) + timedelta(seconds=1)

    await until(has_passed)
    assert (await tenant.operate(held, "capture")).json()["state"] == "SUCCESS"


async def test_an_extension_must_extend_and_stay_in_its_bounds(
    tenant: Client, accounts: tuple[Json, Json]
) -> None:
    held = await hold(tenant, accounts, expires_in_seconds=100)
    problem_of(
        await tenant.operate(held, "extend", expires_at=in_seconds(50)), 422, "expiry_not_later"
    )
    for wrong in (in_seconds(-5), in_seconds(HOLD_SECONDS_MAXIMUM + 60)):
        problem = problem_of(
            await tenant.operate(held, "extend", expires_at=wrong), 422, "validation_failed"
        )
        assert problem["errors"][0]["field"] == "expires_at"
    plain = await tenant.deposit(accounts[0]["id"], 1)
    problem_of(
        await tenant.operate(plain, "extend", expires_at=in_seconds(50)), 409, "already_posted"
    )


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"expires_in_seconds": 10}, "expires_in_seconds"),
        ({"expires_at": "2030-01-01T00:00:00Z"}, "expires_at"),
        ({"capture": "later"}, "capture"),
        ({"capture": "manual", "expires_in_seconds": 0}, "expires_in_seconds"),
        (
            {"capture": "manual", "expires_in_seconds": HOLD_SECONDS_MAXIMUM + 1},
            "expires_in_seconds",
        ),
        ({"capture": "manual", "expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"capture": "manual", "expires_at": "2100-01-01T00:00:00Z"}, "expires_at"),
        ({"capture": "manual", "effective_at": "2020-01-01T00:00:00Z"}, "effective_at"),
    ],
)
async def test_a_hold_that_cannot_be_is_refused_by_its_field(
    tenant: Client, accounts: tuple[Json, Json], fields: Json, field: str
) -> None:
    source, destination = accounts
    body = {"source": source["id"], "destination": destination["id"], "amount": 1}
    response = await tenant.post_transfer(key=new_key(), currency="EUR", **body, **fields)
    problem = problem_of(response, 422, "validation_failed")
    assert [error["field"] for error in problem["errors"]] == [field]


async def test_a_frozen_account_is_not_captured_and_the_hold_stays(
    tenant: Client, accounts: tuple[Json, Json]
) -> None:
    held = await hold(tenant, accounts)
    key = new_key()
    for account in accounts:
        await tenant.change_status(account["id"], "freeze")
        problem_of(await tenant.operate(held, "capture", key=key), 422, "account_frozen")
        await tenant.change_status(account["id"], "unfreeze")
    assert await tenant.balance(accounts[0]) == (1_000, 600)
    assert (await tenant.operate(held, "capture", key=key)).json()["state"] == "SUCCESS"


async def test_a_hold_on_a_frozen_account_can_be_cancelled(
    tenant: Client, accounts: tuple[Json, Json]
) -> None:
    held = await hold(tenant, accounts)
    await tenant.change_status(accounts[0]["id"], "freeze")
    assert (await tenant.operate(held, "cancel")).json()["failure"]["code"] == "cancelled"
    assert await tenant.balance(accounts[0]) == (1_000, 0)


async def test_a_transfer_that_has_posted_is_neither_cancelled_nor_captured(
    tenant: Client, accounts: tuple[Json, Json]
) -> None:
    posted = await tenant.deposit(accounts[0]["id"], 1)
    problem_of(await tenant.operate(posted, "cancel"), 409, "already_posted")
    problem_of(await tenant.operate(posted, "capture"), 409, "already_posted")


async def test_the_last_of_the_captures_that_a_hold_can_have_must_close_it(
    tenant: Client, accounts: tuple[Json, Json]
) -> None:
    held = await hold(tenant, accounts)
    for _ in range(CAPTURES_MAXIMUM - 1):
        assert (await tenant.operate(held, "capture", amount=1)).status_code == 200
    problem_of(await tenant.operate(held, "capture", amount=1), 409, "too_many_captures")
    last = (await tenant.operate(held, "capture", amount=1, final=True)).json()
    assert (last["state"], last["captured_amount"]) == ("SUCCESS", CAPTURES_MAXIMUM)


async def test_others_see_no_hold_and_readers_do_not_operate(
    make_tenant: TenantMaker, tenant: Client, accounts: tuple[Json, Json]
) -> None:
    held = await hold(tenant, accounts)
    stranger = await make_tenant()
    problem_of(await stranger.operate(held, "capture"), 404, "transfer_not_found")
    reader = await make_tenant(scopes=[Scope.TRANSFERS_READ])
    problem_of(await reader.operate(held, "cancel"), 403, "scope_missing")
    missing = await tenant.call("POST", f"/transfers/{held['id']}/cancel", json={})
    problem_of(missing, 400, "idempotency_key_missing")


async def test_captures_at_once_never_take_more_than_the_hold(
    tenant: Client, accounts: tuple[Json, Json], stack: Stack
) -> None:
    held = await hold(tenant, accounts, amount=100)
    responses = await asyncio.gather(
        *(tenant.operate(held, "capture", amount=30) for _ in range(12))
    )
    outcomes = Counter(response.json().get("code", "done") for response in responses)
    assert outcomes == Counter({"done": 3, "capture_exceeds_hold": 9})
    assert await tenant.balance(accounts[1]) == (90, 0)
    await require_clean_ledger(stack)


async def test_of_a_capture_and_a_cancel_at_once_one_wins(
    tenant: Client, accounts: tuple[Json, Json], stack: Stack
) -> None:
    for _ in range(6):
        held = await hold(tenant, accounts, amount=10)
        capture, cancel = await asyncio.gather(
            tenant.operate(held, "capture"), tenant.operate(held, "cancel")
        )
        ended = await until_final(tenant, held)
        if ended["state"] == "SUCCESS":
            assert capture.status_code == 200
            problem_of(cancel, 409, "already_posted")
        else:
            assert cancel.status_code == 200
            problem_of(capture, 409, "already_failed")
    await require_clean_ledger(stack)


async def test_of_a_capture_and_the_expiry_at_the_same_moment_one_wins(
    tenant: Client, accounts: tuple[Json, Json], stack: Stack
) -> None:
    async def race(delay_seconds: float) -> str:
        held = await hold(tenant, accounts, amount=10, expires_in_seconds=SOON)
        await asyncio.sleep(delay_seconds)
        capture = await tenant.operate(held, "capture")
        ended = await until_final(tenant, held)
        if capture.status_code == 200:
            assert (ended["state"], ended["captured_amount"]) == ("SUCCESS", 10)
        else:
            problem_of(capture, 409, "expired")
            assert ended["failure"]["code"] == "expired"
        return str(ended["state"])

    states = await asyncio.gather(*(race(SOON - 0.1 + step * 0.015) for step in range(12)))
    captured = states.count("SUCCESS") * 10
    assert await tenant.balance(accounts[0]) == (1_000 - captured, 0)
    assert await tenant.balance(accounts[1]) == (captured, 0)
    await require_clean_ledger(stack)
