"""Each request that changes something leaves its record, by the key that sent it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support.api import Client, Json, new_key
from tests.support.approvals import Desk
from tests.support.batches import finished, post_batch, row
from tests.support.stack import Stack
from tests.support.standing_orders import change, make_order
from tests.support.stuck import broken_posting
from tests.support.tenants import TenantMaker

LATER = (datetime.now(UTC) + timedelta(days=20)).isoformat()


async def records_of(client: Client, thing: str) -> list[Json]:
    """Read what the log has of a thing, oldest first."""
    found: list[Json] = (await client.get("/audit-log", subject_id=thing))["data"]
    return found[::-1]


async def told_of(client: Client, thing: str) -> list[tuple[str, str | None]]:
    """Give action and reason of what was done to a thing, all of it by this client."""
    found = await records_of(client, thing)
    assert {record["actor"]["id"] for record in found} == {str(client.record.id)}
    assert {record["actor"]["source_address"] for record in found} == {"127.0.0.1"}
    assert all(record["request_id"] for record in found)
    return [(record["action"], record["reason"]) for record in found]


@pytest.fixture
async def desk(tenant: Client, make_tenant: TenantMaker) -> Desk:
    return await Desk.open(tenant, make_tenant, approvers=1)


async def test_limits(desk: Desk) -> None:
    client, account = desk.maker, desk.source
    await client.limit(account, per_day=500, reason="new customer")
    await client.limit(account, per_day=500)
    path = f"/accounts/{account['id']}/limits"
    await client.call("DELETE", path, params={"reason": "known by now"})
    found = (await records_of(client, account["id"]))[1:]
    assert [(record["action"], record["reason"]) for record in found] == [
        ("account.change_limits", "new customer"),
        ("account.change_limits", "known by now"),
    ]
    none = {"per_transfer": None, "per_day": None, "per_month": None}
    assert found[0]["details"] == {"from": none, "to": {**none, "per_day": 500}}
    assert found[1]["details"]["to"] == none


async def test_approval_rules(tenant: Client) -> None:
    rule = await tenant.rule(1_000, reason="auditors ask for it")
    for _ in range(2):
        path = f"/approval-rules/{rule['id']}/retire"
        await tenant.call("POST", path, json={"reason": "too low"})
    assert await told_of(tenant, rule["id"]) == [
        ("approval_rule.create", "auditors ask for it"),
        ("approval_rule.retire", "too low"),
    ]


@pytest.mark.parametrize(
    ("verb", "body", "reason"),
    [
        ("capture", {"amount": 40, "final": True}, None),
        ("extend", {"expires_at": LATER}, None),
        ("cancel", {"reason": "out of stock"}, "out of stock"),
    ],
)
async def test_operations_on_a_hold(
    desk: Desk, verb: str, body: dict[str, Any], reason: str | None
) -> None:
    hold = await desk.maker.hold(
        source=desk.source["id"], destination=desk.destination["id"], amount=100
    )
    assert await records_of(desk.maker, hold["id"]) == []
    key = new_key()
    for _ in range(2):
        response = await desk.maker.operate(hold, verb, key=key, **body)
        assert response.status_code == 200, response.text
    assert await told_of(desk.maker, hold["id"]) == [(f"transfer.{verb}", reason)]
    (record,) = await records_of(desk.maker, hold["id"])
    assert record["details"]["stage"] == response.json()["stage"]


@pytest.mark.parametrize("verb", ["approve", "reject"])
async def test_decisions_are_the_approvers(desk: Desk, verb: str) -> None:
    await desk.maker.rule(500)
    waiting = await desk.waiting()
    checker = desk.approvers[0]
    await checker.operate(waiting, verb, note="as seen")
    (record,) = await records_of(desk.maker, waiting["id"])
    assert (record["action"], record["reason"]) == (f"transfer.{verb}", "as seen")
    assert record["actor"]["id"] == str(checker.record.id)


async def test_reversals_stand_with_what_they_reverse(desk: Desk) -> None:
    client = desk.maker
    transfer = (await desk.ask(100)).json()
    key = new_key()
    for _ in range(2):
        await client.operate(transfer, "reversals", key=key, amount=30, reason="returned")
    refused = await client.operate(transfer, "reversals", amount=71)
    assert refused.status_code == 422
    assert await told_of(client, transfer["id"]) == [("transfer.reverse", "returned")]
    reversal, _refused = (await client.get(f"/transfers/{transfer['id']}/reversals"))["data"]
    (record,) = await records_of(client, transfer["id"])
    assert record["details"] == {"reversal": reversal["id"], "amount": 30, "currency": "EUR"}


async def test_standing_orders(desk: Desk) -> None:
    client = desk.maker
    order = await make_order(
        client, source=desk.source["id"], destination=desk.destination["id"], seconds=86_400
    )
    for verb, reason in (("pause", "holiday"), ("resume", "back"), ("cancel", "moved out")):
        for _ in range(2):
            changed = await change(client, order, verb, reason=reason)
    assert changed["status_reason"] == "moved out"
    assert await told_of(client, order["id"]) == [
        ("standing_order.create", None),
        ("standing_order.pause", "holiday"),
        ("standing_order.resume", "back"),
        ("standing_order.cancel", "moved out"),
    ]


async def test_batches(desk: Desk) -> None:
    client = desk.maker
    rows = [row(destination=desk.source["id"], type="DEPOSIT") for _ in range(3)]
    key = new_key()
    batch = (await post_batch(client, rows, key=key)).json()
    await post_batch(client, rows, key=key)
    await finished(client, batch["id"])
    await client.call("POST", f"/transfer-batches/{batch['id']}/cancel")
    assert await told_of(client, batch["id"]) == [("transfer_batch.create", None)]
    (record,) = await records_of(client, batch["id"])
    assert record["details"] == {"rows": 3}


async def test_a_batch_that_is_cancelled_on_its_way(desk: Desk, stack: Stack) -> None:
    client = desk.maker
    rows = [row(destination=desk.source["id"], type="DEPOSIT") for _ in range(3)]
    async with broken_posting(stack.database_url, desk.source):
        batch = (await post_batch(client, rows, prefer=None)).json()
        path = f"/transfer-batches/{batch['id']}/cancel"
        for reason in ("wrong file", "wrong file, again"):
            cancelled = await client.call("POST", path, json={"reason": reason})
            assert cancelled.status_code == 202, cancelled.text
        done = await finished(client, batch["id"])
    assert (done["stage"], done["counts"]["cancelled"]) == ("CANCELLED", 3)
    assert await told_of(client, batch["id"]) == [
        ("transfer_batch.create", None),
        ("transfer_batch.cancel", "wrong file"),
    ]
