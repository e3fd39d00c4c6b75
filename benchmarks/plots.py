"""The results as plots. Needs matplotlib, from the extra ``bench``."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from matplotlib import pyplot as plt

from benchmarks.results import Results
from benchmarks.ways import MANY

SIZE_INCHES: Final = (8.0, 4.0)
STYLE: Final = {"svg.fonttype": "none", "svg.hashsalt": "bench", "font.size": 9}
NO_DATE: Final = {"Date": None, "Creator": None}


def draw(results: Results, folder: Path) -> list[Path]:
    """Draw what was measured, a file for each section."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    with plt.rc_context(STYLE):
        for name, is_there, paint in (
            ("throughput", results.closed, _throughput),
            ("latency-against-rate", results.open_loops, _latency),
            ("growth", results.growth, _growth),
        ):
            if is_there:
                drawn.append(_save(folder / f"{name}.svg", results, paint))
    return drawn


def _save(path: Path, results: Results, paint: Callable[[Any, Results], None]) -> Path:
    figure, axes = plt.subplots(figsize=SIZE_INCHES, layout="constrained")
    paint(axes, results)
    figure.savefig(path, metadata=NO_DATE)
    plt.close(figure)
    return path


def _throughput(axes: Any, results: Results) -> None:
    many = {key: one for key, one in results.closed.items() if key.endswith(f"/ {MANY}")}
    names = [key.rpartition(" / ")[0] for key in many][::-1]
    spreads = [one.per_second for one in many.values()][::-1]
    medians = [spread.median for spread in spreads]
    errors = [
        [spread.median - spread.low for spread in spreads],
        [spread.high - spread.median for spread in spreads],
    ]
    axes.barh(names, medians, xerr=errors, color="#4477aa", ecolor="#222222", capsize=3)
    axes.set_xlabel(f"per second, {MANY} in flight (median, lowest and highest round)")


def _latency(axes: Any, results: Results) -> None:
    colours = ("#4477aa", "#cc6677", "#228833")
    for colour, (contention, loads) in zip(colours, results.open_loops.items(), strict=False):
        rates = [load.offered_per_second for load in loads]
        for line, name, values in (
            (":", "p50", [load.latency.p50_ms for load in loads]),
            ("--", "p99", [load.latency.p99_ms for load in loads]),
            ("-", "p99.9", [load.latency.p999_ms for load in loads]),
        ):
            axes.plot(rates, values, line, color=colour, marker=".", label=f"{contention}, {name}")
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    axes.set_ylim(10 ** math.floor(math.log10(low)), 10 ** math.ceil(math.log10(high)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("arrivals a second")
    axes.set_ylabel("ms from when a request was due")
    axes.legend(loc="upper left", fontsize=7, ncols=3)


def _growth(axes: Any, results: Results) -> None:
    sizes = [point.transfers for point in results.growth]
    for key in results.growth[0].summaries:
        if key.endswith(f"/ {MANY}"):
            rates = [point.summaries[key].per_second.median for point in results.growth]
            axes.plot(sizes, rates, marker="o", label=key)
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("transfers in the tables")
    axes.set_ylabel("per second")
    axes.legend()
