"""Arrivals at a fixed rate, made by a process of their own."""

import asyncio
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import count, cycle, islice
from typing import Any, Final
from urllib.parse import urlsplit

from benchmarks.choices import Contention
from benchmarks.figures import Latency
from benchmarks.load.arrivals import NO_ANSWER, Answers, Task
from benchmarks.load.closed_loop import LoadGeneratorError
from benchmarks.stack import CURRENCY, BenchStack

CREATED: Final = 201
DRAIN_SECONDS: Final = 45.0

_runs = count()


@dataclass(frozen=True, slots=True)
class OpenLoad:
    """What came of arrivals at a rate.

    Parameters
    ----------
    offered_per_second
        Arrivals.
    served_per_second
        Transfers that were done before the last arrival was due.
    latency
        Of the transfers that were done, from when each was due.
    late_ms
        The most that the generator itself was late; much of it means that it was starved.
    generator_cpu_ms
        What the generator used for each arrival.
    """

    offered_per_second: float
    served_per_second: float
    done: int
    statuses: dict[str, int]
    latency: Latency
    late_ms: float
    generator_cpu_ms: float


async def open_loop(
    bench: BenchStack,
    contention: Contention,
    *,
    per_second: float,
    seconds: float,
    drain_seconds: float = DRAIN_SECONDS,
) -> OpenLoad:
    """Send transfers at a rate for a while, and wait for their answers.

    Raises
    ------
    LoadGeneratorError
        The generator failed.
    """
    url = urlsplit(bench.stack.info.api_url)
    number = max(1, round(per_second * seconds))
    task = Task(
        host=url.hostname or "",
        port=url.port or 0,
        per_second=per_second,
        drain_seconds=drain_seconds,
        requests=list(islice(_requests(bench, contention), number)),
    )
    answers = await _in_a_process(task)
    return summary_of(answers, per_second=per_second)


def summary_of(answers: Answers, *, per_second: float) -> OpenLoad:
    """Summarise what came back."""
    arrived = list(zip(answers.statuses, answers.milliseconds, strict=True))
    seconds = len(arrived) / per_second
    done = [milliseconds for status, milliseconds in arrived if status == CREATED]
    in_time = [
        number
        for number, (status, milliseconds) in enumerate(arrived)
        if status == CREATED and number / per_second + milliseconds / 1000 <= seconds
    ]
    return OpenLoad(
        offered_per_second=per_second,
        served_per_second=len(in_time) / seconds,
        done=len(done),
        statuses={
            "no answer" if status == NO_ANSWER else str(status): number
            for status, number in sorted(Counter(answers.statuses).items())
        },
        latency=Latency.of(done),
        late_ms=answers.late_ms,
        generator_cpu_ms=1000 * answers.cpu_seconds / len(arrived),
    )


def _requests(bench: BenchStack, contention: Contention) -> Iterator[str]:
    info = bench.stack.info
    run = next(_runs)
    pairs = [line.split() for line in bench.pairs[contention].read_text().splitlines()]
    for number, (source, destination) in enumerate(cycle(pairs)):
        body = json.dumps(
            {"source": source, "destination": destination, "amount": 1, "currency": CURRENCY}
        )
        yield (
            "POST /v1/transfers HTTP/1.1\r\n"
            f"Host: {urlsplit(info.api_url).netloc}\r\n"
            f"Authorization: Bearer {info.api_key}\r\n"
            f"Idempotency-Key: open-{run}-{number}\r\n"
            "Content-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n{body}"
        )


async def _in_a_process(task: Task) -> Answers:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.load.arrivals"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    output, problems = await process.communicate(json.dumps(asdict(task)).encode())
    if process.returncode:
        raise LoadGeneratorError(f"The open loop failed:\n{problems.decode(errors='replace')}")
    answers: dict[str, Any] = json.loads(output)
    return Answers(**answers)
