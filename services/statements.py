"""Account statements."""

from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Final

from domain.accounts import Account, AccountReference
from domain.errors import AccountNotFound, StatementTooLong
from domain.ids import TenantId
from domain.limits import STATEMENT_ENTRIES_MAXIMUM, STATEMENT_PDF_ENTRIES_MAXIMUM
from domain.money import Currency
from domain.statements import (
    StatementAccount,
    StatementFormat,
    StatementLine,
    StatementPeriod,
    StatementSummary,
)
from persistence.accounts import AccountRepository
from persistence.database import Database
from persistence.statements import StatementParties, StatementRepository
from services.currencies import find_currency

ENTRIES_MAXIMUM: Final[Mapping[StatementFormat, int]] = MappingProxyType(
    {
        StatementFormat.JSON: STATEMENT_ENTRIES_MAXIMUM,
        StatementFormat.CSV: STATEMENT_ENTRIES_MAXIMUM,
        StatementFormat.PDF: STATEMENT_PDF_ENTRIES_MAXIMUM,
    }
)


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement that is being read.

    Parameters
    ----------
    lines
        Its lines in the order of their sequence, some at a time; can be gone through once.
    """

    summary: StatementSummary
    lines: AsyncIterator[list[StatementLine]]


class StatementService:
    """Reads statements.

    Parameters
    ----------
    entries_maximum
        Entries that one statement can have in each format.
    """

    def __init__(
        self,
        database: Database,
        *,
        entries_maximum: Mapping[StatementFormat, int] = ENTRIES_MAXIMUM,
    ) -> None:
        self._database = database
        self._entries_maximum = entries_maximum

    @asynccontextmanager
    async def open(
        self,
        tenant_id: TenantId,
        reference: AccountReference,
        period: StatementPeriod,
        statement_format: StatementFormat,
    ) -> AsyncIterator[Statement]:
        """Give an account's statement for a period, to be read inside the block.

        Raises
        ------
        AccountNotFound
            The tenant has no such account.
        StatementTooLong
            The period holds more entries than one statement can have in the format.
        DatabaseUnavailable
            No connection, or it was lost meanwhile.

        Notes
        -----
        Holds one connection until the block ends. All is read in one snapshot, so that opening
        balance, lines, totals and closing balance agree whatever is posted meanwhile. Takes no
        lock. Memory does not grow with the number of lines.
        """
        async with self._database.snapshot(tenant_id) as connection:
            repository = StatementRepository(connection)
            account = await AccountRepository(connection).get(tenant_id, reference)
            if account is None:
                raise AccountNotFound(reference.text)
            first, last = await _bounds(repository, account, period)
            maximum = self._entries_maximum[statement_format]
            entries = last - first + 1
            if entries > maximum:
                raise StatementTooLong(
                    f"The period holds {entries:,} entries, and a statement as "
                    f"{statement_format.upper()} can have {maximum:,}."
                )
            parties = await repository.parties(account)
            from_at, to_at = _resolved(period, account, parties)
            summary = StatementSummary(
                account=_statement_account(account, parties),
                from_at=from_at,
                to_at=to_at,
                generated_at=parties.read_at,
                opening_minor=await repository.balance_after(account.id, first - 1),
                closing_minor=await repository.balance_after(account.id, last),
                totals=await repository.totals(account.id, first, last),
            )
            async with aclosing(repository.lines(account.id, first, last)) as lines:
                yield Statement(summary, lines)


async def _bounds(
    repository: StatementRepository, account: Account, period: StatementPeriod
) -> tuple[int, int]:
    """Give the first and the last sequence of a period; the last is one less where it is empty."""
    first, last = 1, account.balance.last_sequence
    if period.from_at is not None:
        first = await repository.first_sequence_at(account, period.from_at)
    if period.to_at is not None:
        last = await repository.first_sequence_at(account, period.to_at) - 1
    return first, last


def _resolved(
    period: StatementPeriod, account: Account, parties: StatementParties
) -> tuple[datetime, datetime]:
    """Fill in what the period leaves open, without turning it round."""
    if period.from_at is None:
        to_at = period.to_at or parties.read_at
        return min(account.created_at, to_at), to_at
    return period.from_at, period.to_at or max(parties.read_at, period.from_at)


def _statement_account(account: Account, parties: StatementParties) -> StatementAccount:
    # A currency that the standard has dropped since is shown in its minor units.
    currency = find_currency(account.currency) or Currency(account.currency, 0, account.currency)
    return StatementAccount(
        id=account.id,
        account_number=account.account_number,
        external_id=account.external_id,
        kind=account.kind,
        currency=currency,
        holder=parties.holder,
        issuer=parties.issuer,
    )
