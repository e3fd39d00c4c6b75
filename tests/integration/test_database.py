"""What a process's connections are like, whatever the server's own settings are."""

import gc
from collections.abc import Sequence
from datetime import timedelta
from itertools import count
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql, waiting
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.access import Scope
from domain.ids import TenantId
from persistence.connection_limits import DatabaseLimits
from persistence.database import Database, create_direct_pool, create_engine
from runtime.composition import make_services
from tests.support.interruptions import is_cancelled
from tests.support.postgres import PostgresServer


async def test_times_are_in_utc_also_where_the_server_lives_elsewhere(
    postgres: PostgresServer,
) -> None:
    async with postgres.database(migrated=True) as url:
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            name = sql.Identifier(connection.info.dbname)
            await connection.execute(
                sql.SQL("ALTER DATABASE {} SET timezone = 'Asia/Tokyo'").format(name)
            )
        database = Database.at(url)
        key, _ = await make_services(database).access.create_key(
            tenant_name="a", name="test", scopes=frozenset(Scope)
        )
        await database.close()

    assert key.created_at.utcoffset() == timedelta(0)


@pytest.mark.parametrize("way", ["transaction", "reading", "snapshot"])
async def test_a_use_that_is_cancelled_leaves_the_pool_as_it_was(
    way: str,
    postgres: PostgresServer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    # The driver gives way in each of its steps, as it does where the loop is busy.
    monkeypatch.setattr(waiting, "MAX_BUSY_TIME", 0)
    limits = DatabaseLimits(pool_size=1)

    async with postgres.database() as url:
        engine = create_engine(url, limits)
        database = Database(engine, create_direct_pool(url, limits))
        before = await settings(engine)
        for step in count(1):
            if not await is_cancelled(use(database, way), at=step):
                break
            gc.collect()
            assert await settings(engine) == before, step
        await database.close()

    assert step > 1
    pool_says = [each.getMessage() for each in caplog.records if "sqlalchemy" in each.name]
    assert pool_says == []


async def use(database: Database, way: str) -> None:
    async with getattr(database, way)(TenantId(uuid4())):
        pass


async def settings(engine: AsyncEngine) -> Sequence[object]:
    """Tell how the next user finds the pool's one connection."""
    async with engine.connect() as connection:
        driver = (await connection.get_raw_connection()).driver_connection
        assert isinstance(driver, psycopg.AsyncConnection)
        found = await connection.execute(
            text(
                "SELECT current_setting('transaction_isolation'),"
                " current_setting('transaction_read_only')"
            )
        )
        return driver.autocommit, *found.one()
