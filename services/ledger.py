"""Double-entry postings."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from domain.accounts import Account
from domain.ids import AccountId, EntryId, TenantId, TransferId
from domain.ledger import EntryDirection, LedgerEntry
from domain.limits import BALANCE_POINTS_MAXIMUM
from domain.pages import Page
from domain.states import Step, TransferStage
from domain.transfers import HoldStatus, Leg, Transfer, accounts_of
from persistence.database import Database, UnitOfWork
from persistence.direct import DirectStatements
from persistence.ledger import EntryFilter, NewEntry
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

    async def post_legs(self, unit_of_work: UnitOfWork, transfer: Transfer) -> Transfer:
        """Move the money of a locked transfer with several legs, all of it or nothing.

        Raises
        ------
        AccountClosed, AccountFrozen
            An account takes no part any more.
        BalanceOutOfRange
            A balance would have too many digits.
        """
        holds = await unit_of_work.holds.open_of(transfer.id)
        await self.move(
            unit_of_work,
            transfer,
            transfer.legs,
            effective_at=transfer.effective_at,
            released_minor={hold.account_id: hold.left_minor for hold in holds},
        )
        await unit_of_work.holds.close(transfer.id, HoldStatus.CAPTURED)
        return await unit_of_work.transfers.advance(transfer, Step.POST, TransferStage.POSTED)

    async def move(
        self,
        unit_of_work: UnitOfWork,
        transfer: Transfer,
        legs: Sequence[Leg],
        *,
        effective_at: datetime,
        released_minor: Mapping[AccountId, int],
    ) -> None:
        """Write two entries for each leg, and the balances that result.

        Parameters
        ----------
        released_minor
            What of the accounts' holds the movement consumes, or gives back with it.

        Raises
        ------
        AccountClosed, AccountFrozen
            An account takes no part.
        BalanceOutOfRange
            A balance would have too many digits.

        Notes
        -----
        Locks the balances in the order of their ids. Entries follow the order of the legs; what an
        account ends with is what its limits are held against, not what it has in between.
        """
        balances = await unit_of_work.balances.lock(transfer.tenant_id, accounts_of(legs))
        for balance in balances.values():
            balance.require_active()
        entries: list[NewEntry] = []
        for leg in legs:
            for account, direction in (
                (leg.source_account_id, EntryDirection.DEBIT),
                (leg.destination_account_id, EntryDirection.CREDIT),
            ):
                after = balances[account].after_entry(direction, leg.money.amount_minor)
                balances[account] = after
                entries.append(
                    NewEntry(
                        id=EntryId(new_uuid()),
                        tenant_id=transfer.tenant_id,
                        transfer_id=transfer.id,
                        direction=direction,
                        amount_minor=leg.money.amount_minor,
                        after=after,
                        effective_at=effective_at,
                    )
                )
        await unit_of_work.ledger.insert(entries)
        await unit_of_work.balances.set_amounts(
            [
                replace(balance, held_minor=balance.held_minor - released_minor.get(account, 0))
                for account, balance in balances.items()
            ]
        )

    async def entries_of_transfer(
        self, tenant_id: TenantId, transfer_id: TransferId, *, after: UUID | None, limit: int
    ) -> Page[LedgerEntry]:
        """Read a page of a transfer's entries, debits first; none where it has not posted.

        Parameters
        ----------
        after
            Id of the last entry of the page before.
        limit
            Entries at most, 1 to ``PAGE_SIZE_MAXIMUM``.
        """
        async with self._database.reading(tenant_id) as unit_of_work:
            found = await unit_of_work.ledger.of_transfer(
                tenant_id, transfer_id, after=after, limit=limit + 1
            )
        return Page.of(found, limit, lambda entry: str(entry.id))

    async def entries_of_account(
        self,
        tenant_id: TenantId,
        account_id: AccountId,
        wanted: EntryFilter,
        *,
        after: int | None,
        limit: int,
    ) -> Page[LedgerEntry]:
        """Read a page of an account's entries.

        Parameters
        ----------
        after
            Sequence of the last entry of the page before.
        limit
            Entries at most, 1 to ``PAGE_SIZE_MAXIMUM``.
        """
        async with self._database.reading(tenant_id) as unit_of_work:
            found = await unit_of_work.ledger.of_account(
                account_id, wanted, after=after, limit=limit + 1
            )
        return Page.of(found, limit, lambda entry: str(entry.sequence))

    async def balance_history(
        self, account: Account, *, entries: int | None = None
    ) -> list[LedgerEntry]:
        """Read entries of an account that show its balance over time, oldest first.

        Parameters
        ----------
        entries
            How many of the newest entries to look at; all where left out.

        Notes
        -----
        At most ``BALANCE_POINTS_MAXIMUM`` of them, evenly spread by their sequence and each found
        by it, so that an account with a million entries is read as fast as one with a few.
        """
        last = account.balance.last_sequence
        first = max(1, last - entries + 1) if entries is not None else 1
        count = min(last - first + 1, BALANCE_POINTS_MAXIMUM)
        if count < 1:
            return []
        gaps = max(1, count - 1)
        sequences = sorted({first + (last - first) * number // gaps for number in range(count)})
        async with self._database.reading(account.tenant_id) as unit_of_work:
            return await unit_of_work.ledger.at_sequences(account.id, sequences)
