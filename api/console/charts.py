"""Charts, drawn here: coordinates for the templates to put into SVG."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from domain.ledger import LedgerEntry
from persistence.overview import Activity

WIDTH: Final = 600
HEIGHT: Final = 100
"""Units of the drawing; the page stretches it."""

BAR_SHARE: Final = 0.8
"""How much of its step a bar fills."""


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
class BarChart:
    """Bars over time."""

    bars: Sequence[Bar]
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
    known = [(step, step.starts_at) for step in steps if step.starts_at is not None]
    if not known:
        return None
    highest = max(step.started for step, _ in known)
    width = WIDTH / len(known)
    scale = HEIGHT / highest if highest else 0
    bars = [
        Bar(
            x=round(number * width + width * (1 - BAR_SHARE) / 2, 2),
            width=round(width * BAR_SHARE, 2),
            lower_height=round((step.started - step.failed) * scale, 2),
            upper_height=round(step.failed * scale, 2),
            words=f"{starts_at:%H:%M:%S} UTC: {step.started:,} started, {step.failed:,} failed",
        )
        for number, (step, starts_at) in enumerate(known)
        if step.started
    ]
    return BarChart(bars, highest, known[0][1], known[-1][1])


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
