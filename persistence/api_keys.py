"""Tenants and API keys in SQL."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping, Select, func, insert, select, update
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.access import ApiKey, NewApiKey, RateLimit, Scope, Tenant
from domain.ids import ApiKeyId, TenantId
from persistence.tables.tenants import api_keys, tenants


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
        new: NewApiKey,
        prefix: str,
        secret_hash: bytes,
    ) -> ApiKey:
        """Record a new key by the hash of its secret."""
        await self._connection.execute(
            insert(api_keys).values(
                id=key_id,
                tenant_id=tenant_id,
                name=new.name,
                prefix=prefix,
                secret_hash=secret_hash,
                scopes=sorted(new.scopes),
                expires_at=new.expires_at,
                requests_per_second=new.rate.per_second if new.rate else None,
                requests_burst=new.rate.burst if new.rate else None,
            )
        )
        return await self._read(key_id)

    async def ensure_subject(
        self, *, key_id: ApiKeyId, tenant_id: TenantId, issuer: str, subject: str
    ) -> bool:
        """Record a subject of an issuer among the keys; tell whether it is new."""
        new = await self._connection.scalar(
            postgresql.insert(api_keys)
            .values(
                id=key_id,
                tenant_id=tenant_id,
                name=subject,
                prefix="",
                scopes=[],
                issuer=issuer,
                subject=subject,
            )
            .on_conflict_do_nothing(constraint="api_keys_subject")
            .returning(api_keys.c.id)
        )
        return new is not None

    async def get(self, tenant_id: TenantId, key_id: UUID) -> ApiKey | None:
        """Read one key of a tenant."""
        result = await self._connection.execute(
            _keys().where(api_keys.c.tenant_id == tenant_id, api_keys.c.id == key_id)
        )
        row = result.mappings().one_or_none()
        return None if row is None else _api_key(row)

    async def page_of_tenant(
        self, tenant_id: TenantId, *, after: UUID | None, limit: int
    ) -> list[ApiKey]:
        """Read keys of a tenant, newest first, from just behind ``after``."""
        statement = _keys().where(api_keys.c.tenant_id == tenant_id)
        if after is not None:
            statement = statement.where(api_keys.c.id < after)
        result = await self._connection.execute(
            statement.order_by(api_keys.c.id.desc()).limit(limit)
        )
        return [_api_key(row) for row in result.mappings()]

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
        return await self._read(key_id)

    async def rotate(
        self, key_id: ApiKeyId, *, prefix: str, secret_hash: bytes, overlap: timedelta
    ) -> ApiKey:
        """Give a locked key another secret; the one it has is taken for some more time.

        Notes
        -----
        The secret of before the last rotation ends at once: two are good at a time.
        """
        await self._connection.execute(
            update(api_keys)
            .where(api_keys.c.id == key_id)
            .values(
                prefix=prefix,
                secret_hash=secret_hash,
                previous_secret_hash=api_keys.c.secret_hash,
                previous_expires_at=func.now() + overlap,
                rotated_at=func.now(),
            )
        )
        return await self._read(key_id)

    async def limit(self, key_id: ApiKeyId, rate: RateLimit | None) -> ApiKey:
        """Give a locked key a rate limit of its own, or take it away."""
        await self._connection.execute(
            update(api_keys)
            .where(api_keys.c.id == key_id)
            .values(
                requests_per_second=rate.per_second if rate else None,
                requests_burst=rate.burst if rate else None,
            )
        )
        return await self._read(key_id)

    async def _read(self, key_id: ApiKeyId) -> ApiKey:
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
        expires_at=row["expires_at"],
        rotated_at=row["rotated_at"],
        previous_expires_at=row["previous_expires_at"],
        rate=rate_from(row),
        issuer=row["issuer"],
        subject=row["subject"],
    )


def rate_from(row: RowMapping | Mapping[str, Any]) -> RateLimit | None:
    """Read a key's own rate limit."""
    if row["requests_per_second"] is None:
        return None
    return RateLimit(row["requests_per_second"], row["requests_burst"])
