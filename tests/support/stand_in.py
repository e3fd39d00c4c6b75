"""Tiny stand-ins for this project's commands, to test the local stack by itself.

``python -m tests.support.stand_in api|worker|migrate|broken`` plays one command;
``python -m tests.support.stand_in stack DATA_DIR`` supervises a stack of them, as `transfers dev`.
"""

import asyncio
import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

from runtime.local_errors import LocalStackError
from runtime.local_stack import LocalStack, run_local_stack
from runtime.stack_files import BootstrapKeys
from runtime.stack_options import LocalStackOptions, StackCommands

BROKEN_WORDS = "this stand-in is broken"


def command(name: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "tests.support.stand_in", name)


def commands(**others: tuple[str, ...]) -> StackCommands:
    names = {name: command(name) for name in ("migrate", "api", "worker")}
    return StackCommands(**(names | others))


class KeyMaker:
    """Makes keys that tell how often it was asked."""

    def __init__(self) -> None:
        self.calls = 0

    async def __call__(self, database_url: str) -> BootstrapKeys:
        assert database_url.startswith("postgresql://transfers_service:")
        self.calls += 1
        return BootstrapKeys(f"api-{self.calls}", f"operator-{self.calls}")


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path in {"/readyz", "/environment"} else 404)
        self.end_headers()
        self.wfile.write(json.dumps(dict(os.environ)).encode())

    def log_message(self, *_arguments: Any) -> None:
        """Keep quiet."""


def _serve() -> None:
    address = (os.environ["API_HOST"], int(os.environ["API_PORT"]))
    HTTPServer(address, _Handler).serve_forever()


async def _supervise(data_dir: Path) -> int:
    options = LocalStackOptions.on_free_ports(data_dir)
    stack = LocalStack(options, bootstrap=KeyMaker(), report=_print, commands=commands())
    try:
        await run_local_stack(stack, on_ready=lambda info: _print(f"ready {dict(info.pids)}"))
    except LocalStackError as error:
        _print(str(error))
        return 1
    return 0


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main(name: str, *arguments: str) -> None:
    if name == "api":
        _serve()
    elif name == "worker":
        time.sleep(3600)
    elif name == "broken":
        sys.exit(BROKEN_WORDS)
    elif name == "stack":
        sys.exit(asyncio.run(_supervise(Path(arguments[0]))))


if __name__ == "__main__":
    main(*sys.argv[1:])
