"""What a run measures, and for how long."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, Self


class Section(StrEnum):
    """A part of a run."""

    CLOSED = "closed"
    """All ways side by side, 1 and 50 in flight."""
    OPEN_LOOP = "open-loop"
    """Arrivals at rising rates."""
    BACK_PRESSURE = "back-pressure"
    """Three times as many arrivals as can be served."""
    BATCHES = "batches"
    """Batches beside pgbench, on empty tables and on grown ones."""
    GROWTH = "growth"
    """More and more transfers in the tables. Last, for what it adds stays."""


ROUNDS: Final = 3
SECONDS: Final = 8.0
WARM_UP_SECONDS: Final = 2.0
GROWTH_ROUNDS_MAXIMUM: Final = 2
SEED: Final = 7
SIZES: Final = (10_000, 100_000, 1_000_000)
WORKFLOWS_MAXIMUM: Final = 100_000
"""Temporal's development server takes 18 KiB a workflow, and keeps them for its retention only."""
PRESSURE_SECONDS: Final = 60.0
API_WORKERS: Final = 1
"""Processes of the API. On two cores one is enough: it leaves the other core to the servers."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run measures.

    Parameters
    ----------
    ways
        Of the ways side by side, those whose names hold one of these; all where there are none.
    workflows_maximum
        How far Temporal's database grows along.
    output
        Folder for the JSON and the plots; nothing is written where there is none.
    document
        Markdown that takes the report between its marks.
    """

    sections: frozenset[Section]
    rounds: int
    seconds: float
    seed: int
    ways: tuple[str, ...]
    sizes: tuple[int, ...]
    workflows_maximum: int
    pressure_seconds: float
    api_workers: int
    output: Path | None
    document: Path | None

    @classmethod
    def parse(cls, arguments: Sequence[str] | None, description: str) -> Self:
        """Read a command line; it ends the process where that is wrong."""
        parser = argparse.ArgumentParser(prog="python -m benchmarks", description=description)
        parser.add_argument(
            "--only", type=_sections, default=frozenset(Section), metavar="SECTION,...",
            help=f"sections to run, of {', '.join(Section)} (default all)",
        )  # fmt: skip
        parser.add_argument("--rounds", type=int, default=ROUNDS)
        parser.add_argument("--seconds", type=float, default=SECONDS, help="of each measurement")
        parser.add_argument("--seed", type=int, default=SEED)
        parser.add_argument(
            "--ways", type=_names, default=(), metavar="PART OF A NAME,...",
            help="of the ways side by side, those to measure (default all), as: floor,distinct",
        )  # fmt: skip
        parser.add_argument("--sizes", type=_sizes, default=SIZES, metavar="NUMBER,...")
        parser.add_argument("--workflows-maximum", type=int, default=WORKFLOWS_MAXIMUM)
        parser.add_argument("--pressure-seconds", type=float, default=PRESSURE_SECONDS)
        parser.add_argument("--api-workers", type=int, default=API_WORKERS)
        parser.add_argument("--output", type=Path, help="folder for the JSON and the plots")
        parser.add_argument("--document", type=Path, help="Markdown to write the report into")
        read = vars(parser.parse_args(arguments))
        return cls(sections=read.pop("only"), **read)

    def wants(self, way: str) -> bool:
        """Tell whether a way is to be measured."""
        return not self.ways or any(part in way for part in self.ways)

    def as_json(self) -> dict[str, Any]:
        """Say how it was measured."""
        return {
            "seed": self.seed,
            "rounds": self.rounds,
            "seconds": self.seconds,
            "api_workers": self.api_workers,
            "sections": " ".join(section for section in Section if section in self.sections),
        }


def _sections(text: str) -> frozenset[Section]:
    return frozenset(Section(name) for name in text.split(","))


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


def _sizes(text: str) -> tuple[int, ...]:
    return tuple(int(size) for size in text.split(","))
