"""Errors of the domain as Temporal's: the one place that knows which may be retried."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from domain.errors import (
    BatchNotFound,
    CaptureExceedsHold,
    DomainError,
    ExpiryNotLater,
    IdempotencyKeyReused,
    MakerCannotApprove,
    OperationConflict,
    TransferNotFound,
    TransferRefusal,
)

_FINAL: Final = (
    TransferRefusal,
    TransferNotFound,
    IdempotencyKeyReused,
    BatchNotFound,
    OperationConflict,
    CaptureExceedsHold,
    ExpiryNotLater,
    MakerCannotApprove,
)


@contextmanager
def application_errors() -> Iterator[None]:
    """Tell Temporal which of the domain's errors another attempt cannot change."""
    try:
        yield
    except DomainError as error:
        is_final = isinstance(error, _FINAL)
        raise ApplicationError(
            error.message,
            type=error.code,
            non_retryable=is_final,
            # A refusal is the answer, not a fault: no warning in the logs, no count of errors.
            category=(
                ApplicationErrorCategory.BENIGN
                if is_final
                else ApplicationErrorCategory.UNSPECIFIED
            ),
        ) from error
