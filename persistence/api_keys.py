"""Tenants and API keys in SQL."""

from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping, Select, func, insert, select, update
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.access import ApiKey, Scope, Tenant
from domain.ids import ApiKeyId, TenantId
from persistence.tables import api_keys, tenants


class ApiKeyRepository:
    """Rows of ``tenants`` and ``api_keys``."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def ensure_tenant(self, tenant_id: TenantId, name: str) -> Tenant:
        """Read the tenant of a name, and make it with the given id where there is none."""
        await self._connection.execute(
            postgresql.insert(tenants)
            .values(id=tenant_id, name=name)
            .on_conflict_do_nothing(index_elements=["name"])
        )
        result = await self._connection.execute(select(tenants).where(tenants.c.name == name))
        row = result.mappings().one()
        return Tenant(id=TenantId(row["id"]), name=row["name"])

    async def insert(
        self,
        *,
        key_id: ApiKeyId,
        tenant_id: TenantId,
        name: str,
        prefix: str,
        secret_hash: bytes,
        scopes: frozenset[Scope],
    ) -> ApiKey:
        """Record a new key by the hash of its secret."""
        await self._connection.execute(
            insert(api_keys).values(
                id=key_id,
                tenant_id=tenant_id,
                name=name,
                prefix=prefix,
                secret_hash=secret_hash,
                scopes=sorted(scopes),
            )
        )
        result = await self._connection.execute(_keys().where(api_keys.c.id == key_id))
        return _api_key(result.mappings().one())

    async def page(self, tenant_name: str | None) -> list[ApiKey]:
        """Read all keys, of one tenant or of all, oldest first."""
        statement = _keys().order_by(api_keys.c.id)
        if tenant_name is not None:
            statement = statement.where(tenants.c.name == tenant_name)
        result = await self._connection.execute(statement)
        return [_api_key(row) for row in result.mappings()]

    async def all_tenants(self) -> list[Tenant]:
        """Read all tenants, by their names."""
        result = await self._connection.execute(select(tenants).order_by(tenants.c.name))
        return [Tenant(TenantId(row["id"]), row["name"]) for row in result.mappings()]

    async def lock(self, key_id: UUID) -> ApiKey | None:
        """Read a key and lock it until the transaction ends."""
        result = await self._connection.execute(
            _keys().where(api_keys.c.id == key_id).with_for_update(key_share=True, of=api_keys)
        )
        row = result.mappings().one_or_none()
        return None if row is None else _api_key(row)

    async def revoke(self, key_id: ApiKeyId) -> ApiKey:
        """Revoke a locked key, for ever."""
        await self._connection.execute(
            update(api_keys).where(api_keys.c.id == key_id).values(revoked_at=func.now())
        )
        result = await self._connection.execute(_keys().where(api_keys.c.id == key_id))
        return _api_key(result.mappings().one())


def _keys() -> Select[Any]:
    return select(api_keys, tenants.c.name.label("tenant_name")).join(
        tenants, tenants.c.id == api_keys.c.tenant_id
    )


def api_key_from(row: RowMapping) -> ApiKey:
    """Read a key from a row of its table with its tenant's name."""
    return _api_key(row)


def _api_key(row: RowMapping) -> ApiKey:
    return ApiKey(
        id=ApiKeyId(row["id"]),
        tenant_id=TenantId(row["tenant_id"]),
        tenant_name=row["tenant_name"],
        name=row["name"],
        prefix=row["prefix"],
        scopes=frozenset(Scope(scope) for scope in row["scopes"]),
        created_at=row["created_at"],
        revoked_at=row["revoked_at"],
    )
