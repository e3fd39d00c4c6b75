"""Where a command finds its servers: in the environment, or in a running local stack's file."""

import getpass
import os
import socket
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from pydantic import SecretStr, ValidationError

from cli.failures import CommandFailed
from domain.audit import Actor, ActorKind
from runtime.local_errors import FolderError
from runtime.settings import Settings
from runtime.stack_files import STACK_FILE, StackInfo, read_stack_file

DATABASE_VARIABLE: Final = "DATABASE_URL"
MIGRATION_VARIABLE: Final = "MIGRATION_DATABASE_URL"
_SCHEMES: Final = frozenset({"postgres", "postgresql", "postgresql+psycopg"})


def settings_from_environment() -> Settings:
    """Read the settings of a server.

    Raises
    ------
    CommandFailed
        A variable is missing or wrong; the message names it.
    """
    if not os.environ.get(DATABASE_VARIABLE):
        raise CommandFailed(
            f"{DATABASE_VARIABLE} is not set. Set it to the PostgreSQL to use, as in "
            "postgresql://user:password@host:port/database, or run `transfers dev`, which brings "
            "servers of its own."
        )
    return _checked_settings()


def settings_or_stack(data_dir: Path) -> Settings:
    """Read the settings of an administrator's command, else take a running local stack's.

    Raises
    ------
    CommandFailed
        Neither the environment nor the data folder names a database.
    """
    if os.environ.get(DATABASE_VARIABLE):
        return _checked_settings()
    stack = find_stack(data_dir)
    if stack is None:
        raise CommandFailed(
            f"{DATABASE_VARIABLE} is not set, and no local stack runs on {data_dir}. Set "
            f"{DATABASE_VARIABLE} (and TEMPORAL_ADDRESS), start a stack with `transfers dev`, or "
            "name its folder with --data-dir."
        )
    return Settings(
        database_url=SecretStr(stack.service_database_url or stack.database_url),
        temporal_address=stack.temporal_address,
        temporal_namespace=stack.temporal_namespace,
        temporal_ui_url=stack.temporal_ui_url,
    )


def migration_url(data_dir: Path) -> str:
    """Give the database's URL for the owner of its tables, who alone may change the schema.

    Raises
    ------
    CommandFailed
        Neither the environment nor the data folder names a database.
    """
    given = os.environ.get(MIGRATION_VARIABLE)
    if given:
        return url_with_tls(checked_url(MIGRATION_VARIABLE, given))
    stack = None if os.environ.get(DATABASE_VARIABLE) else find_stack(data_dir)
    if stack is not None:
        return stack.database_url
    return settings_or_stack(data_dir).connection_url


def url_with_tls(database_url: str) -> str:
    """Add to a database's URL what is set of TLS, as for the service's own connections."""
    return _settings(SecretStr(database_url)).connection_url


def find_stack(data_dir: Path) -> StackInfo | None:
    """Read where a local stack runs; ``None`` where none does.

    Raises
    ------
    CommandFailed
        Its file is not readable, or not of this version.
    """
    try:
        return read_stack_file(data_dir)
    except (FolderError, TypeError) as error:
        raise CommandFailed(
            f"{data_dir / STACK_FILE} is not the file of a running stack: {error}"
        ) from error


def cli_actor() -> Actor:
    """Tell who runs this command, for the audit log: a user of this machine."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return Actor(ActorKind.CLI, user, f"{user}@{socket.gethostname()}")


def _checked_settings() -> Settings:
    settings = _settings()
    checked_url(DATABASE_VARIABLE, settings.database_url.get_secret_value())
    return settings


def _settings(database_url: SecretStr | None = None) -> Settings:
    try:
        return Settings() if database_url is None else Settings(database_url=database_url)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, problem['loc'])).upper()}: {problem['msg']}"
            for problem in error.errors()
        )
        raise CommandFailed(f"The environment is not right: {problems}.") from None


def checked_url(variable: str, url: str) -> str:
    """Give a database's URL as it is, where it can be one.

    Raises
    ------
    CommandFailed
        It cannot; the message names the variable.
    """
    parts = urlsplit(url)
    if parts.scheme not in _SCHEMES or not parts.path.strip("/"):
        raise CommandFailed(
            f"{variable} has not the form postgresql://user:password@host:port/database."
        )
    return url
