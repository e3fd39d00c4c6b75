"""What a process's connections are like, whatever the server's own settings are."""

from datetime import timedelta

import psycopg
from psycopg import sql

from domain.access import Scope
from persistence.database import Database
from runtime.composition import make_services
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
