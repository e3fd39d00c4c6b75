"""Whether one order per account explains what clients saw and when they saw it.

The ledger names the order: the account's sequence. It must agree with time, and each read must show
a prefix of it that holds all that was known before the read began, and nothing from after its end.
"""

import heapq
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf

from tests.chaos.history import BalanceRead, Books, EntriesRead, Read, TransferRead
from tests.support.api import Json


@dataclass(frozen=True, slots=True)
class Moment:
    """When a movement was first asked for, and when a client was told of it, if one was."""

    invoked: float
    acknowledged: float | None

    def joined(self, other: "Moment") -> "Moment":
        """Give the earliest of two that ask for one thing."""
        told = [at for at in (self.acknowledged, other.acknowledged) if at is not None]
        return Moment(min(self.invoked, other.invoked), min(told, default=None))


@dataclass(slots=True)
class _Bounds:
    """Which prefixes of an account's order a read at some time may show.

    Parameters
    ----------
    acknowledged, least
        From each of these times on, at least so many entries stand.
    invoked, most
        A read that ends before such a time shows fewer entries than this.
    """

    acknowledged: list[float] = field(default_factory=list)
    least: list[int] = field(default_factory=list)
    invoked: list[float] = field(default_factory=list)
    most: list[int] = field(default_factory=list)

    @classmethod
    def of(cls, moments: Sequence[tuple[int, Moment]]) -> "_Bounds":
        """Make the bounds of an account from the moments of its entries, by their sequence."""
        bounds = cls()
        highest = 0
        told = sorted((m.acknowledged, s) for s, m in moments if m.acknowledged is not None)
        for time, sequence in told:
            highest = max(highest, sequence)
            bounds.acknowledged.append(time)
            bounds.least.append(highest)
        lowest = len(moments) + 1
        for time, sequence in sorted(((m.invoked, s) for s, m in moments), reverse=True):
            lowest = min(lowest, sequence)
            bounds.invoked.append(time)
            bounds.most.append(lowest)
        bounds.invoked.reverse()
        bounds.most.reverse()
        return bounds

    def at_least(self, started: float) -> int:
        """Count the entries that a read must show which began at a time."""
        place = bisect_right(self.acknowledged, started)
        return self.least[place - 1] if place else 0

    def at_most(self, ended: float, total: int) -> int:
        """Count the entries that a read can show which ended at a time."""
        place = bisect_right(self.invoked, ended)
        return self.most[place] - 1 if place < len(self.most) else total


class OrderChecker:
    """Holds times and reads against the order of each account.

    Parameters
    ----------
    moments
        By a movement's transfer and amount.
    """

    def __init__(self, books: Books, moments: Mapping[tuple[str, int], Moment]) -> None:
        self._books = books
        self._states = {transfer["id"]: transfer["state"] for transfer in books.transfers}
        # A capture is told of before its hold is over.
        over_at_once = {t["id"] for t in books.transfers if t["capture"] != "manual"}
        self._told: dict[str, float] = {}
        for (transfer_id, _), moment in moments.items():
            if moment.acknowledged is not None and transfer_id in over_at_once:
                earlier = self._told.get(transfer_id, inf)
                self._told[transfer_id] = min(earlier, moment.acknowledged)
        unknown = Moment(-inf, None)
        self._moments = {
            account: [
                (entry["sequence"], moments.get((entry["transfer_id"], entry["amount"]), unknown))
                for entry in entries
            ]
            for account, entries in books.entries.items()
        }

    def contradictions(self) -> Iterator[tuple[str, str]]:
        """Find entries that stand behind others which were only asked for after they were told."""
        for account, moments in self._moments.items():
            latest = -inf
            for sequence, moment in moments:
                if moment.acknowledged is not None and moment.acknowledged < latest:
                    yield (
                        account,
                        f"entry {sequence} was told of before an earlier one was asked for",
                    )
                latest = max(latest, moment.invoked)

    def misreads(self, reads: Iterable[Read]) -> Iterator[tuple[str, str]]:
        """Find reads that fit no order."""
        of_account: defaultdict[str, list[BalanceRead | EntriesRead]] = defaultdict(list)
        for read in reads:
            if isinstance(read, TransferRead):
                yield from self._misread_transfer(read)
            else:
                of_account[read.account].append(read)
        for account, found in of_account.items():
            for message in self._misreads_of(account, sorted(found, key=lambda each: each.started)):
                yield account, message

    def _misread_transfer(self, read: TransferRead) -> Iterator[tuple[str, str]]:
        final = self._states.get(read.transfer_id)
        told = self._told.get(read.transfer_id, inf)
        is_over = read.state != "PROCESSING"
        if is_over and read.state != final:
            yield read.transfer_id, f"was read as {read.state}, and is {final}"
        if not is_over and read.started > told:
            yield read.transfer_id, f"was read as {read.state} after it was told to be {final}"

    def _misreads_of(
        self, account: str, reads: Sequence[BalanceRead | EntriesRead]
    ) -> Iterator[str]:
        """Give each read the shortest prefix that it can show; the next ones show no less."""
        entries = self._books.entries[account]
        bounds = _Bounds.of(self._moments[account])
        places: defaultdict[int, list[int]] = defaultdict(list)
        places[0].append(0)
        for entry in entries:
            places[entry["balance_after"]].append(entry["sequence"])
        seen: list[tuple[float, int]] = []
        shown = 0
        for read in reads:
            while seen and seen[0][0] < read.started:
                shown = max(shown, heapq.heappop(seen)[1])
            least = max(bounds.at_least(read.started), shown)
            most = bounds.at_most(read.ended, len(entries))
            place = _place(read, entries, places, least)
            if place is None or not least <= place <= most:
                yield f"{_described(read)} shows none of its prefixes from {least} to {most}"
            else:
                heapq.heappush(seen, (read.ended, place))


def _place(
    read: BalanceRead | EntriesRead,
    entries: Sequence[Json],
    places: Mapping[int, Sequence[int]],
    least: int,
) -> int | None:
    """Tell how many entries a read shows: of a balance, the fewest that it can mean."""
    if isinstance(read, BalanceRead):
        candidates = places.get(read.posted, ())
        found = bisect_left(candidates, least)
        return candidates[found] if found < len(candidates) else None
    if not read.entries:
        return 0
    top: int = read.entries[0]["sequence"]
    expected = [*reversed(entries[max(top - len(read.entries), 0) : top])]
    return top if expected == list(read.entries) else None


def _described(read: BalanceRead | EntriesRead) -> str:
    if isinstance(read, BalanceRead):
        return f"a balance of {read.posted}, read from {read.started:.3f} to {read.ended:.3f},"
    sequences = [entry["sequence"] for entry in read.entries]
    return f"entries {sequences}, read from {read.started:.3f} to {read.ended:.3f},"
