"""The engine and the unit of work."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, Self

from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from persistence.accounts import AccountRepository
from persistence.api_keys import ApiKeyRepository
from persistence.balances import BalanceRepository
from persistence.holds import HoldRepository
from persistence.idempotency_keys import IdempotencyKeyRepository
from persistence.ledger import LedgerRepository
from persistence.transfers import TransferRepository
from persistence.users import UserRepository
from persistence.violations import translated_violations

DRIVER: Final = "postgresql+psycopg"


@dataclass(frozen=True, slots=True)
class DatabaseLimits:
    """Bounds of a process's use of the database.

    Parameters
    ----------
    pool_size
        Connections kept open at most: activity slots, local activity slots and API requests.
    pool_timeout_seconds
        How long a unit of work waits for a connection.
    """

    pool_size: int = 20
    pool_timeout_seconds: float = 5.0
    connect_timeout_seconds: int = 5
    statement_timeout_seconds: float = 5.0
    lock_timeout_seconds: float = 4.0
    idle_in_transaction_timeout_seconds: float = 10.0


class UnitOfWork:
    """The repositories of one transaction. They never begin, commit or roll back."""

    def __init__(self, connection: AsyncConnection) -> None:
        self.users = UserRepository(connection)
        self.accounts = AccountRepository(connection)
        self.balances = BalanceRepository(connection)
        self.transfers = TransferRepository(connection)
        self.holds = HoldRepository(connection)
        self.ledger = LedgerRepository(connection)
        self.idempotency_keys = IdempotencyKeyRepository(connection)
        self.api_keys = ApiKeyRepository(connection)


class Database:
    """A pool of connections, from which services open units of work."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._autocommit = engine.execution_options(isolation_level="AUTOCOMMIT")

    @classmethod
    def at(cls, url: str, limits: DatabaseLimits | None = None) -> Self:
        """Make a pool for a database; nothing connects yet.

        Parameters
        ----------
        url
            ``postgresql://user:password@host:port/database``
        """
        return cls(create_engine(url, limits or DatabaseLimits()))

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[UnitOfWork]:
        """Open a unit of work: it commits where the block ends, and rolls back where it raises.

        Raises
        ------
        DatabaseUnavailable
            No connection, or it was lost. Where that happened during the commit, the outcome is
            unknown: the caller repeats the step.
        DomainError
            A constraint refused a change.

        Notes
        -----
        READ COMMITTED: each statement sees what others have committed before it began.
        """
        with translated_violations():
            async with self._engine.begin() as connection:
                yield UnitOfWork(connection)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[UnitOfWork]:
        """Open a unit of work for single reads: each statement is a transaction of its own.

        Raises
        ------
        DatabaseUnavailable
            No connection, or it was lost.
        """
        with translated_violations():
            async with self._autocommit.connect() as connection:
                yield UnitOfWork(connection)

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[AsyncConnection]:
        """Open a read-only transaction in which all statements see one moment (for proofs)."""
        with translated_violations():
            async with self._engine.connect() as connection:
                await connection.execution_options(
                    isolation_level="REPEATABLE READ", postgresql_readonly=True
                )
                async with connection.begin():
                    yield connection

    async def revision(self) -> str | None:
        """Tell the schema's revision; ``None`` where the database was never migrated.

        Raises
        ------
        DatabaseUnavailable
            No connection.
        """
        with translated_violations():
            async with self._autocommit.connect() as connection:
                if await connection.scalar(text("SELECT to_regclass('alembic_version')")) is None:
                    return None
                revision = await connection.scalar(text("SELECT version_num FROM alembic_version"))
                return None if revision is None else str(revision)

    async def close(self) -> None:
        """Close all connections."""
        await self._engine.dispose()


def driver_url(url: str) -> str:
    """Name the driver in a PostgreSQL URL, whichever of the usual schemes it has."""
    return (
        make_url(url.replace("postgres://", "postgresql://", 1))
        .set(drivername=DRIVER)
        .render_as_string(hide_password=False)
    )


def create_engine(url: str, limits: DatabaseLimits) -> AsyncEngine:
    """Make an engine whose connections have bounded statements, locks and idle time."""
    options = {
        "statement_timeout": limits.statement_timeout_seconds,
        "lock_timeout": limits.lock_timeout_seconds,
        "idle_in_transaction_session_timeout": limits.idle_in_transaction_timeout_seconds,
    }
    return create_async_engine(
        driver_url(url),
        pool_size=limits.pool_size,
        max_overflow=0,
        pool_timeout=limits.pool_timeout_seconds,
        # The newest connection first: idle ones age out at the server, not in front of a request.
        pool_use_lifo=True,
        hide_parameters=True,
        connect_args={
            "connect_timeout": limits.connect_timeout_seconds,
            "application_name": "transfers",
            # Times leave in UTC, whatever the server's own zone is.
            "options": "-c timezone=UTC "
            + " ".join(f"-c {name}={int(seconds * 1000)}" for name, seconds in options.items()),
        },
    )
