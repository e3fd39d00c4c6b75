"""How a command fails: one clear sentence on standard error, exit code 1, no traceback."""

from collections.abc import Iterator
from contextlib import contextmanager


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
        # Loads SQLAlchemy and Alembic, which commands that call the API do without.
        from runtime.startup import startup_problem  # noqa: PLC0415

        problem = startup_problem(error, temporal_address=temporal_address)
        if problem is None:
            raise
        raise CommandFailed(problem) from error
