"""The ``transfers`` command as a process, the way a person runs it.

It is forked from a process that has loaded it, for an interpreter of its own takes a second of a
core each time; tests of the readme, the demo and the runbook start those.
"""

import asyncio
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from tests.support.forked import start_command

COMMAND_SECONDS = 60
OWN_VARIABLES = (
    "DATABASE_",
    "MIGRATION_DATABASE_",
    "ADMIN_DATABASE_",
    "PAYLOAD_",
    "TEMPORAL_",
    "WORKER_",
    "TRANSFERS_",
    "API_",
    "OIDC_",
    "COLUMNS",
    "LINES",
)


@dataclass(frozen=True, slots=True)
class Ending:
    """How a command ended, and what it printed."""

    code: int
    output: str
    messages: str

    @property
    def document(self) -> dict[str, Any]:
        """What it printed, as JSON."""
        document: dict[str, Any] = json.loads(self.output)
        return document


def environment_with(variables: Mapping[str, str]) -> dict[str, str]:
    """Give this process's environment with only these variables of the product."""
    own = {name: text for name, text in os.environ.items() if not name.startswith(OWN_VARIABLES)}
    return own | dict(variables)


class Command:
    """Runs ``transfers`` with some environment variables, and no others of the product's."""

    def __init__(self, **variables: str) -> None:
        self._environment = environment_with(variables)

    async def __call__(self, *arguments: object) -> Ending:
        with tempfile.TemporaryDirectory() as folder:
            output, messages = Path(folder, "output"), Path(folder, "messages")
            process = start_command(
                [str(argument) for argument in arguments], self._environment, output, messages
            )
            try:
                ending = await asyncio.to_thread(_ending_of, process, output, messages)
            finally:
                process.kill()
                process.join()
                process.close()
        assert "Traceback" not in ending.messages, ending.messages
        return ending

    async def printed(self, *arguments: object) -> Ending:
        """Run a command that must succeed."""
        ending = await self(*arguments)
        assert ending.code == 0, ending.messages + ending.output
        return ending

    async def refused(self, *arguments: object) -> str:
        """Run a command that must fail clearly, and give what it says."""
        ending = await self(*arguments)
        assert ending.code == 1, ending.messages + ending.output
        assert "Error: " in ending.messages
        return ending.messages


def _ending_of(process: ForkServerProcess, output: Path, messages: Path) -> Ending:
    process.join(COMMAND_SECONDS)
    assert process.exitcode is not None, f"not within {COMMAND_SECONDS} s"
    return Ending(process.exitcode, output.read_text(), messages.read_text())
