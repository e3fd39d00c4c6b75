"""Whether PostgreSQL lets in all the connections that an API may want."""

from typing import Final

import structlog
from sqlalchemy import text

from persistence.database import Database
from persistence.tenancy import EVERY_TENANT
from runtime.composition import CONNECTIONS, open_services
from runtime.settings import Settings

CHECK_CONNECTIONS: Final = 1

# A limit of -1 is none. Sessions of all databases count against the server's own.
_CAPACITY: Final = text("""
    SELECT LEAST(
               current_setting('max_connections')::int
               - current_setting('superuser_reserved_connections')::int
               - COALESCE(current_setting('reserved_connections', true)::int, 0),
               (SELECT NULLIF(datconnlimit, -1) FROM pg_database
                WHERE datname = current_database()),
               (SELECT NULLIF(rolconnlimit, -1) FROM pg_roles WHERE rolname = current_user)
           ),
           (SELECT sum(numbackends) FROM pg_stat_database)
""")


class TooFewConnections(Exception):
    """PostgreSQL would refuse connections that the API may want."""


async def require_connections(settings: Settings) -> None:
    """Check that the database is there, and lets in all processes of the API.

    Raises
    ------
    StaleSchemaError, DatabaseUnavailable
        As ``open_services``.
    TooFewConnections
        The API may want more connections than anybody can have there.

    Notes
    -----
    Where it may want more than are free now, that is only logged: others may give theirs back.
    """
    wanted = CONNECTIONS * settings.api_workers
    async with open_services(settings.connection_url) as services:
        allowed, taken = await _capacity(services.database)
    if wanted > allowed:
        raise TooFewConnections(
            f"{settings.api_workers} processes of the API use up to {wanted} connections to "
            f"PostgreSQL ({CONNECTIONS} each), and it allows {allowed}. Raise max_connections, or "
            "run fewer processes."
        )
    if wanted > allowed - taken:
        structlog.get_logger("api").warning(
            "few_connections_left", wanted=wanted, allowed=allowed, taken=taken
        )


async def _capacity(database: Database) -> tuple[int, int]:
    """Tell how many connections this role may have there, and how many all have now."""
    async with database.snapshot(EVERY_TENANT) as connection:
        allowed, taken = (await connection.execute(_CAPACITY)).one()
    # The check's own is about to be closed.
    return int(allowed), int(taken) - CHECK_CONNECTIONS
