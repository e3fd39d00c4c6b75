"""A relay in front of a server, to take the server away from one client alone."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from runtime.ports import LOOPBACK
from tests.support.tls_proxy import pump


class Relay:
    """Forwards connections to a server, at one port, as long as it is there.

    Parameters
    ----------
    target
        ``host:port`` of the server.
    """

    def __init__(self, target: str) -> None:
        host, port = target.rsplit(":", 1)
        self._target = host, int(port)
        self._port = 0
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    @property
    def address(self) -> str:
        return f"{LOOPBACK}:{self._port}"

    async def come(self) -> None:
        self._server = await asyncio.start_server(self._serve, LOOPBACK, self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    def go(self) -> None:
        """Refuse connections, and cut those that are open."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in self._open:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        target_reader, target_writer = await asyncio.open_connection(*self._target)
        ends = {writer, target_writer}
        self._open |= ends
        try:
            with suppress(OSError):
                await asyncio.gather(pump(reader, target_writer), pump(target_reader, writer))
        finally:
            self._open -= ends


@asynccontextmanager
async def relay_to(target: str) -> AsyncIterator[Relay]:
    relay = Relay(target)
    await relay.come()
    try:
        yield relay
    finally:
        relay.go()
