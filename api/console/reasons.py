"""Reasons: what people say of what they do, in the console's forms."""

from collections.abc import Mapping
from typing import Final

from domain.errors import FieldProblem, ValidationFailed
from domain.limits import NOTE_LENGTH_MAXIMUM

REASON_FIELD: Final = "reason"


def reason_of(form: Mapping[str, str]) -> str:
    """Read the reason that a form must have.

    Raises
    ------
    ValidationFailed
        There is none, or it is too long.
    """
    reason = form.get(REASON_FIELD, "").replace("\0", "")
    if not 1 <= len(reason) <= NOTE_LENGTH_MAXIMUM:
        raise ValidationFailed(
            [
                FieldProblem(
                    REASON_FIELD, "reason", f"must have 1 to {NOTE_LENGTH_MAXIMUM} characters"
                )
            ]
        )
    return reason
