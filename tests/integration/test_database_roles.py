"""What each role of the database may do, and whose rows it sees."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import AsyncConnection, sql
from sqlalchemy import text

from domain.access import Scope
from domain.errors import ExternalIdTaken
from domain.ids import TenantId, UserId
from persistence.database import Database
from persistence.privileges import READER_ROLE, SERVICE_RIGHTS, SERVICE_ROLE, UNFENCED
from persistence.tables.schema import metadata
from persistence.tenancy import EVERY_TENANT, SYSTEM_ROLE, Tenancy
from runtime.composition import make_services
from runtime.migrations import migrate
from tests.support.ledger_rows import (
    ALICE,
    DIGEST,
    OTHER_TENANT,
    RIGHT_ROWS,
    TENANT,
    insert,
    small_ledger,
)
from tests.support.postgres import PostgresServer

TABLES = sorted(metadata.tables)
FENCED_TABLES = [table for table in TABLES if table not in UNFENCED]
# It is empty whenever a transaction has ended.
LASTING_TABLES = [table for table in FENCED_TABLES if table != "unbalanced_postings"]
TENANTS_TABLES = [table for table in LASTING_TABLES if table != "tenants"]
HISTORY = [table for table, rights in SERVICE_RIGHTS.items() if not rights.changes]
NOBODYS_TENANT = UUID(int=77)
SUBJECT = UUID(int=6)


@pytest.fixture(scope="module", autouse=True)
def roles(postgres: PostgresServer) -> None:
    if not postgres.passwords:
        pytest.skip("the roles cannot be made on the server that DATABASE_URL names")


@pytest.fixture(scope="module")
async def owner_url(postgres: PostgresServer) -> AsyncIterator[str]:
    """A database with the small ledger, for the owner of its tables."""
    async with small_ledger(postgres) as url:
        yield url


@pytest.fixture
async def database(postgres: PostgresServer, owner_url: str) -> AsyncIterator[Database]:
    database = Database.at(postgres.as_service(owner_url))
    yield database
    await database.close()


@asynccontextmanager
async def service(postgres: PostgresServer, url: str) -> AsyncIterator[AsyncConnection]:
    """Open a transaction of the service's role that sees the ledger's tenant, and undo it."""
    async with await AsyncConnection.connect(postgres.as_service(url)) as connection:
        await connection.execute(
            "SELECT set_config('transfers.tenant_id', %s, true)", [str(TENANT)]
        )
        yield connection
        await connection.rollback()


async def count(database: Database, table: str, tenancy: Tenancy) -> int:
    """Count a table's rows with a statement that forgets its WHERE clause."""
    async with database.snapshot(tenancy) as connection:
        return len((await connection.execute(text(f"SELECT * FROM {table}"))).all())  # noqa: S608


async def count_of_owner(url: str, table: str, tenant_id: UUID) -> int:
    column = "id" if table == "tenants" else "tenant_id"
    statement = sql.SQL("SELECT count(*) FROM {} WHERE {} = %s").format(
        sql.Identifier(table), sql.Identifier(column)
    )
    async with await AsyncConnection.connect(url) as connection:
        row = await (await connection.execute(statement, [tenant_id])).fetchone()
    assert row is not None
    return int(row[0])


def any_column(table: str) -> str:
    """Name a column that nothing but a right stands before."""
    columns = metadata.tables[table].c
    return "tenant_id" if "tenant_id" in columns else next(iter(columns)).name


async def refused(connection: AsyncConnection, statement: str) -> str:
    with pytest.raises(psycopg.Error) as caught:
        async with connection.transaction():
            await connection.execute(statement)
    assert isinstance(caught.value, psycopg.errors.InsufficientPrivilege), caught.value
    return str(caught.value)


@pytest.mark.parametrize("table", LASTING_TABLES)
async def test_a_statement_that_forgets_its_where_sees_one_tenants_rows(
    database: Database, owner_url: str, table: str
) -> None:
    mine = await count_of_owner(owner_url, table, TENANT)
    assert mine
    assert await count(database, table, TenantId(TENANT)) == mine
    assert await count(database, table, TenantId(NOBODYS_TENANT)) == 0


@pytest.mark.parametrize("table", LASTING_TABLES)
async def test_a_connection_without_a_tenant_sees_nothing(
    postgres: PostgresServer, owner_url: str, table: str
) -> None:
    async with await AsyncConnection.connect(postgres.as_service(owner_url)) as connection:
        found = await connection.execute(
            sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table))
        )
        assert await found.fetchone() == (0,)


@pytest.mark.parametrize("table", TENANTS_TABLES)
async def test_work_that_spans_tenants_sees_them_all_by_an_explicit_wish(
    database: Database, owner_url: str, table: str
) -> None:
    assert await count(database, table, EVERY_TENANT) == await count_of_owner(
        owner_url, table, TENANT
    )


@pytest.mark.parametrize("table", TENANTS_TABLES)
async def test_a_row_of_another_tenant_cannot_be_written(
    postgres: PostgresServer, owner_url: str, table: str
) -> None:
    async with service(postgres, owner_url) as connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
            await insert(connection, table, {**RIGHT_ROWS[table], "tenant_id": OTHER_TENANT})


