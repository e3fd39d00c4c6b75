"""What the product's logs say that nobody foresaw: of servers that are away, they may speak."""

import json
from typing import Final

from tests.support.api import Json
from tests.support.stack import UNEXPECTED

ERRORS: Final = frozenset({"error", "critical"})
ACTIVITY_FAILED: Final = "Completing activity as failed"
FORESEEN: Final = (
    "temporalio.exceptions.ApplicationError: ",
    "domain.errors.",
    "asyncio.exceptions.CancelledError: ",
)
"""How the last line of a failed activity's traceback begins where the domain has a name for it, or
where its time was up."""

CONNECTION_LOGGER: Final = "temporalio.core"
"""It tells of lost connections to Temporal only, and at any level."""

RAW_MARKS: Final = ("Traceback (most recent call last)", "panicked at")
"""What stands in lines that are no logs."""


def is_unexpected(line: str) -> bool:
    """Tell whether a line of an API's or a worker's log tells of an error that nobody foresaw."""
    try:
        said: Json = json.loads(line)
    except ValueError:
        return any(mark in line for mark in RAW_MARKS)
    if said["event"] == ACTIVITY_FAILED:
        *_, last = str(said.get("exception", "")).strip().splitlines() or [""]
        return not last.startswith(FORESEEN)
    is_error = said.get("level") in ERRORS and said.get("logger") != CONNECTION_LOGGER
    return is_error or UNEXPECTED in line
