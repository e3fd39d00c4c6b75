"""A real PostgreSQL 18 as a child process, on loopback, with its own data folder and passwords."""

import asyncio
import signal
import time
from pathlib import Path
from typing import Literal

import psycopg
from psycopg import sql

from persistence.privileges import READER_ROLE, SERVICE_ROLE
from runtime.child_process import Launch, bare_environment
from runtime.database_roles import make_roles
from runtime.local_errors import PartFailedError
from runtime.part import Part, Report, say_nothing
from runtime.ports import LOOPBACK, free_port, require_port
from runtime.postgres_data import (
    DATABASE,
    ROLE,
    SUPERUSER,
    create_data,
    forget_stale_server,
    load_passwords,
    server_command,
    wait_until_unused,
)
from runtime.postgres_home import SHARED_FOLDER, PostgresHome, settle_postgres_home

READY_SECONDS = 60.0
FAST_STOP_SECONDS = 30.0
IMMEDIATE_STOP_SECONDS = 10.0
# How long the processes of a server that was killed may take to notice it.
ORPHANS_SECONDS = 10.0
ORPHANS_POLL_SECONDS = 0.1
CONNECT_SECONDS = 5

StopMode = Literal["fast", "immediate"]


class EmbeddedPostgres(Part):
    """A PostgreSQL server of one data folder.

    Parameters
    ----------
    data_dir
        The local stack's data folder; the server keeps its own in ``postgres/`` below, or where
        its account can go (see `runtime.postgres_home`).
    port
        Where to listen; 0 takes any free port, and keeps it from one start to the next.
    report
        Takes lines of progress.
    port_option
        The option that moves the port, for messages.
    package_folder
        Where the package of the server's programs lies; found among the installed ones by default.
    shared_folder
        Where root places what the server's account cannot reach otherwise.

    Notes
    -----
    The first start makes the data folder, and in it the database `transfers` with its roles.
    `system_identifier` tells one data folder from a later one in its place.
    `kill` is a crash: the next start recovers from the write-ahead log.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        port: int = 0,
        report: Report = say_nothing,
        port_option: str = "--postgres-port",
        package_folder: Path | None = None,
        shared_folder: Path = SHARED_FOLDER,
    ) -> None:
        super().__init__(
            "postgres",
            log_path=data_dir.resolve() / "logs" / "postgres.log",
            ready_seconds=READY_SECONDS,
            stop_seconds=FAST_STOP_SECONDS,
        )
        self.port = port
        self.system_identifier = 0
        self._data_dir = data_dir
        self._report = report
        self._port_option = port_option
        self._package_folder = package_folder
        self._shared_folder = shared_folder
        self._home: PostgresHome | None = None
        self._passwords: dict[str, str] = {}

    @property
    def database_url(self) -> str:
        """URL of the database `transfers` for its owner."""
        return self.url(ROLE, DATABASE)

    @property
    def service_url(self) -> str:
        """URL of the database `transfers` for the role that the service works as."""
        return self.url(SERVICE_ROLE, DATABASE)

    @property
    def reader_url(self) -> str:
        """URL of the database `transfers` for the role that only reads."""
        return self.url(READER_ROLE, DATABASE)

    @property
    def superuser_url(self) -> str:
        """URL of the maintenance database for the superuser."""
        return self.url(SUPERUSER, "postgres")

    @property
    def home(self) -> PostgresHome:
        """Its folders, its programs (psql and pg_dump among them) and its account."""
        if self._home is None:
            raise RuntimeError("the server has not been started")
        return self._home

    def url(self, role: str, database: str) -> str:
        """URL of a database of this server for one of its roles."""
        return f"postgresql://{role}:{self._passwords[role]}@{LOOPBACK}:{self.port}/{database}"

    async def settle(self) -> None:
        """Decide on folders and account, and make sure that no other server uses the data.

        Raises
        ------
        MissingServerError
            The package with the server is not installed.
        FolderError
            The data folder cannot be used.
        AlreadyRunningError
            A server runs on it.
        """
        if self._home is None:
            self._home = await settle_postgres_home(
                self._data_dir,
                package_folder=self._package_folder,
                shared_folder=self._shared_folder,
            )
            for note in self._home.notes:
                self._report(note)
        await wait_until_unused(self._home.data)

    async def start(self) -> None:
        """Start the server and wait until its database can be used; see `Part.start`."""
        deadline = time.monotonic() + ORPHANS_SECONDS
        while True:
            try:
                await super().start()
            except PartFailedError as error:
                # Sessions of a server that was killed hold its memory for a moment.
                orphaned = "pre-existing shared memory block" in str(error)
                if not orphaned or time.monotonic() > deadline:
                    raise
                await asyncio.sleep(ORPHANS_POLL_SECONDS)
            else:
                return

    async def stop(self, mode: StopMode = "fast") -> None:
        """Stop the server; nothing where it does not run.

        Parameters
        ----------
        mode
            ``fast`` ends sessions and writes a checkpoint. ``immediate`` writes nothing: the next
            start recovers as after a crash.
        """
        if self._process is None:
            return
        if mode == "fast":
            await self._process.stop(
                signal.SIGINT,
                grace_seconds=FAST_STOP_SECONDS,
                insist=signal.SIGQUIT,
                insist_seconds=IMMEDIATE_STOP_SECONDS,
            )
        else:
            await self._process.stop(signal.SIGQUIT, grace_seconds=IMMEDIATE_STOP_SECONDS)

    async def restart(self, mode: StopMode = "fast") -> None:
        """Stop it and start it again on the same port."""
        await self.stop(mode)
        await self.start()

    async def _prepare(self) -> Launch:
        await self.settle()
        home = self.home
        forget_stale_server(home.data)
        if self.port == 0:
            self.port = free_port()
        require_port(self.port, wanted_by="PostgreSQL", option=self._port_option)
        self._passwords = load_passwords(home)
        if not home.data.exists():
            self._report("making PostgreSQL's data folder")
            await create_data(home, self._passwords[SUPERUSER], self.log_path)
        return Launch(
            command=server_command(home, self.port),
            log_path=self.log_path,
            environment=bare_environment(),
            folder=home.folder,
            account=home.account,
            # Fast shutdown: a server whose supervisor was killed ends in good order.
            death_signal=signal.SIGINT,
        )

    async def _probe(self) -> str | None:
        try:
            async with await self._connect():
                return None
        except psycopg.OperationalError as error:
            return str(error).strip()

    async def _complete(self) -> None:
        try:
            async with await self._connect() as connection:
                await _ensure_database(connection, self._passwords[ROLE])
                await make_roles(connection, self._passwords)
                self.system_identifier = await _system_identifier(connection)
        except psycopg.Error as error:
            raise self.failure(f"could not make its database ({error})") from error

    async def _connect(self) -> psycopg.AsyncConnection:
        # TLS and GSS are named so that the person's own PG* variables do not ask for them.
        return await psycopg.AsyncConnection.connect(
            self.superuser_url,
            autocommit=True,
            connect_timeout=CONNECT_SECONDS,
            sslmode="disable",
            gssencmode="disable",
        )


async def _ensure_database(connection: psycopg.AsyncConnection, password: str) -> None:
    found = await connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [ROLE])
    if await found.fetchone() is None:
        # Only the verifier travels: a statement may end up in the server's log.
        verifier = connection.pgconn.encrypt_password(
            password.encode(), ROLE.encode(), b"scram-sha-256"
        ).decode()
        await connection.execute(
            sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(
                sql.Identifier(ROLE), sql.Literal(verifier)
            )
        )
    # Who looks after a local stack sees and ends the sessions of its other roles too.
    await connection.execute(
        sql.SQL("GRANT pg_read_all_stats, pg_signal_backend TO {}").format(sql.Identifier(ROLE))
    )
    found = await connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE])
    if await found.fetchone() is None:
        await connection.execute(
            sql.SQL("CREATE DATABASE {} OWNER {}").format(
                sql.Identifier(DATABASE), sql.Identifier(ROLE)
            )
        )


async def _system_identifier(connection: psycopg.AsyncConnection) -> int:
    found = await connection.execute("SELECT system_identifier FROM pg_control_system()")
    row = await found.fetchone()
    return int(row[0]) if row else 0
