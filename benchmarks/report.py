"""Reports as tables."""

from collections.abc import Mapping, Sequence
from typing import Final

from benchmarks.figures import Spread
from benchmarks.measuring import GENERATOR, Summary

SMALL: Final = 10
SHOWN_MS: Final = 0.005

CPU_COLUMNS: Final = {
    "API + worker": ("api", "worker"),
    "Temporal": ("temporal",),
    "PostgreSQL": ("postgres",),
    "peer": ("peer",),
    "load": (GENERATOR,),
}


def figure(value: float) -> str:
    """Write a figure with as many digits as it is good for."""
    if value < 1:
        return f"{value:.2f}"
    return f"{value:.1f}" if value < SMALL else f"{value:,.0f}"


def spread(of: Spread) -> str:
    """Write a median with its bounds."""
    return f"{figure(of.median)} ({figure(of.low)}-{figure(of.high)})"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write a Markdown table, its columns aligned for the terminal too."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    ruler = ["-" * width for width in widths]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in (head, ruler, *rows)
    ]
    return "\n".join(lines)


def closed_table(summaries: Mapping[str, Summary]) -> str:
    """Write the ways side by side."""
    head = ["way / in flight", "per second", "p50 ms", "p95 ms", "p99 ms"]
    head += [f"CPU ms: {column}" for column in CPU_COLUMNS]
    rows = [
        [
            key,
            *(spread(of) for of in (summary.per_second, summary.p50_ms)),
            *(figure(of.median) for of in (summary.p95_ms, summary.p99_ms)),
            *(_cpu(summary, names) for names in CPU_COLUMNS.values()),
        ]
        for key, summary in summaries.items()
    ]
    return table(head, rows)


def _cpu(summary: Summary, names: Sequence[str]) -> str:
    used = [summary.cpu_ms[name] for name in names if name in summary.cpu_ms]
    return figure(sum(used)) if used and sum(used) >= SHOWN_MS else ""
