"""What keeps a process from starting, as one sentence for the person who starts it."""

from typing import Final

from sqlalchemy.exc import ArgumentError, DBAPIError
from temporalio.service import RPCError

from domain.errors import DatabaseUnavailable, TemporalUnavailable
from persistence.violations import domain_error_of
from runtime.database_roles import RolesRefused
from runtime.metrics import MetricsPlaceTaken
from runtime.migrations import MigrationRefused, StaleSchemaError
from runtime.temporal_access import TemporalFileUnreadable

URL_FORM: Final = "postgresql://user:password@host:port/database"


def startup_problem(error: Exception, *, temporal_address: str) -> str | None:
    """Say what keeps a process from starting; ``None`` for what only a bug can cause.

    Parameters
    ----------
    temporal_address
        Where Temporal should be, for the message.
    """
    if isinstance(error, DatabaseUnavailable):
        return _no_database(error.__cause__)
    if isinstance(error, DBAPIError):
        is_away = isinstance(domain_error_of(error), DatabaseUnavailable)
        return _no_database(error) if is_away else None
    if isinstance(error, TemporalUnavailable):
        reason = f": {_first_line(error.__cause__)}" if error.__cause__ else "."
        return f"Temporal cannot be reached at {temporal_address} (TEMPORAL_ADDRESS){reason}"
    return _refusal(error)


def _refusal(error: Exception) -> str | None:
    if isinstance(error, RPCError):
        return f"Temporal refuses: {error.message}"
    if isinstance(error, ArgumentError):
        return f"The database's URL cannot be read; it has the form {URL_FORM}."
    if isinstance(error, RolesRefused):
        return f"The roles cannot be made: {error}."
    if isinstance(error, MetricsPlaceTaken | StaleSchemaError | MigrationRefused):
        return f"{error}."
    if isinstance(error, TemporalFileUnreadable):
        return str(error)
    return None


def _no_database(cause: BaseException | None) -> str:
    reason = cause.orig if isinstance(cause, DBAPIError) else cause
    return f"PostgreSQL cannot be reached: {_first_line(reason)}"


def _first_line(error: BaseException | None) -> str:
    return str(error or "no answer").splitlines()[0]
