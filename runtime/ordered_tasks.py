"""Many things at once, but those that concern the same account one after the other, in order."""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from typing import Final

WAITING_FACTOR: Final = 20
"""For each thing that runs, so many may wait: enough to look past a busy account."""


class OrderedTasks:
    """Runs work in the order it is added for each name, and at once where names differ.

    Parameters
    ----------
    group
        Runs the tasks. Work that raises ends them all, and nothing that waits for it begins.
    at_once
        How much runs at the same time at most.

    Notes
    -----
    Memory is bounded: `add` waits while ``at_once * WAITING_FACTOR`` are not done.
    """

    def __init__(self, group: asyncio.TaskGroup, *, at_once: int) -> None:
        self._group = group
        self._slots = asyncio.Semaphore(at_once)
        self._room = asyncio.Semaphore(at_once * WAITING_FACTOR)
        self._last: dict[str, asyncio.Task[None]] = {}

    async def add(self, names: Collection[str], work: Callable[[], Awaitable[object]]) -> None:
        """Run work after all that was added before under any of its names."""
        await self._room.acquire()
        earlier = {self._last[name] for name in names if name in self._last}
        task = self._group.create_task(self._run(earlier, work))
        for name in names:
            self._last[name] = task

        def forget(done: asyncio.Task[None]) -> None:
            self._room.release()
            for name in names:
                if self._last.get(name) is done:
                    del self._last[name]

        task.add_done_callback(forget)

    async def _run(
        self, earlier: set[asyncio.Task[None]], work: Callable[[], Awaitable[object]]
    ) -> None:
        if earlier:
            await asyncio.wait(earlier)
        if any(task.cancelled() or task.exception() for task in earlier):
            return
        async with self._slots:
            await work()
