"""Which accounts the transfers of a load move money between: from a seed, the same each run."""

import itertools
import random
from bisect import bisect
from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Final

ZIPF_EXPONENT: Final = 1.0
PAIRS_IN_LIST: Final = 20_000
"""A load goes through its list from the start again where it is longer."""

Pair = tuple[int, int]
"""Source and destination, as numbers of accounts from 0."""


class Contention(StrEnum):
    """How the transfers of a load share accounts."""

    DISTINCT = "distinct"
    """Transfers in flight have no account in common."""
    HOT_DESTINATION = "hot destination"
    """All pay one account, as a merchant is paid."""
    HOT_SOURCE = "hot source"
    """One account pays all, as a payroll does."""
    ZIPF = "zipf"
    """Few accounts take part in most transfers."""


class Zipf:
    """Draws ranks from 0, the k-th with a probability that falls as 1/k.

    Parameters
    ----------
    size
        Ranks, at least one.
    numbers
        Where the chance comes from.
    """

    def __init__(self, size: int, numbers: random.Random) -> None:
        weights = (1 / rank**ZIPF_EXPONENT for rank in range(1, size + 1))
        self._bounds = list(itertools.accumulate(weights))
        self._numbers = numbers

    def draw(self) -> int:
        """Draw a rank."""
        return bisect(self._bounds, self._numbers.random() * self._bounds[-1])


def seeded(seed: int, purpose: str) -> random.Random:
    """Give the random numbers of a seed; each purpose has its own, whoever draws first."""
    return random.Random(f"{seed} {purpose}")  # noqa: S311 - nothing here is secret


def pairs_of(
    contention: Contention, *, accounts: int, seed: int, count: int = PAIRS_IN_LIST
) -> list[Pair]:
    """List the pairs of accounts of a load's transfers, in the order of the transfers.

    Parameters
    ----------
    accounts
        How many there are: an even number, at least four.
    """
    numbers = seeded(seed, contention)
    return list(itertools.islice(_pairs(contention, accounts, numbers), count))


def _pairs(contention: Contention, accounts: int, numbers: random.Random) -> Iterator[Pair]:
    if contention is Contention.ZIPF:
        yield from _zipf(accounts, numbers)
    # Each account comes once in a pass, so that those of neighbouring transfers differ.
    order = list(range(accounts))
    numbers.shuffle(order)
    hot, others = order[0], order[1:]
    while True:
        match contention:
            case Contention.HOT_DESTINATION:
                yield from ((other, hot) for other in others)
            case Contention.HOT_SOURCE:
                yield from ((hot, other) for other in others)
            case _:
                yield from _neighbours(order)


def _neighbours(order: Sequence[int]) -> Iterator[Pair]:
    return zip(order[::2], order[1::2], strict=True)


def _zipf(accounts: int, numbers: random.Random) -> Iterator[Pair]:
    ranks = Zipf(accounts, numbers)
    while True:
        source, destination = ranks.draw(), ranks.draw()
        if source != destination:
            yield source, destination
