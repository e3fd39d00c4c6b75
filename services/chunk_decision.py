"""The outcome of each row of a chunk, decided in the rows' order on locked balances."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from domain.accounts import AccountStatus, Balance
from domain.batches import BatchRow, RowStatus, StagedRow
from domain.errors import (
    BalanceOutOfRange,
    DomainError,
    IdempotencyKeyReused,
    TransferRefusal,
    TransferUnfinished,
)
from domain.ids import AccountId
from domain.limits import BALANCE_DIGITS
from domain.money import Money
from domain.states import ProcessState
from domain.transfers import Failure, Transfer, TransferType
from persistence.batch_statements import (
    LockedBalance,
    MovedBalance,
    NewTransfer,
    Posting,
    RowOutcome,
)
from services.bounds import TransferBounds
from services.chunk_preparation import PreparedRow, RefusedRow

_BALANCE_BOUND_MINOR: Final = 10**BALANCE_DIGITS

OutcomeCounts = Counter[tuple[TransferType, str | None]]
"""Transfers that came to their end, by type and by the code of what failed."""


class _Running:
    """A locked balance, and what the rows so far have made of it."""

    __slots__ = (
        "_is_active",
        "_least_minor",
        "_locked",
        "is_touched",
        "last_sequence",
        "posted_minor",
    )

    def __init__(self, locked: LockedBalance) -> None:
        self._locked = locked
        self.posted_minor = int(locked.posted_minor)
        self.last_sequence = locked.last_sequence
        self.is_touched = False
        self._is_active = locked.status == AccountStatus.ACTIVE
        limit_minor = locked.overdraft_limit_minor
        # What has to stay posted whatever is sent; a balance has a bound even without a limit.
        self._least_minor = (
            1 - _BALANCE_BOUND_MINOR
            if limit_minor is None
            else int(locked.held_minor) - int(limit_minor)
        )

    def can_send(self, amount_minor: int) -> bool:
        """Tell whether nothing about the account keeps it from sending an amount."""
        return self._is_active and self.posted_minor - amount_minor >= self._least_minor

    def can_receive(self, amount_minor: int) -> bool:
        """Tell whether nothing about the account keeps it from receiving an amount."""
        return self._is_active and self.posted_minor + amount_minor < _BALANCE_BOUND_MINOR

    def enter(self, signed_minor: int) -> None:
        """Count the account's next ledger entry."""
        self.posted_minor += signed_minor
        self.last_sequence += 1
        self.is_touched = True

    def now(self) -> Balance:
        """Give the balance as the rows so far have left it."""
        locked = self._locked
        limit_minor = locked.overdraft_limit_minor
        return Balance(
            account_id=locked.account_id,
            currency=locked.currency,
            status=AccountStatus(locked.status),
            posted_minor=self.posted_minor,
            held_minor=int(locked.held_minor),
            overdraft_limit_minor=None if limit_minor is None else int(limit_minor),
            last_sequence=self.last_sequence,
        )


