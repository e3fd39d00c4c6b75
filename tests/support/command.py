"""The ``transfers`` command as a process, the way a person runs it."""

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

COMMAND_SECONDS = 60
OWN_VARIABLES = (
    "DATABASE_URL",
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
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "cli.main", *map(str, arguments)),
            env=self._environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(COMMAND_SECONDS):
                output, messages = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        ending = Ending(process.returncode or 0, output.decode(), messages.decode())
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
