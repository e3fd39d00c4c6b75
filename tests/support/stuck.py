"""Transfers that are really stuck, and what operators see of them and do."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, LiteralString

import httpx
import psycopg
from psycopg import sql

from tests.support.api import Client, Json, new_key
from tests.support.waiting import until

FAILURE = "the disk is full"
FUNCTION = """
CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION {failure}; END $$
"""
POSTING = """
CREATE TRIGGER {name} BEFORE INSERT ON ledger_entries FOR EACH ROW
WHEN (NEW.account_id = {id}) EXECUTE FUNCTION {name}()
"""
RECORDING = """
CREATE TRIGGER {name} BEFORE INSERT ON transfers FOR EACH ROW
WHEN (NEW.source_account_id = {id}) EXECUTE FUNCTION {name}()
"""
SETTLING = """
CREATE TRIGGER {name} BEFORE UPDATE ON standing_order_runs FOR EACH ROW
WHEN (NEW.order_id = {id}) EXECUTE FUNCTION {name}()
"""
DROP = "DROP FUNCTION {name}() CASCADE"
PATIENCE_SECONDS = 40.0
REASON = "a test asks for it"


class BrokenPosting:
    """Makes every posting to an account fail inside PostgreSQL, until it is mended.

    Parameters
    ----------
    trigger
        Another one lets another step fail, of what has the id.
    """

    def __init__(self, database_url: str, broken_id: str, trigger: LiteralString = POSTING) -> None:
        self._database_url = database_url
        self._broken_id = broken_id
        self._trigger = trigger
        self._name = sql.Identifier(f"fail_{secrets.token_hex(6)}")
        self._is_broken = False

    async def break_it(self) -> None:
        await self._run(FUNCTION, failure=sql.Literal(FAILURE))
        await self._run(self._trigger, id=sql.Literal(self._broken_id))
        self._is_broken = True

    async def mend(self) -> None:
        if self._is_broken:
            await self._run(DROP)
            self._is_broken = False

    async def _run(self, statement: LiteralString, **parts: sql.Composable) -> None:
        async with await psycopg.AsyncConnection.connect(
            self._database_url, autocommit=True
        ) as connection:
            await connection.execute(sql.SQL(statement).format(name=self._name, **parts))


@asynccontextmanager
async def broken_posting(
    database_url: str, broken: Json, trigger: LiteralString = POSTING
) -> AsyncIterator[BrokenPosting]:
    """Break the posting to an account, and mend it at the end of the block at the latest."""
    posting = BrokenPosting(database_url, broken["id"], trigger)
    await posting.break_it()
    try:
        yield posting
    finally:
        await posting.mend()


@asynccontextmanager
async def broken_recording(database_url: str, source: Json) -> AsyncIterator[BrokenPosting]:
    """Let transfers of an account be accepted by Temporal, and not be recorded."""
    async with broken_posting(database_url, source, RECORDING) as recording:
        yield recording


async def promised(tenant: Client, source: Json, destination: Json, amount: int = 600) -> Json:
    """Ask for a transfer and do not wait for it."""
    response = await tenant.post_transfer(
        key=new_key(),
        headers={"Prefer": "respond-async"},
        source=source["id"],
        destination=destination["id"],
        amount=amount,
        currency="EUR",
    )
    assert response.status_code == 202, response.text
    found: Json = response.json()
    return found


async def seen(operator: Client, transfer_id: Any) -> Json:
    """Give what operators see of a transfer, as soon as Temporal answers in time."""
    found: Json = {}

    async def is_answered() -> bool:
        nonlocal found
        response = await operator.call("GET", f"/operations/transfers/{transfer_id}")
        assert response.status_code in {200, 503}, response.text
        found = response.json()
        return response.status_code == 200

    await until(is_answered, timeout_seconds=PATIENCE_SECONDS)
    return found


async def until_stuck(operator: Client, transfer_id: Any, cause: str) -> Json:
    """Wait until a transfer is stuck for a cause, and give what operators see of it."""

    async def is_so() -> bool:
        response = await operator.call("GET", f"/operations/transfers/{transfer_id}")
        return bool(response.status_code == 200 and response.json()["cause"] == cause)

    await until(is_so, timeout_seconds=PATIENCE_SECONDS)
    return await seen(operator, transfer_id)


async def until_state(tenant: Client, transfer_id: Any, state: str) -> Json:
    """Wait until a transfer is in a state, and give it."""

    async def is_so() -> bool:
        return bool((await tenant.get(f"/transfers/{transfer_id}"))["state"] == state)

    await until(is_so, timeout_seconds=PATIENCE_SECONDS)
    return await tenant.get(f"/transfers/{transfer_id}")


async def until_closed(tenant: Client, transfer_id: Any) -> str:
    """Wait until the workflow of a transfer has ended, and tell how."""

    async def is_so() -> bool:
        workflow = await tenant.get(f"/transfers/{transfer_id}/workflow")
        return workflow["status"] not in {"RUNNING", "PAUSED"}

    await until(is_so, timeout_seconds=PATIENCE_SECONDS)
    return str((await tenant.get(f"/transfers/{transfer_id}/workflow"))["status"])


async def act(operator: Client, transfer_id: Any, action: str, **body: Any) -> httpx.Response:
    """Ask for an operator's action on one transfer."""
    return await operator.call(
        "POST",
        f"/operations/transfers/{transfer_id}/{action}",
        json={"reason": REASON, **body},
    )


async def done(operator: Client, transfer_id: Any, action: str) -> Json:
    """Do something with a transfer, and require that it was done."""
    response = await act(operator, transfer_id, action)
    assert response.status_code == 200, response.text
    result: Json = response.json()
    assert result["outcome"] == "done", result
    return result


async def until_listed(operator: Client, tenant_id: Any, *transfers: Json) -> list[Json]:
    """Wait until these and no others are listed of a tenant, and give them in their order."""
    wanted = {transfer["id"] for transfer in transfers}

    async def is_so() -> bool:
        return {item["id"] for item in await listed(operator, tenant_id)} == wanted

    await until(is_so, timeout_seconds=PATIENCE_SECONDS)
    return await listed(operator, tenant_id)


async def listed(operator: Client, tenant_id: Any, **params: Any) -> list[Json]:
    """Give all that is stuck of a tenant."""
    path = "/operations/stuck"
    pages = operator.walk(path, limit=50, tenant=str(tenant_id), **params)
    return [item async for page in pages for item in page]


async def act_on(operator: Client, item: Json, action: str, **body: Any) -> Json:
    """Ask for an operator's action on one thing of any kind, and give what became of it."""
    response = await operator.call(
        "POST",
        "/operations/actions",
        json={"action": action, "reason": REASON, "ids": [item["id"]], **body},
    )
    assert response.status_code == 200, response.text
    (result,) = response.json()["data"]
    found: Json = result
    return found
