"""Older code on a newer schema: what migrations may do, and which schemas code accepts."""

import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest
from psycopg import sql

from migrations.compatibility import FIRST, MARK
from persistence.database import Database
from runtime.migrations import head_revision, schema_problem
from tests.support.expansion import contractions, read_schema
from tests.support.postgres import PostgresServer

NEWER = "9999"
SET_REVISION = sql.SQL("UPDATE alembic_version SET version_num = {}")
REMARK = sql.SQL("COMMENT ON TABLE alembic_version IS {}")


@pytest.fixture
async def url(postgres: PostgresServer) -> AsyncIterator[str]:
    async with postgres.database() as url:
        yield url


async def run(url: str, statement: sql.SQL | sql.Composed) -> None:
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute(statement)


async def problem_at(url: str, revision: str, said: str | None) -> str | None:
    """Tell what code says of a database at some revision whose migrations said something."""
    await run(url, SET_REVISION.format(sql.Literal(revision)))
    await run(url, REMARK.format(sql.Literal(said)))
    database = Database.at(url)
    try:
        return await schema_problem(database)
    finally:
        await database.close()


async def test_a_migrated_database_says_which_code_it_serves(url: str) -> None:
    database = Database.at(url)
    assert await database.remark_on_revision() == f"{MARK}{FIRST}"
    await database.close()


async def test_code_accepts_a_newer_schema_that_serves_it(url: str) -> None:
    assert await problem_at(url, NEWER, f"{MARK}{FIRST}") is None
    assert await problem_at(url, NEWER, f"{MARK}{head_revision()}") is None


@pytest.mark.parametrize("said", [None, f"{MARK}9998", "something else"])
async def test_code_refuses_a_newer_schema_that_does_not(url: str, said: str | None) -> None:
    problem = await problem_at(url, NEWER, said)
    assert problem is not None
    assert f"revision {NEWER}" in problem
    assert "run a newer version" in problem


async def test_code_refuses_a_schema_that_is_not_migrated_yet(url: str) -> None:
    problem = await problem_at(url, "0001", f"{MARK}0001")
    assert problem is not None
    assert "run `transfers migrate`" in problem


TAKES_AWAY = {
    "DROP TABLE account_limits CASCADE": "table account_limits is gone",
    "ALTER TABLE users DROP COLUMN external_id": "users.external_id is gone",
    "ALTER TABLE users RENAME COLUMN name TO title": "users.name is gone",
    "ALTER TABLE users ALTER COLUMN name TYPE varchar(9)": "users.name was text",
    "ALTER TABLE users ALTER COLUMN external_id SET NOT NULL": "must be given a value now",
    "ALTER TABLE users ADD COLUMN rank int NOT NULL": "users.rank is new",
    "ALTER TABLE users ADD CHECK (name <> 'Ada')": "new rule",
    "CREATE UNIQUE INDEX u ON users (name)": "new rule",
}
ADDS = [
    "CREATE TABLE more (id int PRIMARY KEY, name text NOT NULL)",
    "ALTER TABLE users ADD COLUMN rank int",
    "ALTER TABLE users ADD COLUMN rank int NOT NULL DEFAULT 0 CHECK (rank >= 0)",
    "CREATE INDEX i ON users (name)",
    "ALTER TABLE users ALTER COLUMN name DROP NOT NULL",
]


async def difference(url: str, statement: str) -> list[str]:
    before = await asyncio.to_thread(read_schema, url)
    await run(url, sql.SQL(statement))
    return contractions(before, await asyncio.to_thread(read_schema, url))


@pytest.mark.parametrize("statement", TAKES_AWAY)
async def test_what_takes_something_away_from_older_code_is_found(url: str, statement: str) -> None:
    found = await difference(url, statement)
    assert any(TAKES_AWAY[statement] in line for line in found), found


@pytest.mark.parametrize("statement", ADDS)
async def test_what_only_adds_passes(url: str, statement: str) -> None:
    assert await difference(url, statement) == []
