"""The roles that the service works with in PostgreSQL, made by an administrator.

Roles belong to the whole server, and only an administrator makes them. `transfers migrate`, which
works as the tables' owner, then grants them their rights (`persistence.privileges`).
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import psycopg
from psycopg import sql

from domain.limits import (
    DATABASE_IDLE_IN_TRANSACTION_TIMEOUT_SECONDS,
    DATABASE_LOCK_TIMEOUT_SECONDS,
    DATABASE_SNAPSHOT_TIMEOUT_SECONDS,
    DATABASE_STATEMENT_TIMEOUT_SECONDS,
    DATABASE_TRANSACTION_TIMEOUT_SECONDS,
)
from persistence.database import driverless_url
from persistence.privileges import READER_ROLE, ROLES, SERVICE_ROLE
from persistence.tenancy import SYSTEM_ROLE
from persistence.violations import translated_driver_errors

CONNECT_SECONDS: Final = 5
_READER_SECONDS: Final = 300

# The service's connections bring these themselves; here they also bound who comes by other ways.
_SETTINGS: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {
        SERVICE_ROLE: {
            "statement_timeout": f"{DATABASE_STATEMENT_TIMEOUT_SECONDS:g}s",
            "lock_timeout": f"{DATABASE_LOCK_TIMEOUT_SECONDS:g}s",
            "transaction_timeout": f"{DATABASE_TRANSACTION_TIMEOUT_SECONDS:g}s",
            "idle_in_transaction_session_timeout": (
                f"{DATABASE_IDLE_IN_TRANSACTION_TIMEOUT_SECONDS:g}s"
            ),
        },
        READER_ROLE: {
            "default_transaction_read_only": "on",
            "statement_timeout": f"{_READER_SECONDS}s",
            "transaction_timeout": f"{DATABASE_SNAPSHOT_TIMEOUT_SECONDS}s",
            "idle_in_transaction_session_timeout": f"{_READER_SECONDS}s",
        },
    }
)
_ATTRIBUTES: Final[Mapping[str, str]] = MappingProxyType(
    {
        SERVICE_ROLE: "LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS",
        SYSTEM_ROLE: "NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION BYPASSRLS",
        READER_ROLE: "LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION BYPASSRLS",
    }
)


class RolesRefused(Exception):
    """The administrator of the database may not make the service's roles."""


async def make_roles(connection: psycopg.AsyncConnection, passwords: Mapping[str, str]) -> None:
    """Make the roles of the service, or bring those that are there to what they must be.

    Parameters
    ----------
    connection
        Of an administrator, in any database of the server; in autocommit mode.
    passwords
        Of ``transfers_service`` and ``transfers_reader``.

    Notes
    -----
    One transaction; changes nothing where it was done before with the same passwords.
    """
    async with connection.transaction():
        for role in ROLES:
            await _make_role(connection, role, passwords.get(role))
        # Not inherited: what the fence does not hold is taken by an explicit change of role.
        await connection.execute(
            sql.SQL("GRANT {} TO {} WITH INHERIT FALSE, SET TRUE").format(
                sql.Identifier(SYSTEM_ROLE), sql.Identifier(SERVICE_ROLE)
            )
        )
        await connection.execute(
            sql.SQL("REVOKE TEMPORARY ON DATABASE {} FROM PUBLIC").format(
                sql.Identifier(connection.info.dbname)
            )
        )


async def make_roles_at(admin_url: str, passwords: Mapping[str, str]) -> None:
    """Make the roles through an administrator's URL of the ledger's database.

    Raises
    ------
    DatabaseUnavailable
        No connection.
    RolesRefused
        The administrator may not make them.
    """
    with translated_driver_errors():
        try:
            async with await psycopg.AsyncConnection.connect(
                driverless_url(admin_url), autocommit=True, connect_timeout=CONNECT_SECONDS
            ) as connection:
                await make_roles(connection, passwords)
        except psycopg.errors.InsufficientPrivilege as error:
            raise RolesRefused(str(error.diag.message_primary)) from error


async def _make_role(connection: psycopg.AsyncConnection, role: str, password: str | None) -> None:
    found = await connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role])
    verb = "CREATE" if await found.fetchone() is None else "ALTER"
    name = sql.Identifier(role)
    # Constants of this file.
    attributes = sql.SQL(_ATTRIBUTES[role])
    secret: sql.Composable = sql.SQL("")
    if password is not None:
        # Only the verifier travels: a statement may end up in the server's log.
        verifier = connection.pgconn.encrypt_password(
            password.encode(), role.encode(), b"scram-sha-256"
        ).decode()
        secret = sql.SQL(" PASSWORD {}").format(sql.Literal(verifier))
    await connection.execute(
        sql.SQL("{} ROLE {} {}{}").format(sql.SQL(verb), name, attributes, secret)
    )
    for setting, value in _SETTINGS.get(role, {}).items():
        await connection.execute(
            sql.SQL("ALTER ROLE {} SET {} = {}").format(
                name, sql.Identifier(setting), sql.Literal(value)
            )
        )
