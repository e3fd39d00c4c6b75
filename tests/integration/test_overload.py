"""A process with more to do than it takes in refuses the rest at once, and recovers at once."""

import asyncio
import time
from collections.abc import AsyncIterator

import httpx
import pytest

from runtime.composition import Services
from tests.support.api import Client, Json, new_key, problem_of
from tests.support.served import ServedApi, locked_balance, served_api
from tests.support.stack import Stack

LIMIT = 2
AT_ONCE_SECONDS = 0.5
SOON_SECONDS = 2.0
LIMITS = {"API_TRANSFERS_IN_FLIGHT_MAXIMUM": "2", "API_REQUESTS_IN_FLIGHT_MAXIMUM": "3"}


@pytest.fixture(scope="module")
async def small(stack: Stack, services: Services) -> AsyncIterator[ServedApi]:
    """An API that takes in two transfers at once."""
    async with served_api(stack, services.access, **LIMITS) as served:
        yield served


def send(client: Client, source: Json, destination: Json, key: str) -> asyncio.Task[httpx.Response]:
    sides = {"source": source["id"], "destination": destination["id"]}
    transfer = client.post_transfer(key=key, amount=1, currency="EUR", **sides)
    return asyncio.create_task(transfer)


async def test_what_is_over_the_limit_is_refused_at_once_and_taken_in_later(
    small: ServedApi, stack: Stack
) -> None:
    async with small.client() as client:
        source, destination = await client.account(balance=100), await client.account()
        shed_before = await shed(client)
        async with locked_balance(stack.database_url, source["id"]):
            taken_in = [send(client, source, destination, new_key()) for _ in range(LIMIT)]
            await asyncio.sleep(0.5)
            key, began = new_key(), time.monotonic()
            refused = await send(client, source, destination, key)
            assert time.monotonic() - began < AT_ONCE_SECONDS
            problem = problem_of(refused, 503, "overloaded")
            assert problem["type"] == "urn:transfers:problem:overloaded"
            assert refused.headers["Retry-After"] == "1"
            assert refused.headers["x-request-id"]
            for path in ("/healthz", "/readyz", "/v1/transfers", f"/v1/accounts/{source['id']}"):
                assert (await client.http.get(path)).status_code == 200
            assert not any(task.done() for task in taken_in)
        assert {response.status_code for response in await asyncio.gather(*taken_in)} == {201}
        began = time.monotonic()
        accepted = await send(client, source, destination, key)
        assert time.monotonic() - began < SOON_SECONDS
        assert (accepted.status_code, accepted.json()["state"]) == (201, "SUCCESS")
        assert "Idempotency-Replayed" not in accepted.headers
        again = await send(client, source, destination, key)
        assert (again.status_code, again.json()) == (201, accepted.json())
        assert await client.posted(destination["id"]) == LIMIT + 1
        assert await shed(client) == shed_before + 1


async def test_above_capacity_what_is_taken_in_succeeds_and_nothing_else_is_answered(
    small: ServedApi,
) -> None:
    async with small.client() as client:
        pairs = [(await client.account(balance=10), await client.account()) for _ in range(20)]
        keys = [new_key() for _ in pairs]

        async def until_taken_in(number: int) -> int:
            refusals = 0
            while (response := await send(client, *pairs[number], keys[number])).status_code != 201:
                problem_of(response, 503, "overloaded")
                refusals += 1
                await asyncio.sleep(0.05)
            return refusals

        refusals = await asyncio.gather(*map(until_taken_in, range(len(pairs))))
        assert sum(refusals) > 0
        posted = [await client.posted(destination["id"]) for _, destination in pairs]
        assert posted == [1] * len(pairs)


async def test_reads_have_a_limit_of_their_own_and_health_has_none(small: ServedApi) -> None:
    async with small.client() as client:
        codes = {
            response.status_code
            for response in await asyncio.gather(
                *(client.call("GET", "/transfers") for _ in range(40)),
            )
        }
        assert codes == {200, 503}
        health = await asyncio.gather(*(client.http.get("/healthz") for _ in range(40)))
        assert {response.status_code for response in health} == {200}


async def shed(client: Client) -> float:
    lines = (await client.http.get("/metrics")).text.splitlines()
    name = 'transfers_requests_shed_total{kind="transfer"}'
    return float(next(line for line in lines if line.startswith(name)).split()[-1])
