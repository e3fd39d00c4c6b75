"""Links between processes can be cut, silenced and slowed."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from runtime.ports import LOOPBACK
from tests.chaos.links import Link
from tests.support.waiting import until

MOMENT_SECONDS = 0.2
LIMIT_SECONDS = 10.0
BROKEN = (ConnectionResetError, asyncio.IncompleteReadError)
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def linked() -> AsyncIterator[tuple[Link, list[bytes]]]:
    """Give a link to a server that says everything back, and what this has heard."""
    heard: list[bytes] = []

    async def say_back(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(100):
            heard.append(piece)
            writer.write(piece)
        writer.close()

    server = await asyncio.start_server(say_back, LOOPBACK, 0)
    port = server.sockets[0].getsockname()[1]
    async with asyncio.timeout(LIMIT_SECONDS), server, Link("test", port) as link:
        yield link, heard


async def connected(link: Link) -> Streams:
    return await asyncio.open_connection(LOOPBACK, link.port)


async def is_quiet(reader: asyncio.StreamReader) -> bool:
    try:
        async with asyncio.timeout(MOMENT_SECONDS):
            return not await reader.read(100)
    except TimeoutError:
        return True


async def test_a_link_passes_on_what_is_said_both_ways() -> None:
    async with linked() as (link, _):
        reader, writer = await connected(link)
        writer.write(b"one")
        assert await reader.readexactly(3) == b"one"
        writer.close()


async def test_a_cut_breaks_open_connections_and_new_ones_until_it_is_mended() -> None:
    async with linked() as (link, _):
        reader, writer = await connected(link)
        writer.write(b"one")
        await reader.readexactly(3)
        link.cut()
        with pytest.raises(BROKEN):
            await reader.readexactly(1)
        writer.close()
        reader, writer = await connected(link)
        with pytest.raises(BROKEN):
            await reader.readexactly(1)
        writer.close()
        link.mend()
        reader, writer = await connected(link)
        writer.write(b"two")
        assert await reader.readexactly(3) == b"two"
        writer.close()


async def test_a_silent_link_keeps_connections_and_passes_things_on_later() -> None:
    async with linked() as (link, heard):
        reader, writer = await connected(link)
        link.silence()
        writer.write(b"one")
        assert await is_quiet(reader)
        assert heard == []
        link.mend()
        assert await reader.readexactly(3) == b"one"
        writer.close()


async def test_answers_alone_can_be_held_back() -> None:
    async with linked() as (link, heard):
        reader, writer = await connected(link)
        link.silence(answers_only=True)
        writer.write(b"one")

        async def is_heard() -> bool:
            return heard == [b"one"]

        await until(is_heard)
        assert await is_quiet(reader)
        link.mend()
        assert await reader.readexactly(3) == b"one"
        writer.close()


async def test_a_slow_link_takes_its_time() -> None:
    async with linked() as (link, _):
        reader, writer = await connected(link)
        link.slow(MOMENT_SECONDS)
        began = time.monotonic()
        writer.write(b"one")
        assert await reader.readexactly(3) == b"one"
        # There and back.
        assert time.monotonic() - began >= 2 * MOMENT_SECONDS
        writer.close()
