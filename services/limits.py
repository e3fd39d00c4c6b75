"""The limits of accounts."""

from collections.abc import Callable
from dataclasses import replace

from domain.accounts import Account, AccountKind, AccountReference, AccountStatus
from domain.audit import SYSTEM_ACTOR, Actor
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
        async with self._database.reading() as unit_of_work:
            account = await _require(unit_of_work, tenant_id, reference)
            return account, await unit_of_work.limits.get(tenant_id, account.id)

    async def change(
        self,
        tenant_id: TenantId,
        reference: AccountReference,
        changes: LimitChanges,
        *,
        changed_by: ApiKeyId,
        actor: Actor = SYSTEM_ACTOR,
        reason: str | None = None,
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

        def changed(present: AccountLimits) -> AccountLimits:
            return replace(present, **changes)

        return await self._changed(
            tenant_id, reference, changed, changed_by=changed_by, actor=actor, reason=reason
        )

    async def clear(
        self,
        tenant_id: TenantId,
        reference: AccountReference,
        *,
        actor: Actor = SYSTEM_ACTOR,
        reason: str | None = None,
    ) -> tuple[Account, LimitUsage | None]:
        """Take all limits away.

        Raises
        ------
        AccountNotFound, SystemAccountProtected, AccountAlreadyClosed
            As ``change``.
        """

        def none(present: AccountLimits) -> AccountLimits:
            return AccountLimits(present.account_id)

        return await self._changed(
            tenant_id, reference, none, changed_by=None, actor=actor, reason=reason
        )

    async def _changed(
        self,
        tenant_id: TenantId,
        reference: AccountReference,
        change: Callable[[AccountLimits], AccountLimits],
        *,
        changed_by: ApiKeyId | None,
        actor: Actor,
        reason: str | None,
    ) -> tuple[Account, LimitUsage | None]:
        """Change limits under the account's lock, and read them as they then are."""
        async with self._database.transaction() as unit_of_work:
            account = await _require(unit_of_work, tenant_id, reference)
            if account.kind is AccountKind.SYSTEM:
                raise SystemAccountProtected
            locked = await unit_of_work.balances.lock(tenant_id, [account.id])
            if locked[account.id].status is AccountStatus.CLOSED:
                raise AccountAlreadyClosed
            usage = await unit_of_work.limits.get(tenant_id, account.id)
            present = usage.limits if usage else AccountLimits(account.id)
            limits = change(present)
            if limits == present:
                return account, usage
            if limits == AccountLimits(account.id):
                await unit_of_work.limits.clear(account.id)
            else:
                await unit_of_work.limits.set(tenant_id, limits, updated_by=changed_by)
            await unit_of_work.audit.record(
                actor,
                "account.change_limits",
                tenant_id=tenant_id,
                subject_type="account",
                subject_id=account.id,
                reason=reason,
                details={"from": _details(present), "to": _details(limits)},
            )
            return account, await unit_of_work.limits.get(tenant_id, account.id)


def _details(limits: AccountLimits) -> dict[str, int | None]:
    return {
        "per_transfer": limits.per_transfer_minor,
        "per_day": limits.per_day_minor,
        "per_month": limits.per_month_minor,
    }


async def _require(
    unit_of_work: UnitOfWork, tenant_id: TenantId, reference: AccountReference
) -> Account:
    account = await unit_of_work.accounts.get(tenant_id, reference)
    if account is None:
        raise AccountNotFound(reference.text)
    return account
