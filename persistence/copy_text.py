"""Rows in the text format of PostgreSQL's COPY."""

from typing import Final

NULL: Final = "\\N"
_ESCAPES: Final = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def copied(text: str | None) -> str:
    """Write a text that may hold any character, or its absence."""
    if text is None:
        return NULL
    # Quickly told of nearly all: what else is to be escaped is not printable.
    return text if text.isprintable() and "\\" not in text else text.translate(_ESCAPES)
