"""Workers and servers are killed while a batch is posted; every row moves its money once."""

from domain.limits import BATCH_CHUNK_ROWS
from tests.chaos.site import COMING_BACK_SECONDS, Site, running_site
from tests.support.api import Client, Json
from tests.support.batches import post_batch, row, rows_of
from tests.support.waiting import until

ROWS = 12 * BATCH_CHUNK_ROWS


async def look(client: Client, batch: Json) -> Json:
    """Read the batch; as it was at first, where the database is just away."""
    response = await client.call("GET", f"/transfer-batches/{batch['id']}")
    found: Json = response.json() if response.is_success else batch
    return found


async def post_and_strike(client: Client, site: Site, *victims: str, times: int) -> Json:
    """Send a batch and kill parts of the stack in its middle, again and again; wait for its end."""
    source, destination = (await client.account(balance=ROWS))["id"], (await client.account())["id"]
    rows = [row(source=source, destination=destination) for _ in range(ROWS)]
    batch: Json = (await post_batch(client, rows, prefer=None)).json()
    for strike in range(1, times + 1):

        async def is_further(strike: int = strike) -> bool:
            counts = (await look(client, batch))["counts"]
            return bool(counts["succeeded"] >= strike * BATCH_CHUNK_ROWS)

        await until(is_further, timeout_seconds=COMING_BACK_SECONDS)
        await site.crash(*victims)

    async def is_final() -> bool:
        return bool((await look(client, batch))["state"] != "PROCESSING")

    await until(is_final, timeout_seconds=COMING_BACK_SECONDS)
    found = await client.get(f"/transfer-batches/{batch['id']}")
    assert found["counts"]["succeeded"] == ROWS
    assert await client.posted(source) == 0
    assert await client.posted(destination) == ROWS
    assert len({each["transfer_id"] for each in await rows_of(client, batch["id"])}) == ROWS
    assert await site.violations() == []
    return found


async def test_killing_the_only_worker_in_the_middle_of_a_batch_doubles_nothing() -> None:
    async with running_site(RUN_WORKER_IN_API="false") as site, site.client() as client:
        batch = await post_and_strike(client, site, "worker-1", times=2)
        assert batch["counts"]["replayed"] == 0


async def test_killing_postgresql_in_the_middle_of_a_batch_doubles_nothing() -> None:
    async with running_site() as site, site.client() as client:
        await post_and_strike(client, site, "postgres", times=2)


async def test_a_batch_recorded_while_temporal_is_away_is_posted_when_it_is_back() -> None:
    async with running_site() as site, site.client() as client:
        account = (await client.account())["id"]

        async def send() -> None:
            rows = [row(type="DEPOSIT", destination=account)]
            response = await post_batch(client, rows, prefer=None)
            assert response.status_code == 503

        await site.take_away("temporal", kill=True, meanwhile=send)

        async def is_posted() -> bool:
            return await client.posted(account) == 1

        await until(is_posted, timeout_seconds=COMING_BACK_SECONDS)
        assert await site.violations(while_moving=True) == []
