"""Users in SQL."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.accounts import User
from domain.ids import TenantId, UserId
from persistence.tables.accounts import users


class UserRepository:
    """Rows of ``users``."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def insert(
        self,
        *,
        user_id: UserId,
        tenant_id: TenantId,
        name: str,
        external_id: str | None,
        metadata: Mapping[str, Any],
    ) -> User:
        """Record a new user.

        Raises
        ------
        ExternalIdTaken
            Another user of the tenant has the external id.
        """
        result = await self._connection.execute(
            insert(users)
            .values(
                id=user_id,
                tenant_id=tenant_id,
                name=name,
                external_id=external_id,
                metadata=dict(metadata),
            )
            .returning(users)
        )
        return _user(result.mappings().one())

    async def get(self, tenant_id: TenantId, user_id: UserId) -> User | None:
        """Read one user."""
        result = await self._connection.execute(
            select(users).where(users.c.tenant_id == tenant_id, users.c.id == user_id)
        )
        row = result.mappings().one_or_none()
        return None if row is None else _user(row)

    async def page(
        self, tenant_id: TenantId, *, external_id: str | None, after: UUID | None, limit: int
    ) -> list[User]:
        """Read users, newest first, from just behind ``after``."""
        statement = select(users).where(users.c.tenant_id == tenant_id)
        if external_id is not None:
            statement = statement.where(users.c.external_id == external_id)
        if after is not None:
            statement = statement.where(users.c.id < after)
        result = await self._connection.execute(statement.order_by(users.c.id.desc()).limit(limit))
        return [_user(row) for row in result.mappings()]


def _user(row: RowMapping) -> User:
    return User(
        id=UserId(row["id"]),
        tenant_id=TenantId(row["tenant_id"]),
        name=row["name"],
        external_id=row["external_id"],
        metadata=row["metadata"],
        created_at=row["created_at"],
    )
