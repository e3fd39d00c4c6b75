"""What only an evidence document asks for, in SQL."""

from collections.abc import Collection

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.evidence import AccountNote, HoldRecord, KeyClaim
from domain.ids import AccountId, ApiKeyId, HoldId, TenantId, TransferId
from domain.transfers import HoldStatus
from persistence.tables import accounts, api_keys, holds, idempotency_keys, tenants, transfers


class EvidenceRepository:
    """Reads rows of several tables about one transfer."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def owner(self, transfer_id: TransferId) -> tuple[TenantId, str] | None:
        """Tell whose a transfer is: the tenant's id and name."""
        result = await self._connection.execute(
            select(tenants.c.id, tenants.c.name)
            .join(transfers, transfers.c.tenant_id == tenants.c.id)
            .where(transfers.c.id == transfer_id)
        )
        row = result.one_or_none()
        return None if row is None else (TenantId(row.id), row.name)

    async def claim(self, tenant_id: TenantId, key: str) -> KeyClaim | None:
        """Read the use of an idempotency key."""
        result = await self._connection.execute(
            select(idempotency_keys).where(
                idempotency_keys.c.tenant_id == tenant_id, idempotency_keys.c.key == key
            )
        )
        row = result.mappings().one_or_none()
        if row is None:
            return None
        return KeyClaim(
            key=row["key"],
            operation=row["operation"],
            fingerprint=bytes(row["fingerprint"]),
            claimed_at=row["created_at"],
        )

    async def holds(self, transfer_id: TransferId) -> list[HoldRecord]:
        """Read all holds of a transfer, closed ones included."""
        result = await self._connection.execute(
            select(holds).where(holds.c.transfer_id == transfer_id).order_by(holds.c.id)
        )
        return [
            HoldRecord(
                id=HoldId(row["id"]),
                account_id=AccountId(row["account_id"]),
                amount_minor=row["amount_minor"],
                captured_minor=row["captured_minor"],
                currency=row["currency"],
                status=HoldStatus(row["status"]),
                created_at=row["created_at"],
                closed_at=row["closed_at"],
            )
            for row in result.mappings()
        ]

    async def accounts(self, ids: Collection[AccountId]) -> dict[AccountId, AccountNote]:
        """Read how people name some accounts."""
        result = await self._connection.execute(
            select(accounts.c.id, accounts.c.account_number, accounts.c.kind).where(
                accounts.c.id.in_(ids)
            )
        )
        return {
            AccountId(row.id): AccountNote(AccountId(row.id), row.account_number, row.kind)
            for row in result
        }

    async def key_names(self, ids: Collection[ApiKeyId]) -> dict[ApiKeyId, str]:
        """Read the names of some API keys, whoever's they are."""
        result = await self._connection.execute(
            select(api_keys.c.id, api_keys.c.name).where(api_keys.c.id.in_(ids))
        )
        return {ApiKeyId(row.id): row.name for row in result}
