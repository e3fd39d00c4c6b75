"""A batch beside single transfers: one key, one order, all or nothing, stopped in between."""

import asyncio
from collections import Counter

import psycopg
import pytest
from temporalio.client import Client as TemporalClient

from domain.limits import BATCH_ATOMIC_ROWS_MAXIMUM, BATCH_CHUNK_ROWS
from tests.support.api import Client, Json, new_key, problem_of
from tests.support.approvals import Desk
from tests.support.batches import finished, post_batch, row, rows_of, run_batch
from tests.support.proof import require_clean_ledger
from tests.support.rows import counts_of_tenant
from tests.support.served import locked_balance
from tests.support.stack import Stack
from tests.support.tenants import TenantMaker
from tests.support.waiting import until

LOCK_WAITERS = (
    "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = %s"
)


def single(asked: Json) -> Json:
    """Give a row as a single request has it."""
    fields = {name: value for name, value in asked.items() if name != "idempotency_key"}
    return {"key": asked["idempotency_key"], **fields}


async def test_rows_and_single_transfers_with_the_same_keys_at_once_move_the_money_once(
    tenant: Client, stack: Stack
) -> None:
    source, destination = (await tenant.account(balance=40))["id"], (await tenant.account())["id"]
    rows = [row(1, source=source, destination=destination) for _ in range(60)]
    batches, answers = await asyncio.gather(
        asyncio.gather(run_batch(tenant, rows), run_batch(tenant, rows[::-1])),
        asyncio.gather(*(tenant.post_transfer(**single(each)) for each in rows)),
    )
    assert await tenant.posted(source) == 0
    assert await tenant.posted(destination) == 40
    assert Counter(answer.status_code for answer in answers) == {201: 40, 422: 20}
    transfers = [answer.json().get("transfer", answer.json()) for answer in answers]
    outcomes = {transfer["idempotency_key"]: transfer["id"] for transfer in transfers}
    for batch in batches:
        found = await rows_of(tenant, batch["id"])
        assert {each["idempotency_key"]: each["transfer_id"] for each in found} == outcomes
        assert (batch["counts"]["succeeded"], batch["counts"]["failed"]) == (40, 20)
    await require_clean_ledger(stack)


async def test_a_row_waits_for_a_single_transfer_that_is_under_way(
    tenant: Client, stack: Stack
) -> None:
    source, destination = (await tenant.account(balance=9))["id"], (await tenant.account())["id"]
    asked = row(9, source=source, destination=destination)
    async with await psycopg.AsyncConnection.connect(stack.database_url) as other:
        # Holds up the posting, which locks both sides, and not the reserve.
        await other.execute("SELECT FROM balances WHERE account_id = %s FOR UPDATE", (destination,))
        under_way = asyncio.create_task(tenant.post_transfer(**single(asked)))

        async def is_reserved() -> bool:
            found = await tenant.get("/transfers", idempotency_key=asked["idempotency_key"])
            return bool(found["data"])

        await until(is_reserved)
        sent = asyncio.create_task(post_batch(tenant, [asked], prefer=None))
        batch = (await sent).json()
        await other.rollback()
    done = await finished(tenant, batch["id"])
    single_one = (await under_way).json()
    [found] = await rows_of(tenant, batch["id"])
    assert (found["status"], found["transfer_id"]) == ("SUCCEEDED", single_one["id"])
    assert (done["counts"]["succeeded"], done["counts"]["replayed"]) == (1, 1)
    assert single_one["batch_id"] is None


