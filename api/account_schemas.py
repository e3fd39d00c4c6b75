"""Bodies about users, accounts and what the ledger says of them."""

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, Field

from api.fields import (
    CurrencyCode,
    ExternalId,
    Metadata,
    Name,
    OverdraftLimit,
)
from api.schemas import ChangeBody, RequestBody
from domain.accounts import Account, AccountKind, AccountStatus, BalanceAsOf, User
from domain.ledger import EntryDirection, LedgerEntry


class UserCreate(RequestBody):
    """A user to be recorded."""

    name: Name
    external_id: ExternalId | None = None
    metadata: Metadata = Field(default_factory=dict)


class AccountCreate(RequestBody):
    """An account to be opened."""

    user_id: UUID
    currency: CurrencyCode
    external_id: ExternalId | None = None
    overdraft_limit: OverdraftLimit = 0
    metadata: Metadata = Field(default_factory=dict)


class AccountChange(ChangeBody):
    """What of an account is to change; what is left out stays."""

    overdraft_limit: OverdraftLimit | None = None
    metadata: Metadata | None = None


class UserView(BaseModel):
    """A user."""

    id: UUID
    name: str
    external_id: str | None
    metadata: dict[str, Any]
    created_at: datetime

    @staticmethod
    def of(user: User) -> "UserView":
        """Show a user."""
        return UserView(
            id=user.id,
            name=user.name,
            external_id=user.external_id,
            metadata=dict(user.metadata),
            created_at=user.created_at,
        )


class BalanceAmounts(BaseModel):
    """What an account has, in minor units: available = posted - held + overdraft_limit."""

    posted: int
    held: int
    available: int


class BalanceView(BalanceAmounts):
    """An account's balance, now or as of a time."""

    account_id: UUID
    currency: str
    as_of: datetime | None = Field(description="null for the present balance")

    @staticmethod
    def of_account(account: Account) -> "BalanceView":
        """Show an account's present balance."""
        return BalanceView(
            account_id=account.id,
            currency=account.currency,
            posted=account.balance.posted_minor,
            held=account.balance.held_minor,
            available=account.balance.available_minor,
            as_of=None,
        )

    @staticmethod
    def of(balance: BalanceAsOf) -> "BalanceView":
        """Show a balance as of a time."""
        return BalanceView(
            account_id=balance.account_id,
            currency=balance.currency,
            posted=balance.posted_minor,
            held=balance.held_minor,
            available=balance.available_minor,
            as_of=balance.as_of,
        )


class AccountView(BaseModel):
    """An account."""

    id: UUID
    account_number: str
    user_id: UUID | None
    external_id: str | None
    kind: AccountKind
    currency: str
    status: AccountStatus
    overdraft_limit: int | None = Field(description="null: without limit (SYSTEM accounts)")
    balance: BalanceAmounts
    metadata: dict[str, Any]
    created_at: datetime

    @staticmethod
    def of(account: Account) -> "AccountView":
        """Show an account."""
        balance = account.balance
        return AccountView(
            id=account.id,
            account_number=account.account_number,
            user_id=account.user_id,
            external_id=account.external_id,
            kind=account.kind,
            currency=account.currency,
            status=balance.status,
            overdraft_limit=balance.overdraft_limit_minor,
            balance=BalanceAmounts(
                posted=balance.posted_minor,
                held=balance.held_minor,
                available=balance.available_minor,
            ),
            metadata=dict(account.metadata),
            created_at=account.created_at,
        )


class EntryView(BaseModel):
    """One entry of the ledger."""

    id: UUID
    account_id: UUID
    transfer_id: UUID
    sequence: int
    direction: EntryDirection
    amount: int
    currency: str
    balance_after: int
    effective_at: datetime
    created_at: datetime

    @staticmethod
    def of(entry: LedgerEntry) -> "EntryView":
        """Show an entry."""
        return EntryView(
            id=entry.id,
            account_id=entry.account_id,
            transfer_id=entry.transfer_id,
            sequence=entry.sequence,
            direction=entry.direction,
            amount=entry.amount_minor,
            currency=entry.currency,
            balance_after=entry.balance_after_minor,
            effective_at=entry.effective_at,
            created_at=entry.created_at,
        )