@pytest.mark.parametrize("table", RIGHT_ROWS)
async def test_the_service_may_write_what_is_right(
    postgres: PostgresServer, owner_url: str, table: str
) -> None:
    row = RIGHT_ROWS[table]
    async with service(postgres, owner_url) as connection:
        if table == "tenants":
            await connection.execute(
                "SELECT set_config('transfers.tenant_id', %s, true)", [str(row["id"])]
            )
        await insert(connection, table, row)


async def test_every_table_of_the_catalogue_is_behind_the_fence(owner_url: str) -> None:
    async with await AsyncConnection.connect(owner_url) as connection:
        found = await connection.execute(
            "SELECT relname, relrowsecurity, EXISTS (SELECT FROM pg_policy"
            " WHERE polrelid = pg_class.oid AND pg_get_expr(polqual, polrelid)"
            " LIKE '%transfers.tenant_id%')"
            " FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"
        )
        tables = {
            name: (secured, has_policy) for name, secured, has_policy in await found.fetchall()
        }
    for table in UNFENCED:
        assert tables.pop(table) == (False, False)
    assert tables == dict.fromkeys(FENCED_TABLES, (True, True))


def test_every_table_says_what_the_service_may_do_with_it() -> None:
    assert SERVICE_RIGHTS.keys() == metadata.tables.keys()
    for table, rights in SERVICE_RIGHTS.items():
        assert set(rights.changes) <= set(metadata.tables[table].c.keys()), table


@pytest.mark.parametrize("table", HISTORY)
async def test_the_service_cannot_alter_history(
    postgres: PostgresServer, owner_url: str, table: str
) -> None:
    column = any_column(table)
    async with service(postgres, owner_url) as connection:
        await refused(connection, f"UPDATE {table} SET {column} = {column}")  # noqa: S608
        await refused(connection, f"TRUNCATE {table}")
        if not SERVICE_RIGHTS[table].removes:
            await refused(connection, f"DELETE FROM {table}")  # noqa: S608


@pytest.mark.parametrize("table", TABLES)
async def test_the_service_changes_the_columns_that_must_change_and_no_others(
    postgres: PostgresServer, owner_url: str, table: str
) -> None:
    rights = SERVICE_RIGHTS[table]
    async with service(postgres, owner_url) as connection:
        for column in [column.name for column in metadata.tables[table].c]:
            found = await connection.execute(
                "SELECT has_column_privilege(%s, %s, 'UPDATE')", [table, column]
            )
            assert await found.fetchone() == (column in rights.changes,), column
        found = await connection.execute(
            "SELECT has_table_privilege(%s, 'DELETE'), has_table_privilege(%s, 'TRUNCATE'),"
            " has_table_privilege(%s, 'TRIGGER'), has_table_privilege(%s, 'REFERENCES')",
            [table] * 4,
        )
        assert await found.fetchone() == (rights.removes, False, False, False)


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE mine ()",
        "CREATE TEMPORARY TABLE accounts ()",
        "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE SCHEMA mine",
        "ALTER TABLE ledger_entries DISABLE TRIGGER ALL",
        "ALTER TABLE transfers DISABLE ROW LEVEL SECURITY",
        "ALTER TABLE transfers ADD COLUMN mine int",
        "DROP TABLE ledger_entries",
        "DROP TRIGGER transfers_final ON transfers",
        "DROP POLICY transfers_of_tenant ON transfers",
        "SET session_replication_role = 'replica'",
        "UPDATE alembic_version SET version_num = '0001'",
        "INSERT INTO alembic_version VALUES ('0001')",
        "ALTER ROLE transfers_service BYPASSRLS",
        "SET ROLE transfers_reader",
    ],
)
async def test_the_service_cannot_alter_the_schema_nor_its_own_rights(
    postgres: PostgresServer, owner_url: str, statement: str
) -> None:
    async with service(postgres, owner_url) as connection:
        await refused(connection, statement)


@pytest.mark.parametrize("table", HISTORY)
async def test_the_role_that_spans_tenants_alters_no_history_either(
    postgres: PostgresServer, owner_url: str, table: str
) -> None:
    async with service(postgres, owner_url) as connection:
        await connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(SYSTEM_ROLE)))
        column = any_column(table)
        await refused(connection, f"UPDATE {table} SET {column} = {column}")  # noqa: S608
        await refused(connection, f"ALTER TABLE {table} DISABLE TRIGGER ALL")


async def test_the_reader_sees_all_but_keys_and_changes_nothing(
    postgres: PostgresServer, owner_url: str
) -> None:
    async with await AsyncConnection.connect(
        postgres.as_reader(owner_url), autocommit=True
    ) as connection:
        found = await connection.execute("SELECT count(*) > 0 FROM ledger_entries")
        assert await found.fetchone() == (True,)
        await connection.execute("SELECT name FROM api_keys")
        for column in ("secret_hash", "previous_secret_hash"):
            await refused(connection, f"SELECT {column} FROM api_keys")  # noqa: S608
        await connection.execute("SET default_transaction_read_only = off")
        for table in TABLES:
            await refused(connection, f"DELETE FROM {table}")  # noqa: S608
        await refused(connection, "UPDATE balances SET status = 'FROZEN'")