@dataclass(slots=True)
class ChunkDecision:
    """What a chunk comes to.

    Parameters
    ----------
    claimed
        The keys that this transaction has taken.
    earlier
        The transfers of the other keys; a key without one needs an approval, or was used for
        something else.
    bounds
        Approval rules and limits.
    transfers
        Of the rows that become one, posted or failed.
    postings
        Of those that do not fail.
    outcomes
        Of all other rows.
    counts
        Of the transfers.

    Notes
    -----
    Rows see what the rows before them have left, as if each had been sent after the outcome of the
    one before.
    """

    claimed: set[str]
    earlier: Mapping[str, Transfer]
    bounds: TransferBounds
    transfers: list[NewTransfer] = field(default_factory=list)
    postings: list[Posting] = field(default_factory=list)
    outcomes: list[RowOutcome] = field(default_factory=list)
    counts: OutcomeCounts = field(default_factory=Counter)
    _running: dict[AccountId, _Running] = field(default_factory=dict)

    def take(
        self, rows: Sequence[PreparedRow | RefusedRow], locked: Sequence[LockedBalance]
    ) -> None:
        """Decide rows on the locked balances of their accounts."""
        self._running = {balance.account_id: _Running(balance) for balance in locked}
        for prepared in rows:
            if isinstance(prepared, RefusedRow):
                self.outcomes.append(refused_row(*prepared))
            elif prepared.row.idempotency_key in self.claimed:
                self._move(prepared)
            else:
                self.outcomes.append(self._without_claim(prepared))

    def moved_balances(self) -> list[MovedBalance]:
        """Give the balances that are to be written."""
        return [
            MovedBalance(account_id, running.posted_minor, running.last_sequence)
            for account_id, running in self._running.items()
            if running.is_touched
        ]

    def unsuccessful(self) -> list[RowOutcome]:
        """Give what keeps the rows from being all posted, as outcomes without transfers."""
        failed = [(transfer.position, transfer.failure) for transfer in self.transfers]
        failed += [(outcome.position, outcome.failure) for outcome in self.outcomes]
        return [
            RowOutcome(position, RowStatus.REJECTED, failure, None)
            for position, failure in failed
            if failure is not None
        ]

    def _without_claim(self, prepared: PreparedRow) -> RowOutcome:
        """Give the outcome of a row whose key was taken before, or was not to be taken."""
        row = prepared.row
        transfer = self.earlier.get(row.idempotency_key)
        if transfer is None:
            missing = self.bounds.missing_approval(row.amount_minor, row.currency)
            return refused_row(row, missing or IdempotencyKeyReused(row.idempotency_key))
        return row_of_earlier(row, transfer, prepared.fingerprint)

    def _move(self, prepared: PreparedRow) -> None:
        row = prepared.row
        source = self._running[prepared.source]
        destination = self._running[prepared.destination]
        amount_minor = row.amount_minor
        failure = None
        is_limited = self.bounds.is_limited(prepared.source)
        if is_limited or not (
            source.can_send(amount_minor) and destination.can_receive(amount_minor)
        ):
            refusal = refusal_of(
                Money(amount_minor, row.currency), source.now(), destination.now(), self.bounds
            )
            failure = None if refusal is None else Failure.of(refusal)
        if failure is None:
            if is_limited:
                self.bounds.count(prepared.source, Money(amount_minor, row.currency))
            source.enter(-amount_minor)
            destination.enter(amount_minor)
            self.postings.append(
                Posting(
                    row.position,
                    prepared.source,
                    prepared.destination,
                    source.last_sequence,
                    source.posted_minor,
                    destination.last_sequence,
                    destination.posted_minor,
                )
            )
        self.counts[TransferType(row.type), failure.code if failure else None] += 1
        self.transfers.append(prepared.transfer(failure))


def refusal_of(
    money: Money, source: Balance, destination: Balance, bounds: TransferBounds
) -> TransferRefusal | None:
    """Tell why an order fails on balances that are locked; ``None`` where it succeeds.

    Notes
    -----
    In the order in which the steps of a single transfer look.
    """
    amount_minor = money.amount_minor
    try:
        source.require_active()
        destination.require_active()
        source.require_available(amount_minor)
        bounds.require_within(source.account_id, money)
    except TransferRefusal as refusal:
        return refusal
    debited = source.posted_minor - amount_minor
    credited = destination.posted_minor + amount_minor
    if debited <= -_BALANCE_BOUND_MINOR or credited >= _BALANCE_BOUND_MINOR:
        return BalanceOutOfRange()
    return None


def refused_row(row: StagedRow, refusal: DomainError) -> RowOutcome:
    """Give the outcome of a row for which nothing is recorded."""
    return RowOutcome(row.position, RowStatus.REJECTED, Failure.of(refusal), None)


def row_of_earlier(row: StagedRow, transfer: Transfer, fingerprint: bytes) -> RowOutcome:
    """Give the outcome of a row whose key was taken before."""
    if transfer.fingerprint != fingerprint:
        return refused_row(row, IdempotencyKeyReused(row.idempotency_key))
    return row_of_transfer(row, transfer)


def row_of_transfer(row: StagedRow | BatchRow, transfer: Transfer) -> RowOutcome:
    """Give the outcome of a row from the transfer that its key stands for."""
    if transfer.state is ProcessState.PROCESSING:
        unfinished = Failure.of(TransferUnfinished(row.idempotency_key))
        return RowOutcome(row.position, RowStatus.PENDING, unfinished, transfer.id)
    status = RowStatus.FAILED if transfer.failure else RowStatus.SUCCEEDED
    return RowOutcome(row.position, status, transfer.failure, transfer.id, is_replay=True)
