"""The ``transfers`` command in processes that need not load it: they fork from one that has."""

import multiprocessing
import os
import sys
from collections.abc import Mapping, Sequence
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Final

from cli.main import run

LOADED: Final = (
    __name__,
    # What commands load when they run.
    "runtime.composition",
    "runtime.server",
    "runtime.verification",
    # What a process of the tests begins with, where they run in one.
    "pytest",
)


def forking() -> ForkServerContext:
    """Give what starts processes from one that has loaded the command."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(LOADED))
    return context


def start_command(
    arguments: Sequence[str], environment: Mapping[str, str], output: Path, messages: Path
) -> ForkServerProcess:
    """Start a command whose standard output and error go to files."""
    process = forking().Process(
        target=_become, args=(list(arguments), dict(environment), output, messages), daemon=True
    )
    process.start()
    return process


def _become(
    arguments: list[str], environment: dict[str, str], output: Path, messages: Path
) -> None:
    """Do what the interpreter does at its start, and run the command."""
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["transfers", *arguments]
    for descriptor, path in ((1, output), (2, messages)):
        target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(target, descriptor)
        os.close(target)
    run()