@pytest.mark.parametrize(
    ("verb", "status", "code"),
    [("approve", "SUCCEEDED", None), ("reject", "FAILED", "rejected")],
)
async def test_a_row_waits_for_a_single_transfer_that_awaits_its_approval(
    tenant: Client, make_tenant: TenantMaker, verb: str, status: str, code: str | None
) -> None:
    desk = await Desk.open(tenant, make_tenant, approvers=1)
    await tenant.rule(500)
    there = {"source": desk.source["id"], "destination": desk.destination["id"]}
    asked, next_one = row(600, **there), row(300, **there)
    waiting = await desk.waiting(600, key=asked["idempotency_key"])
    batch = (await post_batch(tenant, [asked, next_one], prefer=None)).json()

    async def has_only_the_one_left() -> bool:
        counts = (await tenant.get(f"/transfer-batches/{batch['id']}"))["counts"]
        return bool((counts["pending"], counts["succeeded"]) == (1, 1))

    await until(has_only_the_one_left)
    assert (await desk.approvers[0].operate(waiting, verb)).status_code == 200
    batch = await finished(tenant, batch["id"])
    assert batch["stage"] == "COMPLETED"
    [found, _] = await rows_of(tenant, batch["id"])
    assert (found["status"], found["code"], found["transfer_id"]) == (status, code, waiting["id"])
    moved = 300 if code else 900
    assert await desk.balances() == (1_000 - moved, 0, moved)


async def test_a_single_request_with_the_key_of_a_row_gets_the_rows_transfer(
    tenant: Client,
) -> None:
    account = (await tenant.account())["id"]
    asked = row(3, type="DEPOSIT", destination=account)
    batch = await run_batch(tenant, [asked])
    answer = await tenant.post_transfer(**single(asked))
    assert answer.headers["Idempotency-Replayed"] == "true"
    assert answer.json()["batch_id"] == batch["id"]
    problem_of(
        await tenant.post_transfer(**{**single(asked), "amount": 4}), 422, "idempotency_key_reused"
    )
    assert await tenant.posted(account) == 3


async def test_what_a_single_request_is_refused_for_rejects_a_row_and_leaves_its_key(
    tenant: Client,
) -> None:
    euros, dollars = (await tenant.account())["id"], (await tenant.account("USD"))["id"]
    used = new_key()
    await tenant.transfer(key=used, type="DEPOSIT", destination=euros, amount=5)
    wrong = {
        "account_not_found": row(type="DEPOSIT", destination="ext:nobody"),
        "same_account": row(source=euros, destination=euros),
        "currency_mismatch": row(source=euros, destination=dollars),
        "idempotency_key_reused": row(type="DEPOSIT", destination=euros, key=used),
    }
    batch = await run_batch(tenant, list(wrong.values()))
    assert batch["stage"] == "COMPLETED"
    assert batch["codes"] == dict.fromkeys(sorted(wrong), 1)
    rows = await rows_of(tenant, batch["id"], status="REJECTED")
    assert [each["code"] for each in rows] == list(wrong)
    assert [each["transfer_id"] for each in rows] == [None] * 4
    assert batch["rejects"] == rows
    key = wrong["account_not_found"]["idempotency_key"]
    await tenant.transfer(key=key, type="DEPOSIT", destination=euros, amount=1)


async def test_a_batchs_key_cannot_be_a_transfers_and_the_other_way_round(tenant: Client) -> None:
    account = (await tenant.account())["id"]
    key = new_key()
    rows = [row(type="DEPOSIT", destination=account), row(type="DEPOSIT", destination=account)]
    batch = await run_batch(
        tenant, [*rows, row(key=key, type="DEPOSIT", destination=account)], key=key
    )
    assert batch["codes"] == {"idempotency_key_reused": 1}
    problem_of(await post_batch(tenant, rows, key=key), 422, "idempotency_key_reused")
    taken = rows[0]["idempotency_key"]
    problem_of(await post_batch(tenant, rows, key=taken), 422, "idempotency_key_reused")


