"""The schema's revisions: bring a database to one, and refuse to work on another."""

from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

import migrations
from migrations.compatibility import MARK
from persistence.database import Database

HEAD: Final = "head"


class StaleSchemaError(Exception):
    """The database's schema is not the one that this code is written for."""


def alembic_config(database_url: str | None = None) -> Config:
    """Make Alembic's configuration without a file, so that it works where the package is."""
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__path__[0])))
    config.attributes["database_url"] = database_url
    return config


def head_revision() -> str:
    """Tell the revision that this code is written for."""
    head = ScriptDirectory.from_config(alembic_config()).get_current_head()
    if head is None:
        raise StaleSchemaError("there are no migrations")
    return head


def migrate(database_url: str, *, revision: str = HEAD) -> None:
    """Bring a database up to a revision; nothing where it is there already."""
    command.upgrade(alembic_config(database_url), revision)


def downgrade(database_url: str, revision: str) -> None:
    """Take a database back to a revision, with the data that later ones added lost."""
    command.downgrade(alembic_config(database_url), revision)


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
    if actual is not None and not _is_known(actual):
        said = await database.remark_on_revision() or ""
        if said.startswith(MARK) and _is_known(said.removeprefix(MARK)):
            return None
        return (
            f"the database is at revision {actual}, which this version (of {expected}) does not "
            "know, and which does not serve it: run a newer version"
        )
    return (
        f"the database is at revision {actual or 'none'} and this version needs {expected}: "
        "run `transfers migrate`"
    )


def _is_known(revision: str) -> bool:
    scripts = ScriptDirectory.from_config(alembic_config())
    return any(script.revision == revision for script in scripts.walk_revisions())


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
