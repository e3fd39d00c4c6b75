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
        database_url=SecretStr(stack.database_url),
        temporal_address=stack.temporal_address,
        temporal_namespace=stack.temporal_namespace,
        temporal_ui_url=stack.temporal_ui_url,
    )


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
    try:
        settings = Settings()
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, problem['loc'])).upper()}: {problem['msg']}"
            for problem in error.errors()
        )
        raise CommandFailed(f"The environment is not right: {problems}.") from None
    parts = urlsplit(settings.database_url.get_secret_value())
    if parts.scheme not in _SCHEMES or not parts.path.strip("/"):
        raise CommandFailed(
            f"{DATABASE_VARIABLE} has not the form postgresql://user:password@host:port/database."
        )
    return settings
