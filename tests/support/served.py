"""An API of a test's own over the run's servers, clients without mercy, and accounts held up."""

import asyncio
import json
import os
import secrets
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final, Self
from urllib.parse import urlsplit

import psutil
import psycopg
from psycopg import sql

from domain.access import Scope
from runtime.command_part import CommandPart
from runtime.ports import LOOPBACK, free_port
from runtime.stack_files import throwaway_data_dir
from runtime.stack_options import StackCommands
from services.access import AccessService
from tests.support.api import Client, Json, new_key
from tests.support.stack import Stack

ANSWER_SECONDS: Final = 40.0
LOCK: Final = "SELECT 1 FROM balances WHERE account_id = %s FOR UPDATE"


@dataclass(frozen=True, slots=True)
class ServedApi:
    """A running API."""

    part: CommandPart
    url: str
    access: AccessService = field(repr=False)

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        """Give a client of a new tenant."""
        key, secret = await self.access.create_key(
            tenant_name=secrets.token_hex(6), name="test", scopes=frozenset(Scope)
        )
        async with Client(self.url, secret, key) as client:
            yield client

    def processes(self) -> list[int]:
        """Give the pids of the processes that serve below the first one."""
        return [child.pid for child in psutil.Process(self.part.pid).children()]

    def connections(self) -> list[int]:
        """Count the clients' connections of each of these processes."""
        port = urlsplit(self.url).port
        return [
            sum(
                connection.status == psutil.CONN_ESTABLISHED and connection.laddr.port == port
                for connection in psutil.Process(pid).net_connections("tcp")
            )
            for pid in self.processes()
        ]

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the first process alone."""
        os.kill(self.part.pid, number)

    def log(self) -> list[Json]:
        """Give what it logged since it was made."""
        return [json.loads(line) for line in self.part.log_path.read_text().splitlines()]

    def events(self, name: str) -> list[Json]:
        return [line for line in self.log() if line["event"] == name]


@asynccontextmanager
async def served_api(
    stack: Stack, access: AccessService, *options: str, **environment: str
) -> AsyncIterator[ServedApi]:
    """Serve the API on a port of its own, with some options and environment variables."""
    port = free_port()
    url = f"http://{LOOPBACK}:{port}"
    with throwaway_data_dir() as folder:
        part = CommandPart(
            "api",
            (*StackCommands().api, *options),
            environment={
                **os.environ,
                "DATABASE_URL": stack.service_url,
                "TEMPORAL_ADDRESS": stack.temporal_address,
                "TEMPORAL_NAMESPACE": stack.temporal_namespace,
                # Tests of wrong keys send many.
                "API_FAILED_LOGINS_PER_MINUTE": "1000000",
                "API_HOST": LOOPBACK,
                "API_PORT": str(port),
                **environment,
            },
            log_path=folder / "logs" / "api.log",
            port=port,
            ready_url=f"{url}/readyz",
        )
        try:
            await part.start()
            served = ServedApi(part, url, access)
            yield served
            assert [line for line in served.log() if "unexpected_error" in line["event"]] == []
        finally:
            await part.stop()


@asynccontextmanager
async def locked_balance(database_url: str, account_id: str) -> AsyncIterator[None]:
    """Hold up every transfer that takes from an account, until the block ends."""
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        await connection.execute(LOCK, (account_id,))
        yield
        await connection.rollback()


@asynccontextmanager
async def locked_table(database_url: str, table: str) -> AsyncIterator[None]:
    """Let nobody read a table until the block ends: whoever does finds the database away."""
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        lock = sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(sql.Identifier(table))
        await connection.execute(lock)
        yield
        await connection.rollback()


@dataclass(frozen=True, slots=True)
class RawAnswer:
    status: int
    headers: dict[str, str]
    body: Json

    @property
    def is_last(self) -> bool:
        """Whether the server said that the connection ends."""
        return self.headers.get("connection") == "close"


class RawClient:
    """One keep-alive connection, without any second try.

    It opens another only where the server has said that the one before ends. Any other end of a
    connection is an error, also one that a client with a pool would not show.
    """

    def __init__(self, client: Client) -> None:
        place = urlsplit(client.api_url)
        self._place = place.hostname, place.port
        self._api_key = client.api_key
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    async def get(self, path: str) -> RawAnswer:
        return await self._send("GET", path, {}, b"")

    async def transfer(self, source: str, destination: str, *, key: str | None = None) -> RawAnswer:
        """Move one cent."""
        body = {"source": source, "destination": destination, "amount": 1, "currency": "EUR"}
        headers = {"Idempotency-Key": key or new_key()}
        return await self._send("POST", "/v1/transfers", headers, json.dumps(body).encode())

    async def _send(
        self, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> RawAnswer:
        if self._streams is None:
            self._streams = await asyncio.open_connection(*self._place)
        reader, writer = self._streams
        lines = {
            "Host": "api",
            "Authorization": f"Bearer {self._api_key}",
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            **headers,
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        writer.write(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body)
        async with asyncio.timeout(ANSWER_SECONDS):
            answer = await _read(reader)
        if answer.is_last:
            self.close()
        return answer


async def _read(reader: asyncio.StreamReader) -> RawAnswer:
    status, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    body = await reader.readexactly(int(headers["content-length"]))
    return RawAnswer(int(status.split()[1]), headers, json.loads(body))
