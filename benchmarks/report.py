"""The results as Markdown, for the terminal and for the documentation."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from benchmarks.batches import BatchResults
from benchmarks.figures import Spread
from benchmarks.growth import GrowthPoint
from benchmarks.load.open_loop import OpenLoad
from benchmarks.measuring import GENERATOR, Summary
from benchmarks.pressure import Pressure, is_saturated
from benchmarks.results import Results
from benchmarks.targets import TARGETS

BEGIN: Final = "<!-- measured: begin (written by make bench) -->"
END: Final = "<!-- measured: end -->"

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
    widths = [max(3, *(len(row[column]) for row in (head, *rows))) for column in range(len(head))]
    ruler = ["-" * width for width in widths]
    lines = (
        " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in (head, ruler, *rows)
    )
    return "\n".join(f"| {line} |" for line in lines)


def markdown(results: Results, *, plots: Sequence[Path] = ()) -> str:
    """Write all that was measured."""
    plan = ", ".join(f"{name} {value}" for name, value in results.plan.items())
    parts = [f"{results.machine}", f"Measured with: {plan}."]
    if results.closed:
        parts += ["### Targets", targets_table(results.closed)]
        parts += ["### Side by side", _SIDE_BY_SIDE, closed_table(results.closed)]
        parts += ["### Peak memory", memory_table(results.closed)]
    if results.open_loops:
        parts += ["### Latency against the rate of arrivals", _OPEN_LOOP]
        parts += [open_table(results.open_loops)]
    if results.pressure:
        parts += ["### Back pressure", pressure_table(results.pressure)]
    if results.batches:
        parts += ["### Batches", _BATCHES, batches_table(results.batches)]
        parts += [batches_memory(results.batches)]
    if results.growth:
        parts += ["### Growth", growth_table(results.growth), scans_of(results.growth)]
    parts += [f"![{path.stem.replace('-', ' ')}]({path.parent.name}/{path.name})" for path in plots]
    if results.problems:
        parts += ["### Problems", "\n".join(f"- {problem}" for problem in results.problems)]
    return "\n\n".join(parts)


def targets_table(summaries: Mapping[str, Summary]) -> str:
    """Say what is reached and what is missed."""
    rows = [
        [str(target), figure(ratio), "pass" if target.is_met(ratio) else "MISS"]
        for target in TARGETS
        if (ratio := target.ratio.among(summaries)) is not None
    ]
    return table(["target (way / in flight)", "ratio", ""], rows)


def closed_table(summaries: Mapping[str, Summary]) -> str:
    """Write the ways side by side."""
    head = ["way / in flight", "per second", "p50 ms", "p95 ms", "p99 ms"]
    head += [*(f"CPU ms: {column}" for column in CPU_COLUMNS), "others' CPU"]
    rows = [
        [
            key,
            *(spread(of) for of in (summary.per_second, summary.p50_ms)),
            *(figure(of.median) for of in (summary.p95_ms, summary.p99_ms)),
            *(_cpu(summary, names) for names in CPU_COLUMNS.values()),
            f"{summary.foreign_cpu_share.median:.0%}",
        ]
        for key, summary in summaries.items()
    ]
    return table(head, rows)


def memory_table(summaries: Mapping[str, Summary]) -> str:
    """Write the peak memory of each server over all ways, and of each peer."""
    peaks: dict[str, float] = {}
    for key, summary in summaries.items():
        for process, used in summary.memory_mib.items():
            name = f"peer: {key.rpartition(' / ')[0]}" if process == "peer" else process
            peaks[name] = max(used, peaks.get(name, 0))
    return table(["process", "MiB"], [[name, figure(used)] for name, used in peaks.items()])


def batches_table(batches: BatchResults) -> str:
    """Write batches beside pgbench."""
    head = ["accounts", "in flight", "transfers before", "recorded s", "all done s", "rows/s"]
    rows = [
        [
            run.kind,
            str(run.in_flight),
            f"{run.transfers_before:,}",
            figure(run.staged_seconds),
            figure(run.seconds),
            spread(Spread(run.per_second, run.lowest_per_second, run.highest_per_second)),
            f"{run.to_tpcb:.2f}",
        ]
        for run in batches.runs
    ]
    tpcb = Spread.of(batches.tpcb_per_second)
    reference = ["pgbench TPC-B", "8", "", "", "", spread(tpcb), "1"]
    return table([*head, "to TPC-B"], [*rows, reference])


def batches_memory(batches: BatchResults) -> str:
    """Write the peak memory before the first batch and after all."""
    rows = [
        [name, figure(batches.idle_memory_mib[name]), figure(used)]
        for name, used in batches.memory_mib.items()
    ]
    return table(["process", "MiB before", "MiB peak"], rows)


def open_table(loads_of: Mapping[str, Sequence[OpenLoad]]) -> str:
    """Write what came of arrivals at each rate."""
    return table(
        ["accounts", *_OPEN_HEAD],
        [
            [contention, *_open_row(load)]
            for contention, loads in loads_of.items()
            for load in loads
        ],
    )


def pressure_table(pressure: Pressure) -> str:
    """Write what far too many arrivals led to."""
    idle = pressure.idle_after_seconds
    rows = [
        ["beyond saturation", *_open_row(pressure.beyond)],
        ["right afterwards", *_open_row(pressure.recovery)],
    ]
    ending = "was not reached in time" if idle is None else f"came {idle:.0f} s after the last"
    return (
        f"A closed loop reaches {figure(pressure.saturation_per_second)}/s. Idleness {ending} "
        f"arrival beyond it.\n\n{table(['arrivals', *_OPEN_HEAD], rows)}"
    )


def growth_table(points: Sequence[GrowthPoint]) -> str:
    """Write what the ways reach at each size."""
    head = ["transfers", "workflows in Temporal", "PostgreSQL MiB", "Temporal MiB"]
    keys = list(points[0].summaries)
    rows = [
        [
            *(f"{number:,}" for number in (point.transfers, point.workflows)),
            *(f"{mib:,.0f}" for mib in (point.database_mib, point.temporal_mib)),
            *(
                f"{figure(summary.per_second.median)}/s, {figure(summary.p50_ms.median)} ms"
                for summary in point.summaries.values()
            ),
        ]
        for point in points
    ]
    return table([*head, *keys], rows)


def scans_of(points: Sequence[GrowthPoint]) -> str:
    """Say which tables of the hot path were read from end to end."""
    found = [
        f"{table_name} {number} times at {point.transfers:,}"
        for point in points
        for table_name, number in point.sequential_scans.items()
    ]
    if not found:
        return "No sequential scan of a table of the hot path at any size."
    return f"Sequential scans: {', '.join(found)}."


def write_into(document: Path, text: str) -> None:
    """Put a text between the document's two marks.

    Raises
    ------
    ValueError
        The document does not have them.
    """
    content = document.read_text()
    if content.count(BEGIN) != 1 or content.count(END) != 1:
        raise ValueError(f"{document} does not have the marks {BEGIN} and {END}")
    before, rest = content.split(BEGIN)
    document.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{rest.split(END)[1]}")


_SIDE_BY_SIDE: Final = (
    "Per second and p50: the median of the rounds, with the lowest and the highest. CPU: for each "
    "transfer, workflow or transaction; `peer` is the process of the way that is compared with, "
    "its clients included, `load` is wrk or pgbench. Others' CPU: the share of the machine that "
    "went to what has no part in the measurement."
)
_BATCHES: Final = (
    "Each batch has 100,000 rows, sent as JSON. Recorded: until the answer, with all rows read, "
    "checked and durable. All done: until every row had its outcome. pgbench ran before and after "
    "each."
)
_OPEN_LOOP: Final = (
    "Latency counts from when a request was due, of transfers that were done. Served: done before "
    "the last arrival was due. `load`: CPU of the generator for each arrival."
)
_OPEN_HEAD: Final = (
    "arrive/s",
    "served/s",
    "",
    "p50 ms",
    "p99 ms",
    "p99.9 ms",
    "load ms",
    "answers",
)


def _open_row(load: OpenLoad) -> list[str]:
    return [
        figure(load.offered_per_second),
        figure(load.served_per_second),
        "saturated" if is_saturated(load) else "",
        *(figure(ms) for ms in (load.latency.p50_ms, load.latency.p99_ms, load.latency.p999_ms)),
        figure(load.generator_cpu_ms),
        ", ".join(f"{status}: {number}" for status, number in load.statuses.items()),
    ]


def _cpu(summary: Summary, names: Sequence[str]) -> str:
    used = [summary.cpu_ms[name] for name in names if name in summary.cpu_ms]
    return figure(sum(used)) if used and sum(used) >= SHOWN_MS else ""
