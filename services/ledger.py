"""Double-entry postings."""

from domain.accounts import Balance
from domain.ids import AccountId, EntryId, TenantId, TransferId
from domain.ledger import EntryDirection, LedgerEntry
from domain.pages import Page
from domain.transfers import HoldStatus, Transfer
from persistence.database import Database, UnitOfWork
from persistence.ledger import EntryFilter, NewEntry
from services.identifiers import new_uuid


class LedgerService:
    """Reads the ledger, and posts to it inside a caller's unit of work."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def post(self, unit_of_work: UnitOfWork, transfer: Transfer) -> None:
        """Move the money of a reserved transfer: two entries, two balances, the hold captured.

        Raises
        ------
        AccountClosed
            One of the accounts was closed since the funds were reserved.
        AccountFrozen
            One of the accounts was frozen since.
        BalanceOutOfRange
            A balance would have too many digits.

        Notes
        -----
        Locks both balances in the order of their ids until the transaction ends.
        """
        locked = await unit_of_work.balances.lock(
            transfer.tenant_id, [transfer.source_account_id, transfer.destination_account_id]
        )
        for balance in locked.values():
            balance.require_active()
        amount_minor = transfer.money.amount_minor
        debited = locked[transfer.source_account_id].after_entry(
            EntryDirection.DEBIT, amount_minor, captured_minor=amount_minor
        )
        credited = locked[transfer.destination_account_id].after_entry(
            EntryDirection.CREDIT, amount_minor
        )
        await unit_of_work.ledger.append(
            [_entry(EntryDirection.DEBIT, debited), _entry(EntryDirection.CREDIT, credited)],
            tenant_id=transfer.tenant_id,
            transfer_id=transfer.id,
            amount_minor=amount_minor,
            currency=transfer.money.currency,
            effective_at=transfer.effective_at,
        )
        await unit_of_work.holds.close(transfer.id, HoldStatus.CAPTURED)
        await unit_of_work.balances.store([debited, credited])

    async def entries_of_transfer(
        self, tenant_id: TenantId, transfer_id: TransferId
    ) -> list[LedgerEntry]:
        """Read the entries of a transfer, debits first; none where it has not posted."""
        async with self._database.reading() as unit_of_work:
            return await unit_of_work.ledger.of_transfer(tenant_id, transfer_id)

    async def entries_of_account(
        self, account_id: AccountId, wanted: EntryFilter, *, after: int | None, limit: int
    ) -> Page[LedgerEntry]:
        """Read a page of an account's entries.

        Parameters
        ----------
        after
            Sequence of the last entry of the page before.
        limit
            Entries at most, 1 to ``PAGE_SIZE_MAXIMUM``.
        """
        async with self._database.reading() as unit_of_work:
            found = await unit_of_work.ledger.of_account(
                account_id, wanted, after=after, limit=limit + 1
            )
        return Page.of(found, limit, lambda entry: str(entry.sequence))


def _entry(direction: EntryDirection, resulting: Balance) -> NewEntry:
    return NewEntry(
        id=EntryId(new_uuid()),
        account_id=resulting.account_id,
        sequence=resulting.last_sequence,
        direction=direction,
        balance_after_minor=resulting.posted_minor,
    )
