"""What accounts have, and the reservation of it."""

from dataclasses import replace
from datetime import datetime

from domain.accounts import Account, BalanceAsOf
from domain.transfers import HoldStatus, Transfer, accounts_of
from persistence.database import Database, UnitOfWork


class BalanceService:
    """Reads balances, and holds funds inside a caller's unit of work."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def as_of(self, account: Account, as_of: datetime) -> BalanceAsOf:
        """Tell what an account had at a time.

        Raises
        ------
        DatabaseUnavailable
            No connection.

        Notes
        -----
        Posted counts by the entries' ``effective_at``, held by when holds were open. The overdraft
        limit is today's: its history is not kept. Sums the account's entries up to that time.
        """
        async with self._database.reading(account.tenant_id) as unit_of_work:
            posted_minor = await unit_of_work.ledger.posted_as_of(account.id, as_of)
            held_minor = await unit_of_work.holds.held_as_of(account.id, as_of)
        overdraft_limit_minor = account.balance.overdraft_limit_minor or 0
        return BalanceAsOf(
            account_id=account.id,
            currency=account.currency,
            posted_minor=posted_minor,
            held_minor=held_minor,
            available_minor=posted_minor - held_minor + overdraft_limit_minor,
            as_of=as_of,
        )

    async def require_active_sides(self, unit_of_work: UnitOfWork, transfer: Transfer) -> None:
        """Refuse to move money where an account of a transfer takes no part any more.

        Raises
        ------
        AccountClosed
            One of the accounts is closed.
        AccountFrozen
            One of the accounts is frozen.

        Notes
        -----
        Locks the balances in the order of their ids until the transaction ends.
        """
        locked = await unit_of_work.balances.lock(transfer.tenant_id, accounts_of(transfer.legs))
        for balance in locked.values():
            balance.require_active()

    async def release(self, unit_of_work: UnitOfWork, transfer: Transfer) -> None:
        """Give back what a locked transfer still holds, and count it out of the limits.

        Notes
        -----
        Locks the transfer that a reversal goes back along, then the balances in the order of their
        ids.
        """
        if transfer.reversal_of is not None:
            await unit_of_work.transfers.lock(transfer.tenant_id, transfer.reversal_of)
            await unit_of_work.transfers.change_reversed(
                transfer.reversal_of, by_minor=-transfer.money.amount_minor
            )
        holds = await unit_of_work.holds.open_of(transfer.id)
        if not holds:
            return
        locked = await unit_of_work.balances.lock(
            transfer.tenant_id, [hold.account_id for hold in holds]
        )
        await unit_of_work.balances.set_amounts(
            [
                replace(
                    locked[hold.account_id],
                    held_minor=locked[hold.account_id].held_minor - hold.left_minor,
                )
                for hold in holds
            ]
        )
        status = HoldStatus.CAPTURED if transfer.captured_minor else HoldStatus.RELEASED
        await unit_of_work.holds.close(transfer.id, status)
        if transfer.reversal_of is not None:
            # Reversals were not counted when they were reserved.
            return
        for hold in holds:
            await unit_of_work.limits.give_back(
                hold.account_id, hold.created_at.date(), hold.left_minor
            )
