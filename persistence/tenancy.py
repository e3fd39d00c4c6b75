"""Which tenant's rows a connection may see and write: the second fence behind every WHERE clause.

Row-level security compares each row's tenant with a setting of the session. A connection that has
none of them set sees nothing. Work that spans tenants changes to a role that the fence does not
hold, for one transaction; COPY needs that too, for PostgreSQL refuses it behind such a fence.
"""

from collections.abc import Mapping
from enum import Enum
from typing import Any, Final, TypeAlias

from psycopg import AsyncConnection as DriverConnection
from psycopg import AsyncCursor
from psycopg.rows import DictRow
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.ids import TenantId

TENANT_SETTING: Final = "transfers.tenant_id"
SYSTEM_ROLE: Final = "transfers_system"


class EveryTenant(Enum):
    """What is not bound to one tenant."""

    EVERY_TENANT = "every tenant"


EVERY_TENANT: Final = EveryTenant.EVERY_TENANT
"""For proofs, reconciliations and keys: rows of all tenants, by an explicit wish."""

Tenancy: TypeAlias = TenantId | EveryTenant

BIND: Final = f"SELECT set_config('{TENANT_SETTING}', %s, false)"
# Nothing where the role is not there or not to be had: the owner of the tables needs no other.
ASSUME_SYSTEM_ROLE: Final = f"""
SELECT set_config('role', rolname, true) FROM pg_roles
WHERE rolname = '{SYSTEM_ROLE}' AND pg_has_role(session_user, oid, 'SET')
"""  # noqa: S608 - a constant
_BIND: Final = text(f"SELECT set_config('{TENANT_SETTING}', :tenant, false)")
_BIND_LOCALLY: Final = text(f"SELECT set_config('{TENANT_SETTING}', :tenant, true)")
_ASSUME_SYSTEM_ROLE: Final = text(ASSUME_SYSTEM_ROLE)
_BOUND_TO: Final = "bound_to"


class TenantConnection(DriverConnection[DictRow]):
    """The driver's connection, which remembers whose rows it may see.

    Parameters
    ----------
    bound_to
        The tenant of the session's setting; ``None`` where that is not known.
    """

    bound_to: TenantId | None = None


async def bind(connection: AsyncConnection, tenant_id: TenantId) -> None:
    """Let a connection see a tenant's rows and no others.

    Notes
    -----
    The setting is the session's, so that the next work for the same tenant needs no statement. A
    rollback takes it back: a caller says with `remember` that it stands.
    """
    if connection.info.get(_BOUND_TO) != tenant_id:
        await connection.execute(_BIND, {"tenant": str(tenant_id)})


def remember(connection: AsyncConnection, tenant_id: TenantId) -> None:
    """Note that the binding of a connection is committed."""
    connection.info[_BOUND_TO] = tenant_id


async def restrict(connection: AsyncConnection, tenancy: Tenancy) -> None:
    """Let a transaction see a tenant's rows, or those of all, until it ends."""
    if tenancy is EVERY_TENANT:
        await connection.execute(_ASSUME_SYSTEM_ROLE)
    else:
        await connection.execute(_BIND_LOCALLY, {"tenant": str(tenancy)})


async def execute_bound(
    connection: TenantConnection,
    tenant_id: TenantId,
    statement: str,
    parameters: Mapping[str, Any],
) -> AsyncCursor[DictRow]:
    """Run a statement that sees a tenant's rows and no others, in one round trip.

    Notes
    -----
    Where the connection last served another tenant, the change travels with the statement, and
    both are one transaction: where the statement fails, the change is taken back too.
    """
    if connection.bound_to == tenant_id:
        return await connection.execute(statement, parameters)
    connection.bound_to = None
    async with connection.pipeline():
        await connection.execute(BIND, (str(tenant_id),))
        cursor = await connection.execute(statement, parameters)
    connection.bound_to = tenant_id
    return cursor
