"""Users and their accounts."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final
from uuid import UUID

from domain.accounts import (
    Account,
    AccountKind,
    AccountReference,
    AccountStatus,
    Balance,
    User,
)
from domain.audit import SYSTEM_ACTOR, Actor, Change
from domain.errors import (
    AccountAlreadyClosed,
    AccountNotEmpty,
    AccountNotFound,
    AccountNumberTaken,
    OverdraftLimitInUse,
    SystemAccountProtected,
    UserNotFound,
)
from domain.ids import AccountId, TenantId, UserId
from domain.pages import Page
from persistence.accounts import AccountFilter
from persistence.database import Database, UnitOfWork
from services.identifiers import new_account_number, new_uuid

ACCOUNT_NUMBER_DRAWS: Final = 5
"""How often a number is drawn for one account; each draw meets a taken one very rarely."""


class AccountService:
    """Opens, reads and changes accounts and the users who own them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create_user(
        self,
        tenant_id: TenantId,
        *,
        name: str,
        external_id: str | None,
        metadata: Mapping[str, Any],
        actor: Actor = SYSTEM_ACTOR,
    ) -> User:
        """Record a user.

        Raises
        ------
        ExternalIdTaken
            Another user of the tenant has the external id.
        """
        async with self._database.transaction() as unit_of_work:
            user = await unit_of_work.users.insert(
                user_id=UserId(new_uuid()),
                tenant_id=tenant_id,
                name=name,
                external_id=external_id,
                metadata=metadata,
            )
            await unit_of_work.audit.record(
                actor,
                "user.create",
                tenant_id=tenant_id,
                subject_type="user",
                subject_id=user.id,
            )
        return user

    async def get_user(self, tenant_id: TenantId, user_id: UserId) -> User:
        """Read a user.

        Raises
        ------
        UserNotFound
            The tenant has no such user.
        """
        async with self._database.reading() as unit_of_work:
            user = await unit_of_work.users.get(tenant_id, user_id)
        if user is None:
            raise UserNotFound(str(user_id))
        return user

    async def list_users(
        self, tenant_id: TenantId, *, external_id: str | None, after: UUID | None, limit: int
    ) -> Page[User]:
        """Read a page of users, newest first."""
        async with self._database.reading() as unit_of_work:
            found = await unit_of_work.users.page(
                tenant_id, external_id=external_id, after=after, limit=limit + 1
            )
        return Page.of(found, limit, lambda user: str(user.id))

    async def open_account(
        self,
        tenant_id: TenantId,
        *,
        user_id: UserId,
        currency: str,
        external_id: str | None,
        overdraft_limit_minor: int,
        metadata: Mapping[str, Any],
        actor: Actor = SYSTEM_ACTOR,
    ) -> Account:
        """Open an account, and with the first of a currency the tenant's settlement account.

        Parameters
        ----------
        overdraft_limit_minor
            Minor units, from 0 to ``AMOUNT_MAXIMUM_MINOR``.

        Raises
        ------
        UserNotFound
            The tenant has no such user.
        ExternalIdTaken
            Another account of the tenant has the external id.
        """
        account_id = AccountId(new_uuid())
        for draw in range(1, ACCOUNT_NUMBER_DRAWS + 1):
            try:
                async with self._database.transaction() as unit_of_work:
                    if await unit_of_work.users.get(tenant_id, user_id) is None:
                        raise UserNotFound(str(user_id))
                    await self._ensure_settlement_account(unit_of_work, tenant_id, currency)
                    await unit_of_work.accounts.insert(
                        account_id=account_id,
                        tenant_id=tenant_id,
                        account_number=new_account_number(),
                        user_id=user_id,
                        external_id=external_id,
                        currency=currency,
                        metadata=metadata,
                    )
                    await unit_of_work.balances.insert(
                        account_id=account_id,
                        tenant_id=tenant_id,
                        currency=currency,
                        kind=AccountKind.CUSTOMER,
                        overdraft_limit_minor=overdraft_limit_minor,
                    )
                    await _record(
                        unit_of_work,
                        tenant_id,
                        account_id,
                        Change("account.create", actor),
                        {
                            "user_id": str(user_id),
                            "currency": currency,
                            "overdraft_limit": overdraft_limit_minor,
                        },
                    )
                break
            except AccountNumberTaken:
                if draw == ACCOUNT_NUMBER_DRAWS:
                    raise
        return await self.get_account(tenant_id, AccountReference(str(account_id), id=account_id))

    async def get_account(self, tenant_id: TenantId, reference: AccountReference) -> Account:
        """Read an account by any of its names.

        Raises
        ------
        AccountNotFound
            The tenant has no such account.
        """
        async with self._database.reading() as unit_of_work:
            return await self._require(unit_of_work, tenant_id, reference)

    async def list_accounts(
        self, tenant_id: TenantId, wanted: AccountFilter, *, after: UUID | None, limit: int
    ) -> Page[Account]:
        """Read a page of accounts, newest first."""
        async with self._database.reading() as unit_of_work:
            found = await unit_of_work.accounts.page(
                tenant_id, wanted, after=after, limit=limit + 1
            )
        return Page.of(found, limit, lambda account: str(account.id))

    async def change_account(
        self,
        tenant_id: TenantId,
        reference: AccountReference,
        *,
        overdraft_limit_minor: int | None,
        metadata: Mapping[str, Any] | None,
        actor: Actor = SYSTEM_ACTOR,
        reason: str | None = None,
    ) -> Account:
        """Change what a client may change of an account; ``None`` leaves a part as it is.

        Raises
        ------
        AccountNotFound
            The tenant has no such account.
        SystemAccountProtected
            It is a settlement account.
        AccountAlreadyClosed
            It is closed.
        OverdraftLimitInUse
            The account already uses more overdraft than the new limit.
        """

        async def change(unit_of_work: UnitOfWork, balance: Balance) -> dict[str, Any]:
            if balance.status is AccountStatus.CLOSED:
                raise AccountAlreadyClosed
            details: dict[str, Any] = {}
            if overdraft_limit_minor is not None:
                used_minor = balance.held_minor - balance.posted_minor
                if overdraft_limit_minor < used_minor:
                    raise OverdraftLimitInUse(minimum_minor=used_minor)
                await unit_of_work.balances.set_overdraft_limit(
                    balance.account_id, overdraft_limit_minor
                )
                details["overdraft_limit"] = {
                    "from": balance.overdraft_limit_minor,
                    "to": overdraft_limit_minor,
                }
            if metadata is not None:
                await unit_of_work.accounts.set_metadata(balance.account_id, metadata)
                details["metadata"] = "replaced"
            return details

        return await self._changed(
            tenant_id, reference, change, Change("account.change", actor, reason)
        )

    async def freeze(
        self,
        tenant_id: TenantId,
        reference: AccountReference,
        *,
        actor: Actor = SYSTEM_ACTOR,
        reason: str | None = None,
    ) -> Account:
        """Stop all money of an account; a frozen one stays so.

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
        Takes the lock that postings take: once this has returned, nothing moves any more, and what
        was reserved before is released again.
        """
        return await self._set_status(
            tenant_id, reference, AccountStatus.FROZEN, Change("account.freeze", actor, reason)
        )

    async def unfreeze(
        self,
        tenant_id: TenantId,
        reference: AccountReference,
        *,
        actor: Actor = SYSTEM_ACTOR,
        reason: str | None = None,
    ) -> Account:
        """Let the money of an account move again; an active one stays so.

        Raises
        ------
        AccountNotFound
            The tenant has no such account.
        SystemAccountProtected
            It is a settlement account.
        AccountAlreadyClosed
            It is closed.
        """
        return await self._set_status(
            tenant_id, reference, AccountStatus.ACTIVE, Change("account.unfreeze", actor, reason)
        )

    async def close(
        self,
        tenant_id: TenantId,
        reference: AccountReference,
        *,
        actor: Actor = SYSTEM_ACTOR,
        reason: str | None = None,
    ) -> Account:
        """Close an empty account, for ever; a closed one stays so.

        Raises
        ------
        AccountNotFound
            The tenant has no such account.
        SystemAccountProtected
            It is a settlement account.
        AccountNotEmpty
            It has a balance or open holds.
        """

        async def change(unit_of_work: UnitOfWork, balance: Balance) -> dict[str, Any] | None:
            if balance.posted_minor or balance.held_minor:
                raise AccountNotEmpty(
                    posted_minor=balance.posted_minor, held_minor=balance.held_minor
                )
            return await _set_status(unit_of_work, balance, AccountStatus.CLOSED)

        return await self._changed(
            tenant_id, reference, change, Change("account.close", actor, reason)
        )

    async def _set_status(
        self,
        tenant_id: TenantId,
        reference: AccountReference,
        status: AccountStatus,
        asked: Change,
    ) -> Account:
        async def change(unit_of_work: UnitOfWork, balance: Balance) -> dict[str, Any] | None:
            if balance.status is AccountStatus.CLOSED:
                raise AccountAlreadyClosed
            return await _set_status(unit_of_work, balance, status)

        return await self._changed(tenant_id, reference, change, asked)

    async def _changed(
        self,
        tenant_id: TenantId,
        reference: AccountReference,
        change: Callable[[UnitOfWork, Balance], Awaitable[dict[str, Any] | None]],
        asked: Change,
    ) -> Account:
        """Run a change under the account's lock and read the account as it then is.

        What the change gives is what the audit log says of it; ``None`` where nothing changed.
        """
        async with self._database.transaction() as unit_of_work:
            account = await self._require(unit_of_work, tenant_id, reference)
            if account.kind is AccountKind.SYSTEM:
                raise SystemAccountProtected
            locked = await unit_of_work.balances.lock(tenant_id, [account.id])
            details = await change(unit_of_work, locked[account.id])
            if details is not None:
                await _record(unit_of_work, tenant_id, account.id, asked, details)
            return await self._require(unit_of_work, tenant_id, reference)

    @staticmethod
    async def _require(
        unit_of_work: UnitOfWork, tenant_id: TenantId, reference: AccountReference
    ) -> Account:
        account = await unit_of_work.accounts.get(tenant_id, reference)
        if account is None:
            raise AccountNotFound(reference.text)
        return account

    @staticmethod
    async def _ensure_settlement_account(
        unit_of_work: UnitOfWork, tenant_id: TenantId, currency: str
    ) -> None:
        account_id = AccountId(new_uuid())
        is_new = await unit_of_work.accounts.insert_settlement(
            account_id=account_id,
            tenant_id=tenant_id,
            account_number=new_account_number(),
            currency=currency,
        )
        if is_new:
            await unit_of_work.balances.insert(
                account_id=account_id,
                tenant_id=tenant_id,
                currency=currency,
                kind=AccountKind.SYSTEM,
                overdraft_limit_minor=None,
            )


async def _set_status(
    unit_of_work: UnitOfWork, balance: Balance, status: AccountStatus
) -> dict[str, Any] | None:
    if balance.status is status:
        return None
    await unit_of_work.balances.set_status(balance.account_id, status)
    return {"from": balance.status, "to": status}


async def _record(
    unit_of_work: UnitOfWork,
    tenant_id: TenantId,
    account_id: AccountId,
    change: Change,
    details: Mapping[str, Any],
) -> None:
    await unit_of_work.audit.record(
        change.actor,
        change.action,
        tenant_id=tenant_id,
        subject_type="account",
        subject_id=account_id,
        reason=change.reason,
        details=details,
    )
