"""A transfer kept locked, so that what wants it queues up in the order that a test wants."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from uuid import UUID

import psycopg

from tests.support.waiting import until

LOCK: Final = "SELECT FROM transfers WHERE id = %s FOR UPDATE"
WAITING: Final = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock' AND query ~ 'balances|transfers'
"""


@asynccontextmanager
async def locked_transfer(database_url: str, transfer_id: UUID) -> AsyncIterator[None]:
    """Hold up every step of a transfer, until the block ends.

    Notes
    -----
    Who asks for the lock first gets it first.
    """
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        await connection.execute(LOCK, (transfer_id,))
        yield
        await connection.rollback()


async def until_waiting(database_url: str, count: int) -> None:
    """Wait until so many statements wait for the lock of a transfer or a balance."""
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:

        async def are_waiting() -> bool:
            row = await (await connection.execute(WAITING)).fetchone()
            return row is not None and row[0] == count

        await until(are_waiting)
