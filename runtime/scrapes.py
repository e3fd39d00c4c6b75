"""The service's metrics as they were read, and what has happened between two readings."""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, TypeAlias

from prometheus_client.parser import text_string_to_metric_families

Labels: TypeAlias = frozenset[tuple[str, str]]

BUCKET: Final = "_bucket"
UPPER_BOUND: Final = "le"


@dataclass(frozen=True, slots=True)
class Scrape:
    """What the service said of itself at one moment.

    Parameters
    ----------
    at_seconds
        Of a clock that only goes forward.
    """

    at_seconds: float
    samples: Mapping[str, Mapping[Labels, float]]

    @classmethod
    def read(cls, text: str, at_seconds: float) -> "Scrape":
        """Read Prometheus's text format.

        Raises
        ------
        ValueError
            It is something else.
        """
        samples: dict[str, dict[Labels, float]] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                labels = frozenset(sample.labels.items())
                samples.setdefault(sample.name, {})[labels] = sample.value
        return cls(at_seconds, samples)

    def of(self, name: str, **wanted: str) -> Iterator[tuple[dict[str, str], float]]:
        """Go through a metric's values whose labels are as wanted."""
        for labels, value in self.samples.get(name, {}).items():
            if wanted.items() <= labels:
                yield dict(labels), value

    def total(self, name: str, **wanted: str) -> float:
        """Add such values up."""
        return sum(value for _, value in self.of(name, **wanted))

    def by(self, label: str, name: str, **wanted: str) -> defaultdict[str, float]:
        """Add such values up for each value of a label."""
        sums: defaultdict[str, float] = defaultdict(float)
        for labels, value in self.of(name, **wanted):
            sums[labels[label]] += value
        return sums


@dataclass(frozen=True, slots=True)
class Interval:
    """What has happened between two readings."""

    before: Scrape
    after: Scrape

    @property
    def seconds(self) -> float:
        """How long it was."""
        return self.after.at_seconds - self.before.at_seconds

    def per_second(self, name: str, **wanted: str) -> float:
        """Tell how fast a counter has grown."""
        return sum(grown for _, grown in self._growth(name, wanted)) / self.seconds

    def per_second_by(self, label: str, name: str, **wanted: str) -> dict[str, float]:
        """Tell how fast a counter has grown for each value of a label; what has not is left out."""
        sums: dict[str, float] = {}
        for labels, grown in self._growth(name, wanted):
            if grown:
                sums[labels[label]] = sums.get(labels[label], 0) + grown / self.seconds
        return sums

    def quantiles(
        self, name: str, shares: Sequence[float], **wanted: str
    ) -> Sequence[float | None]:
        """Estimate quantiles of what a histogram has taken in, in its unit.

        Parameters
        ----------
        shares
            Such as 0.99.

        Returns
        -------
        Sequence[float | None]
            ``None`` where nothing came in; the last bound where it was passed.
        """
        counts: dict[float, float] = {}
        for labels, grown in self._growth(name + BUCKET, wanted):
            bound = float(labels[UPPER_BOUND])
            counts[bound] = counts.get(bound, 0) + grown
        buckets = sorted(counts.items())
        return [_quantile(buckets, share) for share in shares]

    def _growth(
        self, name: str, wanted: Mapping[str, str]
    ) -> Iterator[tuple[dict[str, str], float]]:
        earlier = self.before.samples.get(name, {})
        for labels, value in self.after.of(name, **wanted):
            grown = value - earlier.get(frozenset(labels.items()), 0.0)
            # A process that was started anew counts from 0.
            yield labels, value if grown < 0 else grown


def _quantile(buckets: Sequence[tuple[float, float]], share: float) -> float | None:
    if not buckets or not buckets[-1][1]:
        return None
    rank = share * buckets[-1][1]
    for (lower, below), (upper, count) in pairwise([(0.0, 0.0), *buckets]):
        if count >= rank:
            if math.isinf(upper):
                return lower
            inside = count - below
            return lower + (upper - lower) * ((rank - below) / inside if inside else 1.0)
    return None
