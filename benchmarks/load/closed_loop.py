"""A fixed number of clients, each sending its next transfer when the last is answered: wrk."""

import asyncio
import json
import os
import shutil
import subprocess
from itertools import count
from pathlib import Path
from typing import Any, Final

from benchmarks.choices import Contention
from benchmarks.figures import Latency, Load, ramp_seconds
from benchmarks.stack import CURRENCY, BenchStack

SCRIPT: Final = Path(__file__).with_name("wrk.lua")
ANSWER_SECONDS: Final = 40
RESULT: Final = "RESULT "
CREATED: Final = "201"
ACCEPTED: Final = "202"


class LoadGeneratorError(Exception):
    """A load generator is missing or failed."""


def wrk_program() -> str:
    """Find wrk.

    Raises
    ------
    LoadGeneratorError
        It is not installed.
    """
    program = shutil.which("wrk")
    if program is None:
        raise LoadGeneratorError("The load generator wrk is missing: apt-get install wrk")
    return program


class ClosedLoop:
    """Loads the API with transfers of one contention by a number of clients."""

    # No two loads of a stack may share idempotency keys.
    _runs = count()

    def __init__(self, bench: BenchStack, contention: Contention, *, in_flight: int) -> None:
        self._bench = bench
        self._contention = contention
        self._in_flight = in_flight

    async def __call__(self, seconds: float) -> Load:
        """Send for a while, and give what was seen.

        Raises
        ------
        LoadGeneratorError
            It failed.
        """
        info = self._bench.stack.info
        ramp = ramp_seconds(self._in_flight)
        process = await asyncio.create_subprocess_exec(
            *(wrk_program(), "--threads", "1", "--connections", str(self._in_flight)),
            *("--duration", f"{max(1, round(seconds + ramp))}s", "--timeout", f"{ANSWER_SECONDS}s"),
            *("--script", str(SCRIPT), info.api_url),
            env={
                **os.environ,
                "BENCH_API_KEY": info.api_key,
                "BENCH_CURRENCY": CURRENCY,
                "BENCH_KEY_PREFIX": f"closed-{next(self._runs)}-",
                "BENCH_RAMP_SECONDS": str(ramp),
                "BENCH_PAIRS": str(self._bench.pairs[self._contention]),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        return load_from(output.decode(errors="replace"))


def load_from(output: str) -> Load:
    """Read what wrk printed.

    Raises
    ------
    LoadGeneratorError
        There is no result in it.
    """
    for line in output.splitlines():
        if line.startswith(RESULT):
            return _load_of(json.loads(line.removeprefix(RESULT)))
    raise LoadGeneratorError(f"wrk gave no result:\n{output}")


def _load_of(result: dict[str, Any]) -> Load:
    statuses: dict[str, int] = dict(result["statuses"])
    done = statuses.get(CREATED, 0)
    broken = int(result["broken"])
    return Load(
        done=done,
        # What is accepted goes on, but was not done while the client waited.
        failed=sum(statuses.values()) - done - statuses.get(ACCEPTED, 0) + broken,
        counted=result["counted"],
        seconds=result["seconds"],
        latency=Latency(
            *(result[name] for name in ("p50_ms", "p95_ms", "p99_ms", "p999_ms", "max_ms"))
        ),
        statuses=statuses | ({"broken": broken} if broken else {}),
    )