async def test_a_key_is_found_by_its_hash_before_its_tenant_is_known(
    postgres: PostgresServer, owner_url: str
) -> None:
    async with await AsyncConnection.connect(postgres.as_service(owner_url)) as connection:
        found = await connection.execute("SELECT tenant_id FROM api_key_of(%s)", [DIGEST])
        assert await found.fetchall() == [(TENANT,)]
        found = await connection.execute("SELECT tenant_id FROM api_key_of(%s)", [b"\x09" * 32])
        assert await found.fetchall() == []


async def test_a_rotated_key_and_a_subject_are_found_before_their_tenant_is_known(
    postgres: PostgresServer, owner_url: str
) -> None:
    previous = b"\x04" * 32
    async with (
        await AsyncConnection.connect(owner_url, autocommit=True) as owner,
        await AsyncConnection.connect(postgres.as_service(owner_url), autocommit=True) as caller,
    ):
        for end, tenants in (("2000-01-01", []), ("2100-01-01", [(TENANT,)])):
            await owner.execute(
                "UPDATE api_keys SET previous_expires_at = %s WHERE previous_secret_hash = %s",
                [end, previous],
            )
            found = await caller.execute(
                "SELECT tenant_id FROM api_key_in_overlap_of(%s)", [previous]
            )
            assert await found.fetchall() == tenants
        for asked, answer in (
            (("one", "https://issuer", "ada"), [(TENANT, SUBJECT)]),
            (("one", "https://issuer", "bob"), [(TENANT, None)]),
            (("nobody", "https://issuer", "ada"), []),
        ):
            found = await caller.execute(
                "SELECT tenant_id, id FROM api_subject_of(%s, %s, %s)", asked
            )
            assert await found.fetchall() == answer


async def test_connections_that_serve_tenants_in_turn_never_mix_them(
    postgres: PostgresServer, owner_url: str
) -> None:
    database = Database.at(postgres.as_service(owner_url))
    access = make_services(database).access
    tenants = [
        (await access.create_key(tenant_name=f"t-{uuid4()}", name="k", scopes=frozenset(Scope)))[
            0
        ].tenant_id
        for _ in range(5)
    ]

    async def look(tenant_id: TenantId, *, fails: bool) -> None:
        with suppress(ExternalIdTaken):
            async with database.transaction(tenant_id) as unit_of_work:
                for _ in range(1 + fails):
                    # The second is refused, and with it all of the transaction.
                    await unit_of_work.users.insert(
                        user_id=UserId(uuid4()),
                        tenant_id=tenant_id,
                        name="Ada",
                        external_id=f"{uuid4() if not fails else 'same'}",
                        metadata={},
                    )
        assert await count(database, "tenants", tenant_id) == 1
        async with database.reading(tenant_id) as unit_of_work:
            keys = await unit_of_work.api_keys.page(None)
        assert {key.tenant_id for key in keys} == {tenant_id}

    await asyncio.gather(
        *(look(tenant_id, fails=turn % 2 == 0) for turn in range(20) for tenant_id in tenants)
    )
    await database.close()


async def test_a_table_of_a_later_migration_can_be_read_and_added_to(
    postgres: PostgresServer,
) -> None:
    async with postgres.database() as url:
        async with await AsyncConnection.connect(url, autocommit=True) as connection:
            await connection.execute("CREATE TABLE later (id int)")
        async with await AsyncConnection.connect(postgres.as_service(url)) as connection:
            await connection.execute("INSERT INTO later VALUES (1)")
            await refused(connection, "DELETE FROM later")
            await refused(connection, "UPDATE later SET id = 2")
        async with await AsyncConnection.connect(postgres.as_reader(url)) as connection:
            await connection.execute("SELECT * FROM later")


async def test_migrating_again_mends_rights_that_were_changed(postgres: PostgresServer) -> None:
    async with postgres.database() as url:
        async with await AsyncConnection.connect(url, autocommit=True) as connection:
            await connection.execute(f"GRANT ALL ON ledger_entries TO {SERVICE_ROLE}")
            await connection.execute(f"REVOKE ALL ON transfers FROM {READER_ROLE}")
        await asyncio.to_thread(migrate, url)
        async with service(postgres, url) as connection:
            await refused(connection, "DELETE FROM ledger_entries")
        async with await AsyncConnection.connect(postgres.as_reader(url)) as connection:
            await connection.execute("SELECT * FROM transfers")


async def test_the_locks_of_a_movement_are_to_be_had_by_the_service(
    postgres: PostgresServer, owner_url: str
) -> None:
    async with service(postgres, owner_url) as connection:
        found = await connection.execute(
            "SELECT account_id FROM balances WHERE account_id = %s FOR NO KEY UPDATE", [ALICE]
        )
        assert await found.fetchone() == (ALICE,)
