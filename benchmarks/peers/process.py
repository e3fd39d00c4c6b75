"""A peer in a process of its own, so that what it uses can be told apart."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from benchmarks.figures import Load

READY_SECONDS: Final = 60.0
STOP_SECONDS: Final = 20.0
TAIL_SECONDS: Final = 60.0
"""What the last of a load may take."""


class PeerError(Exception):
    """A peer's process failed."""


class Peer:
    """A running peer."""

    def __init__(self, process: asyncio.subprocess.Process, log_path: Path) -> None:
        self._process = process
        self._log_path = log_path

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    async def run(self, *, in_flight: int, seconds: float) -> Load:
        """Have it keep a number of its own clients busy for a while.

        Raises
        ------
        PeerError
            It ended, or did not answer in time.
        """
        task = {"in_flight": in_flight, "seconds": seconds}
        return Load.from_json(await self.ask(task, within_seconds=seconds + TAIL_SECONDS))

    async def ask(self, content: Mapping[str, Any], *, within_seconds: float) -> dict[str, Any]:
        """Write a line, and read the one that comes back."""
        writer, reader = self._process.stdin, self._process.stdout
        if writer is None or reader is None:
            raise PeerError("the peer has no pipes")
        try:
            async with asyncio.timeout(within_seconds):
                writer.write(f"{json.dumps(content)}\n".encode())
                await writer.drain()
                line = await reader.readline()
        except (TimeoutError, OSError) as error:
            raise self._failure("does not answer") from error
        if not line:
            raise self._failure("has ended")
        answer: dict[str, Any] = json.loads(line)
        return answer

    async def stop(self) -> None:
        """End it, in good order where that works."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    def _failure(self, what: str) -> PeerError:
        return PeerError(f"{self._log_path.stem} {what}:\n{self._log_path.read_text()[-4000:]}")


@asynccontextmanager
async def running_peer(
    module: str, setup: Mapping[str, str], *, folder: Path
) -> AsyncIterator[Peer]:
    """Start a module of this package as a peer, and end it afterwards.

    Parameters
    ----------
    module
        Its name in this package.
    setup
        Where its servers are.
    folder
        Takes its log.

    Raises
    ------
    PeerError
        It did not become ready.
    """
    log_path = folder / f"{module}.log"
    with log_path.open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", f"benchmarks.peers.{module}"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
        )
    peer = Peer(process, log_path)
    try:
        await peer.ask(setup, within_seconds=READY_SECONDS)
        yield peer
    finally:
        await peer.stop()
