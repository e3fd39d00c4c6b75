"""What only an evidence document asks for, in SQL."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.evidence import KeyClaim
from domain.ids import TenantId, TransferId
from persistence.tables.tenants import idempotency_keys, tenants
from persistence.tables.transfers import transfers


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
