"""The servers that all ways share: a throw-away local stack with accounts to move money between."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import psycopg
from psycopg import sql

from benchmarks.choices import Contention, pairs_of
from domain.account_numbers import BODY_MINIMUM, account_number_from
from runtime.local import LOCAL_TENANT, make_local_stack
from runtime.local_stack import LocalStack
from runtime.part import Report
from runtime.ports import LOOPBACK
from runtime.postgres_data import ROLE, SUPERUSER, load_passwords
from runtime.postgres_home import PostgresHome, settle_postgres_home
from runtime.stack_files import throwaway_data_dir
from runtime.stack_options import LocalStackOptions, choose_ports
from runtime.verification import verify

ACCOUNTS: Final = 2_000
CURRENCY: Final = "EUR"
IDLE_WITHIN_SECONDS: Final = 180.0
IDLE_POLL_SECONDS: Final = 0.25
QUIET_SECONDS: Final = 1.5
OVERDRAFT_LIMIT_MINOR: Final = 10**15
ACCOUNT_ID_PREFIX: Final = "01900000-0000-7000-8000-"
"""With the account's number as twelve hexadecimal digits it is the account's id."""


@dataclass(frozen=True, slots=True)
class BenchStack:
    """The running servers, the accounts, and the lists of pairs.

    Parameters
    ----------
    pairs
        For each contention a file with a source and a destination a line.
    """

    stack: LocalStack
    folder: Path
    home: PostgresHome
    superuser_password: str = field(repr=False)
    postgres_port: int
    tenant_id: UUID
    pairs: dict[Contention, Path]

    def url(self, database: str = "transfers") -> str:
        """URL of a database for the role that owns the service's."""
        password = load_passwords(self.home)[ROLE]
        return f"postgresql://{ROLE}:{password}@{LOOPBACK}:{self.postgres_port}/{database}"

    async def execute(
        self, statement: str, values: Sequence[Any] = (), *, database: str = "transfers"
    ) -> list[tuple[Any, ...]]:
        """Run one statement of this file's making as superuser, and give its rows."""
        async with await psycopg.AsyncConnection.connect(
            self.superuser_url(database), autocommit=True
        ) as connection:
            found = await connection.execute(statement.encode(), values or None)
            return await found.fetchall() if found.description else []

    async def create_database(self, name: str) -> None:
        """Make a database that the service's role owns."""
        statement = sql.SQL("CREATE DATABASE {} OWNER {}").format(
            sql.Identifier(name), sql.Identifier(ROLE)
        )
        await self.execute(statement.as_string(), database="postgres")

    async def problems(self) -> list[str]:
        """Prove the ledger, and say what is off."""
        info = self.stack.info
        report = await verify(
            info.database_url,
            temporal_address=info.temporal_address,
            temporal_namespace=info.temporal_namespace,
        )
        return [
            f"{check.name}: {violation.subject} {violation.message}"
            for check in report.checks
            for violation in check.violations
        ]

    async def idle(self) -> float | None:
        """Wait until no transfer is unfinished and no more come, and tell how long that took.

        Returns
        -------
        float | None
            ``None`` where some are still unfinished after ``IDLE_WITHIN_SECONDS``.
        """
        began = quiet_since = time.monotonic()
        inserted_before = -1
        while (now := time.monotonic()) < began + IDLE_WITHIN_SECONDS:
            found = await self.execute(
                "SELECT EXISTS (SELECT FROM transfers WHERE state = 'PROCESSING'), n_tup_ins "
                "FROM pg_stat_user_tables WHERE relname = 'transfers'"
            )
            is_busy, inserted = found[0]
            if is_busy or inserted != inserted_before:
                quiet_since = now
            # What the API has taken in may not be recorded yet, and sessions hand their counts in
            # a little later.
            elif now > quiet_since + QUIET_SECONDS:
                return quiet_since - began
            inserted_before = inserted
            await asyncio.sleep(IDLE_POLL_SECONDS)
        return None

    def superuser_url(self, database: str = "transfers") -> str:
        """URL of a database for the superuser."""
        password = self.superuser_password
        return f"postgresql://{SUPERUSER}:{password}@{LOOPBACK}:{self.postgres_port}/{database}"


@asynccontextmanager
async def running_stack(
    *, seed: int, api_workers: int, report: Report
) -> AsyncIterator[BenchStack]:
    """Start a throw-away stack with accounts and lists of pairs; nothing is left of it.

    Parameters
    ----------
    api_workers
        Processes of the API.

    Raises
    ------
    LocalStackError
        It could not start.
    """
    async with AsyncExitStack() as opened:
        folder = opened.enter_context(throwaway_data_dir())
        options = replace(
            choose_ports(LocalStackOptions.on_free_ports(folder)), api_workers=api_workers
        )
        stack = await opened.enter_async_context(make_local_stack(options, report=report))
        home = await settle_postgres_home(folder.resolve())
        bench = BenchStack(
            stack=stack,
            folder=folder,
            home=home,
            superuser_password=load_passwords(home)[SUPERUSER],
            postgres_port=options.postgres_port,
            tenant_id=await _tenant_of(stack.info.database_url),
            pairs={
                contention: _write_pairs(folder, contention, seed=seed) for contention in Contention
            },
        )
        await _open_accounts(bench)
        yield bench


def account_id(number: int) -> str:
    """Give the id of an account by its number."""
    return f"{ACCOUNT_ID_PREFIX}{number:012x}"


async def _tenant_of(database_url: str) -> UUID:
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        found = await connection.execute("SELECT id FROM tenants WHERE name = %s", [LOCAL_TENANT])
        row = await found.fetchone()
    if row is None:
        raise LookupError("the stack has no tenant")
    return UUID(str(row[0]))


def _write_pairs(folder: Path, contention: Contention, *, seed: int) -> Path:
    path = folder / f"pairs-{contention.replace(' ', '-')}.txt"
    pairs = pairs_of(contention, accounts=ACCOUNTS, seed=seed)
    lines = [f"{account_id(source)} {account_id(destination)}\n" for source, destination in pairs]
    path.write_text("".join(lines))
    return path


async def _open_accounts(bench: BenchStack) -> None:
    """Open all accounts at once; their limits outlast any run."""
    numbers = [account_number_from(BODY_MINIMUM + number) for number in range(ACCOUNTS)]
    user = await bench.execute(
        "INSERT INTO users (id, tenant_id, name) VALUES (uuidv7(), %s, 'Bench') RETURNING id",
        [bench.tenant_id],
    )
    await bench.execute(
        "INSERT INTO accounts (id, tenant_id, account_number, user_id, kind, currency) "
        "SELECT (%s || lpad(to_hex(ordinal - 1), 12, '0'))::uuid, %s, number, %s, 'CUSTOMER', %s "
        "FROM unnest(%s::text[]) WITH ORDINALITY AS drawn (number, ordinal)",
        [ACCOUNT_ID_PREFIX, bench.tenant_id, user[0][0], CURRENCY, numbers],
    )
    await bench.execute(
        "INSERT INTO balances (account_id, tenant_id, currency, kind, overdraft_limit_minor) "
        "SELECT id, tenant_id, currency, kind, %s FROM accounts WHERE kind = 'CUSTOMER'",
        [OVERDRAFT_LIMIT_MINOR],
    )
    await bench.execute("VACUUM ANALYZE")
