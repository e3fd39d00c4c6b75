"""Sessions of the console in SQL, always read together with their API key."""

from datetime import timedelta
from typing import Final

from sqlalchemy import ColumnElement, delete, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.access import Scope, Tenant
from domain.console_sessions import ConsoleSession
from domain.ids import ApiKeyId, TenantId
from domain.limits import (
    CONSOLE_SESSION_IDLE_SECONDS,
    CONSOLE_SESSION_SECONDS_MAXIMUM,
    CONSOLE_SESSION_USE_SECONDS,
)
from persistence.api_keys import api_key_from
from persistence.tables.tenants import api_keys, console_sessions, tenants

_OWN: Final = tenants.alias("own_tenant")
_VIEWED: Final = tenants.alias("viewed_tenant")


class ConsoleSessionRepository:
    """Rows of ``console_sessions``."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def insert(
        self,
        token_hash: bytes,
        api_key_id: ApiKeyId,
        tenant_id: TenantId,
        scopes: frozenset[Scope] | None,
    ) -> None:
        """Record a session by the hash of its token, and forget those that are over.

        Parameters
        ----------
        scopes
            Of a token that was logged in with; ``None`` for those that the key has.
        """
        await self._connection.execute(delete(console_sessions).where(~_is_current()))
        await self._connection.execute(
            insert(console_sessions).values(
                token_hash=token_hash,
                api_key_id=api_key_id,
                tenant_id=tenant_id,
                viewed_tenant_id=tenant_id,
                scopes=None if scopes is None else sorted(scopes),
            )
        )

    async def find(self, token_hash: bytes) -> ConsoleSession | None:
        """Read a session; ``None`` where it is over, or its key is."""
        result = await self._connection.execute(
            select(
                api_keys,
                _OWN.c.name.label("tenant_name"),
                _VIEWED.c.id.label("viewed_id"),
                _VIEWED.c.name.label("viewed_name"),
                console_sessions.c.created_at.label("session_created_at"),
                console_sessions.c.scopes.label("session_scopes"),
                console_sessions.c.token_hash,
            )
            .join(console_sessions, console_sessions.c.api_key_id == api_keys.c.id)
            .join(_OWN, _OWN.c.id == api_keys.c.tenant_id)
            .join(_VIEWED, _VIEWED.c.id == console_sessions.c.viewed_tenant_id)
            .where(
                console_sessions.c.token_hash == token_hash,
                api_keys.c.revoked_at.is_(None),
                or_(api_keys.c.expires_at.is_(None), api_keys.c.expires_at > func.now()),
                _is_current(),
            )
        )
        row = result.mappings().one_or_none()
        if row is None:
            return None
        key, scopes = api_key_from(row), row["session_scopes"]
        return ConsoleSession(
            key=key,
            granted=key.scopes if scopes is None else frozenset(map(Scope, scopes)),
            viewed=Tenant(TenantId(row["viewed_id"]), row["viewed_name"]),
            created_at=row["session_created_at"],
            token_hash=row["token_hash"],
        )

    async def touch(self, token_hash: bytes) -> None:
        """Note that a session is used, unless that was noted just before."""
        used_before = func.now() - timedelta(seconds=CONSOLE_SESSION_USE_SECONDS)
        await self._connection.execute(
            update(console_sessions)
            .where(
                console_sessions.c.token_hash == token_hash,
                console_sessions.c.last_used_at < used_before,
            )
            .values(last_used_at=func.now())
        )

    async def view(self, token_hash: bytes, tenant_id: TenantId) -> None:
        """Let a session look at a tenant."""
        await self._connection.execute(
            update(console_sessions)
            .where(console_sessions.c.token_hash == token_hash)
            .values(viewed_tenant_id=tenant_id)
        )

    async def delete(self, token_hash: bytes) -> None:
        """End a session."""
        await self._connection.execute(
            delete(console_sessions).where(console_sessions.c.token_hash == token_hash)
        )


def _is_current() -> ColumnElement[bool]:
    now = func.now()
    return (
        console_sessions.c.created_at > now - timedelta(seconds=CONSOLE_SESSION_SECONDS_MAXIMUM)
    ) & (console_sessions.c.last_used_at > now - timedelta(seconds=CONSOLE_SESSION_IDLE_SECONDS))
