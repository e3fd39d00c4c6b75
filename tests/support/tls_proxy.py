"""A front of a server that speaks TLS: what a load balancer with certificates is in production."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import trustme

from runtime.ports import LOOPBACK

CHUNK_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Certificates:
    """Files of a certificate authority, and of a client that it has certified."""

    authority: trustme.CA
    ca: Path
    client_certificate: Path
    client_key: Path


def make_certificates(folder: Path) -> Certificates:
    folder.mkdir(exist_ok=True)
    authority = trustme.CA()
    client = authority.issue_cert("worker@example.org")
    made = Certificates(authority, *(folder / name for name in ("ca.pem", "client.pem", "key.pem")))
    authority.cert_pem.write_to_path(made.ca)
    client.cert_chain_pems[0].write_to_path(made.client_certificate)
    client.private_key_pem.write_to_path(made.client_key)
    return made


@asynccontextmanager
async def tls_proxy(
    target: str, certificates: Certificates, *, asks_for_client: bool = False
) -> AsyncIterator[str]:
    """Forward connections to a server in clear; gives ``host:port`` of the front with TLS.

    Parameters
    ----------
    asks_for_client
        Refuse clients without a certificate of the authority.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["h2"])
    certificates.authority.issue_cert(LOOPBACK, "localhost").configure_cert(context)
    if asks_for_client:
        certificates.authority.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
    host, port = target.rsplit(":", 1)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        target_reader, target_writer = await asyncio.open_connection(host, int(port))
        await asyncio.gather(pump(reader, target_writer), pump(target_reader, writer))

    server = await asyncio.start_server(serve, LOOPBACK, 0, ssl=context)
    try:
        yield f"{LOOPBACK}:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Hand on what comes, to the end."""
    with suppress(OSError, ssl.SSLError):
        while chunk := await reader.read(CHUNK_BYTES):
            writer.write(chunk)
            await writer.drain()
    writer.close()
