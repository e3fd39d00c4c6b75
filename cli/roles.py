"""``transfers roles``: the roles that the service works with in PostgreSQL."""

import asyncio
import os
from typing import Final

from cli.console import messages, print_line
from cli.failures import CommandFailed, clear_startup_failures
from cli.surroundings import checked_url, url_with_tls

ADMIN_VARIABLE: Final = "ADMIN_DATABASE_URL"
SERVICE_PASSWORD_VARIABLE: Final = "DATABASE_SERVICE_PASSWORD"  # noqa: S105 - a variable's name
READER_PASSWORD_VARIABLE: Final = "DATABASE_READER_PASSWORD"  # noqa: S105 - a variable's name


def roles() -> None:
    """Make the database's roles, or bring those that are there to what they must be.

    Needs ADMIN_DATABASE_URL, of a superuser in the ledger's database, and the passwords of the two
    roles that log in: DATABASE_SERVICE_PASSWORD and DATABASE_READER_PASSWORD. Run `transfers
    migrate` afterwards: it gives the roles what they may have. Both can be run at any time.
    """
    # Loads SQLAlchemy.
    from persistence.privileges import READER_ROLE, ROLES, SERVICE_ROLE  # noqa: PLC0415
    from runtime.database_roles import make_roles_at  # noqa: PLC0415

    url = url_with_tls(checked_url(ADMIN_VARIABLE, _required(ADMIN_VARIABLE)))
    passwords = {
        SERVICE_ROLE: _required(SERVICE_PASSWORD_VARIABLE),
        READER_ROLE: _required(READER_PASSWORD_VARIABLE),
    }
    with clear_startup_failures():
        asyncio.run(make_roles_at(url, passwords))
    print_line(f"The roles are there: {', '.join(ROLES)}.", console=messages())


def _required(variable: str) -> str:
    value = os.environ.get(variable)
    if not value:
        raise CommandFailed(f"{variable} is not set; see `transfers roles --help`.")
    return value
