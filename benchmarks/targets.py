"""What the service is to reach beside the floor and its peers, and whether it does."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from benchmarks.choices import Contention
from benchmarks.measuring import Summary
from benchmarks.ways import ALONE, DBOS, FLOOR, MANY, TEMPLATE, transfer

Read = Callable[[Summary], float]


@dataclass(frozen=True, slots=True)
class Target:
    """A bound for the ratio of two ways' figures.

    Parameters
    ----------
    figure
        What is compared.
    of, to
        Keys of the ways.
    bound
        For the ratio of the first to the second.
    at_least
        Whether the bound is the least or the most.
    """

    figure: str
    of: str
    to: str
    bound: float
    at_least: bool

    def ratio(self, summaries: Mapping[str, Summary]) -> float | None:
        """Give the ratio, where both ways were measured."""
        if self.of not in summaries or self.to not in summaries:
            return None
        divisor = READERS[self.figure](summaries[self.to])
        return READERS[self.figure](summaries[self.of]) / divisor if divisor else None

    def is_met(self, ratio: float) -> bool:
        """Tell whether a ratio is within the bound."""
        return ratio >= self.bound if self.at_least else ratio <= self.bound

    def __str__(self) -> str:
        """Write what is wanted."""
        relation = ">=" if self.at_least else "<="
        return f"{self.figure}: {self.of} {relation} {self.bound:g} x {self.to}"


READERS: Final[Mapping[str, Read]] = {
    "throughput": lambda summary: summary.per_second.median,
    "p50": lambda summary: summary.p50_ms.median,
}


def _key(way: str, in_flight: int) -> str:
    return f"{way} / {in_flight}"


_TRANSFER: Final = transfer(Contention.DISTINCT)
_MANY: Final = _key(_TRANSFER, MANY)
_ALONE: Final = _key(_TRANSFER, ALONE)

OVER_FLOOR: Final = Target("throughput", _MANY, _key(FLOOR, MANY), 0.8, at_least=True)
ALONE_OVER_FLOOR: Final = Target("p50", _ALONE, _key(FLOOR, ALONE), 2, at_least=False)
TARGETS: Final = (
    OVER_FLOOR,
    Target("throughput", _MANY, _key(TEMPLATE, MANY), 3, at_least=True),
    Target("throughput", _MANY, _key(DBOS, MANY), 1, at_least=True),
    ALONE_OVER_FLOOR,
    Target("p50", _ALONE, _key(TEMPLATE, ALONE), 0.1, at_least=False),
    *(
        Target("throughput", _key(transfer(hot), MANY), _MANY, 0.9, at_least=True)
        for hot in (Contention.HOT_DESTINATION, Contention.HOT_SOURCE)
    ),
)
