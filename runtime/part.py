"""A part of the local stack: a server or a command that starts, becomes ready and stops."""

import asyncio
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path

from runtime.child_process import ChildProcess, Launch
from runtime.local_errors import PartFailedError

PROBE_INTERVAL_SECONDS = 0.05
PROBE_TIMEOUT_SECONDS = 5.0

Report = Callable[[str], None]


def say_nothing(_line: str) -> None:
    """Take a line of progress and drop it."""


class Part(ABC):
    """One child process that can be started, stopped, killed and started again in place.

    Parameters
    ----------
    name
        What it is called in messages and in ``stack.json``.
    log_path
        File that takes its output.
    ready_seconds
        How long it may take to become ready.
    stop_seconds
        How long it may take to stop when asked, before harder means.
    """

    def __init__(
        self, name: str, *, log_path: Path, ready_seconds: float, stop_seconds: float
    ) -> None:
        self.name = name
        self.log_path = log_path
        self._ready_seconds = ready_seconds
        self._stop_seconds = stop_seconds
        self._process: ChildProcess | None = None

    @property
    def running(self) -> bool:
        """Whether its process lives."""
        return self._process is not None and not self._process.ended

    @property
    def pid(self) -> int:
        """Process id of the latest start."""
        return self._started().pid

    async def start(self) -> None:
        """Start it and wait until it is ready; nothing where it runs already.

        Raises
        ------
        LocalStackError
            It cannot be started here.
        PartFailedError
            It ended or did not become ready in time; nothing of it is left running.
        """
        if self.running:
            return
        self._process = await ChildProcess.start(await self._prepare())
        try:
            await self._wait_until_ready(self._process)
            await self._complete()
        except BaseException:
            await self.kill()
            raise

    async def stop(self) -> None:
        """Stop it in good order; nothing where it does not run."""
        if self._process is not None:
            await self._process.stop(signal.SIGTERM, grace_seconds=self._stop_seconds)

    async def kill(self) -> None:
        """Kill it at once; nothing where it does not run."""
        if self._process is not None:
            await self._process.kill()

    async def restart(self) -> None:
        """Stop it and start it again in the same place."""
        await self.stop()
        await self.start()

    async def wait(self) -> str:
        """Wait until its process has ended, and say how it did."""
        return await self._started().wait()

    def failure(self, what: str) -> PartFailedError:
        """Give the error that says what happened to it, with the end of its log."""
        tail = self._process.log_tail() if self._process is not None else ""
        return PartFailedError(self.name, what, log_path=self.log_path, log_tail=tail)

    @abstractmethod
    async def _prepare(self) -> Launch:
        """Make ready what it needs, and say how to start it."""

    @abstractmethod
    async def _probe(self) -> str | None:
        """Say why it is not ready yet, or None when it is."""

    async def _complete(self) -> None:  # noqa: B027  # most parts have nothing to add
        """Do what remains once it is ready."""

    async def _wait_until_ready(self, process: ChildProcess) -> None:
        deadline = time.monotonic() + self._ready_seconds
        while not process.ended:
            try:
                async with asyncio.timeout(PROBE_TIMEOUT_SECONDS):
                    reason = await self._probe()
            except TimeoutError:
                reason = f"no answer within {PROBE_TIMEOUT_SECONDS:g} s"
            if reason is None and not process.ended:
                return
            if time.monotonic() > deadline:
                what = f"was not ready after {self._ready_seconds:g} s ({reason})"
                raise self.failure(what)
            await asyncio.sleep(PROBE_INTERVAL_SECONDS)
        raise self.failure(f"{await process.wait()} before it was ready")

    def _started(self) -> ChildProcess:
        if self._process is None:
            raise RuntimeError(f"{self.name} has not been started")
        return self._process
