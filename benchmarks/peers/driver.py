"""The inside of a peer's process: does what it is told on its standard input, a line at a time."""

import asyncio
import json
import os
import sys
import time
import traceback
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict
from typing import Any, Final, TextIO

import uvloop

from benchmarks.figures import Latency, Load, ramp_seconds

Once = Callable[[], Awaitable[None]]
"""Does one of what the peer does, and raises where it fails."""
Setup = dict[str, str]

FAILURES_SHOWN: Final = 3


def serve(open_peer: Callable[[Setup], AbstractAsyncContextManager[Once]]) -> None:
    """Run a peer until its standard input ends.

    Parameters
    ----------
    open_peer
        Takes the first line, and gives what the peer does once.
    """
    # Libraries log to the standard output, the SDK's core among them; it is kept for the answers.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    uvloop.run(_serve(open_peer, answers))
    # The SDK's threads may still run, and abort an interpreter that takes itself down.
    os._exit(0)


async def closed_loop(once: Once, *, in_flight: int, seconds: float) -> Load:
    """Keep a number of clients busy for a ramp and a while; what is done later does not count."""
    counts_from = time.perf_counter() + ramp_seconds(in_flight)
    deadline = counts_from + seconds
    counted = 0
    milliseconds: list[float] = []
    failures: list[Exception] = []

    async def client() -> None:
        nonlocal counted
        while (began := time.perf_counter()) < deadline:
            try:
                await once()
            except Exception as error:  # noqa: BLE001 - a failure is counted, whichever it is
                failures.append(error)
            else:
                ended = time.perf_counter()
                if ended < deadline:
                    milliseconds.append((ended - began) * 1000)
                    counted += ended >= counts_from

    await asyncio.gather(*(client() for _ in range(in_flight)))
    for failure in failures[:FAILURES_SHOWN]:
        traceback.print_exception(failure, file=sys.stderr)
    return Load(
        done=len(milliseconds),
        failed=len(failures),
        counted=counted,
        seconds=seconds,
        latency=Latency.of(milliseconds),
        statuses={},
    )


async def _serve(
    open_peer: Callable[[Setup], AbstractAsyncContextManager[Once]], answers: TextIO
) -> None:
    lines = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    async with open_peer(json.loads(await lines.readline())) as once:
        _say(answers, {"ready": True})
        async for line in lines:
            task = json.loads(line)
            load = await closed_loop(once, in_flight=task["in_flight"], seconds=task["seconds"])
            _say(answers, asdict(load))


def _say(answers: TextIO, content: dict[str, Any]) -> None:
    answers.write(f"{json.dumps(content)}\n")
    answers.flush()
