"""The engine and the unit of work."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final, Self

from psycopg import OperationalError
from psycopg.adapt import Loader
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool
from sqlalchemy import func, make_url, select, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from domain.limits import DATABASE_SNAPSHOT_TIMEOUT_SECONDS
from persistence.accounts import AccountRepository
from persistence.api_keys import ApiKeyRepository
from persistence.approval_rules import ApprovalRuleRepository
from persistence.audit import AuditRepository
from persistence.balances import BalanceRepository
from persistence.batch_statements import BatchStatements
from persistence.batches import BatchRepository
from persistence.chain_proofs import ChainProofRepository
from persistence.connection_limits import DatabaseLimits
from persistence.console_sessions import ConsoleSessionRepository
from persistence.direct import DirectStatements
from persistence.evidence import EvidenceRepository
from persistence.figures import FigureRepository
from persistence.holds import HoldRepository
from persistence.idempotency_keys import IdempotencyKeyRepository
from persistence.labels import LabelRepository
from persistence.ledger import LedgerRepository
from persistence.limits import LimitRepository
from persistence.operations import OperationRepository
from persistence.overview import OverviewRepository
from persistence.proofs import ProofRepository
from persistence.reconciliation import ReconciliationRepository
from persistence.samples import SampleRepository
from persistence.seals import SealRepository
from persistence.standing_orders import StandingOrderRepository
from persistence.stuck import StuckRepository
from persistence.tenancy import (
    ASSUME_SYSTEM_ROLE,
    EVERY_TENANT,
    Tenancy,
    TenantConnection,
    bind,
    remember,
    restrict,
)
from persistence.transfers import TransferRepository
from persistence.users import UserRepository
from persistence.violations import translated_driver_errors, translated_violations

DRIVER: Final = "postgresql+psycopg"
_NOW: Final = select(func.clock_timestamp())
_AUTOCOMMIT: Final = {"isolation_level": "AUTOCOMMIT"}
_SNAPSHOT: Final = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
DIRECT_POOL_MINIMUM: Final = 2
# Off and on again: a bound that runs already is not moved.
_LENGTHEN: Final = text(
    "SELECT set_config('transaction_timeout', '0', true),"
    f" set_config('transaction_timeout', '{DATABASE_SNAPSHOT_TIMEOUT_SECONDS}s', true)"
)


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
        self.operations = OperationRepository(connection)
        self.approval_rules = ApprovalRuleRepository(connection)
        self.limits = LimitRepository(connection)
        self.standing_orders = StandingOrderRepository(connection)
        self.batches = BatchRepository(connection)
        self.audit = AuditRepository(connection)
        self.figures = FigureRepository(connection)
        self.console_sessions = ConsoleSessionRepository(connection)
        self.labels = LabelRepository(connection)
        self.overview = OverviewRepository(connection)
        self.samples = SampleRepository(connection)
        self.stuck = StuckRepository(connection)
        self.evidence = EvidenceRepository(connection)
        self.seals = SealRepository(connection)
        self.chain_proofs = ChainProofRepository(connection)
        self.proofs = ProofRepository(connection)
        self.reconciliation = ReconciliationRepository(connection)
        self._connection = connection

    async def now(self) -> datetime:
        """Tell the database's time, by which holds and deadlines end."""
        moment: datetime = (await self._connection.execute(_NOW)).scalar_one()
        return moment


