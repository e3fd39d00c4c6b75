"""Batches over HTTP, from the rows to the ledger."""

from tests.support.api import Client
from tests.support.batches import post_batch, row, rows_of, run_batch


async def test_a_batch_moves_the_money_of_its_rows_in_their_order(tenant: Client) -> None:
    source, destination = (await tenant.account(balance=100))["id"], (await tenant.account())["id"]
    there = {"source": source, "destination": destination}
    back = {"source": destination, "destination": source}
    batch = await run_batch(tenant, [row(60, **there), row(60, **there), row(10, **back)])
    assert (batch["state"], batch["stage"]) == ("SUCCESS", "COMPLETED")
    assert batch["counts"] == {
        "total": 3,
        "pending": 0,
        "succeeded": 2,
        "replayed": 0,
        "failed": 1,
        "rejected": 0,
        "cancelled": 0,
    }
    rows = await rows_of(tenant, batch["id"])
    assert [each["status"] for each in rows] == ["SUCCEEDED", "FAILED", "SUCCEEDED"]
    assert rows[1]["code"] == "insufficient_funds"
    assert [await tenant.posted(account) for account in (source, destination)] == [50, 50]


async def test_a_row_ends_as_a_transfer_like_any_other(tenant: Client) -> None:
    source, destination = (await tenant.account(balance=100))["id"], (await tenant.account())["id"]
    asked = row(
        60, source=source, destination=destination, metadata={"a": [1]}, description="a\\b é"
    )
    batch = await run_batch(tenant, [asked])
    [found] = await rows_of(tenant, batch["id"])
    transfer = await tenant.get(f"/transfers/{found['transfer_id']}")
    assert transfer["idempotency_key"] == asked["idempotency_key"]
    assert (transfer["state"], transfer["stage"]) == ("SUCCESS", "COMPLETED")
    assert (transfer["description"], transfer["metadata"]) == ("a\\b é", {"a": [1]})
    assert transfer["batch_id"] == batch["id"]
    workflow_id = f"batch/{tenant.tenant_id}/{batch['id']}"
    assert transfer["workflow_id"] == batch["workflow_id"] == workflow_id
    [listed] = (await tenant.get("/transfers", idempotency_key=asked["idempotency_key"]))["data"]
    assert listed == transfer
    entries = (await tenant.get(f"/transfers/{transfer['id']}/entries"))["data"]
    assert [(entry["direction"], entry["balance_after"]) for entry in entries] == [
        ("DEBIT", 40),
        ("CREDIT", 60),
    ]
    live = await tenant.get(f"/transfers/{transfer['id']}/workflow")
    assert (live["workflow_id"], live["stage"]) == (workflow_id, "COMPLETED")
    events = (await tenant.get(f"/transfers/{transfer['id']}/events"))["data"]
    assert [event["stage"] for event in events] == ["COMPLETED"]


async def test_the_same_batch_again_is_the_first_one(tenant: Client) -> None:
    account = (await tenant.account())["id"]
    rows = [row(5, type="DEPOSIT", destination=account)]
    first = await post_batch(tenant, rows, key="one")
    again = await post_batch(tenant, rows, key="one")
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.json() == first.json()
    assert await tenant.posted(account) == 5
