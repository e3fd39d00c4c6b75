"""The outcome of each row of a chunk, decided in the rows' order on locked balances."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from domain.accounts import Balance
from domain.batches import BatchRow, RowStatus
from domain.errors import (
    BalanceOutOfRange,
    DomainError,
    IdempotencyKeyReused,
    TransferRefusal,
    TransferUnfinished,
)
from domain.ids import AccountId, EntryId
from domain.ledger import EntryDirection
from domain.limits import BALANCE_DIGITS
from domain.states import ProcessState
from domain.transfers import Failure, Transfer, TransferOrder, TransferType
from persistence.batch_statements import RowOutcome
from services.bounds import TransferBounds
from services.identifiers import new_uuid

_BALANCE_BOUND_MINOR = 10**BALANCE_DIGITS

OutcomeCounts = Counter[tuple[TransferType, str | None]]
"""Transfers that came to their end, by type and by the code of what failed."""


@dataclass(frozen=True, slots=True)
class PreparedRow:
    """A row as it stands before any money is looked at.

    Parameters
    ----------
    order
        What it comes to; ``None`` where it is refused before anything would be recorded.
    refusal
        Why it is.
    """

    row: BatchRow
    order: TransferOrder | None
    refusal: DomainError | None


@dataclass(frozen=True, slots=True)
class DecidedTransfer:
    """A transfer that is to be recorded, with its end."""

    order: TransferOrder
    failure: Failure | None


@dataclass(frozen=True, slots=True)
class DecidedEntry:
    """An entry that is to be written."""

    id: EntryId
    account_id: AccountId
    order: TransferOrder
    direction: EntryDirection
    balance: Balance


@dataclass(frozen=True, slots=True)
class DecidedBlock:
    """What some rows that follow each other come to."""

    transfers: Sequence[DecidedTransfer]
    entries: Sequence[DecidedEntry]


@dataclass(slots=True)
class ChunkDecision:
    """What a chunk comes to.

    Parameters
    ----------
    balances
        Locked; at first as they are in the database, then after every row that moves money.
    claimed
        The keys that this transaction has taken.
    earlier
        The transfers of the other keys; a key without one needs an approval, or was used for
        something else.
    bounds
        Approval rules and limits.
    counts
        Of the transfers that it records.

    Notes
    -----
    Rows see what the rows before them have left, as if each had been sent after the outcome of the
    one before.
    """

    balances: dict[AccountId, Balance]
    claimed: set[str]
    earlier: Mapping[str, Transfer]
    bounds: TransferBounds
    outcomes: list[RowOutcome] = field(default_factory=list)
    touched: set[AccountId] = field(default_factory=set)
    counts: OutcomeCounts = field(default_factory=Counter)
    _transfers: list[DecidedTransfer] = field(default_factory=list)
    _entries: list[DecidedEntry] = field(default_factory=list)

    def take(self, rows: Sequence[PreparedRow]) -> DecidedBlock:
        """Decide the rows that are next."""
        self._transfers, self._entries = [], []
        for prepared in rows:
            row, order = prepared.row, prepared.order
            if order is None:
                self.outcomes.append(refused_row(row, prepared.refusal))
            elif order.idempotency_key in self.claimed:
                self._move(row, order)
            else:
                self.outcomes.append(self._without_claim(row, order))
        return DecidedBlock(self._transfers, self._entries)

    def changed_balances(self) -> list[Balance]:
        """Give the balances that are to be written, in the order of their accounts' ids."""
        return [self.balances[account_id] for account_id in sorted(self.touched)]

    def _without_claim(self, row: BatchRow, order: TransferOrder) -> RowOutcome:
        """Give the outcome of a row whose key was taken before, or was not to be taken."""
        transfer = self.earlier.get(order.idempotency_key)
        if transfer is None:
            missing = self.bounds.missing_approval(order.money)
            return refused_row(row, missing or IdempotencyKeyReused(row.idempotency_key))
        return row_of_earlier(row, transfer, order.fingerprint)

    def _move(self, row: BatchRow, order: TransferOrder) -> None:
        source = self.balances[order.source_account_id]
        destination = self.balances[order.destination_account_id]
        refusal = refusal_of(order, source, destination, self.bounds)
        failure = None if refusal is None else Failure.of(refusal)
        self._transfers.append(DecidedTransfer(order, failure))
        self.counts[order.type, failure.code if failure else None] += 1
        if failure is not None:
            self.outcomes.append(RowOutcome(row.position, RowStatus.FAILED, failure, order.id))
            return
        self.bounds.count(order.source_account_id, order.money)
        self._enter(order, source, EntryDirection.DEBIT)
        self._enter(order, destination, EntryDirection.CREDIT)
        self.outcomes.append(RowOutcome(row.position, RowStatus.SUCCEEDED, None, order.id))

    def _enter(
        self,
        order: TransferOrder,
        balance: Balance,
        direction: EntryDirection,
    ) -> None:
        after = balance.after_entry(direction, order.money.amount_minor)
        self.balances[after.account_id] = after
        self.touched.add(after.account_id)
        self._entries.append(
            DecidedEntry(EntryId(new_uuid()), after.account_id, order, direction, after)
        )


def refusal_of(
    order: TransferOrder, source: Balance, destination: Balance, bounds: TransferBounds
) -> TransferRefusal | None:
    """Tell why an order fails on balances that are locked; ``None`` where it succeeds.

    Notes
    -----
    In the order in which the steps of a single transfer look.
    """
    amount_minor = order.money.amount_minor
    try:
        source.require_active()
        destination.require_active()
        source.require_available(amount_minor)
        bounds.require_within(source.account_id, order.money)
    except TransferRefusal as refusal:
        return refusal
    debited = source.posted_minor - amount_minor
    credited = destination.posted_minor + amount_minor
    if debited <= -_BALANCE_BOUND_MINOR or credited >= _BALANCE_BOUND_MINOR:
        return BalanceOutOfRange()
    return None


def refused_row(row: BatchRow, refusal: DomainError | None) -> RowOutcome:
    """Give the outcome of a row for which nothing is recorded."""
    failure = None if refusal is None else Failure.of(refusal)
    return RowOutcome(row.position, RowStatus.REJECTED, failure, None)


def row_of_earlier(row: BatchRow, transfer: Transfer, fingerprint: bytes) -> RowOutcome:
    """Give the outcome of a row whose key was taken before."""
    if transfer.fingerprint != fingerprint:
        return refused_row(row, IdempotencyKeyReused(row.idempotency_key))
    return row_of_transfer(row, transfer)


def row_of_transfer(row: BatchRow, transfer: Transfer) -> RowOutcome:
    """Give the outcome of a row from the transfer that its key stands for."""
    if transfer.state is ProcessState.PROCESSING:
        unfinished = Failure.of(TransferUnfinished(row.idempotency_key))
        return RowOutcome(row.position, RowStatus.PENDING, unfinished, transfer.id)
    status = RowStatus.FAILED if transfer.failure else RowStatus.SUCCEEDED
    return RowOutcome(row.position, status, transfer.failure, transfer.id, is_replay=True)
