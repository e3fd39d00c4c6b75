"""Idempotency keys in SQL: one row a key and tenant, for ever."""

from typing import Final

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.ids import TenantId
from persistence.tables.tenants import idempotency_keys

_CLAIM: Final = (
    insert(idempotency_keys)
    .on_conflict_do_nothing(index_elements=["tenant_id", "key"])
    .returning(idempotency_keys.c.key)
)


class IdempotencyKeyRepository:
    """Rows of ``idempotency_keys``."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def is_taken(self, tenant_id: TenantId, key: str) -> bool:
        """Tell whether a key was used before, for whatever it was."""
        found = await self._connection.scalar(
            select(idempotency_keys.c.key).where(
                idempotency_keys.c.tenant_id == tenant_id, idempotency_keys.c.key == key
            )
        )
        return found is not None

    async def claim(
        self, tenant_id: TenantId, key: str, *, operation: str, fingerprint: bytes
    ) -> bool:
        """Take a key, and tell whether it was free.

        Notes
        -----
        Where another transaction is just claiming the key, this one waits for its end.
        """
        claimed = await self._connection.scalar(
            _CLAIM,
            {
                "tenant_id": tenant_id,
                "key": key,
                "operation": operation,
                "fingerprint": fingerprint,
            },
        )
        return claimed is not None