class Database:
    """A pool of connections, from which services open units of work."""

    def __init__(self, engine: AsyncEngine, direct: AsyncConnectionPool[TenantConnection]) -> None:
        self._engine = engine
        self._direct = direct

    @classmethod
    def at(cls, url: str, limits: DatabaseLimits | None = None) -> Self:
        """Make a pool for a database; nothing connects yet.

        Parameters
        ----------
        url
            ``postgresql://user:password@host:port/database``
        """
        limits = limits or DatabaseLimits()
        return cls(create_engine(url, limits), create_direct_pool(url, limits))

    @asynccontextmanager
    async def transaction(self, tenancy: Tenancy) -> AsyncIterator[UnitOfWork]:
        """Open a unit of work: it commits where the block ends, and rolls back where it raises.

        Parameters
        ----------
        tenancy
            Whose rows it sees: a tenant's, or those of ``EVERY_TENANT``.

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
            async with self._engine.connect() as connection:
                async with connection.begin():
                    if tenancy is EVERY_TENANT:
                        await restrict(connection, tenancy)
                    else:
                        await bind(connection, tenancy)
                    yield UnitOfWork(connection)
                if tenancy is not EVERY_TENANT:
                    remember(connection, tenancy)

    @asynccontextmanager
    async def reading(self, tenancy: Tenancy) -> AsyncIterator[UnitOfWork]:
        """Open a unit of work for single reads: each statement is a transaction of its own.

        Parameters
        ----------
        tenancy
            Whose rows it sees: a tenant's, or those of ``EVERY_TENANT`` in one transaction.

        Raises
        ------
        DatabaseUnavailable
            No connection, or it was lost.
        """
        if tenancy is EVERY_TENANT:
            async with self.transaction(tenancy) as unit_of_work:
                yield unit_of_work
            return
        with translated_violations():
            async with self._connection(**_AUTOCOMMIT) as connection:
                await bind(connection, tenancy)
                remember(connection, tenancy)
                yield UnitOfWork(connection)

    @asynccontextmanager
    async def direct(self) -> AsyncIterator[DirectStatements]:
        """Open a unit of work for the single statements of every transfer, each a transaction.

        Raises
        ------
        DatabaseUnavailable
            No connection, or it was lost; then the outcome is unknown: the caller repeats the step.
        DomainError
            A constraint refused a change.
        """
        async with self._driver_connection() as connection:
            yield DirectStatements(connection)

    @asynccontextmanager
    async def batching(self) -> AsyncIterator[BatchStatements]:
        """Open a transaction for the set-based statements of a batch.

        Notes
        -----
        It spans tenants as far as row-level security goes: PostgreSQL refuses COPY behind that.

        Raises
        ------
        DatabaseUnavailable
            No connection, or it was lost; then the outcome is unknown: the caller repeats the step.
        DomainError
            A constraint refused a change.
        """
        async with self._driver_connection() as connection, connection.transaction():
            await connection.execute(ASSUME_SYSTEM_ROLE)
            yield BatchStatements(connection)

    @asynccontextmanager
    async def _driver_connection(self) -> AsyncIterator[TenantConnection]:
        with translated_driver_errors():
            if self._direct.closed:
                await self._direct.open()
            async with self._direct.connection() as connection:
                try:
                    yield connection
                except OperationalError:
                    if connection.closed:
                        # The server may have been restarted, and the others lost with this one.
                        await self._direct.check()
                    raise

    @asynccontextmanager
    async def snapshot(self, tenancy: Tenancy) -> AsyncIterator[AsyncConnection]:
        """Open a read-only transaction in which all statements see one moment.

        Parameters
        ----------
        tenancy
            Whose rows it sees: a tenant's, or those of ``EVERY_TENANT`` (for proofs).
        """
        with translated_violations():
            async with self._connection(**_SNAPSHOT) as connection, connection.begin():
                await connection.execute(_LENGTHEN)
                await restrict(connection, tenancy)
                yield connection

    @asynccontextmanager
    async def _connection(self, **options: object) -> AsyncIterator[AsyncConnection]:
        """Take a connection from the pool that is set otherwise while it is used.

        Notes
        -----
        On a busy loop the driver gives way even between settings that need no server. Where that is
        cancelled, nobody knows which of them the connection has, and it is closed. An engine with
        options of its own would leave it to the garbage collector instead.
        """
        async with self._engine.connect() as connection:
            try:
                await connection.execution_options(**options)
            except BaseException:
                await connection.invalidate()
                raise
            yield connection

    async def revision(self) -> str | None:
        """Tell the schema's revision; ``None`` where the database was never migrated.

        Raises
        ------
        DatabaseUnavailable
            No connection.
        """
        with translated_violations():
            async with self._connection(**_AUTOCOMMIT) as connection:
                if await connection.scalar(text("SELECT to_regclass('alembic_version')")) is None:
                    return None
                revision = await connection.scalar(text("SELECT version_num FROM alembic_version"))
                return None if revision is None else str(revision)

    async def remark_on_revision(self) -> str | None:
        """Read what the last migration said of the schema; ``None`` where none has said anything.

        Raises
        ------
        DatabaseUnavailable
            No connection.
        """
        with translated_violations():
            async with self._connection(**_AUTOCOMMIT) as connection:
                said = await connection.scalar(
                    text("SELECT obj_description(to_regclass('alembic_version'), 'pg_class')")
                )
                return None if said is None else str(said)

    async def close(self) -> None:
        """Close all connections."""
        await self._direct.close()
        await self._engine.dispose()


def driver_url(url: str) -> str:
    """Name the driver in a PostgreSQL URL, whichever of the usual schemes it has."""
    return (
        make_url(url.replace("postgres://", "postgresql://", 1))
        .set(drivername=DRIVER)
        .render_as_string(hide_password=False)
    )


def driverless_url(url: str) -> str:
    """Give a PostgreSQL URL as the driver itself takes it."""
    return (
        make_url(driver_url(url)).set(drivername="postgresql").render_as_string(hide_password=False)
    )


def create_engine(url: str, limits: DatabaseLimits) -> AsyncEngine:
    """Make an engine whose connections have bounded statements, locks and idle time."""
    return create_async_engine(
        driver_url(url),
        pool_size=limits.pool_size,
        max_overflow=0,
        pool_timeout=limits.pool_timeout_seconds,
        # The newest connection first: idle ones age out at the server, not in front of a request.
        pool_use_lifo=True,
        hide_parameters=True,
        connect_args=_connection_options(limits),
    )


def create_direct_pool(url: str, limits: DatabaseLimits) -> AsyncConnectionPool[TenantConnection]:
    """Make a pool of the driver's own connections; it is opened at its first use."""
    return AsyncConnectionPool(
        driverless_url(url),
        connection_class=TenantConnection,
        kwargs={
            **_connection_options(
                limits, plan_cache_mode="force_generic_plan", enable_seqscan="off"
            ),
            "autocommit": True,
            "row_factory": dict_row,
            # Prepared at their first use: these are few, and all are used again.
            "prepare_threshold": 0,
        },
        configure=_read_whole_numbers,
        min_size=min(DIRECT_POOL_MINIMUM, limits.direct_pool_size),
        max_size=limits.direct_pool_size,
        timeout=limits.direct_pool_timeout_seconds,
        reconnect_timeout=limits.direct_pool_timeout_seconds,
        open=False,
    )


def _connection_options(limits: DatabaseLimits, **more: str) -> dict[str, Any]:
    bounds = {
        "statement_timeout": limits.statement_timeout_seconds,
        "lock_timeout": limits.lock_timeout_seconds,
        "idle_in_transaction_session_timeout": limits.idle_in_transaction_timeout_seconds,
        "transaction_timeout": limits.transaction_timeout_seconds,
    }
    settings = {
        # Times leave in UTC, whatever the server's own zone is.
        "timezone": "UTC",
        **{name: str(int(seconds * 1000)) for name, seconds in bounds.items()},
        **more,
    }
    return {
        "connect_timeout": limits.connect_timeout_seconds,
        "application_name": "transfers",
        "options": " ".join(f"-c {name}={value}" for name, value in settings.items()),
    }


class _WholeNumberLoader(Loader):
    """Reads NUMERIC as ``int``: all of ours have no decimal places."""

    def load(self, data: bytes | bytearray | memoryview) -> int:
        return int(bytes(data))


async def _read_whole_numbers(connection: TenantConnection) -> None:
    connection.adapters.register_loader("numeric", _WholeNumberLoader)
