"""Several processes of the API behind one listening socket, kept up and replaced one by one.

Uvicorn's own supervisor is not used; docs/decisions/0009 tells why.
"""

import asyncio
import os
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import structlog

from api.rates import RATE_MEMORY_BYTES
from api.routes.service import MULTIPROCESS_VARIABLE
from runtime.api_child import ApiChild, ApiProcessFailed
from runtime.listeners import bound_listeners, listen
from runtime.server import log_place
from runtime.settings import Settings
from runtime.shared_load import SharedLoad
from runtime.shared_memory import SharedMemory
from runtime.stop_signals import stopping_on_signals

RESTART_FIRST_DELAY_SECONDS: Final = 0.2
RESTART_MAX_DELAY_SECONDS: Final = 5.0
SETTLED_SECONDS: Final = 10.0
"""A process that lived this long is replaced without a growing pause."""


@dataclass(slots=True)
class _Place:
    """What one of the processes does; another takes it over.

    Parameters
    ----------
    number
        Which of the processes, from 0.
    replacing
        Held while a successor is brought up.
    """

    child: ApiChild
    number: int
    replacing: asyncio.Lock = field(default_factory=asyncio.Lock)


class ApiSupervisor:
    """Starts the processes, keeps them up, replaces them one by one, and stops them.

    Parameters
    ----------
    count
        How many processes serve, 2 or more.
    listeners
        Bound sockets that all of them accept from.
    metrics_folder
        Where they add up their metrics.
    """

    def __init__(self, count: int, listeners: Sequence[socket.socket], metrics_folder: str) -> None:
        self._count = count
        self._listeners = listeners
        self._environment = {**os.environ, MULTIPROCESS_VARIABLE: metrics_folder}
        # Each may have a successor beside it.
        self._load = SharedLoad.for_processes(2 * count)
        self._rates = SharedMemory.of_zeros(RATE_MEMORY_BYTES)
        self._slots = set(range(2 * count))
        self._children: set[ApiChild] = set()
        self._restart_asked = asyncio.Event()
        self._working: asyncio.Task[None] | None = None
        self._is_stopping = False
        self._log = structlog.get_logger("api")

    async def run(self) -> bool:
        """Keep the processes up until `stop` is called, then let them finish.

        Returns
        -------
        bool
            Whether all of them finished by themselves.

        Raises
        ------
        ApiProcessFailed
            One of the first processes did not start; the others are stopped.
        """
        self._working = asyncio.create_task(self._work())
        try:
            await self._working
        except asyncio.CancelledError:
            if not self._is_stopping:
                raise
        finally:
            # Else this process would go on taking in connections that nobody serves.
            for listener in self._listeners:
                listener.close()
            drained = await asyncio.gather(*(child.drain() for child in self._children))
            self._load.close()
            self._rates.close()
        return all(drained)

    def stop(self) -> None:
        """Ask all processes to finish."""
        self._is_stopping = True
        if self._working is not None:
            self._working.cancel()

    def restart(self) -> None:
        """Ask for every process to be replaced, one after the other."""
        self._restart_asked.set()

    def kill(self) -> None:
        """End all processes at once."""
        for child in self._children:
            child.kill()

    async def _work(self) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                await self._keep_up(tasks)
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None

    async def _keep_up(self, tasks: asyncio.TaskGroup) -> None:
        # The first by itself: it sets Temporal up, and tells what would keep all from starting.
        children = [await self._bring_up(0)]
        others = [tasks.create_task(self._bring_up(number)) for number in range(1, self._count)]
        children += [await other for other in others]
        places = [_Place(child, number) for number, child in enumerate(children)]
        listen(self._listeners)
        for place in places:
            # Only now, else the first would keep all clients that come before the others.
            place.child.accept()
            tasks.create_task(self._watch(tasks, place))
        log_place(self._listeners)
        self._log.info("api_processes_ready", pids=[child.pid for child in children])
        while True:
            await self._restart_asked.wait()
            self._restart_asked.clear()
            await self._restart(tasks, places)

    async def _bring_up(self, number: int) -> ApiChild:
        """Start a process and wait until it is ready; nothing is left of one that does not."""
        slot = self._slots.pop()
        try:
            child = await ApiChild.start(
                self._listeners,
                self._environment,
                load=self._load,
                rates=self._rates,
                slot=slot,
                number=number,
            )
        except ApiProcessFailed:
            self._slots.add(slot)
            raise
        self._children.add(child)
        try:
            await child.ready()
        except ApiProcessFailed:
            child.kill()
            await child.ended()
            self._forget(child)
            raise
        return child

    def _forget(self, child: ApiChild) -> None:
        self._load.withdraw(child.slot)
        self._slots.add(child.slot)
        self._children.discard(child)

    async def _watch(self, tasks: asyncio.TaskGroup, place: _Place) -> None:
        """Wait for the end of a process, and give it a successor where it has none."""
        child, began = place.child, time.monotonic()
        ending = await child.ended()
        self._forget(child)
        async with place.replacing:
            if place.child is child:
                lived_seconds = time.monotonic() - began
                self._log.error("api_process_lost", pid=child.pid, ending=ending)
                place.child = await self._bring_back(place.number, lived_seconds)
                place.child.accept()
                tasks.create_task(self._watch(tasks, place))

    async def _bring_back(self, number: int, lived_seconds: float) -> ApiChild:
        delay_seconds = RESTART_FIRST_DELAY_SECONDS
        if lived_seconds < SETTLED_SECONDS:
            delay_seconds = RESTART_MAX_DELAY_SECONDS
        while True:
            await asyncio.sleep(delay_seconds)
            try:
                child = await self._bring_up(number)
            except ApiProcessFailed as failure:
                self._log.error("api_process_not_started", reason=str(failure))
                delay_seconds = min(2 * delay_seconds, RESTART_MAX_DELAY_SECONDS)
            else:
                self._log.info("api_process_back", pid=child.pid)
                return child

    async def _restart(self, tasks: asyncio.TaskGroup, places: Sequence[_Place]) -> None:
        self._log.info("rolling_restart_begins")
        try:
            for place in places:
                await self._replace(tasks, place)
        except ApiProcessFailed as failure:
            self._log.error("rolling_restart_abandoned", reason=str(failure))
        else:
            self._log.info("rolling_restart_done")

    async def _replace(self, tasks: asyncio.TaskGroup, place: _Place) -> None:
        """Bring up a successor, then let the process before it finish."""
        async with place.replacing:
            former, successor = place.child, await self._bring_up(place.number)
            place.child = successor
            successor.accept()
        tasks.create_task(self._watch(tasks, place))
        if not await former.drain():
            self._log.error("api_process_killed", pid=former.pid)
        self._log.info("api_process_replaced", pid=former.pid, successor=successor.pid)


def serve_with_processes(settings: Settings) -> bool:
    """Serve the API with several processes until SIGTERM or SIGINT; tell whether all finished.

    Raises
    ------
    PlaceTaken
        It cannot listen where it was told to.
    ApiProcessFailed
        A process did not start.

    Notes
    -----
    SIGHUP replaces the processes one by one. A second SIGTERM or SIGINT ends them at once.
    """

    async def run(listeners: Sequence[socket.socket], folder: str) -> bool:
        supervisor = ApiSupervisor(settings.api_workers, listeners, folder)

        def end() -> None:
            supervisor.kill()
            shutil.rmtree(folder, ignore_errors=True)

        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, supervisor.restart)
        with stopping_on_signals(supervisor.stop, before_end=end):
            return await supervisor.run()

    with (
        bound_listeners(settings.api_host, settings.api_port) as listeners,
        tempfile.TemporaryDirectory(prefix="transfers-metrics-") as folder,
    ):
        return asyncio.run(run(listeners, folder))
