"""No session and no request hangs on the database for ever."""

from collections.abc import AsyncIterator

import pytest
from psycopg import AsyncConnection
from sqlalchemy import text

from domain.errors import DatabaseUnavailable
from domain.ids import TenantId
from domain.limits import DATABASE_SNAPSHOT_TIMEOUT_SECONDS
from persistence.connection_limits import DatabaseLimits
from persistence.database import Database, UnitOfWork
from persistence.tenancy import EVERY_TENANT
from runtime.composition import Services
from services.identifiers import new_uuid
from tests.support.api import problem_of
from tests.support.postgres import PostgresServer
from tests.support.served import ServedApi, locked_balance, served_api
from tests.support.stack import Stack
from tests.support.waiting import until

SHORT_SECONDS = 0.3
BOUNDS = {
    "DATABASE_LOCK_TIMEOUT_SECONDS": str(SHORT_SECONDS),
    "DATABASE_STATEMENT_TIMEOUT_SECONDS": "2",
}


@pytest.fixture(scope="module")
async def hasty(stack: Stack, services: Services) -> AsyncIterator[ServedApi]:
    """An API that waits for no lock for long."""
    async with served_api(stack, services.access, **BOUNDS) as served:
        yield served


async def test_a_request_behind_a_lock_is_answered_503_and_later_done(
    hasty: ServedApi, stack: Stack
) -> None:
    async with hasty.client() as client:
        account = await client.account()
        async with locked_balance(stack.database_url, account["id"]):
            refused = await client.http.post(f"/v1/accounts/{account['id']}/freeze")
            problem_of(refused, 503, "database_unavailable")
            assert int(refused.headers["Retry-After"]) > 0
        done = await client.http.post(f"/v1/accounts/{account['id']}/freeze")
        assert done.json()["status"] == "FROZEN"


@pytest.mark.parametrize(
    "limits",
    [
        DatabaseLimits(pool_size=1, idle_in_transaction_timeout_seconds=SHORT_SECONDS),
        DatabaseLimits(pool_size=1, transaction_timeout_seconds=SHORT_SECONDS),
    ],
)
async def test_a_session_that_is_stuck_in_a_transaction_is_ended(
    service_url: str, limits: DatabaseLimits
) -> None:
    tenant_id = TenantId(new_uuid())
    database = Database.at(service_url, limits)
    sessions: list[int] = []

    async def is_gone() -> bool:
        async with await AsyncConnection.connect(service_url) as onlooker:
            found = await onlooker.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE pid = ANY(%s)", [sessions]
            )
            return await found.fetchone() == (0,)

    async def get_stuck() -> None:
        async with database.transaction(tenant_id) as unit_of_work:
            sessions.append(await backend_of(unit_of_work))
            await until(is_gone)
            await unit_of_work.now()

    with pytest.raises(DatabaseUnavailable):
        await get_stuck()
    async with database.transaction(tenant_id) as unit_of_work:
        assert await backend_of(unit_of_work) not in sessions
    await database.close()


async def test_a_statement_that_takes_too_long_is_ended(service_url: str) -> None:
    limits = DatabaseLimits(pool_size=1, statement_timeout_seconds=SHORT_SECONDS)
    database = Database.at(service_url, limits)
    with pytest.raises(DatabaseUnavailable):
        async with database.snapshot(EVERY_TENANT) as connection:
            await connection.execute(text("SELECT pg_sleep(60)"))
    await database.close()


async def test_a_proof_may_take_longer_than_other_transactions(service_url: str) -> None:
    limits = DatabaseLimits(pool_size=1, transaction_timeout_seconds=SHORT_SECONDS)
    database = Database.at(service_url, limits)
    async with database.snapshot(EVERY_TENANT) as connection:
        bound = await connection.scalar(text("SHOW transaction_timeout"))
        await connection.execute(text(f"SELECT pg_sleep({2 * SHORT_SECONDS})"))
    assert bound == f"{DATABASE_SNAPSHOT_TIMEOUT_SECONDS // 3600}h"
    await database.close()


async def test_the_roles_bring_bounds_to_those_who_come_by_other_ways(
    postgres: PostgresServer, service_url: str, database_url: str
) -> None:
    if not postgres.passwords:
        pytest.skip("the roles cannot be made on the server that DATABASE_URL names")
    for url in (service_url, postgres.as_reader(database_url)):
        async with await AsyncConnection.connect(url) as connection:
            found = await connection.execute(
                "SELECT count(*) FROM pg_settings WHERE setting <> '0' AND name IN"
                " ('statement_timeout', 'transaction_timeout',"
                " 'idle_in_transaction_session_timeout')"
            )
            assert await found.fetchone() == (3,)


async def backend_of(unit_of_work: UnitOfWork) -> int:
    """Tell which of the server's processes serves a unit of work."""
    connection = unit_of_work.transfers._connection  # noqa: SLF001 - no repository tells it
    return int(await connection.scalar(text("SELECT pg_backend_pid()")) or 0)
