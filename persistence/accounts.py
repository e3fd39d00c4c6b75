"""Accounts in SQL, always read together with their balance."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, RowMapping, literal_column, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.accounts import Account, AccountKind, AccountReference, AccountStatus
from domain.ids import AccountId, TenantId, UserId
from persistence.balances import BALANCE_COLUMNS, balance_from
from persistence.tables.accounts import accounts, balances

# Written out, not a parameter: a prepared statement could not match the partial index else.
_IS_SETTLEMENT: Final = literal_column("kind") == literal_column("'SYSTEM'")


@dataclass(frozen=True, slots=True)
class AccountIdentity:
    """What never changes about an account."""

    id: AccountId
    account_number: str
    external_id: str | None
    kind: AccountKind
    currency: str

    def answers_to(self, reference: AccountReference) -> bool:
        """Tell whether a reference names this account."""
        return (
            self.id == reference.id
            or self.account_number == reference.account_number
            or (self.external_id is not None and self.external_id == reference.external_id)
        )


@dataclass(frozen=True, slots=True)
class AccountFilter:
    """Which accounts a list holds; ``None`` does not restrict."""

    user_id: UserId | None = None
    external_id: str | None = None
    currency: str | None = None
    status: AccountStatus | None = None


class AccountRepository:
    """Rows of ``accounts``."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def insert(
        self,
        *,
        account_id: AccountId,
        tenant_id: TenantId,
        account_number: str,
        user_id: UserId,
        external_id: str | None,
        currency: str,
        metadata: Mapping[str, Any],
    ) -> None:
        """Record a customer's account, without its balance.

        Raises
        ------
        UserNotFound
            The tenant has no such user.
        ExternalIdTaken
            Another account of the tenant has the external id.
        AccountNumberTaken
            The number exists; draw another.
        """
        await self._connection.execute(
            insert(accounts).values(
                id=account_id,
                tenant_id=tenant_id,
                account_number=account_number,
                user_id=user_id,
                external_id=external_id,
                kind=AccountKind.CUSTOMER,
                currency=currency,
                metadata=dict(metadata),
            )
        )

    async def insert_settlement(
        self, *, account_id: AccountId, tenant_id: TenantId, account_number: str, currency: str
    ) -> bool:
        """Record the tenant's settlement account of a currency, unless there is one.

        Raises
        ------
        AccountNumberTaken
            The number exists; draw another.
        """
        inserted = await self._connection.scalar(
            insert(accounts)
            .values(
                id=account_id,
                tenant_id=tenant_id,
                account_number=account_number,
                kind=AccountKind.SYSTEM,
                currency=currency,
            )
            .on_conflict_do_nothing(
                index_elements=["tenant_id", "currency"],
                index_where=_IS_SETTLEMENT,
            )
            .returning(accounts.c.id)
        )
        return inserted is not None

    async def get(self, tenant_id: TenantId, reference: AccountReference) -> Account | None:
        """Read one account by any of its names."""
        result = await self._connection.execute(
            select(accounts, *BALANCE_COLUMNS)
            .join(balances, balances.c.account_id == accounts.c.id)
            .where(accounts.c.tenant_id == tenant_id, _named_by([reference]))
        )
        row = result.mappings().one_or_none()
        return None if row is None else _account(row)

    async def page(
        self, tenant_id: TenantId, wanted: AccountFilter, *, after: UUID | None, limit: int
    ) -> list[Account]:
        """Read accounts, newest first, from just behind ``after``."""
        conditions: list[ColumnElement[bool]] = [accounts.c.tenant_id == tenant_id]
        if wanted.user_id is not None:
            conditions.append(accounts.c.user_id == wanted.user_id)
        if wanted.external_id is not None:
            conditions.append(accounts.c.external_id == wanted.external_id)
        if wanted.currency is not None:
            conditions.append(accounts.c.currency == wanted.currency)
        if wanted.status is not None:
            conditions.append(balances.c.status == wanted.status)
        if after is not None:
            conditions.append(accounts.c.id < after)
        result = await self._connection.execute(
            select(accounts, *BALANCE_COLUMNS)
            .join(balances, balances.c.account_id == accounts.c.id)
            .where(*conditions)
            .order_by(accounts.c.id.desc())
            .limit(limit)
        )
        return [_account(row) for row in result.mappings()]

    async def set_metadata(self, account_id: AccountId, metadata: Mapping[str, Any]) -> None:
        """Replace an account's metadata."""
        await self._connection.execute(
            update(accounts).where(accounts.c.id == account_id).values(metadata=dict(metadata))
        )


def identity_from(row: Mapping[str, Any]) -> AccountIdentity:
    """Read what never changes about an account from a row of its table."""
    return AccountIdentity(
        id=AccountId(row["id"]),
        account_number=row["account_number"],
        external_id=row["external_id"],
        kind=AccountKind(row["kind"]),
        currency=row["currency"],
    )


def _named_by(references: Collection[AccountReference]) -> ColumnElement[bool]:
    ids = [reference.id for reference in references if reference.id is not None]
    numbers = [r.account_number for r in references if r.account_number is not None]
    external_ids = [r.external_id for r in references if r.external_id is not None]
    alternatives: list[ColumnElement[bool]] = []
    if ids:
        alternatives.append(accounts.c.id.in_(ids))
    if numbers:
        alternatives.append(accounts.c.account_number.in_(numbers))
    if external_ids:
        alternatives.append(accounts.c.external_id.in_(external_ids))
    return or_(*alternatives)


def _account(row: RowMapping) -> Account:
    return Account(
        id=AccountId(row["id"]),
        tenant_id=TenantId(row["tenant_id"]),
        account_number=row["account_number"],
        user_id=None if row["user_id"] is None else UserId(row["user_id"]),
        external_id=row["external_id"],
        kind=AccountKind(row["kind"]),
        currency=row["currency"],
        metadata=row["metadata"],
        created_at=row["created_at"],
        balance=balance_from(row),
    )
