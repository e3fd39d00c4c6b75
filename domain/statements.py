"""Account statements: what of a ledger a period holds, with the balances around it."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from domain.accounts import AccountKind
from domain.errors import FieldProblem, ValidationFailed
from domain.ids import AccountId
from domain.ledger import LedgerEntry
from domain.money import Currency
from domain.transfers import TransferType


class StatementFormat(StrEnum):
    """What a statement can be had as."""

    JSON = "json"
    CSV = "csv"
    PDF = "pdf"


@dataclass(frozen=True, slots=True)
class StatementPeriod:
    """Which entries a statement is asked for, by when they were recorded.

    Parameters
    ----------
    from_at
        Inclusive; ``None`` is the account's opening.
    to_at
        Exclusive; ``None`` is the present.

    Raises
    ------
    ValidationFailed
        It ends before it begins.
    """

    from_at: datetime | None = None
    to_at: datetime | None = None

    def __post_init__(self) -> None:
        if self.from_at is not None and self.to_at is not None and self.from_at > self.to_at:
            raise ValidationFailed(
                [FieldProblem("from", "period_order", "must not be later than to")]
            )


@dataclass(frozen=True, slots=True)
class StatementAccount:
    """Whose statement it is.

    Parameters
    ----------
    holder
        Name of the user who owns the account; ``None`` for a settlement account.
    issuer
        Name of the tenant that keeps the account.
    """

    id: AccountId
    account_number: str
    external_id: str | None
    kind: AccountKind
    currency: Currency
    holder: str | None
    issuer: str


@dataclass(frozen=True, slots=True)
class StatementTotals:
    """Sums over a statement's entries, in minor units.

    Parameters
    ----------
    largest_balance_minor
        The balance furthest from zero among those that the statement shows, without its sign: how
        much room balances need.
    """

    debits_minor: int
    credits_minor: int
    debit_count: int
    credit_count: int
    largest_balance_minor: int


@dataclass(frozen=True, slots=True)
class StatementSummary:
    """A statement without its lines.

    Parameters
    ----------
    from_at
        Inclusive: entries recorded from then on.
    to_at
        Exclusive: entries recorded before then.

    Raises
    ------
    ValueError
        The totals do not lead from the opening to the closing balance.
    """

    account: StatementAccount
    from_at: datetime
    to_at: datetime
    generated_at: datetime
    opening_minor: int
    closing_minor: int
    totals: StatementTotals

    def __post_init__(self) -> None:
        moved_minor = self.totals.credits_minor - self.totals.debits_minor
        if self.opening_minor + moved_minor != self.closing_minor:
            raise ValueError(
                f"the statement of account {self.account.id} does not add up: "
                f"{self.opening_minor} + {moved_minor} is not {self.closing_minor}"
            )

    @property
    def entry_count(self) -> int:
        """How many lines the statement has."""
        return self.totals.debit_count + self.totals.credit_count


@dataclass(frozen=True, slots=True)
class StatementLine:
    """One entry of a statement, with what its transfer tells of it.

    Parameters
    ----------
    counterparty_id, counterparty_number
        The transfer's other account; ``None`` where there is no single one.
    """

    entry: LedgerEntry
    transfer_type: TransferType
    description: str | None
    counterparty_id: AccountId | None
    counterparty_number: str | None
