"""What accounts have, and the reservation of it."""

from datetime import datetime

from domain.accounts import Account, Balance, BalanceAsOf
from domain.ids import HoldId
from domain.transfers import HoldStatus, Transfer, TransferOrder
from persistence.database import Database, UnitOfWork
from services.identifiers import new_uuid


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
        async with self._database.reading() as unit_of_work:
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

    async def lock_reservable(self, unit_of_work: UnitOfWork, order: TransferOrder) -> Balance:
        """Lock the source's balance, once it is known that an order can be reserved on it.

        Raises
        ------
        AccountClosed
            The source or the destination is closed.
        AccountFrozen
            The source or the destination is frozen.
        InsufficientFunds
            The source has less available than the order needs.

        Notes
        -----
        The destination is read without a lock: a status that changes after this is found when
        the entries are posted.
        """
        source, destination = await unit_of_work.balances.lock_source(
            order.tenant_id,
            source=order.source_account_id,
            destination=order.destination_account_id,
        )
        source.require_active()
        destination.require_active()
        source.require_available(order.money.amount_minor)
        return source

    async def hold(self, unit_of_work: UnitOfWork, transfer: Transfer, source: Balance) -> None:
        """Open the hold of a recorded transfer on its locked source."""
        await unit_of_work.balances.change_held(
            source.account_id, by_minor=transfer.money.amount_minor
        )
        await unit_of_work.holds.insert(
            hold_id=HoldId(new_uuid()),
            tenant_id=transfer.tenant_id,
            transfer_id=transfer.id,
            balance=source,
            money=transfer.money,
        )

    async def release(self, unit_of_work: UnitOfWork, transfer: Transfer) -> None:
        """Give back what a transfer holds."""
        await unit_of_work.balances.lock(transfer.tenant_id, [transfer.source_account_id])
        await unit_of_work.holds.close(transfer.id, HoldStatus.RELEASED)
        await unit_of_work.balances.change_held(
            transfer.source_account_id, by_minor=-transfer.money.amount_minor
        )
