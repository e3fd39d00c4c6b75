"""Rows in the text format of PostgreSQL's COPY."""

from collections.abc import Iterable
from typing import Final

NULL: Final = "\\N"
_ESCAPES: Final = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def copied(text: str | None) -> str:
    """Write a text that may hold any character, or its absence."""
    return NULL if text is None else text.translate(_ESCAPES)


def copied_bytes(data: bytes) -> str:
    """Write bytes."""
    return f"\\\\x{data.hex()}"


def copied_rows(rows: Iterable[Iterable[str]]) -> bytes:
    """Put rows of written fields together."""
    return "".join(["\t".join(row) + "\n" for row in rows]).encode()
