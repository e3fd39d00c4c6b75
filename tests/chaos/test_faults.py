"""What clients are told while a server is away, and that nothing is half-done then."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.chaos.site import Site, running_site
from tests.support.api import Json, new_key, problem_of
from tests.support.rows import rows_of_tenant
from workflows.temporal_calls import RPC_TIMEOUT

NO_DATABASE = "database_unavailable"
NO_TEMPORAL = "temporal_unavailable"


@pytest.fixture(scope="module")
async def site() -> AsyncIterator[Site]:
    async with running_site() as site:
        yield site


@pytest.mark.parametrize("part", ["postgres", "temporal"])
async def test_while_a_server_is_away_requests_are_put_off_and_nothing_is_half_done(
    site: Site, part: str
) -> None:
    code = {"postgres": NO_DATABASE, "temporal": NO_TEMPORAL}[part]
    async with site.client() as client:
        account = await client.account(balance=1_000)
        order: Json = withdrawal(account, 400)
        rows = await rows_of_tenant(site.database_url, client.tenant_id)

        async def look() -> None:
            preferences = [{"Prefer": "wait=10"}, {"Prefer": "respond-async"}]
            async with asyncio.timeout(RPC_TIMEOUT.total_seconds()):
                responses = await asyncio.gather(
                    *(client.post_transfer(headers=headers, **order) for headers in preferences)
                )
            for response in responses:
                problem_of(response, 503, code)
                assert int(response.headers["Retry-After"]) > 0
            assert await site.status("/readyz") == 503
            assert await site.status("/healthz") == 200

        await site.take_away(part, kill=False, meanwhile=look)
        assert await site.status("/healthz") == 200
        assert await rows_of_tenant(site.database_url, client.tenant_id) == rows
        transfer = await client.transfer(**order)
        assert await client.transfer(**order) == transfer
        assert await client.posted(account["id"]) == 600
        assert len((await client.get(f"/accounts/{account['id']}/entries"))["data"]) == 2


async def test_what_is_known_can_be_read_and_repeated_while_temporal_is_away(site: Site) -> None:
    async with site.client() as client:
        account = await client.account(balance=1_000)
        orders = withdrawal(account, 1), withdrawal(account, 5_000)
        made, refused = [await client.post_transfer(**order) for order in orders]
        problem_of(refused, 422, "insufficient_funds")

        async def look() -> None:
            for first, order in zip((made, refused), orders, strict=True):
                again = await client.post_transfer(**order)
                assert again.headers["Idempotency-Replayed"] == "true"
                assert (again.status_code, again.json()) == (first.status_code, first.json())
            assert await client.get(f"/transfers/{made.json()['id']}") == made.json()
            assert await client.posted(account["id"]) == 999

        await site.take_away("temporal", kill=True, meanwhile=look)


def withdrawal(account: Json, amount: int) -> Json:
    body = {"type": "WITHDRAWAL", "source": account["id"], "amount": amount, "currency": "EUR"}
    return body | {"key": new_key()}
