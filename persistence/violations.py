"""What the database refuses, as errors of the domain."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Final

import psycopg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from domain.errors import (
    AccountNumberTaken,
    AlreadyApproved,
    ApprovalRuleTaken,
    BalanceOutOfRange,
    DatabaseUnavailable,
    DomainError,
    ExternalIdTaken,
    LedgerRuleViolated,
    UserNotFound,
)

_ERROR_OF_CONSTRAINT: Final[Mapping[str, Callable[[], DomainError]]] = MappingProxyType(
    {
        "accounts_account_number": AccountNumberTaken,
        "accounts_external_id": ExternalIdTaken,
        "users_external_id": ExternalIdTaken,
        "approval_rules_in_force": ApprovalRuleTaken,
        "transfer_operations_approver": AlreadyApproved,
        "accounts_user": lambda: UserNotFound("named by the account"),
    }
)

_NUMERIC_VALUE_OUT_OF_RANGE: Final = "22003"
_TRANSIENT_CLASSES: Final = (
    "08",  # connection exceptions
    "40",  # serialization failures and deadlocks
    "53",  # insufficient resources, too many connections
    "55",  # lock not available
    "57",  # shutdown, statement timeout
    "58",  # input and output errors of the system
)
_IDLE_IN_TRANSACTION_TIMEOUT: Final = "25P03"


def domain_error_of(error: DBAPIError) -> DomainError | None:
    """Translate a driver's error, or give ``None`` for what only a bug can cause.

    Notes
    -----
    A constraint that no error is named for comes out as ``LedgerRuleViolated`` with its name.
    """
    if not isinstance(error.orig, psycopg.Error):
        return None
    if error.connection_invalidated:
        return DatabaseUnavailable()
    return _domain_error_of(error.orig)


def _domain_error_of(cause: psycopg.Error) -> DomainError | None:
    state = cause.sqlstate
    if state is None or state.startswith(_TRANSIENT_CLASSES):
        is_transient = isinstance(cause, psycopg.OperationalError | psycopg.InterfaceError)
        return DatabaseUnavailable() if is_transient else None
    if state == _IDLE_IN_TRANSACTION_TIMEOUT:
        return DatabaseUnavailable()
    if state == _NUMERIC_VALUE_OUT_OF_RANGE:
        return BalanceOutOfRange()
    constraint = cause.diag.constraint_name
    if constraint is None:
        return None
    return _ERROR_OF_CONSTRAINT.get(constraint, lambda: LedgerRuleViolated(constraint))()


@contextmanager
def translated_violations() -> Iterator[None]:
    """Raise the domain's error in place of the driver's."""
    try:
        yield
    except DBAPIError as error:
        translated = domain_error_of(error)
        if translated is None:
            raise
        raise translated from error
    except PoolTimeout as error:
        raise DatabaseUnavailable from error


@contextmanager
def translated_driver_errors() -> Iterator[None]:
    """Raise the domain's error in place of the driver's, where SQLAlchemy is not between."""
    try:
        yield
    except psycopg.Error as error:
        translated = _domain_error_of(error)
        if translated is None:
            raise
        raise translated from error
