"""All that a run measured, and its JSON."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.batches import BatchResults
from benchmarks.growth import GrowthPoint
from benchmarks.load.open_loop import OpenLoad
from benchmarks.machine import Machine
from benchmarks.measuring import Summary
from benchmarks.pressure import Pressure
from benchmarks.targets import TARGETS


@dataclass(slots=True)
class Results:
    """What was measured; sections that did not run are empty.

    Parameters
    ----------
    plan
        How it was measured.
    problems
        Failures, and violations of the ledger's invariants.
    """

    plan: Mapping[str, Any]
    machine: Machine | None = None
    closed: dict[str, Summary] = field(default_factory=dict)
    open_loops: dict[str, list[OpenLoad]] = field(default_factory=dict)
    pressure: Pressure | None = None
    batches: BatchResults | None = None
    growth: list[GrowthPoint] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def write(self, path: Path) -> None:
        """Write it as JSON."""
        ratios = {str(target.ratio): target.ratio.among(self.closed) for target in TARGETS}
        content = asdict(self) | {"ratios": ratios}
        path.write_text(f"{json.dumps(_rounded(content), indent=1)}\n")


def _rounded(value: Any) -> Any:
    """Leave out digits that mean nothing."""
    match value:
        case float():
            return round(value, 3)
        case dict():
            return {key: _rounded(item) for key, item in value.items()}
        case list() | tuple():
            return [_rounded(item) for item in value]
        case _:
            return value
