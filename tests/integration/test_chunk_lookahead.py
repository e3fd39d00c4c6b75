"""Chunks that begin before their turn, and what makes them give way."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from domain.batches import BatchStage, TransferBatch
from domain.transfers import Failure
from persistence.database import Database
from persistence.tenancy import EVERY_TENANT
from runtime.composition import make_services
from services.batch_posting import BatchPostingService
from services.chunk_lookahead import Lookahead
from tests.support.postgres import PostgresServer
from tests.support.staged import new_keys, stage_batch
from tests.support.wallets import OVERDRAFT_LIMIT_MINOR, Wallets, make_wallets

CHUNK_ROWS = 2
ROWS = 3 * CHUNK_ROWS
LOCK = "SELECT FROM balances WHERE account_id = %s FOR UPDATE"
CLAIM = """
INSERT INTO idempotency_keys (tenant_id, key, operation, fingerprint)
VALUES (%s, %s, 'transfer.create', sha256('x'))
"""


@pytest.fixture
async def own_url(postgres: PostgresServer) -> AsyncIterator[str]:
    """A database that no worker touches."""
    async with postgres.database() as url:
        yield url


@pytest.fixture
async def wallets(postgres: PostgresServer, own_url: str) -> AsyncIterator[Wallets]:
    database = Database.at(postgres.as_service(own_url))
    yield await make_wallets(make_services(database))
    await database.close()


@pytest.fixture
def other(own_url: str) -> Iterator[psycopg.Connection[Any]]:
    """Another session, with a transaction that is still to be ended."""
    with psycopg.connect(own_url) as connection:
        yield connection
        connection.rollback()


def ahead(wallets: Wallets, *, chunks: int = ROWS) -> Lookahead:
    return Lookahead(wallets.services.database, chunk_rows=CHUNK_ROWS, chunks=chunks)


async def keys_taken(wallets: Wallets, keys: list[str]) -> int:
    async with wallets.services.database.transaction(EVERY_TENANT) as unit_of_work:
        taken = [
            await unit_of_work.idempotency_keys.is_taken(wallets.tenant_id, key) for key in keys
        ]
    return sum(taken)


async def test_a_chunk_that_has_begun_leaves_nothing_where_it_is_abandoned(
    wallets: Wallets,
) -> None:
    keys = new_keys(ROWS)
    batch = await stage_batch(wallets, keys)
    async with ahead(wallets) as lookahead:
        lookahead.start(batch, 0)
        chunk = await lookahead.take(batch)
        assert chunk.begun is not None
        assert chunk.begun.claimed == set(keys[:CHUNK_ROWS])
        await chunk.begun.abandon()
        lookahead.start(batch, chunk.last)
    assert await keys_taken(wallets, keys) == 0


async def test_nothing_is_begun_behind_the_last_chunk_that_is_wanted(wallets: Wallets) -> None:
    batch = await stage_batch(wallets, new_keys(ROWS))
    async with ahead(wallets, chunks=1) as lookahead:
        chunk = await lookahead.take(batch)
        lookahead.start(batch, chunk.last)
        following = await lookahead.take(replace(batch, position=chunk.last))
        assert (following.after, following.begun) == (chunk.last, None)


async def test_what_another_attempt_has_posted_is_not_begun_again(wallets: Wallets) -> None:
    keys = new_keys(ROWS)
    batch = await stage_batch(wallets, keys)
    async with ahead(wallets) as lookahead:
        lookahead.start(batch, CHUNK_ROWS)
        chunk = await lookahead.take(batch)
        assert (chunk.after, chunk.begun) == (0, None)
    assert await keys_taken(wallets, keys) == 0


async def test_a_chunk_waits_for_its_turn_while_another_takes_one_of_its_keys(
    wallets: Wallets, other: psycopg.Connection[Any]
) -> None:
    keys = new_keys(ROWS)
    batch = await stage_batch(wallets, keys)
    other.execute(CLAIM, (wallets.tenant_id, keys[0]))
    async with ahead(wallets) as lookahead:
        lookahead.start(batch, 0)
        chunk = await lookahead.take(batch)
        assert chunk.begun is None
        assert [row.row.idempotency_key for row in chunk.prepared] == keys[:CHUNK_ROWS]


async def test_a_chunk_that_has_begun_gives_way_to_who_has_its_balances_and_wants_its_key(
    wallets: Wallets, other: psycopg.Connection[Any]
) -> None:
    keys = new_keys(ROWS)
    batch = await stage_batch(wallets, keys)
    is_locked = asyncio.Event()

    def lock_after_the_first(now: TransferBatch) -> None:
        if now.position == CHUNK_ROWS:
            other.execute(LOCK, (wallets.destination.id,))
            is_locked.set()

    service = BatchPostingService(wallets.services.database, chunk_rows=CHUNK_ROWS)
    posting = asyncio.create_task(
        service.post(wallets.tenant_id, batch.id, chunks=ROWS, on_chunk=lock_after_the_first)
    )
    await is_locked.wait()
    await asyncio.to_thread(other.execute, CLAIM, (wallets.tenant_id, keys[CHUNK_ROWS]))
    other.rollback()
    assert (await posting).stage is BatchStage.COMPLETED
    assert (await posting).counts.succeeded == ROWS


async def test_a_failure_in_a_chunk_that_has_begun_is_recorded_like_any_other(
    wallets: Wallets,
) -> None:
    amount_minor = OVERDRAFT_LIMIT_MINOR // (CHUNK_ROWS + 1)
    batch = await stage_batch(wallets, new_keys(ROWS), amount_minor=amount_minor)
    service = BatchPostingService(wallets.services.database, chunk_rows=CHUNK_ROWS)
    batch = await service.post(
        wallets.tenant_id, batch.id, chunks=ROWS, on_chunk=lambda _batch: None
    )
    assert batch.stage is BatchStage.COMPLETED
    assert (batch.counts.succeeded, batch.counts.failed) == (CHUNK_ROWS + 1, ROWS - CHUNK_ROWS - 1)


async def test_a_batch_that_is_stopped_keeps_nothing_of_the_chunk_that_has_begun(
    wallets: Wallets,
) -> None:
    keys = new_keys(ROWS)
    batch = await stage_batch(wallets, keys)
    service = BatchPostingService(wallets.services.database, chunk_rows=CHUNK_ROWS)
    async with ahead(wallets) as lookahead:
        lookahead.start(batch, 0)
        chunk = await lookahead.take(batch)
        assert chunk.begun is not None
        stopping = asyncio.create_task(
            service.stop(wallets.tenant_id, batch.id, Failure("cancelled", "stopped"))
        )
        await asyncio.sleep(0)
        await chunk.begun.abandon()
    assert (await stopping).counts.cancelled == ROWS
    assert await keys_taken(wallets, keys) == 0
