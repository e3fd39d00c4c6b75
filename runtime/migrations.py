"""The schema's revisions: bring a database to one, and refuse to work on another.

Alembic is loaded only by what migrates: that takes a fifth of a second, and every process asks for
the schema's revision when it starts.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy import create_engine, pool

import migrations
from migrations.compatibility import MARK
from persistence.database import Database, driver_url
from persistence.privileges import grant_privileges

if TYPE_CHECKING:
    from alembic.config import Config

HEAD: Final = "head"


class StaleSchemaError(Exception):
    """The database's schema is not the one that this code is written for."""


class MigrationRefused(Exception):
    """A database cannot be brought to a revision; the message says why."""


def alembic_config(database_url: str | None = None) -> "Config":
    """Make Alembic's configuration without a file, so that it works where the package is."""
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(_folder()))
    config.attributes["database_url"] = database_url
    return config


def revisions() -> list[str]:
    """Give all revisions, the first one first: the numbers that their files' names begin with."""
    return sorted(path.name.partition("_")[0] for path in _folder().glob("versions/[0-9]*_*.py"))


def head_revision() -> str:
    """Tell the revision that this code is written for."""
    return revisions()[-1]


def migrate(database_url: str, *, revision: str = HEAD) -> None:
    """Bring a database up to a revision, and give the roles that are there what they may have.

    Parameters
    ----------
    database_url
        Of the role that owns the tables.

    Raises
    ------
    MigrationRefused
        There is no such revision.
    """
    from alembic import command  # noqa: PLC0415

    with _clear_refusals():
        command.upgrade(alembic_config(database_url), revision)
    engine = create_engine(driver_url(database_url), poolclass=pool.NullPool, hide_parameters=True)
    with engine.begin() as connection:
        grant_privileges(connection)
    engine.dispose()


def downgrade(database_url: str, revision: str) -> None:
    """Take a database back to a revision, with the data that later ones added lost.

    Raises
    ------
    MigrationRefused
        There is no such revision.
    """
    from alembic import command  # noqa: PLC0415

    with _clear_refusals():
        command.downgrade(alembic_config(database_url), revision)


@contextmanager
def _clear_refusals() -> Iterator[None]:
    from alembic.util import CommandError  # noqa: PLC0415

    try:
        yield
    except CommandError as error:
        raise MigrationRefused(str(error)) from error


def _folder() -> Path:
    return Path(migrations.__path__[0])


async def schema_problem(database: Database) -> str | None:
    """Say what is wrong with a database's schema; ``None`` where it is right.

    Raises
    ------
    DatabaseUnavailable
        No connection.

    Notes
    -----
    A newer schema is right where its migrations have said that it serves code as old as this: then
    this version runs on while its successor is rolled out, and can be gone back to.
    """
    expected, actual = head_revision(), await database.revision()
    if actual == expected:
        return None
    if actual is not None and actual not in revisions():
        said = await database.remark_on_revision() or ""
        if said.startswith(MARK) and said.removeprefix(MARK) in revisions():
            return None
        return (
            f"the database is at revision {actual}, which this version (of {expected}) does not "
            "know, and which does not serve it: run a newer version"
        )
    return (
        f"the database is at revision {actual or 'none'} and this version needs {expected}: "
        "run `transfers migrate`"
    )


async def require_current_schema(database: Database) -> None:
    """Refuse a database at a revision that does not serve this code.

    Raises
    ------
    StaleSchemaError
        The message says what to run.
    DatabaseUnavailable
        No connection.
    """
    problem = await schema_problem(database)
    if problem is not None:
        raise StaleSchemaError(problem)
