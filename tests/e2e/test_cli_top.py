"""The live view of the service, in a pipe and in a terminal."""

import asyncio
import os
import pty
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

import pytest

from domain.access import Scope
from runtime.ports import LOOPBACK, free_port
from tests.chaos.links import Link
from tests.support.api import Client
from tests.support.command import Command, environment_with
from tests.support.tenants import TenantMaker
from tests.support.waiting import until

WIDTHS = (60, 100, 200)


@pytest.fixture
async def operator(make_tenant: TenantMaker) -> Client:
    return await make_tenant(scopes=frozenset(Scope))


def command(client: Client, **variables: str) -> Command:
    return Command(TRANSFERS_API_URL=client.api_url, TRANSFERS_API_KEY=client.api_key, **variables)


@pytest.mark.parametrize("width", WIDTHS)
async def test_one_view_tells_what_the_service_does(operator: Client, width: int) -> None:
    account, other = await operator.account(balance=500), await operator.account()
    held = await operator.hold(source=account["id"], destination=other["id"], amount=200)
    viewing = asyncio.create_task(
        command(operator, COLUMNS=str(width)).printed("top", "--once", "--interval", "1")
    )
    while not viewing.done():
        await operator.deposit(account["id"], 1)
    shown = (await viewing).output
    for title in ("Rates", "Latency", "In flight", "Held", "Health", "Ledger"):
        assert title in shown
    for text in ("accepted", "succeeded", "p99", "RESERVED", "holds", "EUR", "PostgreSQL"):
        assert text in shown
    [accepted] = [line for line in shown.splitlines() if " accepted " in line]
    assert "accepted       0.0/s" not in " ".join(accepted.split())
    await operator.operate(held, "cancel")


async def test_a_key_that_may_not_see_what_is_stuck_sees_the_rest(
    make_tenant: TenantMaker,
) -> None:
    client = await make_tenant(scopes=frozenset({Scope.TRANSFERS_READ}))
    ending = await command(client).printed("top", "--once", "--interval", "0.2")
    assert "What is stuck is shown to keys with operations:read." in ending.output


async def test_a_key_or_an_api_that_is_missing_is_said_clearly(operator: Client) -> None:
    no_key = await Command(TRANSFERS_API_URL=operator.api_url)("top", "--once")
    assert (no_key.code, no_key.output) == (1, "")
    assert "TRANSFERS_API_KEY" in no_key.messages
    wrong_key = await Command(TRANSFERS_API_URL=operator.api_url, TRANSFERS_API_KEY="trf_no")(
        "top", "--once", "--interval", "0.2"
    )
    assert wrong_key.code == 1
    assert "unauthenticated" in wrong_key.messages
    nobody = f"http://{LOOPBACK}:{free_port()}"
    away = await Command(TRANSFERS_API_KEY="trf_x")("top", "--once", "--url", nobody)
    assert away.code == 1
    assert f"{nobody} does not answer" in away.messages


@asynccontextmanager
async def in_terminal(
    client: Client, shown: bytearray, api_url: str | None = None
) -> AsyncIterator[tuple[int, asyncio.Task[int]]]:
    """Run it in a terminal of its own, and give that terminal and how it ends."""
    ours, theirs = pty.openpty()
    environment = environment_with(
        {
            "TRANSFERS_API_URL": api_url or client.api_url,
            "TRANSFERS_API_KEY": client.api_key,
            "TERM": "xterm",
            "COLUMNS": "120",
            "LINES": "50",
        }
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cli.main", "top", "--interval", "0.3"),
        env=environment,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    loop = asyncio.get_running_loop()

    def take() -> None:
        with suppress(OSError):
            shown.extend(os.read(ours, 65_536))

    loop.add_reader(ours, take)
    ending = asyncio.create_task(process.wait())
    try:
        yield ours, ending
        await asyncio.wait_for(ending, 20)
    finally:
        loop.remove_reader(ours)
        os.close(ours)
        with suppress(ProcessLookupError):
            process.kill()


async def test_a_terminal_is_given_back_when_q_is_pressed(operator: Client) -> None:
    shown = bytearray()
    async with in_terminal(operator, shown) as (terminal, ending):

        async def is_shown() -> bool:
            return b"Rates" in shown and b"Nothing is stuck" in shown

        await until(is_shown)
        os.write(terminal, b"q")
        assert await asyncio.wait_for(ending, 20) == 0
    # The terminal's own screen is back, and so is its cursor.
    assert shown.rstrip().endswith(b"\x1b[?25h") or b"\x1b[?1049l" in shown
    assert b"Traceback" not in shown


async def test_an_api_that_is_away_is_said_above_what_was_seen_last_until_it_is_back(
    operator: Client,
) -> None:
    shown = bytearray()
    port = urlsplit(operator.api_url).port
    assert port is not None

    def has(*words: bytes, lacks: bytes = b"\0") -> Callable[[], Awaitable[bool]]:
        async def is_so() -> bool:
            # Every view begins in the terminal's corner.
            views = bytes(shown).split(b"\x1b[H")
            return any(all(word in view for word in words) and lacks not in view for view in views)

        return is_so

    async with Link("top and API", port) as link:
        url = f"http://{LOOPBACK}:{link.port}"
        async with in_terminal(operator, shown, url) as (terminal, ending):
            await until(has(b"Rates", b"Nothing is stuck", lacks=b"Not up to date"))
            link.cut()
            await until(has(b"Not up to date", b"Rates", b"Nothing is stuck"))
            link.mend()
            shown.clear()
            await until(has(b"Rates", b"Nothing is stuck", lacks=b"Not up to date"))
            os.write(terminal, b"q")
            assert await asyncio.wait_for(ending, 20) == 0
    assert b"Traceback" not in shown
