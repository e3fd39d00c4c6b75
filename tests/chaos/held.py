"""Whether what clients read as held can have been held then.

A transfer holds its money from some moment after it was asked for until some moment before its end
was told, so that a read shows at most what may have been under way, and at least the holds that
were told of before it and that nobody had touched when it ended.
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import accumulate
from math import inf
from typing import Final

from tests.chaos.history import OPERATION_KINDS, BalanceRead, History, Kind, Record
from tests.support.api import Json

OK: Final = 200
CREATED: Final = 201

Span = tuple[float, float, int]
"""From when to when an amount is held."""


class _Spans:
    """Amounts over time."""

    def __init__(self, spans: Sequence[Span]) -> None:
        self._begins = _Sums([(begin, amount) for begin, _, amount in spans])
        self._ends = _Sums([(end, amount) for _, end, amount in spans])

    def touching(self, started: float, ended: float) -> int:
        """Sum the amounts whose span has a moment in common with a time."""
        return self._begins.until(ended) - self._ends.before(started)

    def around(self, started: float, ended: float) -> int:
        """Sum the amounts whose span has all of a time in it, or give less where some are short."""
        return max(self._begins.until(started) - self._ends.before(ended), 0)


class _Sums:
    """What has come about until a time."""

    def __init__(self, changes: Iterable[tuple[float, int]]) -> None:
        ordered = sorted(changes)
        self._times = [time for time, _ in ordered]
        self._sums = [0, *accumulate(amount for _, amount in ordered)]

    def until(self, time: float) -> int:
        return self._sums[bisect_right(self._times, time)]

    def before(self, time: float) -> int:
        return self._sums[bisect_left(self._times, time)]


class HeldChecker:
    """Holds reads of what is held against what was asked for and told.

    Parameters
    ----------
    disturbed
        Keys of transfers whose workflow was ended by force: their holds end at any time.
    """

    def __init__(self, history: History, disturbed: Collection[str]) -> None:
        operations: defaultdict[str, list[Record]] = defaultdict(list)
        for record in history.of_kinds(*OPERATION_KINDS):
            operations[record.order.target or ""].append(record)
        possible: defaultdict[str, list[Span]] = defaultdict(list)
        certain: defaultdict[str, list[Span]] = defaultdict(list)
        for record in history.records.values():
            order = record.order
            end = _end(record, operations[order.key])
            for source, _, amount in _movements(record):
                possible[source].append((record.invoked, end, amount))
            if order.kind is Kind.HOLD and record.status == CREATED and order.key not in disturbed:
                [(source, _, amount)] = order.movements
                certain[source] += _certain(record, operations[order.key], amount)
        self._possible = {account: _Spans(spans) for account, spans in possible.items()}
        self._certain = {account: _Spans(spans) for account, spans in certain.items()}

    def misreads(self, reads: Iterable[object]) -> Iterator[tuple[str, str]]:
        """Find reads that show too little or too much."""
        nothing = _Spans([])
        for read in reads:
            if not isinstance(read, BalanceRead):
                continue
            least = self._certain.get(read.account, nothing).around(read.started, read.ended)
            most = self._possible.get(read.account, nothing).touching(read.started, read.ended)
            if not least <= read.held <= most:
                time = f"from {read.started:.3f} to {read.ended:.3f}"
                message = f"{read.held} held, read {time}, is not between {least} and {most}"
                yield read.account, message


def _movements(record: Record) -> list[tuple[str, str, int]]:
    """Give what an order may hold; captures and cancels hold nothing of their own."""
    order = record.order
    if order.kind in OPERATION_KINDS:
        return []
    if order.rows:
        return [row.movement for row in order.rows if row.fate.may_succeed]
    return list(order.movements) if order.fate.may_succeed else []


def _end(record: Record, operations: Iterable[Record]) -> float:
    """Tell when it was known that an order holds nothing any more."""
    if record.acknowledged is None or record.is_refused:
        return inf
    if not _is_under_way(record.document):
        return record.acknowledged
    told = [
        each.acknowledged
        for each in operations
        if each.acknowledged is not None and each.status == OK and not _is_under_way(each.document)
    ]
    return min(told, default=inf)


def _certain(record: Record, operations: Iterable[Record], amount: int) -> list[Span]:
    """Give the time in which a hold stands for certain: until somebody asks to change it."""
    if record.acknowledged is None or record.order.fate.codes:
        return []
    touched = min((each.invoked for each in operations), default=inf)
    return [(record.acknowledged, touched, amount)] if touched > record.acknowledged else []


def _is_under_way(document: Json) -> bool:
    return bool(document.get("state") == "PROCESSING")
