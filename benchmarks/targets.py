"""What the service is to reach beside the floor and its peers, and whether it does."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from benchmarks.choices import Contention
from benchmarks.measuring import Summary
from benchmarks.ways import ALONE, DBOS, FLOOR, MANY, TEMPLATE, transfer

Read = Callable[[Summary], float]


READERS: Final[Mapping[str, Read]] = {
    "throughput": lambda summary: summary.per_second.median,
    "p50": lambda summary: summary.p50_ms.median,
    "CPU": lambda summary: sum(summary.cpu_ms.values()),
}
MORE_IS_BETTER: Final = frozenset({"throughput"})


@dataclass(frozen=True, slots=True)
class Ratio:
    """One way's figure over another's, in one run.

    Parameters
    ----------
    figure
        Of ``READERS``.
    of, to
        Keys of the ways.
    """

    figure: str
    of: str
    to: str

    def among(self, summaries: Mapping[str, Summary]) -> float | None:
        """Compute it, where both ways were measured."""
        if self.of not in summaries or self.to not in summaries:
            return None
        divisor = READERS[self.figure](summaries[self.to])
        return READERS[self.figure](summaries[self.of]) / divisor if divisor else None

    @property
    def more_is_better(self) -> bool:
        """Whether it is to be high."""
        return self.figure in MORE_IS_BETTER

    def __str__(self) -> str:
        """Name it."""
        return f"{self.figure}: {self.of} to {self.to}"


@dataclass(frozen=True, slots=True)
class Target:
    """A bound for a ratio: the least where more is better, the most where less is."""

    ratio: Ratio
    bound: float

    def is_met(self, value: float) -> bool:
        """Tell whether a ratio is within the bound."""
        return value >= self.bound if self.ratio.more_is_better else value <= self.bound

    def __str__(self) -> str:
        """Write what is wanted."""
        relation = ">=" if self.ratio.more_is_better else "<="
        return f"{self.ratio.figure}: {self.ratio.of} {relation} {self.bound:g} x {self.ratio.to}"


def _key(way: str, in_flight: int) -> str:
    return f"{way} / {in_flight}"


_TRANSFER: Final = transfer(Contention.DISTINCT)
_MANY: Final = _key(_TRANSFER, MANY)
_ALONE: Final = _key(_TRANSFER, ALONE)

TO_FLOOR: Final = Ratio("throughput", _MANY, _key(FLOOR, MANY))
ALONE_TO_FLOOR: Final = Ratio("p50", _ALONE, _key(FLOOR, ALONE))
CPU_TO_FLOOR: Final = Ratio("CPU", _MANY, _key(FLOOR, MANY))

TARGETS: Final = (
    Target(TO_FLOOR, 0.8),
    Target(Ratio("throughput", _MANY, _key(TEMPLATE, MANY)), 3),
    Target(Ratio("throughput", _MANY, _key(DBOS, MANY)), 1),
    Target(ALONE_TO_FLOOR, 2),
    Target(Ratio("p50", _ALONE, _key(TEMPLATE, ALONE)), 0.1),
    *(
        Target(Ratio("throughput", _key(transfer(hot), MANY), _MANY), 0.9)
        for hot in (Contention.HOT_DESTINATION, Contention.HOT_SOURCE)
    ),
)
