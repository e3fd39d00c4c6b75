"""Ledger entries in SQL. They are only ever added."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, FromClause, RowMapping, case, func, insert, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.accounts import Balance
from domain.ids import AccountId, EntryId, TenantId, TransferId
from domain.ledger import EntryDirection, LedgerEntry
from persistence.tables.ledger import ledger_entries


@dataclass(frozen=True, slots=True)
class EntryFilter:
    """Which entries of an account a list holds.

    Parameters
    ----------
    effective_from
        Inclusive.
    effective_to
        Exclusive.
    ascending
        Oldest first; else newest first.
    """

    effective_from: datetime | None = None
    effective_to: datetime | None = None
    ascending: bool = False


@dataclass(frozen=True, slots=True)
class NewEntry:
    """An entry to be added.

    Parameters
    ----------
    after
        The account's balance with it.
    """

    id: EntryId
    tenant_id: TenantId
    transfer_id: TransferId
    direction: EntryDirection
    amount_minor: int
    after: Balance
    effective_at: datetime


class LedgerRepository:
    """Rows of ``ledger_entries``."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def insert(self, entries: Sequence[NewEntry]) -> None:
        """Add entries, in the order of each account's sequence."""
        await self._connection.execute(
            insert(ledger_entries),
            [
                {
                    "id": entry.id,
                    "tenant_id": entry.tenant_id,
                    "transfer_id": entry.transfer_id,
                    "account_id": entry.after.account_id,
                    "sequence": entry.after.last_sequence,
                    "direction": entry.direction.value,
                    "amount_minor": entry.amount_minor,
                    "currency": entry.after.currency,
                    "balance_after_minor": entry.after.posted_minor,
                    "effective_at": entry.effective_at,
                }
                for entry in entries
            ],
        )

    async def of_transfer(
        self,
        tenant_id: TenantId,
        transfer_id: TransferId,
        *,
        after: UUID | None = None,
        limit: int | None = None,
    ) -> list[LedgerEntry]:
        """Read the entries of a transfer, debits first, from just behind one of them.

        All of them where no ``limit`` is given.
        """
        statement = select(ledger_entries).where(
            ledger_entries.c.tenant_id == tenant_id,
            ledger_entries.c.transfer_id == transfer_id,
        )
        if after is not None:
            last = ledger_entries.alias()
            place = select(*_place(last)).where(
                last.c.id == after, last.c.transfer_id == transfer_id
            )
            statement = statement.where(tuple_(*_place(ledger_entries)) > place.scalar_subquery())
        result = await self._connection.execute(
            statement.order_by(*_place(ledger_entries)).limit(limit)
        )
        return [entry_from(row) for row in result.mappings()]

    async def of_account(
        self, account_id: AccountId, wanted: EntryFilter, *, after: int | None, limit: int
    ) -> list[LedgerEntry]:
        """Read entries of an account in the order of their sequence, from just behind ``after``."""
        sequence = ledger_entries.c.sequence
        statement = select(ledger_entries).where(ledger_entries.c.account_id == account_id)
        if wanted.effective_from is not None:
            statement = statement.where(ledger_entries.c.effective_at >= wanted.effective_from)
        if wanted.effective_to is not None:
            statement = statement.where(ledger_entries.c.effective_at < wanted.effective_to)
        if after is not None:
            statement = statement.where(sequence > after if wanted.ascending else sequence < after)
        result = await self._connection.execute(
            statement.order_by(sequence if wanted.ascending else sequence.desc()).limit(limit)
        )
        return [entry_from(row) for row in result.mappings()]

    async def at_sequences(
        self, account_id: AccountId, sequences: Sequence[int]
    ) -> list[LedgerEntry]:
        """Read the entries of an account that have certain sequences, in their order."""
        result = await self._connection.execute(
            select(ledger_entries)
            .where(
                ledger_entries.c.account_id == account_id,
                ledger_entries.c.sequence.in_(sequences),
            )
            .order_by(ledger_entries.c.sequence)
        )
        return [entry_from(row) for row in result.mappings()]

    async def posted_as_of(self, account_id: AccountId, as_of: datetime) -> int:
        """Sum the entries of an account that are effective at or before a time, in minor units."""
        signed = case(
            (
                ledger_entries.c.direction == EntryDirection.CREDIT.value,
                ledger_entries.c.amount_minor,
            ),
            else_=-ledger_entries.c.amount_minor,
        )
        posted = await self._connection.scalar(
            select(func.coalesce(func.sum(signed), 0)).where(
                ledger_entries.c.account_id == account_id,
                ledger_entries.c.effective_at <= as_of,
            )
        )
        return int(posted or 0)


def _place(entries: FromClause) -> tuple[ColumnElement[Any], ...]:
    """Say where an entry stands among those of its transfer."""
    return entries.c.direction == EntryDirection.CREDIT.value, entries.c.id


def entry_from(row: RowMapping) -> LedgerEntry:
    """Read an entry from a row of its table."""
    return LedgerEntry(
        id=EntryId(row["id"]),
        tenant_id=TenantId(row["tenant_id"]),
        transfer_id=TransferId(row["transfer_id"]),
        account_id=AccountId(row["account_id"]),
        sequence=row["sequence"],
        direction=EntryDirection(row["direction"]),
        amount_minor=row["amount_minor"],
        currency=row["currency"],
        balance_after_minor=row["balance_after_minor"],
        effective_at=row["effective_at"],
        created_at=row["created_at"],
    )
