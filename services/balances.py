"""What accounts have, and the reservation of it."""

from datetime import datetime

from domain.accounts import Account, BalanceAsOf
from domain.errors import TransferRefusal
from domain.transfers import HoldStatus, Transfer, TransferOrder
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

    async def refusal_of(
        self, unit_of_work: UnitOfWork, order: TransferOrder
    ) -> TransferRefusal | None:
        """Tell why an order cannot be reserved; ``None`` where it can.

        Returns
        -------
        TransferRefusal | None
            ``AccountClosed`` or ``AccountFrozen`` of the source, then of the destination, then
            ``InsufficientFunds`` of the source.

        Notes
        -----
        Locks the source's balance until the transaction ends.
        """
        source, destination = await unit_of_work.balances.lock_source(
            order.tenant_id,
            source=order.source_account_id,
            destination=order.destination_account_id,
        )
        try:
            source.require_active()
            destination.require_active()
            source.require_available(order.money.amount_minor)
        except TransferRefusal as refusal:
            return refusal
        return None

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
        Locks both balances in the order of their ids until the transaction ends.
        """
        locked = await unit_of_work.balances.lock(
            transfer.tenant_id, [transfer.source_account_id, transfer.destination_account_id]
        )
        for balance in locked.values():
            balance.require_active()

    async def release(self, unit_of_work: UnitOfWork, transfer: Transfer) -> None:
        """Give back what a transfer holds."""
        await unit_of_work.balances.lock(transfer.tenant_id, [transfer.source_account_id])
        await unit_of_work.holds.close(transfer.id, HoldStatus.RELEASED)
        await unit_of_work.balances.change_held(
            transfer.source_account_id, by_minor=-transfer.money.amount_minor
        )
