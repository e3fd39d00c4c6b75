"""Connections that can be cut, silenced and slowed: a small TCP proxy between two processes.

Of our own, because nothing kept fits: Toxiproxy is a server in Go that no Python package brings
along, the proxies on PyPI that inject faults add latency alone or are abandoned, and network
namespaces take rights that a test run does not have. What is needed is little around two streams.
"""

import asyncio
from contextlib import suppress
from typing import Final, Self

from runtime.ports import LOOPBACK, free_port

PIECE_BYTES: Final = 64 * 1024


class Link:
    """A listening port in front of a server's; an async context manager.

    Parameters
    ----------
    name
        Whom it connects with whom, for people.
    target_port
        The server's port on loopback.
    """

    def __init__(self, name: str, target_port: int) -> None:
        self.name = name
        self.port = free_port(avoid=(target_port,))
        self._target_port = target_port
        self._delay_seconds = 0.0
        self._is_cut = False
        self._requests = _opened()
        self._answers = _opened()
        self._pipes: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, LOOPBACK, self.port)
        return self

    async def __aexit__(self, *_error: object) -> None:
        if self._server is not None:
            self._server.close()
        self.mend()
        self._abort()
        if self._pipes:
            await asyncio.wait(self._pipes)

    def cut(self) -> None:
        """Break all connections, and every new one, until it is mended."""
        self._is_cut = True
        self._abort()

    def silence(self, *, answers_only: bool = False) -> None:
        """Let nothing through any more, or no answers; connections stay open and nobody is told."""
        self._answers.clear()
        if not answers_only:
            self._requests.clear()

    def slow(self, delay_seconds: float) -> None:
        """Let every piece wait before it goes on."""
        self._delay_seconds = delay_seconds

    def mend(self) -> None:
        """Undo all of it; what was held back goes on."""
        self._is_cut = False
        self._delay_seconds = 0.0
        self._requests.set()
        self._answers.set()

    def _abort(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._pipes.add(task)
            task.add_done_callback(self._pipes.discard)
        self._writers.add(writer)
        try:
            if not self._is_cut:
                # The server may be away just now: then the caller's connection breaks.
                with suppress(OSError):
                    await self._connect(reader, writer)
        finally:
            writer.transport.abort()
            self._writers.discard(writer)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection(LOOPBACK, self._target_port)
        self._writers.add(server_writer)
        try:
            ways = (
                self._pump(reader, server_writer, self._requests),
                self._pump(server_reader, writer, self._answers),
            )
            await asyncio.wait(
                [asyncio.ensure_future(way) for way in ways], return_when=asyncio.ALL_COMPLETED
            )
        finally:
            server_writer.transport.abort()
            self._writers.discard(server_writer)

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, gate: asyncio.Event
    ) -> None:
        # uvloop raises a RuntimeError where the other way has just ended the connection.
        with suppress(OSError, RuntimeError):
            while piece := await reader.read(PIECE_BYTES):
                if self._delay_seconds:
                    await asyncio.sleep(self._delay_seconds)
                await gate.wait()
                writer.write(piece)
                await writer.drain()
            # One side has said all that it had to say; the other may still have.
            if writer.can_write_eof():
                writer.write_eof()
            return
        writer.transport.abort()


def _opened() -> asyncio.Event:
    gate = asyncio.Event()
    gate.set()
    return gate
