"""Rows in the text format of PostgreSQL's COPY."""

from typing import Final

NULL: Final = "\\N"
_ESCAPES: Final = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def copied(text: str | None) -> str:
    """Write a text that may hold any character, or its absence."""
    return NULL if text is None else text.translate(_ESCAPES)