async def test_an_atomic_batch_moves_all_or_nothing(tenant: Client) -> None:
    source, destination = (await tenant.account(balance=10))["id"], (await tenant.account())["id"]
    sides = {"source": source, "destination": destination}
    rows = [row(4, **sides), row(4, **sides), row(4, **sides), row(1, **sides)]
    before = await tenant.posted(source)
    refused = await run_batch(tenant, rows, atomic=True)
    assert (refused["state"], refused["stage"]) == ("FAILED", "REJECTED")
    assert refused["failure"]["code"] == "batch_rejected"
    assert (refused["counts"]["rejected"], refused["counts"]["cancelled"]) == (1, 3)
    [culprit] = refused["rejects"]
    assert (culprit["position"], culprit["code"]) == (3, "insufficient_funds")
    assert await tenant.posted(source) == before
    assert (await tenant.get("/transfers", account=destination))["data"] == []
    moved = await run_batch(tenant, [*rows[:2], rows[3]], atomic=True)
    assert (moved["stage"], moved["counts"]["succeeded"]) == ("COMPLETED", 3)
    assert await tenant.posted(destination) == 9


async def test_an_atomic_batch_may_be_as_large_as_is_documented(tenant: Client) -> None:
    account = (await tenant.account())["id"]
    rows = [row(type="DEPOSIT", destination=account) for _ in range(BATCH_ATOMIC_ROWS_MAXIMUM)]
    batch = await run_batch(tenant, rows, atomic=True)
    assert batch["counts"]["succeeded"] == len(rows)
    assert await tenant.posted(account) == len(rows)
    one_more = [*rows, row(type="DEPOSIT", destination=account)]
    problem = problem_of(await post_batch(tenant, one_more, atomic=True), 422, "validation_failed")
    assert [error["field"] for error in problem["errors"]] == ["atomic"]


async def test_a_cancelled_batch_stops_between_two_chunks_and_says_what_was_posted(
    tenant: Client, stack: Stack
) -> None:
    accounts = [(await tenant.account())["id"] for _ in range(2)]
    first = [row(type="DEPOSIT", destination=accounts[0]) for _ in range(BATCH_CHUNK_ROWS)]
    second = [row(type="DEPOSIT", destination=accounts[1]) for _ in range(BATCH_CHUNK_ROWS + 5)]
    async with locked_balance(stack.database_url, accounts[1]):
        batch = (await post_batch(tenant, [*first, *second], prefer=None)).json()
        path = f"/transfer-batches/{batch['id']}"

        async def is_held_up() -> bool:
            return bool((await tenant.get(path))["counts"]["succeeded"] == BATCH_CHUNK_ROWS)

        await until(is_held_up)
        await until(lambda: _has_lock_waiters(stack, 1))
        cancel = asyncio.create_task(tenant.call("POST", f"{path}/cancel"))
        await until(lambda: _has_lock_waiters(stack, 2))
    answer = await cancel
    assert (answer.status_code, answer.headers["Location"]) == (202, f"/v1{path}")
    done = await finished(tenant, batch["id"])
    assert (done["state"], done["stage"]) == ("FAILED", "CANCELLED")
    assert done["failure"]["code"] == "batch_cancelled"
    posted = [await tenant.posted(account) for account in accounts]
    assert done["counts"]["succeeded"] == sum(posted)
    assert done["counts"]["cancelled"] == len(first) + len(second) - sum(posted)
    assert posted[0] == BATCH_CHUNK_ROWS
    assert posted[1] <= BATCH_CHUNK_ROWS
    await require_clean_ledger(stack)


async def test_a_batch_that_is_done_cannot_be_cancelled(tenant: Client) -> None:
    account = (await tenant.account())["id"]
    batch = await run_batch(tenant, [row(type="DEPOSIT", destination=account)])
    answer = await tenant.call("POST", f"/transfer-batches/{batch['id']}/cancel")
    problem_of(answer, 409, "batch_finished")


