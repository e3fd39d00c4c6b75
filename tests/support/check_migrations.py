"""``python -m tests.support.check_migrations``: every migration up, down and up again.

Against a scratch database of the server that DATABASE_URL names, or of a container or an embedded
server; see ``tests.support.postgres``.
"""

import asyncio
import sys
from dataclasses import dataclass

import psycopg
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from migrations.compatibility import FIRST, contracts
from persistence.database import driver_url
from persistence.tables.schema import metadata
from runtime.migrations import alembic_config, downgrade, migrate
from runtime.migrations import revisions as known_revisions
from tests.support.expansion import contractions, read_schema
from tests.support.postgres import PostgresServer, postgres_server

BASE = "base"

# Alembic compares neither checks nor constraints' definitions; the database's own words do.
OBJECTS = """
SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid)
FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND contype <> 't'
UNION ALL
SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
UNION ALL
SELECT table_name, column_name,
    concat_ws(' ', data_type, numeric_precision, numeric_scale, is_nullable, column_default)
FROM information_schema.columns WHERE table_schema = 'public'
UNION ALL
SELECT relname, 'storage', array_to_string(reloptions, ',')
FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
"""
BOOKKEEPING = "alembic_version"


@dataclass(frozen=True, slots=True)
class Difference:
    """What migrations make and the tables' declaration does not, and the other way round."""

    only_migrated: frozenset[tuple[str, ...]]
    only_declared: frozenset[tuple[str, ...]]


def revisions() -> list[str]:
    """Give all revisions, oldest first."""
    scripts = ScriptDirectory.from_config(alembic_config())
    return [script.revision for script in scripts.walk_revisions()][::-1]


def walk(database_url: str) -> None:
    """Go up and down over each revision, then up, down to nothing, and up again.

    Raises
    ------
    CommandError
        The tables' declaration is not what the migrations make.
    AssertionError
        Something is left behind by a way down; or a migration takes something away from older
        code, and does not say so with ``contract``; or files' names do not tell the revisions.
    """
    if revisions() != known_revisions():
        raise AssertionError(f"{revisions()} stand in files of other names: {known_revisions()}")
    scripts = ScriptDirectory.from_config(alembic_config())
    for revision, before in zip(revisions(), [BASE, *revisions()], strict=False):
        schema = read_schema(database_url)
        migrate(database_url, revision=revision)
        if revision > FIRST and not contracts(scripts, revision):
            lost = contractions(schema, read_schema(database_url))
            if lost:
                raise AssertionError(f"{revision} takes away what older code needs: {lost}")
        downgrade(database_url, before)
        migrate(database_url, revision=revision)
    command.check(alembic_config(database_url))
    downgrade(database_url, BASE)
    left = leftovers(database_url)
    if left:
        raise AssertionError(f"after the way down there still are: {left}")
    migrate(database_url)
    command.check(alembic_config(database_url))


def leftovers(database_url: str) -> list[str]:
    """Name what stands in a database beside Alembic's own table."""
    with psycopg.connect(database_url) as connection:
        found = connection.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace "
            "UNION ALL SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace "
            "UNION ALL SELECT typname FROM pg_type WHERE typnamespace = 'public'::regnamespace"
        ).fetchall()
    return sorted({name for (name,) in found if BOOKKEEPING not in name})


def objects(database_url: str) -> frozenset[tuple[str, ...]]:
    """Read the definitions of constraints, indexes and columns."""
    with psycopg.connect(database_url) as connection:
        found = connection.execute(OBJECTS).fetchall()
    return frozenset(row for row in found if row[0] != BOOKKEEPING)


def create_declared(database_url: str) -> None:
    """Make the tables as they are declared, without migrations."""
    engine = create_engine(driver_url(database_url))
    metadata.create_all(engine)
    engine.dispose()


async def difference(server: PostgresServer) -> Difference:
    """Compare what migrations make with what is declared."""
    async with server.database() as migrated, server.database(migrated=False) as declared:
        await asyncio.to_thread(create_declared, declared)
        made, said = await asyncio.gather(
            asyncio.to_thread(objects, migrated), asyncio.to_thread(objects, declared)
        )
    return Difference(made - said, said - made)


async def main() -> int:
    async with postgres_server(_say) as server:
        _say(f"PostgreSQL: {server.how}")
        async with server.database(migrated=False) as database_url:
            await asyncio.to_thread(walk, database_url)
        found = await difference(server)
    _say(f"{len(revisions())} migrations went up, down and up again")
    for row in sorted(found.only_migrated):
        _say(f"only in the migrations: {row}")
    for row in sorted(found.only_declared):
        _say(f"only in persistence.tables: {row}")
    return 1 if found.only_migrated or found.only_declared else 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
