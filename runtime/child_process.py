"""Child processes of the local stack: how they start, how they end, what they left in their log."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from runtime import child_launcher
from runtime.local_errors import PartFailedError

LOG_LIMIT_BYTES = 20_000_000
LOG_TAIL_LINES = 15
LOG_TAIL_BYTES = 16_000
SUCCESS = "ended with exit code 0"


@dataclass(frozen=True, slots=True)
class Account:
    """A user of the operating system that a child runs as, without further groups."""

    uid: int
    gid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """A command and its surroundings.

    Parameters
    ----------
    command
        The program's absolute path and its arguments.
    log_path
        File that takes its output, after what is there already.
    environment
        Its whole environment.
    folder
        Its working folder; ours where none is given.
    account
        Whom it runs as; as ourselves where none is given. Another takes root.
    death_signal
        What it receives when the thread that started it, and so the supervisor, dies (Linux only).
    """

    command: tuple[str, ...]
    log_path: Path
    environment: Mapping[str, str]
    folder: Path | None = None
    account: Account | None = None
    death_signal: signal.Signals = signal.SIGKILL


class ChildProcess:
    """One running child, leader of a session of its own.

    A session of its own keeps the terminal's Ctrl-C for the supervisor alone, which then stops its
    children in order.
    """

    def __init__(
        self, process: asyncio.subprocess.Process, log_path: Path, log_offset_bytes: int
    ) -> None:
        self._process = process
        self._swept = False
        self._log_path = log_path
        self._log_offset_bytes = log_offset_bytes

    @classmethod
    async def start(cls, launch: Launch) -> "ChildProcess":
        """Start a child.

        Notes
        -----
        To be called from a thread that lives as long as the supervisor, such as the main one:
        Linux ties a child to the life of the thread that started it.
        """
        account = launch.account
        identity = (str(account.uid), str(account.gid)) if account else (child_launcher.KEEP,) * 2
        launch.log_path.parent.mkdir(mode=0o700, exist_ok=True)
        _roll(launch.log_path)
        with launch.log_path.open("ab") as log:
            log_offset_bytes = log.tell()
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", child_launcher.__file__),
                *(str(os.getpid()), str(launch.death_signal.value), *identity),
                *launch.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=dict(launch.environment),
                cwd=launch.folder,
                start_new_session=True,
            )
        return cls(process, launch.log_path, log_offset_bytes)

    @property
    def pid(self) -> int:
        """Its process id; the launcher hands it on to the command."""
        return self._process.pid

    @property
    def ended(self) -> bool:
        """Whether it is gone."""
        return self._process.returncode is not None

    async def wait(self) -> str:
        """Wait for its end, and say how it ended: by which exit code or signal."""
        code = await self._process.wait()
        self._sweep()
        if code == 0:
            return SUCCESS
        if code > 0:
            return f"ended with exit code {code}"
        return f"was killed by {signal.Signals(-code).name}"

    async def stop(
        self,
        ask: signal.Signals,
        *,
        grace_seconds: float,
        insist: signal.Signals = signal.SIGKILL,
        insist_seconds: float = 5.0,
    ) -> None:
        """Ask it to end, then insist, then kill it; returns when it is gone.

        Parameters
        ----------
        ask
            The signal that asks.
        grace_seconds
            How long the asking may take.
        insist
            The signal that insists.
        insist_seconds
            How long the insisting may take before SIGKILL.
        """
        for number, seconds in ((ask, grace_seconds), (insist, insist_seconds)):
            self._signal(number)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self.wait()
                return
        await self.kill()

    async def kill(self) -> None:
        """End it as a power cut would; returns when it is gone."""
        self._signal(signal.SIGKILL)
        await self.wait()

    def log_tail(self) -> str:
        """Give the last lines that it wrote to its log."""
        return _log_tail(self._log_path, self._log_offset_bytes)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    def _sweep(self) -> None:
        # What the child itself started must not outlive it, nor keep its port. Once only: later on
        # the number may be another's.
        if self._swept:
            return
        self._swept = True
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)


def bare_environment() -> dict[str, str]:
    """Give an environment without the person's own settings, such as PG* variables and secrets."""
    # What Python itself may need to start, for the launcher is the child's first program.
    kept = {key: os.environ[key] for key in ("LD_LIBRARY_PATH",) if key in os.environ}
    return {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC", **kept}


async def run_to_end(name: str, launch: Launch, *, timeout_seconds: float) -> None:
    """Run a command to its end.

    Raises
    ------
    PartFailedError
        It failed, or took too long and was killed.
    """
    child = await ChildProcess.start(launch)
    try:
        async with asyncio.timeout(timeout_seconds):
            ending = await child.wait()
    except TimeoutError:
        ending = f"did not finish within {timeout_seconds:g} s"
    finally:
        if not child.ended:
            await child.kill()
    if ending != SUCCESS:
        raise PartFailedError(name, ending, log_path=launch.log_path, log_tail=child.log_tail())


def _log_tail(path: Path, offset_bytes: int) -> str:
    try:
        with path.open("rb") as log:
            size = log.seek(0, os.SEEK_END)
            log.seek(max(offset_bytes, size - LOG_TAIL_BYTES))
            text = log.read().decode(errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join(f"  {line}" for line in text.splitlines()[-LOG_TAIL_LINES:])


def _roll(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_size > LOG_LIMIT_BYTES:
            path.replace(path.with_name(f"{path.name}.1"))
