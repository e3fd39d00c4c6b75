"""TLS in front of a PostgreSQL that has none: the embedded server is built without it.

The client's side, which is the product's, is the real one: libpq asks for TLS as it always does,
checks the certificate, and speaks to the real server behind.
"""

import asyncio
import contextlib
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from runtime.ports import LOOPBACK

SSL_REQUEST = struct.pack("!ii", 8, 80877103)
CHUNK_BYTES = 65_536


@asynccontextmanager
async def tls_postgres(port: int, context: ssl.SSLContext) -> AsyncIterator[int]:
    """Listen with TLS in front of a server's port; gives the port to connect to."""
    pumps: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        pumps.add(task)
        with contextlib.suppress(OSError, ssl.SSLError, asyncio.IncompleteReadError):
            if await reader.readexactly(len(SSL_REQUEST)) == SSL_REQUEST:
                writer.write(b"S")
                await writer.drain()
                await writer.start_tls(context)
                behind = await asyncio.open_connection(LOOPBACK, port)
                await asyncio.gather(_pump(reader, behind[1]), _pump(behind[0], writer))
        writer.close()
        pumps.discard(task)

    server = await asyncio.start_server(serve, LOOPBACK, 0)
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)


async def _pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, ssl.SSLError):
        while data := await source.read(CHUNK_BYTES):
            target.write(data)
            await target.drain()
    target.close()
