"""Measures ways of doing something, in turn, over several rounds."""

import asyncio
import os
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self

from benchmarks.choices import seeded
from benchmarks.figures import Latency, Load, Spread
from benchmarks.processes import (
    busy_cpu_seconds,
    cpu_of_each,
    ended_children_cpu_seconds,
    memory_mib,
)
from runtime.part import Report

GENERATOR: Final = "load generator"
SETTLE_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True)
class Way:
    """One way of doing something, with a number of clients.

    Parameters
    ----------
    run
        Does it for a number of seconds.
    pids
        The processes that take part, by the name under which their use is reported.
    settle_seconds
        Pause afterwards, for what it leaves in flight.
    """

    name: str
    in_flight: int
    run: Callable[[float], Awaitable[Load]]
    pids: Mapping[str, int]
    settle_seconds: float = SETTLE_SECONDS

    @property
    def key(self) -> str:
        """Tells it from others."""
        return f"{self.name} / {self.in_flight}"


@dataclass(frozen=True, slots=True)
class Measurement:
    """One load, and what the processes used for it.

    Parameters
    ----------
    cpu_ms
        CPU time of each process for each of what succeeded.
    memory_mib
        See `processes.memory_mib`.
    foreign_cpu_share
        What anything else on the machine used, of all that there was: how far to trust the rest.
    """

    load: Load
    cpu_ms: dict[str, float]
    memory_mib: dict[str, float]
    foreign_cpu_share: float


@dataclass(frozen=True, slots=True)
class Summary:
    """The measurements of a way: medians over the rounds, with their spread."""

    per_second: Spread
    p50_ms: Spread
    p95_ms: Spread
    p99_ms: Spread
    done: int
    failed: int
    statuses: dict[str, int]
    cpu_ms: dict[str, float]
    memory_mib: dict[str, float]
    foreign_cpu_share: Spread

    @classmethod
    def of(cls, measured: Sequence[Measurement]) -> Self:
        """Summarise at least one measurement."""
        loads = [measurement.load for measurement in measured]
        statuses: dict[str, int] = defaultdict(int)
        for load in loads:
            for status, number in load.statuses.items():
                statuses[status] += number

        def spread(read: Callable[[Latency], float]) -> Spread:
            return Spread.of([read(load.latency) for load in loads])

        return cls(
            per_second=Spread.of([load.per_second for load in loads]),
            p50_ms=spread(lambda latency: latency.p50_ms),
            p95_ms=spread(lambda latency: latency.p95_ms),
            p99_ms=spread(lambda latency: latency.p99_ms),
            done=sum(load.done for load in loads),
            failed=sum(load.failed for load in loads),
            statuses=dict(statuses),
            cpu_ms={
                name: Spread.of([each.cpu_ms[name] for each in measured]).median
                for name in measured[0].cpu_ms
            },
            memory_mib={
                name: max(each.memory_mib[name] for each in measured)
                for name in measured[0].memory_mib
            },
            foreign_cpu_share=Spread.of([each.foreign_cpu_share for each in measured]),
        )


async def measure(way: Way, seconds: float) -> Measurement:
    """Load a way for a while, and see what its processes used."""
    began = time.monotonic()
    before, generator_before = cpu_of_each(way.pids), ended_children_cpu_seconds()
    busy_before = busy_cpu_seconds()
    load = await way.run(seconds)
    busy = busy_cpu_seconds() - busy_before
    after, generator_after = cpu_of_each(way.pids), ended_children_cpu_seconds()
    available = (time.monotonic() - began) * (os.cpu_count() or 1)
    used = {name: after[name] - before[name] for name in before}
    used[GENERATOR] = generator_after - generator_before
    return Measurement(
        load=load,
        cpu_ms={name: 1000 * seconds / max(1, load.done) for name, seconds in used.items()},
        memory_mib={name: memory_mib(pid) for name, pid in way.pids.items()},
        foreign_cpu_share=max(0.0, busy - sum(used.values())) / available,
    )


@dataclass(frozen=True, slots=True)
class Rounds:
    """How ways are measured.

    Parameters
    ----------
    rounds
        How often each way is measured; one way follows another, in a new order each round.
    seconds
        How long each time.
    warm_up_seconds
        How long each way runs before the first round.
    """

    rounds: int
    seconds: float
    warm_up_seconds: float
    seed: int
    report: Report = field(repr=False)

    async def measure(self, ways: Sequence[Way]) -> dict[str, Summary]:
        """Measure ways side by side."""
        for way in ways:
            self.report(f"warming up: {way.key}")
            await way.run(self.warm_up_seconds)
            await asyncio.sleep(way.settle_seconds)
        measured: dict[str, list[Measurement]] = {way.key: [] for way in ways}
        for number in range(1, self.rounds + 1):
            order = list(ways)
            seeded(self.seed, f"round {number}").shuffle(order)
            for way in order:
                found = await measure(way, self.seconds)
                measured[way.key].append(found)
                self.report(
                    f"round {number} of {self.rounds}: {way.key}: {found.load.per_second:.1f}/s, "
                    f"p50 {found.load.latency.p50_ms:.1f} ms"
                    f", others use {found.foreign_cpu_share:.0%} of the CPU"
                    + (f", {found.load.failed} FAILED" if found.load.failed else "")
                )
                await asyncio.sleep(way.settle_seconds)
        return {key: Summary.of(found) for key, found in measured.items()}


def failures_of(summaries: Mapping[str, Any]) -> list[str]:
    """Say which ways had failures."""
    return [
        f"{key}: {summary.failed} failed of {summary.failed + summary.done} {summary.statuses}"
        for key, summary in summaries.items()
        if summary.failed
    ]
