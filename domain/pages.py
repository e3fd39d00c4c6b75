"""Keyset pages."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """A part of a list.

    Parameters
    ----------
    next_cursor
        Names the last item of this page, behind which the next begins; ``None`` on the last page.
    """

    items: Sequence[Item]
    next_cursor: str | None

    @staticmethod
    def of(found: Sequence[Item], limit: int, cursor_of: Callable[[Item], str]) -> "Page[Item]":
        """Cut a page of ``limit`` from items of which one more was asked for."""
        items = found[:limit]
        return Page(items, cursor_of(items[-1]) if len(found) > limit else None)
