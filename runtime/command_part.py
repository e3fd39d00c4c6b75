"""A part of the local stack that is a command of this project: the API or the worker."""

import signal
import time
from collections.abc import Mapping
from pathlib import Path

import httpx

from runtime.child_process import Launch
from runtime.part import Part
from runtime.ports import require_port
from runtime.trust import trust_for

# A command that answers no requests counts as ready once it has lived this long.
SETTLE_SECONDS = 1.0
READY_SECONDS = 60.0
STOP_SECONDS = 15.0


class CommandPart(Part):
    """A command that runs until it is told to stop.

    Parameters
    ----------
    name
        What it is called in messages and in ``stack.json``.
    command
        The program's absolute path and its arguments.
    environment
        Its whole environment.
    log_path
        File that takes its output.
    port
        The port that it listens on, checked before each start; None where it listens on none.
    port_option
        The option that moves the port, for messages.
    ready_url
        Answers 200 when the command is ready; None where living is enough.
    """

    def __init__(
        self,
        name: str,
        command: tuple[str, ...],
        *,
        environment: Mapping[str, str],
        log_path: Path,
        port: int | None = None,
        port_option: str = "",
        ready_url: str | None = None,
    ) -> None:
        super().__init__(
            name, log_path=log_path, ready_seconds=READY_SECONDS, stop_seconds=STOP_SECONDS
        )
        self._command = command
        self._environment = environment
        self._port = port
        self._port_option = port_option
        self._ready_url = ready_url
        self._started_at_seconds = 0.0

    async def _prepare(self) -> Launch:
        if self._port is not None:
            require_port(self._port, wanted_by=f"the {self.name}", option=self._port_option)
        self._started_at_seconds = time.monotonic()
        return Launch(
            command=self._command,
            log_path=self.log_path,
            environment=self._environment,
            death_signal=signal.SIGKILL,
        )

    async def _probe(self) -> str | None:
        if self._ready_url is None:
            lived_seconds = time.monotonic() - self._started_at_seconds
            return None if lived_seconds >= SETTLE_SECONDS else "just started"
        try:
            # Not through a proxy that the surroundings may name.
            trusted = trust_for(self._ready_url)
            async with httpx.AsyncClient(trust_env=False, verify=trusted) as client:
                response = await client.get(self._ready_url)
        except httpx.TransportError as error:
            return f"{self._ready_url}: {error}"
        if response.status_code == httpx.codes.OK:
            return None
        return f"{self._ready_url} answered {response.status_code}: {response.text[:500]}"
