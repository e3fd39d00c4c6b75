"""Figures of measurements: percentiles, and medians over rounds with their spread."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

RAMP_SECONDS: Final = 1.5
"""How long a load of several clients runs before its throughput counts.

They begin all at once, and nothing is done until the first of them is; counted from the start, slow
ways would look slower than they are.
"""


def ramp_seconds(in_flight: int) -> float:
    """Tell how long a load of so many clients runs before its throughput counts."""
    return RAMP_SECONDS if in_flight > 1 else 0.0


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Give a percentile by nearest rank: a value that was measured, never one in between.

    Parameters
    ----------
    ordered
        Ascending and not empty.
    percent
        Above 0, up to 100.

    Raises
    ------
    ValueError
        There are no values, or the percentage is out of bounds.
    """
    if not ordered or not 0 < percent <= 100:  # noqa: PLR2004 - percent
        raise ValueError(f"no percentile {percent} of {len(ordered)} values")
    # Rounded first, for 99.9 % of 1,000 comes to a little more than 999 in floats.
    rank = math.ceil(round(percent * len(ordered) / 100, 9))
    return ordered[rank - 1]


@dataclass(frozen=True, slots=True)
class Latency:
    """Percentiles of latencies, in milliseconds; 0 where nothing was measured."""

    p50_ms: float = 0.0
    p95_ms: float = 0.0
    p99_ms: float = 0.0
    p999_ms: float = 0.0
    max_ms: float = 0.0

    @classmethod
    def of(cls, milliseconds: Sequence[float]) -> Self:
        """Take the percentiles of latencies in any order."""
        if not milliseconds:
            return cls()
        ordered = sorted(milliseconds)
        return cls(*(percentile(ordered, percent) for percent in (50, 95, 99, 99.9, 100)))


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of a figure over rounds, with the lowest and the highest."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        """Take the median and the bounds of at least one value."""
        return cls(statistics.median(values), min(values), max(values))


@dataclass(frozen=True, slots=True)
class Load:
    """What a load generator saw.

    Parameters
    ----------
    done
        Transfers, workflows or transactions that succeeded.
    failed
        Those that did not, whatever came instead.
    counted
        Those that succeeded after the ramp.
    seconds
        How long it went on after the ramp.
    statuses
        Answers by status code, where there are any.
    """

    done: int
    failed: int
    counted: int
    seconds: float
    latency: Latency
    statuses: dict[str, int]

    @property
    def per_second(self) -> float:
        """Throughput of what succeeded."""
        return self.counted / self.seconds if self.seconds else 0.0

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        """Read what a generator's process printed."""
        return cls(**content | {"latency": Latency(**content["latency"])})
