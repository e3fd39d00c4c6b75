"""The small ledger, for the tests that look at what the database itself holds."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from psycopg import AsyncConnection

from tests.support.ledger_rows import small_ledger
from tests.support.postgres import PostgresServer


@pytest.fixture(scope="module")
async def ledger_url(postgres: PostgresServer) -> AsyncIterator[str]:
    """A database with the small ledger, that no test changes for good."""
    async with small_ledger(postgres) as url:
        yield url


@pytest.fixture
async def ledger(ledger_url: str) -> AsyncIterator[AsyncConnection[Any]]:
    """A transaction on it that is rolled back in the end."""
    async with await AsyncConnection.connect(ledger_url) as connection:
        yield connection
        await connection.rollback()
