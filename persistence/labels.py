"""What people call accounts and API keys, for lists that would show ids else."""

from collections.abc import Collection

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.accounts import AccountKind, AccountLabel
from domain.ids import AccountId, ApiKeyId, TenantId, TransferId
from domain.operations import Operation
from persistence.tables.accounts import accounts, users
from persistence.tables.tenants import api_keys
from persistence.tables.transfers import transfer_operations


class LabelRepository:
    """Names out of several tables, by ids and for one tenant."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def accounts(
        self, tenant_id: TenantId, account_ids: Collection[AccountId]
    ) -> dict[AccountId, AccountLabel]:
        """Read the labels of accounts; those of other tenants are left out."""
        if not account_ids:
            return {}
        result = await self._connection.execute(
            select(
                accounts.c.id,
                accounts.c.account_number,
                accounts.c.kind,
                accounts.c.currency,
                users.c.name,
            )
            .join(users, users.c.id == accounts.c.user_id, isouter=True)
            .where(accounts.c.tenant_id == tenant_id, accounts.c.id.in_(account_ids))
        )
        return {
            AccountId(row["id"]): AccountLabel(
                account_number=row["account_number"],
                kind=AccountKind(row["kind"]),
                currency=row["currency"],
                owner=row["name"],
            )
            for row in result.mappings()
        }

    async def api_keys(self, key_ids: Collection[ApiKeyId]) -> dict[ApiKeyId, str]:
        """Read the names of API keys."""
        if not key_ids:
            return {}
        result = await self._connection.execute(
            select(api_keys.c.id, api_keys.c.name).where(api_keys.c.id.in_(key_ids))
        )
        return {ApiKeyId(row["id"]): row["name"] for row in result.mappings()}

    async def approvals(self, transfer_ids: Collection[TransferId]) -> dict[TransferId, int]:
        """Count the approvals that transfers have; those without one are left out."""
        if not transfer_ids:
            return {}
        result = await self._connection.execute(
            select(transfer_operations.c.transfer_id, func.count())
            .where(
                transfer_operations.c.transfer_id.in_(transfer_ids),
                transfer_operations.c.operation == Operation.APPROVE.value,
            )
            .group_by(transfer_operations.c.transfer_id)
        )
        return {TransferId(transfer): count for transfer, count in result.tuples()}
