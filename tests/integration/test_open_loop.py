"""The open loop against a tiny server that stalls."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict

import pytest

from benchmarks.figures import Latency
from benchmarks.load import arrivals
from benchmarks.load.arrivals import Answers, Task, arrive
from benchmarks.load.open_loop import summary_of

REQUEST = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
ANSWER = b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}"
STALL_SECONDS = 0.5


@asynccontextmanager
async def server(*, stalls_at: int | None = None, breaks: bool = False) -> AsyncIterator[int]:
    """Answers at once, but for a stall of all connections that begins with one request."""
    asked = 0
    stalled_until = 0.0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked, stalled_until
        loop = asyncio.get_running_loop()
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                asked += 1
                if asked == stalls_at:
                    stalled_until = loop.time() + STALL_SECONDS
                await asyncio.sleep(max(0.0, stalled_until - loop.time()))
                if breaks:
                    break
                writer.write(ANSWER)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening:
        yield listening.sockets[0].getsockname()[1]


def task(port: int, *, number: int, per_second: float, drain_seconds: float = 5.0) -> Task:
    return Task("127.0.0.1", port, per_second, drain_seconds, [REQUEST] * number)


async def test_a_stall_shows_in_every_request_that_was_due_meanwhile() -> None:
    async with server(stalls_at=50) as port:
        answers = await arrive(task(port, number=200, per_second=200))

    assert set(answers.statuses) == {201}
    slow = [milliseconds for milliseconds in answers.milliseconds if milliseconds > 100]
    # 200 a second for 0.5 s, less the last 0.1 s, whose requests wait for less.
    assert len(slow) >= 70
    assert Latency.of(answers.milliseconds).p95_ms > 350


async def test_latency_counts_on_while_all_connections_are_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(arrivals, "CONNECTIONS_MAXIMUM", 1)
    async with server(stalls_at=1) as port:
        answers = await arrive(task(port, number=40, per_second=200))

    assert set(answers.statuses) == {201}
    assert min(answers.milliseconds[:20]) > 350


async def test_what_is_not_answered_is_told_apart() -> None:
    async with server(breaks=True) as port:
        broken = await arrive(task(port, number=5, per_second=100))
    async with server(stalls_at=1) as port:
        given_up = await arrive(task(port, number=5, per_second=100, drain_seconds=0.05))

    assert broken.statuses == given_up.statuses == [0] * 5
    assert summary_of(broken, per_second=100).statuses == {"no answer": 5}


async def test_the_generator_runs_as_a_process_of_its_own() -> None:
    async with server() as port:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "benchmarks.load.arrivals"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        given = json.dumps(asdict(task(port, number=20, per_second=100)))
        output, _ = await process.communicate(given.encode())

    assert json.loads(output)["statuses"] == [201] * 20


def test_only_what_is_done_before_the_last_arrival_counts_as_served() -> None:
    answers = Answers(
        statuses=[201, 201, 201, 503],
        milliseconds=[10, 10, 3000, 5],
        late_ms=0.1,
        cpu_seconds=0.004,
    )

    load = summary_of(answers, per_second=4)

    assert (load.served_per_second, load.done) == (2, 3)
    assert load.statuses == {"201": 3, "503": 1}
    assert load.latency.max_ms == 3000
    assert load.generator_cpu_ms == 1
