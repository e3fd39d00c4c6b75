"""A process of the API as its supervisor sees it."""

import asyncio
import contextlib
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Final, Self

from runtime.api_process import ACCEPT, PROBLEM
from runtime.shared_load import SharedLoad
from runtime.shared_memory import SharedMemory

COMMAND: Final = (sys.executable, "-m", "runtime.api_process")
READY_SECONDS: Final = 90.0
"""How long a process may take to start: Temporal alone may be waited for half a minute, twice."""

DRAIN_SECONDS: Final = 50.0
"""How long a process may take to end: the requests in flight, then its worker, and some more."""


class ApiProcessFailed(Exception):
    """A process of the API could not be brought to serve."""


class ApiChild:
    """One process of the API; made by `start`."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        lifeline: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        slot: int,
    ) -> None:
        self.slot = slot
        self._process = process
        self._reader, self._writer = lifeline

    @classmethod
    async def start(
        cls,
        listeners: Sequence[socket.socket],
        environment: Mapping[str, str],
        *,
        load: SharedLoad,
        rates: SharedMemory,
        slot: int,
        number: int,
    ) -> Self:
        """Start a process; it is not ready yet.

        Parameters
        ----------
        load, slot
            Where it tells how many connections it has.
        rates
            Where it counts against rate limits.
        number
            Its number among the processes; a successor has the same.

        Raises
        ------
        ApiProcessFailed
            The system does not start it.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            reader, writer = await asyncio.open_connection(sock=ours)
            files = [
                *(load.file, rates.file, theirs.fileno()),
                *(listener.fileno() for listener in listeners),
            ]
            try:
                process = await asyncio.create_subprocess_exec(
                    *COMMAND,
                    *map(str, (slot, number, *files)),
                    stdin=subprocess.DEVNULL,
                    env=dict(environment),
                    pass_fds=files,
                )
            except OSError as error:
                writer.close()
                raise ApiProcessFailed(
                    f"A process of the API cannot be started: {error.strerror}."
                ) from error
        return cls(process, (reader, writer), slot)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    async def ready(self) -> None:
        """Wait until it could answer requests; it accepts none before it is told to.

        Raises
        ------
        ApiProcessFailed
            It ended before, said what keeps it from starting, or took too long; it may still run.
        """
        try:
            async with asyncio.timeout(READY_SECONDS):
                line = await self._reader.readline()
        except TimeoutError:
            raise ApiProcessFailed(
                f"A process of the API was not ready after {READY_SECONDS:g} s; the log says more."
            ) from None
        except OSError:
            line = b""
        if not line:
            raise ApiProcessFailed(
                f"A process of the API {await self.ended()} before it was ready; the log says why."
            )
        message = json.loads(line)
        if PROBLEM in message:
            raise ApiProcessFailed(message[PROBLEM])

    def accept(self) -> None:
        """Let it take connections."""
        self._writer.write(ACCEPT)

    async def ended(self) -> str:
        """Wait for its end, and say how it ended."""
        code = await self._process.wait()
        self._writer.close()
        if code < 0:
            return f"was killed by {signal.Signals(-code).name}"
        return f"ended with exit code {code}"

    async def drain(self) -> bool:
        """Ask it to finish and wait for its end; kill it, and say so, where it takes too long."""
        self._signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                await self.ended()
        except TimeoutError:
            self.kill()
            await self.ended()
            return False
        return True

    def kill(self) -> None:
        """End it at once."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)
