"""Keyset pages."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """A part of a list.

    Parameters
    ----------
    next_cursor
        Where the next page begins; ``None`` where this is the last.
    """

    items: Sequence[Item]
    next_cursor: str | None
