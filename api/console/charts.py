"""Charts, drawn here: coordinates for the templates to put into SVG."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Final, TypeAlias

from domain.ledger import LedgerEntry
from persistence.overview import Activity
from persistence.samples import Sampled
from services.overview import SampledStep

WIDTH: Final = 600
HEIGHT: Final = 100
"""Units of the drawing; the page stretches it."""

BAR_SHARE: Final = 0.8
"""How much of its step a bar fills."""

PART_HEIGHT_MINIMUM: Final = 2.0
"""What is not nothing can be seen, however little it is beside the rest."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a bar shows: a part, and another one on top of it.

    Parameters
    ----------
    words
        What both say.
    """

    lower: int
    upper: int
    words: str


Unknown: TypeAlias = str
"""Why there is nothing to read, in words."""

NOT_SAMPLED: Final[Unknown] = "no sample was taken"


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar of one step, with a part of it on top of the other.

    Parameters
    ----------
    words
        What it stands for.
    """

    x: float
    width: float
    lower_height: float
    upper_height: float
    words: str


@dataclass(frozen=True, slots=True)
class Gap:
    """Steps beside each other of which nothing is known."""

    x: float
    width: float
    words: str


@dataclass(frozen=True, slots=True)
class BarChart:
    """Bars over time."""

    bars: Sequence[Bar]
    gaps: Sequence[Gap]
    highest: int
    first_at: datetime
    last_at: datetime


@dataclass(frozen=True, slots=True)
class LatencyChart:
    """Median and 95th percentile over time, each as the text of an SVG path."""

    median: str
    slow: str
    highest_seconds: float
    first_at: datetime
    last_at: datetime


@dataclass(frozen=True, slots=True)
class BalanceChart:
    """A balance over time.

    Parameters
    ----------
    line, area
        Texts of SVG paths.
    zero
        Where the line of zero lies, in units from the top.
    """

    line: str
    area: str
    lowest_minor: int
    highest_minor: int
    zero: float
    first_at: datetime
    last_at: datetime


def activity_chart(steps: Sequence[Activity]) -> BarChart | None:
    """Draw how many transfers were started in each step, the failed on top."""
    return bar_chart(
        [
            (
                step.starts_at,
                Reading(
                    step.started - step.failed,
                    step.failed,
                    f"{step.started:,} started, {step.failed:,} failed",
                ),
            )
            for step in steps
            if step.starts_at is not None
        ]
    )


def sampled_chart(
    steps: Sequence[SampledStep], read: Callable[[Sampled], Reading | Unknown]
) -> BarChart | None:
    """Draw what was sampled in each step; ``None`` where nothing was in any."""
    if not any(step.sampled for step in steps):
        return None
    return bar_chart(
        [
            (step.starts_at, NOT_SAMPLED if step.sampled is None else read(step.sampled))
            for step in steps
        ]
    )


def bar_chart(steps: Sequence[tuple[datetime, Reading | Unknown]]) -> BarChart | None:
    """Draw a bar for each step, and a gap where nothing is known; ``None`` without any step."""
    if not steps:
        return None
    width = WIDTH / len(steps)
    read = [
        (number, starts_at, reading)
        for number, (starts_at, reading) in enumerate(steps)
        if isinstance(reading, Reading)
    ]
    highest = max((reading.lower + reading.upper for _, _, reading in read), default=0)
    bars = [
        Bar(
            x=round(number * width + width * (1 - BAR_SHARE) / 2, 2),
            width=round(width * BAR_SHARE, 2),
            lower_height=lower,
            upper_height=upper,
            words=f"{_when(starts_at)}: {reading.words}",
        )
        for number, starts_at, reading in read
        for lower, upper in [_heights(reading, highest)]
        if lower + upper
    ]
    return BarChart(bars, _gaps(steps, width), highest, steps[0][0], steps[-1][0])


def _heights(reading: Reading, highest: int) -> tuple[float, float]:
    """Give the heights of a bar's parts, which together fit in."""
    upper = _height(reading.upper, highest)
    if reading.lower:
        upper = min(upper, HEIGHT - PART_HEIGHT_MINIMUM)
    return min(_height(reading.lower, highest), HEIGHT - upper), upper


def _height(value: int, highest: int) -> float:
    # Divided as integers: amounts can be larger than what a float holds.
    return max(PART_HEIGHT_MINIMUM, value * HEIGHT * 100 // highest / 100) if value else 0.0


def _gaps(steps: Sequence[tuple[datetime, Reading | Unknown]], width: float) -> list[Gap]:
    """Put steps beside each other together that are not known for the same reason."""
    gaps: list[Gap] = []
    for reason, run in groupby(
        enumerate(steps), lambda each: each[1][1] if isinstance(each[1][1], str) else None
    ):
        if reason is not None:
            (first, (begins_at, _)), *others = list(run)
            last_at = others[-1][1][0] if others else begins_at
            until = f" to {_when(last_at)}" if others else ""
            words = f"{_when(begins_at)}{until}: {reason}"
            gaps.append(Gap(round(first * width, 2), round((1 + len(others)) * width, 2), words))
    return gaps


def _when(moment: datetime) -> str:
    return f"{moment:%a %H:%M:%S} UTC"


def latency_chart(steps: Sequence[Activity]) -> LatencyChart | None:
    """Draw the median and the 95th percentile of the time to an outcome."""
    known = [step for step in steps if step.seconds_p95 is not None]
    moments = [step.starts_at for step in steps if step.starts_at is not None]
    if not known or not moments:
        return None
    highest = max(step.seconds_p95 or 0.0 for step in known) or 1.0
    width = WIDTH / len(steps)

    def path(values: Sequence[float | None]) -> str:
        parts: list[str] = []
        is_drawing = False
        for number, value in enumerate(values):
            if value is None:
                is_drawing = False
                continue
            x, y = (number + 0.5) * width, HEIGHT * (1 - value / highest)
            parts.append(f"{'L' if is_drawing else 'M'}{x:.2f} {y:.2f}")
            if not is_drawing:
                # So that a step between two empty ones is a dot.
                parts.append("h0.01")
            is_drawing = True
        return "".join(parts)

    return LatencyChart(
        median=path([step.seconds_p50 for step in steps]),
        slow=path([step.seconds_p95 for step in steps]),
        highest_seconds=highest,
        first_at=moments[0],
        last_at=moments[-1],
    )


def balance_chart(entries: Sequence[LedgerEntry], *, until: datetime) -> BalanceChart | None:
    """Draw an account's balance as steps over time, from its entries to a time."""
    if not entries:
        return None
    first_at = entries[0].created_at
    whole = (until - first_at).total_seconds() or 1.0
    balances = [entry.balance_after_minor for entry in entries]
    # Always with zero: a small change looks small.
    highest, lowest = max(0, *balances), min(0, *balances)
    # Divided as integers: amounts can be larger than what a float holds.
    span = highest - lowest or 1

    def y(balance_minor: int) -> float:
        return (highest - balance_minor) * HEIGHT * 100 // span / 100

    zero = y(0)
    parts = [f"M0 {y(entries[0].balance_after_minor):.2f}"]
    for entry in entries[1:]:
        x = (entry.created_at - first_at).total_seconds() / whole * WIDTH
        parts.append(f"H{x:.2f}V{y(entry.balance_after_minor):.2f}")
    line = "".join([*parts, f"H{WIDTH}"])
    area = f"{line}V{zero:.2f}H0Z"
    return BalanceChart(line, area, lowest, highest, zero, first_at, until)
