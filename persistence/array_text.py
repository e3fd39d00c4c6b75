"""Lists in the text format of PostgreSQL's arrays, for statements about thousands of rows.

The driver writes a list element by element, and takes some ten times as long. Measured in
``docs/performance.md``.
"""

from collections.abc import Iterable
from typing import Final
from uuid import UUID

_ESCAPES: Final = str.maketrans({"\\": "\\\\", '"': '\\"'})
_NULL: Final = "NULL"


def uuids(values: Iterable[UUID | None]) -> str:
    """Write what is cast to ``uuid[]``."""
    return _array([_NULL if value is None else value.hex for value in values])


def numbers(values: Iterable[int]) -> str:
    """Write what is cast to an array of whole numbers."""
    return _array(map(str, values))


def texts(values: Iterable[str | None]) -> str:
    """Write what is cast to ``text[]``."""
    return _array([_NULL if value is None else f'"{_escaped(value)}"' for value in values])


def hashes(values: Iterable[bytes]) -> str:
    """Write what is cast to ``bytea[]``."""
    return _array([f"\\\\x{value.hex()}" for value in values])


def _escaped(text: str) -> str:
    # Quickly told of nearly all that there is nothing to escape.
    return text.translate(_ESCAPES) if "\\" in text or '"' in text else text


def _array(elements: Iterable[str]) -> str:
    return f"{{{','.join(elements)}}}"
