"""Users, accounts, balances and how a request names an account."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final

from domain.account_numbers import is_account_number, looks_like_account_number
from domain.errors import AccountClosed, AccountFrozen, InsufficientFunds
from domain.ids import AccountId, TenantId, UserId, parse_uuid
from domain.ledger import EntryDirection
from domain.limits import EXTERNAL_ID_LENGTH_MAXIMUM

EXTERNAL_ID_PREFIX: Final = "ext:"

REFERENCES_KEPT: Final = 10_000
"""Names of accounts that are remembered as they were read: few accounts are in many requests."""


class AccountKind(StrEnum):
    """Whose account it is."""

    CUSTOMER = "CUSTOMER"
    SYSTEM = "SYSTEM"
    """The tenant's settlement account of a currency: money enters and leaves through it."""


class AccountStatus(StrEnum):
    """Whether money may move."""

    ACTIVE = "ACTIVE"
    FROZEN = "FROZEN"
    CLOSED = "CLOSED"


@dataclass(frozen=True, slots=True)
class User:
    """Owner of wallets inside a tenant."""

    id: UserId
    tenant_id: TenantId
    name: str
    external_id: str | None
    metadata: Mapping[str, Any]
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Balance:
    """What an account has, in minor units of its currency.

    The row behind it is what every movement of money locks, so it also carries what must not change
    between a check and its effect: the status and the overdraft limit.

    Parameters
    ----------
    overdraft_limit_minor
        How far below zero the account may go; ``None`` is without limit (settlement accounts).
    last_sequence
        Sequence of the account's newest ledger entry; 0 where there is none.
    """

    account_id: AccountId
    currency: str
    status: AccountStatus
    posted_minor: int
    held_minor: int
    overdraft_limit_minor: int | None
    last_sequence: int

    @property
    def available_minor(self) -> int:
        """Posted minus held plus the overdraft limit; the limit counts 0 where there is none."""
        return self.posted_minor - self.held_minor + (self.overdraft_limit_minor or 0)

    def after_entry(self, direction: EntryDirection, amount_minor: int) -> "Balance":
        """Give the balance that results from the account's next ledger entry."""
        # Not with ``replace``, which takes three times as long: batches make two a row.
        return Balance(
            account_id=self.account_id,
            currency=self.currency,
            status=self.status,
            posted_minor=self.posted_minor + direction.signed(amount_minor),
            held_minor=self.held_minor,
            overdraft_limit_minor=self.overdraft_limit_minor,
            last_sequence=self.last_sequence + 1,
        )

    def require_active(self) -> None:
        """Refuse to move money into or out of an account that is not active.

        Raises
        ------
        AccountClosed
            The account is closed.
        AccountFrozen
            The account is frozen.
        """
        if self.status is AccountStatus.CLOSED:
            raise AccountClosed(str(self.account_id))
        if self.status is AccountStatus.FROZEN:
            raise AccountFrozen(str(self.account_id))

    def require_available(self, amount_minor: int) -> None:
        """Refuse to reserve more than is available.

        Raises
        ------
        InsufficientFunds
            Less is available, and the account has an overdraft limit.
        """
        if self.overdraft_limit_minor is not None and self.available_minor < amount_minor:
            raise InsufficientFunds(
                available_minor=self.available_minor,
                amount_minor=amount_minor,
                currency=self.currency,
            )


@dataclass(frozen=True, slots=True)
class BalanceAsOf:
    """What an account had at a time.

    Parameters
    ----------
    posted_minor
        Sum of the entries effective at or before ``as_of``.
    held_minor
        Sum of the holds that were open at ``as_of``.
    """

    account_id: AccountId
    currency: str
    posted_minor: int
    held_minor: int
    available_minor: int
    as_of: datetime


@dataclass(frozen=True, slots=True)
class Account:
    """A wallet, or a settlement account, with its present balance."""

    id: AccountId
    tenant_id: TenantId
    account_number: str
    user_id: UserId | None
    external_id: str | None
    kind: AccountKind
    currency: str
    metadata: Mapping[str, Any]
    created_at: datetime
    balance: Balance


@dataclass(frozen=True, slots=True)
class AccountReference:
    """How a request names an account: exactly one of the three is set."""

    text: str
    id: AccountId | None = None
    account_number: str | None = None
    external_id: str | None = None

    @staticmethod
    @lru_cache(maxsize=REFERENCES_KEPT)
    def parse(text: str) -> "AccountReference":
        """Read a reference.

        Raises
        ------
        ValueError
            The text is neither a UUID, nor an account number with right check digits, nor
            ``ext:`` and an external id; the message says what would be right.
        """
        if text.startswith(EXTERNAL_ID_PREFIX):
            external_id = text.removeprefix(EXTERNAL_ID_PREFIX)
            if is_external_id(external_id):
                return AccountReference(text, external_id=external_id)
        elif (uuid := parse_uuid(text)) is not None:
            return AccountReference(text, id=AccountId(uuid))
        elif is_account_number(text):
            return AccountReference(text, account_number=text)
        elif looks_like_account_number(text):
            raise ValueError("is no account number: its check digits (the last two) do not fit")
        raise ValueError(
            "must name an account by its UUID, its account number of 16 digits, "
            "or ext:<external_id>"
        )


def is_external_id(text: str) -> bool:
    """Tell whether a text may be an external id: visible ASCII without ``/``."""
    return 1 <= len(text) <= EXTERNAL_ID_LENGTH_MAXIMUM and all(
        "!" <= character <= "~" and character != "/" for character in text
    )


@dataclass(frozen=True, slots=True)
class AccountLabel:
    """How people know an account.

    Parameters
    ----------
    owner
        The user's name; ``None`` for a settlement account.
    """

    account_number: str
    kind: AccountKind
    currency: str
    owner: str | None
