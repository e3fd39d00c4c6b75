"""The PostgreSQL server of a test run, and databases in it that leave nothing behind."""

import asyncio
import gc
import hashlib
import os
import secrets
import subprocess
import sys
import warnings
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import psycopg
from psycopg import sql
from testcontainers.community.postgres import PostgresContainer
from testcontainers.core.config import testcontainers_config
from testcontainers.core.docker_client import DockerClient

from persistence.privileges import READER_ROLE, SERVICE_ROLE
from runtime.database_roles import make_roles
from runtime.embedded_postgres import EmbeddedPostgres
from runtime.migrations import migrate
from runtime.stack_files import throwaway_data_dir

IMAGE = "postgres:18-alpine"
# As the embedded server: each process of the product keeps a pool of its own.
COMMAND = "postgres -c max_connections=200"
ENGINE_SECONDS = 20
# A process of its own, for the engine's client waits for a pull for ever, and without a network a
# pull may say nothing for long.
PULL_SECONDS = 90
PULL = f"""
from testcontainers.core.docker_client import DockerClient
DockerClient().client.images.pull({IMAGE!r})
"""


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """A server in which databases can be made.

    Parameters
    ----------
    admin_url
        Of a role that may make databases.
    owner_url
        Of the role that tests work as; the database in it does not matter.
    how
        Where the server comes from, for people.
    passwords
        Of the service's roles; none where they could not be made.
    """

    admin_url: str = field(repr=False)
    owner_url: str = field(repr=False)
    how: str
    passwords: Mapping[str, str] = field(default_factory=dict, repr=False)
    _templates: list[str] = field(default_factory=list, repr=False)
    _making: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)

    @asynccontextmanager
    async def database(
        self, *, migrated: bool = True, copy_of: str | None = None
    ) -> AsyncIterator[str]:
        """Make a database, and drop it with all sessions afterwards; gives its URL.

        Parameters
        ----------
        copy_of
            The URL of the database that it is to be like, as it is now; nobody may be connected to
            that meanwhile. What is done there later is not in the copy: it is as one restored.
        """
        is_new = migrated and copy_of is None
        url = await self._create(await self._template() if is_new else copy_of)
        try:
            if is_new:
                # What a copy has not: the rights on the database itself.
                await asyncio.to_thread(migrate, url)
            yield url
        finally:
            await self._drop(url)

    async def close(self) -> None:
        """Leave nothing behind that is no test's own."""
        while self._templates:
            await self._drop(self._templates.pop())

    async def _template(self) -> str:
        """Give a migrated database to copy: the migrations take longer than a copy."""
        async with self._making:
            if not self._templates:
                self._templates.append(await self._create(None))
                await asyncio.to_thread(migrate, self._templates[0])
        return self._templates[0]

    async def _create(self, copy_of: str | None) -> str:
        name = f"test_{secrets.token_hex(6)}"
        owner = urlsplit(self.owner_url).username or "postgres"
        template = "template1" if copy_of is None else urlsplit(copy_of).path.removeprefix("/")
        create = sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE {}")
        await self._run(create.format(*map(sql.Identifier, (name, owner, template))))
        return with_database(self.owner_url, name)

    async def _drop(self, database_url: str) -> None:
        name = urlsplit(database_url).path.removeprefix("/")
        await self._run(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    def as_admin(self, database_url: str) -> str:
        """Give the URL of one of its databases for the administrator."""
        return with_database(self.admin_url, urlsplit(database_url).path.removeprefix("/"))

    def as_service(self, database_url: str) -> str:
        """Give the URL of one of its databases for the role that the service works as."""
        return self._as_role(SERVICE_ROLE, database_url)

    def as_reader(self, database_url: str) -> str:
        """Give the URL of one of its databases for the role that only reads."""
        return self._as_role(READER_ROLE, database_url)

    def _as_role(self, role: str, database_url: str) -> str:
        if role not in self.passwords:
            return database_url
        parts = urlsplit(database_url)
        place = f"{role}:{self.passwords[role]}@{parts.hostname}:{parts.port}"
        return parts._replace(netloc=place).geturl()

    async def _run(self, statement: sql.Composed) -> None:
        async with await psycopg.AsyncConnection.connect(
            self.admin_url, autocommit=True
        ) as connection:
            await connection.execute(statement)


@asynccontextmanager
async def postgres_server(report: Callable[[str], None]) -> AsyncIterator[PostgresServer]:
    """Give the server that the surroundings name, one in a container, or an embedded one."""
    async with _some_server(report) as server:
        yield server
        await server.close()


@asynccontextmanager
async def _some_server(report: Callable[[str], None]) -> AsyncIterator[PostgresServer]:
    given = os.environ.get("DATABASE_URL")
    if given:
        # The product also takes a URL that names its driver; psycopg itself does not.
        given = given.replace("postgresql+psycopg://", "postgresql://", 1)
        yield PostgresServer(given, given, "DATABASE_URL", await _roles(given))
        return
    container, reason = await asyncio.to_thread(_start_container)
    if container is not None:
        try:
            url = container.get_connection_url(driver=None)
            yield PostgresServer(url, url, f"a container of {IMAGE}", await _roles(url))
        finally:
            await asyncio.to_thread(container.stop)
        return
    report(f"no container ({reason})")
    with throwaway_data_dir() as folder:
        server = EmbeddedPostgres(folder)
        await server.start()
        try:
            yield PostgresServer(
                server.superuser_url,
                server.database_url,
                "embedded",
                await _roles(server.superuser_url),
            )
        finally:
            await server.stop()


async def _roles(admin_url: str) -> dict[str, str]:
    """Make the service's roles with passwords of the tests; none where others use these roles."""
    secret = hashlib.sha256(admin_url.encode()).hexdigest()[:24]
    passwords = {SERVICE_ROLE: secret, READER_ROLE: secret}
    async with await psycopg.AsyncConnection.connect(admin_url, autocommit=True) as connection:
        found = await connection.execute(
            "SELECT rolsuper, to_regrole(%s) IS NULL FROM pg_roles WHERE rolname = current_user",
            [SERVICE_ROLE],
        )
        row = await found.fetchone()
        is_superuser, are_new = row or (False, False)
        is_ours = os.environ.get("DATABASE_URL") is None
        if is_superuser and (are_new or is_ours):
            await make_roles(connection, passwords)
            return passwords
    try:
        parts = urlsplit(admin_url)
        mine = parts._replace(netloc=f"{SERVICE_ROLE}:{secret}@{parts.hostname}:{parts.port}")
        async with await psycopg.AsyncConnection.connect(mine.geturl()):
            return passwords
    except psycopg.OperationalError:
        return {}


def with_database(url: str, name: str) -> str:
    return urlsplit(url)._replace(path=f"/{name}").geturl()


def _start_container() -> tuple[PostgresContainer | None, str]:
    """Start a container, or say why there is none."""
    # The reaper is a second image to pull, and stopping the container is in our own hands.
    testcontainers_config.ryuk_disabled = True
    with warnings.catch_warnings():
        # Docker's client leaves its socket to the garbage collector where nobody answers.
        warnings.simplefilter("ignore", ResourceWarning)
        outcome = _try_container()
        gc.collect()
    return outcome


def _try_container() -> tuple[PostgresContainer | None, str]:
    try:
        engine: Any = DockerClient(timeout=ENGINE_SECONDS).client
    except Exception:  # noqa: BLE001 - the engine's client raises of many kinds
        return None, "no Docker engine answers"
    try:
        if not engine.images.list(name=IMAGE):
            subprocess.run(  # noqa: S603 - this Python, and the lines above
                [sys.executable, "-c", PULL], timeout=PULL_SECONDS, check=True, capture_output=True
            )
        return PostgresContainer(IMAGE).with_command(COMMAND).start(), ""
    except subprocess.SubprocessError:
        return None, f"{IMAGE} cannot be pulled"
    except Exception as error:  # noqa: BLE001 - as above
        return None, f"{IMAGE} cannot be run: {type(error).__name__}"
    finally:
        engine.close()
