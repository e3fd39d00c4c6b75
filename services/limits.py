"""The limits of accounts."""

from collections.abc import Awaitable, Callable
from dataclasses import replace

from domain.accounts import Account, AccountKind, AccountReference, AccountStatus
from domain.errors import AccountAlreadyClosed, AccountNotFound, SystemAccountProtected
from domain.ids import ApiKeyId, TenantId
from domain.rules import AccountLimits, LimitChanges, LimitUsage
from persistence.database import Database, UnitOfWork


class LimitService:
    """Reads and sets how much accounts may send.

    Notes
    -----
    Each method gives the account, and its limits with what is used of them; ``None`` where it has
    none.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(
        self, tenant_id: TenantId, reference: AccountReference
    ) -> tuple[Account, LimitUsage | None]:
        """Read an account's limits.

        Raises
        ------
        AccountNotFound
            The tenant has no such account.
        """
        async with self._database.reading(tenant_id) as unit_of_work:
            account = await _require(unit_of_work, tenant_id, reference)
            return account, await unit_of_work.limits.get(tenant_id, account.id)

    async def change(
        self,
        tenant_id: TenantId,
        reference: AccountReference,
        changes: LimitChanges,
        *,
        changed_by: ApiKeyId,
    ) -> tuple[Account, LimitUsage | None]:
        """Set limits; what is left out of the changes stays, and ``None`` takes a limit away.

        Parameters
        ----------
        changes
            Minor units, from 0 to ``AMOUNT_MAXIMUM_MINOR``. 0 lets nothing through.

        Raises
        ------
        AccountNotFound
            The tenant has no such account.
        SystemAccountProtected
            It is a settlement account.
        AccountAlreadyClosed
            It is closed.

        Notes
        -----
        Takes the lock that reserves take: each of them is held against the limits of before, or
        against those of after. With an account's first limit, what it has reserved since the start
        of the month counts as used.
        """

        async def change(unit_of_work: UnitOfWork, account: Account) -> None:
            present = await unit_of_work.limits.get(tenant_id, account.id)
            limits = present.limits if present else AccountLimits(account.id)
            limits = replace(limits, **changes)
            if limits == AccountLimits(account.id):
                await unit_of_work.limits.clear(account.id)
            else:
                await unit_of_work.limits.set(tenant_id, limits, updated_by=changed_by)

        return await self._changed(tenant_id, reference, change)

    async def clear(
        self, tenant_id: TenantId, reference: AccountReference
    ) -> tuple[Account, LimitUsage | None]:
        """Take all limits away.

        Raises
        ------
        AccountNotFound, SystemAccountProtected, AccountAlreadyClosed
            As ``change``.
        """

        async def change(unit_of_work: UnitOfWork, account: Account) -> None:
            await unit_of_work.limits.clear(account.id)

        return await self._changed(tenant_id, reference, change)

    async def _changed(
        self,
        tenant_id: TenantId,
        reference: AccountReference,
        change: Callable[[UnitOfWork, Account], Awaitable[None]],
    ) -> tuple[Account, LimitUsage | None]:
        """Run a change under the account's lock and read the limits as they then are."""
        async with self._database.transaction(tenant_id) as unit_of_work:
            account = await _require(unit_of_work, tenant_id, reference)
            if account.kind is AccountKind.SYSTEM:
                raise SystemAccountProtected
            locked = await unit_of_work.balances.lock(tenant_id, [account.id])
            if locked[account.id].status is AccountStatus.CLOSED:
                raise AccountAlreadyClosed
            await change(unit_of_work, account)
            return account, await unit_of_work.limits.get(tenant_id, account.id)


async def _require(
    unit_of_work: UnitOfWork, tenant_id: TenantId, reference: AccountReference
) -> Account:
    account = await unit_of_work.accounts.get(tenant_id, reference)
    if account is None:
        raise AccountNotFound(reference.text)
    return account
