"""What a statement is made of, read inside one snapshot."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import (
    Case,
    RowMapping,
    ScalarSelect,
    Select,
    case,
    func,
    or_,
    select,
    text,
    true,
)
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.base import ReadOnlyColumnCollection

from domain.accounts import Account
from domain.ids import AccountId
from domain.ledger import EntryDirection
from domain.statements import StatementLine, StatementTotals
from domain.transfers import TransferType
from persistence.ledger import entry_from
from persistence.tables.accounts import accounts, users
from persistence.tables.ledger import ledger_entries
from persistence.tables.tenants import tenants
from persistence.tables.transfers import transfer_legs, transfers

LINES_AT_ONCE: Final = 500
"""Lines that are fetched, and so kept in memory, at once."""

DISORDER_MAXIMUM: Final = timedelta(seconds=30)
"""How far ``created_at`` may fall along a sequence: a posting's time is taken before it waits for
the locks under which it gets its sequence, and no statement waits for so long."""

# The first entry at or after a moment, found by halving. Times may fall a little along a sequence,
# so it looks for an earlier moment, from where on every entry is looked at.
_FIRST_AT: Final = text("""
WITH RECURSIVE halving (low, high) AS (
    SELECT 1::bigint, CAST(:last_sequence AS bigint) + 1
    UNION ALL
    SELECT CASE WHEN entry.created_at < :earlier THEN entry.sequence + 1 ELSE halving.low END,
        CASE WHEN entry.created_at < :earlier THEN halving.high ELSE entry.sequence END
    FROM halving
    JOIN ledger_entries AS entry ON entry.account_id = :account_id
        AND entry.sequence = (halving.low + halving.high) / 2
    WHERE halving.low < halving.high
)
SELECT entry.sequence FROM ledger_entries AS entry
WHERE entry.account_id = :account_id AND entry.created_at >= :moment
    AND entry.sequence >= (SELECT low FROM halving WHERE low = high)
ORDER BY entry.sequence
LIMIT 1
""")

_ROW_BY_ROW: Final = text("""
SELECT set_config(name, 'off', true)
FROM unnest(ARRAY['enable_hashjoin', 'enable_mergejoin', 'enable_seqscan', 'enable_bitmapscan',
    'enable_sort']) AS name
""")


@dataclass(frozen=True, slots=True)
class StatementParties:
    """Names for a statement's head."""

    holder: str | None
    issuer: str
    read_at: datetime


class StatementRepository:
    """Reads for one account's statement. All must be made in one snapshot to agree."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def parties(self, account: Account) -> StatementParties:
        """Read whose account it is, and the snapshot's time."""
        result = await self._connection.execute(
            select(tenants.c.name, users.c.name, func.now())
            .select_from(tenants.outerjoin(users, users.c.id == account.user_id))
            .where(tenants.c.id == account.tenant_id)
        )
        issuer, holder, read_at = result.one()
        return StatementParties(holder=holder, issuer=issuer, read_at=read_at)

    async def first_sequence_at(self, account: Account, moment: datetime) -> int:
        """Find an account's first entry that was recorded at or after a moment.

        Returns
        -------
        int
            Its sequence; one behind the last where no entry is so late.

        Notes
        -----
        The same for ever once there is such an entry, so that periods which meet at a moment
        neither overlap nor leave a gap. Needs no index by time: some twenty rows are read, and
        those of the last moments before.
        """
        found: int | None = await self._connection.scalar(
            _FIRST_AT,
            {
                "account_id": account.id,
                "last_sequence": account.balance.last_sequence,
                "moment": moment,
                "earlier": moment - DISORDER_MAXIMUM,
            },
        )
        return account.balance.last_sequence + 1 if found is None else found

    async def balance_after(self, account_id: AccountId, sequence: int) -> int:
        """Read the balance after an entry, in minor units; 0 before the first entry."""
        if sequence < 1:
            return 0
        found = await self._connection.scalar(
            select(ledger_entries.c.balance_after_minor).where(
                ledger_entries.c.account_id == account_id, ledger_entries.c.sequence == sequence
            )
        )
        if found is None:
            raise LookupError(f"account {account_id} has no entry {sequence}")
        return int(found)

    async def totals(self, account_id: AccountId, first: int, last: int) -> StatementTotals:
        """Sum up an account's entries from one sequence to another, both included."""
        amount, balance = ledger_entries.c.amount_minor, ledger_entries.c.balance_after_minor
        is_debit = ledger_entries.c.direction == EntryDirection.DEBIT.value
        result = await self._connection.execute(
            select(
                func.coalesce(func.sum(amount).filter(is_debit), 0),
                func.coalesce(func.sum(amount).filter(~is_debit), 0),
                func.count().filter(is_debit),
                func.count().filter(~is_debit),
                func.coalesce(func.max(func.abs(balance)), 0),
            ).where(
                ledger_entries.c.account_id == account_id,
                ledger_entries.c.sequence.between(first, last),
            )
        )
        debits, credits_, debit_count, credit_count, largest = result.one()
        return StatementTotals(
            debits_minor=int(debits),
            credits_minor=int(credits_),
            debit_count=debit_count,
            credit_count=credit_count,
            largest_balance_minor=int(largest),
        )

    async def lines(
        self, account_id: AccountId, first: int, last: int
    ) -> AsyncGenerator[list[StatementLine], None]:
        """Go through an account's entries from one sequence to another, both included.

        Notes
        -----
        By a cursor of the server's: no more than ``LINES_AT_ONCE`` are in memory at once. Each
        fetch is a statement of its own to the limits of time, so the plan must not begin by
        reading a whole table.
        """
        await self._connection.execute(_ROW_BY_ROW)
        statement = _lines(account_id, first, last).execution_options(yield_per=LINES_AT_ONCE)
        async with self._connection.stream(statement) as result:
            async for rows in result.mappings().partitions():
                yield [_line(row) for row in rows]


