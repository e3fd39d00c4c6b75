"""What clients asked for and were told, as plain data."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from tests.support.api import Json

LOST_CONNECTION: Final = 0
"""Instead of a status: the connection broke, nobody listened, or the client lost patience."""

DEFINITE: Final = frozenset({200, 201, 404, 409, 422})
"""Statuses of answers that tell what became of a request; 202 promises that it will happen."""

CHANGING_FIELDS: Final = frozenset({"reversed_amount"})
"""What a repeated answer may have otherwise: it tells of the transfer's reversals since."""

Movement = tuple[str, str, int]
"""Source, destination, amount in minor units."""


class Kind(StrEnum):
    """What an order asks for."""

    TRANSFER = "transfer"
    HOLD = "hold"
    CAPTURE = "capture"
    CANCEL = "cancel"
    REVERSAL = "reversal"
    BATCH = "batch"


TRANSFER_KINDS: Final = frozenset({Kind.TRANSFER, Kind.HOLD, Kind.REVERSAL})
"""They make a transfer."""

OPERATION_KINDS: Final = frozenset({Kind.CAPTURE, Kind.CANCEL})
"""They are done to one."""


@dataclass(frozen=True, slots=True)
class Fate:
    """What may become of an order, whatever fails meanwhile.

    Parameters
    ----------
    may_succeed
        Whether its money may move.
    codes
        Why it may fail.
    """

    may_succeed: bool = True
    codes: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a batch."""

    key: str
    movement: Movement
    fate: Fate


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A request with a key, which stays the same however often it is sent.

    Parameters
    ----------
    movements
        What it moves where it succeeds: of a hold what it may move at most, of a capture its part.
    target
        The key of the order that an operation or a reversal is about.
    rows
        Of a batch.
    """

    kind: Kind
    key: str
    path: str
    body: Json
    fate: Fate = Fate()
    movements: tuple[Movement, ...] = ()
    target: str | None = None
    rows: tuple[Row, ...] = ()


@dataclass(frozen=True, slots=True)
class Attempt:
    """One sending: when, and what came of it. Times are seconds of one monotonic clock."""

    started: float
    ended: float
    status: int
    code: str | None = None


@dataclass(slots=True)
class Record:
    """An order, and what its clients were told.

    Parameters
    ----------
    status, document
        The first definite answer; 0 while there is none.
    code
        Of a definite refusal.
    acknowledged
        When that answer was there.
    promised_ids
        Transfers or batches that answers without an outcome spoke of.
    complaints
        Answers that no client should get.
    """

    order: Order
    attempts: list[Attempt] = field(default_factory=list)
    status: int = 0
    code: str | None = None
    document: Json = field(default_factory=dict)
    acknowledged: float | None = None
    promised_ids: set[str] = field(default_factory=set)
    complaints: list[str] = field(default_factory=list)

    @property
    def is_open(self) -> bool:
        """Whether nobody knows yet what became of it."""
        return self.acknowledged is None

    @property
    def invoked(self) -> float:
        """When it was first sent."""
        return min(attempt.started for attempt in self.attempts)

    @property
    def is_refused(self) -> bool:
        """Whether the definite answer was that nothing was done and the key is not used up."""
        return not self.is_open and self.status >= 400 and "id" not in self.document

    @property
    def is_done(self) -> bool:
        """Whether a client was told that what was asked for has happened."""
        return not self.is_open and self.status < 400

    def was_in_doubt_after(self, time: float) -> bool:
        """Tell whether a sending since a time had no definite answer."""
        return any(
            attempt.ended > time and attempt.status not in DEFINITE for attempt in self.attempts
        )

    def take(self, attempt: Attempt, document: Json, *, is_definite: bool) -> None:
        """Remember an answer, and hold a repeated one against the first."""
        self.attempts.append(attempt)
        if not is_definite:
            if "id" in document:
                self.promised_ids.add(document["id"])
            return
        # A refusal uses no key up, so that word of something done outweighs it.
        if self.is_open or (self.is_refused and attempt.status < 400):
            self.status, self.code, self.document = attempt.status, attempt.code, document
            self.acknowledged = attempt.ended
            return
        first = (self.status, self.code, lasting(self.document))
        again = (attempt.status, attempt.code, lasting(document))
        if first != again and not self.is_refused:
            self.complaints.append(f"was answered {first}, and later {again}")


@dataclass(frozen=True, slots=True)
class BalanceRead:
    """A client read what an account has posted and held."""

    account: str
    started: float
    ended: float
    posted: int
    held: int = 0


@dataclass(frozen=True, slots=True)
class EntriesRead:
    """A client read the newest entries of an account, newest first."""

    account: str
    started: float
    ended: float
    entries: tuple[Json, ...]


@dataclass(frozen=True, slots=True)
class TransferRead:
    """A client read a transfer of which it had been told."""

    transfer_id: str
    started: float
    ended: float
    state: str


Read = BalanceRead | EntriesRead | TransferRead


@dataclass(slots=True)
class History:
    """All orders and reads of a run.

    Parameters
    ----------
    disturbed
        Workflows that were cancelled or terminated, or may have been.
    faults
        How many were injected, by kind.
    endowment
        Records of what was done before clients began.
    """

    records: dict[str, Record] = field(default_factory=dict)
    reads: list[Read] = field(default_factory=list)
    disturbed: set[str] = field(default_factory=set)
    faults: Counter[str] = field(default_factory=Counter)
    endowment: set[str] = field(default_factory=set)

    def record(self, order: Order) -> Record:
        """Begin to remember an order."""
        record = self.records[order.kind + order.key] = Record(order)
        return record

    def of_kinds(self, *kinds: Kind) -> list[Record]:
        """Give the records of some kinds."""
        return [record for record in self.records.values() if record.order.kind in kinds]

    def done(self) -> Counter[str]:
        """Count by their kind what clients were told is done, but for the endowment."""
        return Counter(
            record.order.kind.value
            for key, record in self.records.items()
            if record.is_done and key not in self.endowment
        )

    def open_records(self) -> list[Record]:
        """Give those that have no outcome."""
        return [record for record in self.records.values() if record.is_open]


@dataclass(frozen=True, slots=True)
class Books:
    """What the service says in the end, read once nothing moves any more.

    Parameters
    ----------
    transfers
        All of the tenant.
    entries
        Of each account, in the order of their sequence.
    balances
        What each account has posted and held.
    rows
        Of each batch, by its key.
    batches
        Each batch by its key.
    settlement
        The account that deposits come from.
    ids
        What is read under each id that was promised and is not on record.
    """

    transfers: Sequence[Json]
    entries: Mapping[str, Sequence[Json]]
    balances: Mapping[str, tuple[int, int]]
    settlement: str
    batches: Mapping[str, Json] = field(default_factory=dict)
    rows: Mapping[str, Sequence[Json]] = field(default_factory=dict)
    ids: Mapping[str, str] = field(default_factory=dict)


def lasting(document: Json) -> Json:
    """Give what of an answer stays for ever."""
    return {name: value for name, value in document.items() if name not in CHANGING_FIELDS}
