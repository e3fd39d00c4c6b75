"""What Temporal keeps on disk tells nothing of people and money where payloads are encrypted."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta

import pytest

from persistence.database import Database
from runtime.composition import make_services
from tests.support.api import Client, Json, new_key
from tests.support.batches import row, run_batch
from tests.support.encrypted_stack import EncryptedStack, encrypted_stack
from tests.support.postgres import PostgresServer
from tests.support.waiting import until

DESCRIPTION = "for the flat in Elm Street"
REASON = "the tenant moved to Oak Lane"
NAME = "Ada Byron Lovelace"
EXTERNAL_ID = "customer-8841-ada"
AMOUNT = 987_654_321_012
BALANCE = 10**15


@pytest.fixture
async def ground(postgres: PostgresServer) -> AsyncIterator[EncryptedStack]:
    async with postgres.database() as url:
        database = Database.at(url)
        access = make_services(database).access
        async with encrypted_stack(url, access) as ground:
            yield ground
        await database.close()


async def wallets(client: Client) -> tuple[Json, Json]:
    user = await client.user(NAME, metadata={"note": DESCRIPTION})
    return (
        await client.account(user_id=user["id"], external_id=EXTERNAL_ID, balance=BALANCE),
        await client.account(user_id=user["id"]),
    )


async def live_through_everything(client: Client) -> list[str]:
    """Use every kind of workflow; gives what must not be found on disk."""
    source, destination = await wallets(client)
    ends: Json = {"source": source["id"], "destination": destination["id"], "amount": AMOUNT}
    told: Json = {"description": DESCRIPTION, "metadata": {"address": DESCRIPTION}}
    await client.transfer(**ends, **told)
    refused = await client.post_transfer(
        key=new_key(), currency="EUR", **{**ends, "amount": 10**17}
    )
    assert refused.status_code == 422
    held = await client.hold(**ends, **told)
    await client.operate(held, "capture", amount=AMOUNT - 1)
    await client.operate(held, "reversals", reason=REASON)
    waiting = await client.hold(**ends, **told)
    await client.operate(waiting, "cancel", reason=REASON)
    await run_batch(client, [row(AMOUNT, source=source["id"], destination=destination["id"])])
    order = await client.call(
        "POST",
        "/standing-orders",
        json={
            **ends,
            "currency": "EUR",
            **told,
            "schedule": {"interval_seconds": 1},
            "start_at": (datetime.now(UTC) + timedelta(seconds=1)).isoformat(),
        },
        headers={"Idempotency-Key": new_key()},
    )
    assert order.status_code == 201, order.text
    path = f"/standing-orders/{order.json()['id']}"

    async def has_run() -> bool:
        runs = (await client.get(f"{path}/runs"))["data"]
        return any(run["state"] == "SUCCESS" for run in runs)

    await until(has_run)
    await client.call("POST", f"{path}/cancel", json={"reason": REASON})
    numbers = [account["account_number"] for account in (source, destination)]
    return [DESCRIPTION, REASON, NAME, EXTERNAL_ID, str(AMOUNT), *numbers]


async def test_nothing_personal_stands_in_temporals_database(ground: EncryptedStack) -> None:
    async with AsyncExitStack() as opened:
        served = await opened.enter_async_context(ground.api())
        words = await live_through_everything(await ground.client(opened, served))
    stored = ground.stored()
    assert b"binary/encrypted" in stored
    assert [word for word in words if word.encode() in stored] == []

    # What is not encrypted is found: the look at the disk above was one.
    async with AsyncExitStack() as opened:
        served = await opened.enter_async_context(ground.api(PAYLOAD_KEYS=""))
        client = await ground.client(opened, served)
        account = await client.account()
        await client.transfer(
            type="DEPOSIT", destination=account["id"], amount=AMOUNT, description=DESCRIPTION
        )
    stored = ground.stored()
    assert DESCRIPTION.encode() in stored
    assert str(AMOUNT).encode() in stored