def _lines(account_id: AccountId, first: int, last: int) -> Select[tuple[object, ...]]:
    counterparty = (
        select(
            case(
                (transfers.c.leg_count.is_(None), _other_side(transfers.c)),
                else_=_other_side_of_leg(),
            ).label("counterparty_id")
        )
        .correlate(ledger_entries, transfers)
        .lateral("counterparty")
    )
    return (
        select(
            ledger_entries,
            transfers.c.type,
            transfers.c.description,
            counterparty.c.counterparty_id,
            accounts.c.account_number,
        )
        .join(transfers, transfers.c.id == ledger_entries.c.transfer_id)
        .join(counterparty, true())
        .outerjoin(accounts, accounts.c.id == counterparty.c.counterparty_id)
        .where(
            ledger_entries.c.account_id == account_id,
            ledger_entries.c.sequence.between(first, last),
        )
        .order_by(ledger_entries.c.sequence)
    )


def _other_side(movement: ReadOnlyColumnCollection[str, Any]) -> Case[Any]:
    """Tell the account that an entry's movement of money has on its other side."""
    return case(
        (
            movement.source_account_id == ledger_entries.c.account_id,
            movement.destination_account_id,
        ),
        else_=movement.source_account_id,
    )


def _other_side_of_leg() -> ScalarSelect[Any]:
    """Tell the other side of an entry's leg, of a transfer with several.

    Entries follow the order of the legs, and a leg has one entry for each of its accounts: an
    account's second entry of a transfer belongs to the second of the legs that name it.
    """
    earlier = ledger_entries.alias("earlier")
    earlier_count = (
        select(func.count())
        .select_from(earlier)
        .where(
            earlier.c.transfer_id == ledger_entries.c.transfer_id,
            earlier.c.account_id == ledger_entries.c.account_id,
            earlier.c.sequence < ledger_entries.c.sequence,
        )
        .correlate(ledger_entries)
        .scalar_subquery()
    )
    legs = transfer_legs.c
    return (
        select(_other_side(legs))
        .where(
            legs.transfer_id == ledger_entries.c.transfer_id,
            or_(
                legs.source_account_id == ledger_entries.c.account_id,
                legs.destination_account_id == ledger_entries.c.account_id,
            ),
        )
        .order_by(legs.position)
        .limit(1)
        .offset(earlier_count)
        .correlate(ledger_entries)
        .scalar_subquery()
    )


def _line(row: RowMapping) -> StatementLine:
    counterparty_id = row["counterparty_id"]
    return StatementLine(
        entry=entry_from(row),
        transfer_type=TransferType(row["type"]),
        description=row["description"],
        counterparty_id=None if counterparty_id is None else AccountId(counterparty_id),
        counterparty_number=row["account_number"],
    )