@pytest.mark.parametrize("way", ["cancel", "terminate"])
async def test_a_batch_whose_workflow_is_ended_from_outside_keeps_what_is_posted(
    way: str, tenant: Client, stack: Stack, temporal_client: TemporalClient
) -> None:
    accounts = [(await tenant.account())["id"] for _ in range(2)]
    first = [row(type="DEPOSIT", destination=accounts[0]) for _ in range(BATCH_CHUNK_ROWS)]
    last = [row(type="DEPOSIT", destination=accounts[1])]
    async with locked_balance(stack.database_url, accounts[1]):
        batch = (await post_batch(tenant, [*first, *last], prefer=None)).json()

        async def is_held_up() -> bool:
            found = await tenant.get(f"/transfer-batches/{batch['id']}")
            return bool(found["counts"]["succeeded"] == BATCH_CHUNK_ROWS)

        await until(is_held_up)
        handle = temporal_client.get_workflow_handle(batch["workflow_id"])
        await getattr(handle, way)()
    done = await finished(tenant, batch["id"])
    assert done["counts"]["pending"] == 0
    assert done["counts"]["succeeded"] == sum([await tenant.posted(a) for a in accounts])
    counts = await counts_of_tenant(stack.database_url, tenant.tenant_id)
    assert counts["transfers"] == done["counts"]["succeeded"]
    await require_clean_ledger(stack)


async def _has_lock_waiters(stack: Stack, number: int) -> bool:
    async with await psycopg.AsyncConnection.connect(stack.database_url) as connection:
        name = connection.info.dbname
        found = await (await connection.execute(LOCK_WAITERS, (name,))).fetchone()
    return found is not None and found[0] >= number


async def test_rows_use_up_the_limits_of_their_sources_as_single_transfers_do(
    tenant: Client, stack: Stack
) -> None:
    source, destination = (await tenant.account(balance=100))["id"], (await tenant.account())["id"]
    sides = {"source": source, "destination": destination}
    await tenant.call("PUT", f"/accounts/{source}/limits", json={"per_transfer": 9, "per_day": 20})
    await tenant.transfer(amount=5, **sides)
    rows = [row(10, **sides), *(row(7, **sides) for _ in range(3)), row(1, **sides)]
    batch = await run_batch(tenant, rows)
    found = await rows_of(tenant, batch["id"])
    assert [each["status"] for each in found] == [
        *("FAILED", "SUCCEEDED", "SUCCEEDED", "FAILED", "SUCCEEDED"),
    ]
    assert {each["code"] for each in found} == {None, "limit_exceeded"}
    limits = await tenant.get(f"/accounts/{source}/limits")
    assert limits["used_today"] == 20
    problem_of(
        await tenant.post_transfer(key=new_key(), amount=1, currency="EUR", **sides),
        422,
        "limit_exceeded",
    )
    await require_clean_ledger(stack)


async def test_what_batches_sent_this_month_counts_for_limits_that_are_set_later(
    tenant: Client, stack: Stack
) -> None:
    source, destination = (await tenant.account(balance=100))["id"], (await tenant.account())["id"]
    sides = {"source": source, "destination": destination}
    await run_batch(tenant, [row(30, **sides), row(80, **sides)])
    await tenant.call("PUT", f"/accounts/{source}/limits", json={"per_month": 50})
    assert (await tenant.get(f"/accounts/{source}/limits"))["used_this_month"] == 30
    await require_clean_ledger(stack)


async def test_a_row_that_needs_an_approval_is_rejected_and_its_key_stays_free(
    tenant: Client, stack: Stack
) -> None:
    source, destination = (await tenant.account(balance=500))["id"], (await tenant.account())["id"]
    sides = {"source": source, "destination": destination}
    await tenant.call("POST", "/approval-rules", json={"currency": "EUR", "threshold": 100})
    rows = [row(100, **sides), row(101, **sides), row(102, **sides)]
    waiting = await tenant.post_transfer(**single(rows[2]))
    assert waiting.json()["stage"] == "AWAITING_APPROVAL"
    batch = await run_batch(tenant, rows[:2])
    found = await rows_of(tenant, batch["id"])
    assert [(each["status"], each["code"]) for each in found] == [
        ("SUCCEEDED", None),
        ("REJECTED", "approval_required"),
    ]
    later = await tenant.post_transfer(**single(rows[1]))
    assert (later.status_code, later.json()["stage"]) == (202, "AWAITING_APPROVAL")
    await require_clean_ledger(stack)
