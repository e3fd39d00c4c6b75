"""``transfers top``: what the service does just now, in a terminal."""

import asyncio
import os
import sys
import termios
import time
import tty
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from io import BytesIO
from typing import Annotated, ClassVar, Final

import typer
from rich.live import Live

from cli.calls import Api
from cli.console import output
from cli.failures import CommandFailed
from cli.top_view import Sight, view_of
from runtime.api_client import ApiClient, ApiProblem, ApiUnavailable
from runtime.scrapes import Interval, Scrape

INTERVAL_SECONDS_MINIMUM: Final = 0.2
INTERVAL_SECONDS_MAXIMUM: Final = 3_600.0
STUCK_SHOWN: Final = 8
QUIT_KEYS: Final = frozenset({b"q", b"Q", b"\x1b"})


@dataclass(frozen=True, kw_only=True)
class WatchedApi(Api):
    """Options that say which API to look at, with an operator's key."""

    uses_operator_key: ClassVar[bool] = True

    api_url: Annotated[
        str | None,
        typer.Option(
            "--url",
            "--api-url",
            envvar="TRANSFERS_API_URL",
            help="Base URL of the API; the running local stack's by default.",
            show_envvar=True,
        ),
    ] = None


def top(
    *,
    interval: Annotated[
        float,
        typer.Option(
            min=INTERVAL_SECONDS_MINIMUM,
            max=INTERVAL_SECONDS_MAXIMUM,
            help="Seconds between two views.",
        ),
    ] = 2.0,
    once: Annotated[
        bool, typer.Option("--once", help="Print one view, of one interval, and end.")
    ] = False,
    watched: WatchedApi,
) -> None:
    """Show rates, latencies, what is under way and what is stuck; q or Ctrl-C ends it."""
    place = watched.place()
    is_live = not once and output().is_terminal
    show = _show_on if is_live else _print_once
    with suppress(KeyboardInterrupt):
        watched.ask(lambda api: show(api, place.url, interval))


async def _print_once(api: ApiClient, url: str, interval_seconds: float) -> None:
    async with aclosing(_sights(api, interval_seconds)) as sights:
        async for sight in sights:
            output().print(view_of(url, sight))
            return


async def _show_on(api: ApiClient, url: str, interval_seconds: float) -> None:
    """Show view after view until a key says to stop; where the API is away, say so and go on."""
    stop = asyncio.Event()
    with _quitting(stop), Live(console=output(), screen=True, auto_refresh=False) as live:
        shown: Sight | None = None
        while not stop.is_set():
            try:
                async with aclosing(_sights(api, interval_seconds, stop)) as sights:
                    async for shown in sights:
                        live.update(view_of(url, shown), refresh=True)
            except (ApiProblem, ApiUnavailable) as error:
                if shown is None:
                    raise
                live.update(view_of(url, shown, trouble=str(error)), refresh=True)
                await _pause(stop, interval_seconds)


async def _sights(
    api: ApiClient, interval_seconds: float, stop: asyncio.Event | None = None
) -> AsyncGenerator[Sight, None]:
    stop = stop or asyncio.Event()
    before = await _scrape(api)
    while not await _pause(stop, interval_seconds):
        after = await _scrape(api)
        stuck, has_more = await _stuck(api)
        yield Sight(Interval(before, after), stuck, has_more)
        before = after


async def _pause(stop: asyncio.Event, seconds: float) -> bool:
    """Wait; tell whether it was ended before its time."""
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
    return stop.is_set()


async def _scrape(api: ApiClient) -> Scrape:
    """Read the metrics.

    Raises
    ------
    CommandFailed
        What answers is no API of this service.
    """
    text = BytesIO()
    await api.download("/metrics", text)
    try:
        return Scrape.read(text.getvalue().decode(), time.monotonic())
    except ValueError as error:
        raise CommandFailed(f"What answers there has no metrics: {error}.") from error


async def _stuck(api: ApiClient) -> tuple[list[dict[str, object]] | None, bool]:
    try:
        answer = await api.get("/v1/operations/stuck", limit=STUCK_SHOWN)
    except ApiProblem as problem:
        if problem.status == HTTPStatus.FORBIDDEN:
            return None, False
        raise
    return answer.document["data"], answer.document["next_cursor"] is not None


@contextmanager
def _quitting(stop: asyncio.Event) -> Iterator[None]:
    """Have keys stop it while the block lasts, where there is a keyboard."""
    if not sys.stdin.isatty():
        yield
        return
    keyboard = sys.stdin.fileno()
    former = termios.tcgetattr(keyboard)
    loop = asyncio.get_running_loop()

    def heed() -> None:
        if os.read(keyboard, 1) in QUIT_KEYS:
            stop.set()

    tty.setcbreak(keyboard)
    loop.add_reader(keyboard, heed)
    try:
        yield
    finally:
        loop.remove_reader(keyboard)
        termios.tcsetattr(keyboard, termios.TCSADRAIN, former)
