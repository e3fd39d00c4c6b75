"""Cancelling work at each place where it waits, one after the other."""

import asyncio
from collections.abc import Coroutine, Generator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Interrupted:
    """Awaits some work, whose task is cancelled while it waits for the so-manieth time."""

    work: Coroutine[Any, Any, None]
    at: int

    def __await__(self) -> Generator[Any, None, None]:
        """Pass on what the work waits for, and what comes back."""
        step, given, waits = self.work.send, None, 0
        while True:
            try:
                awaited = step(given)
            except StopIteration:
                return
            waits += 1
            if waits == self.at and (task := asyncio.current_task()):
                task.cancel()
            try:
                yield awaited
            except BaseException as error:  # noqa: BLE001 - it is the work's, whatever it is
                step, given = self.work.throw, error
            else:
                step, given = self.work.send, None


async def is_cancelled(work: Coroutine[Any, Any, None], *, at: int) -> bool:
    """Cancel some work while it waits for the so-manieth time; false where it is done before."""

    async def interrupted() -> None:
        await Interrupted(work, at)

    task = asyncio.create_task(interrupted())
    await asyncio.wait([task])
    if task.cancelled():
        return True
    task.result()
    return False
