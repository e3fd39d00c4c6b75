"""Whether what happened at the same time can be explained by one order of the model.

The search of Wing and Gong: try every order in which whatever had ended before something else began
stands before it, and in which the model gives the very answers that were heard. Small histories
only; what was tried from one state of the model is not tried again.
"""

import copy
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from tests.property.bank_model import Bank
from tests.property.bank_parts import Answer, Command

Take: TypeAlias = Callable[[Command], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Event:
    """A command, its answer, and the moments between which it took effect."""

    command: Command
    answer: Answer
    began: float
    ended: float


async def timed(take: Take, command: Command) -> Event:
    """Do what is asked for, and note when."""
    began = time.perf_counter()
    answer = await take(command)
    return Event(command, answer, began, time.perf_counter())


def orders_into(
    start: Bank, lanes: Sequence[Sequence[Event]], is_end: Callable[[Bank], bool]
) -> list[Event] | None:
    """Find an order that explains a history; ``None`` where there is none.

    Parameters
    ----------
    lanes
        What each client did, one after the other.
    is_end
        Whether the model's state is what was found when all was over.
    """
    seen: set[tuple[tuple[int, ...], str]] = set()

    def search(bank: Bank, places: tuple[int, ...]) -> list[Event] | None:
        mark = (places, repr(bank))
        if mark in seen:
            return None
        seen.add(mark)
        heads = [
            (lane, events[place])
            for lane, (events, place) in enumerate(zip(lanes, places, strict=True))
            if place < len(events)
        ]
        if not heads:
            return [] if is_end(bank) else None
        # What has ended before another began cannot come after it.
        first_end = min(event.ended for _, event in heads)
        for lane, event in heads:
            if event.began > first_end:
                continue
            after = copy.deepcopy(bank)
            if after.take(event.command) != event.answer:
                continue
            following = search(after, (*places[:lane], places[lane] + 1, *places[lane + 1 :]))
            if following is not None:
                return [event, *following]
        return None

    return search(copy.deepcopy(start), (0,) * len(lanes))
