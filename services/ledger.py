"""Double-entry postings."""

from domain.ids import AccountId, EntryId, TenantId, TransferId
from domain.ledger import LedgerEntry
from domain.pages import Page
from domain.transfers import Transfer
from persistence.database import Database
from persistence.direct import DirectStatements
from persistence.ledger import EntryFilter
from services.identifiers import new_uuid


class LedgerService:
    """Reads the ledger, and posts to it inside a caller's unit of work."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def post(
        self, statements: DirectStatements, tenant_id: TenantId, transfer_id: TransferId
    ) -> Transfer | None:
        """Move the money of a reserved transfer: two entries, two balances, the hold captured.

        Returns
        -------
        Transfer | None
            In stage POSTED, or ``None`` where nothing was done: the transfer is not reserved, or
            an account is not active.

        Raises
        ------
        BalanceOutOfRange
            A balance would have too many digits.

        Notes
        -----
        One transaction. Locks the transfer, then both balances in the order of their ids.
        """
        return await statements.post(
            tenant_id, transfer_id, debit_id=EntryId(new_uuid()), credit_id=EntryId(new_uuid())
        )

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
