"""The data folder of the embedded PostgreSQL: how it is made, with which settings it is served."""

import asyncio
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from runtime.child_process import Account, Launch, bare_environment, run_to_end
from runtime.local_errors import AlreadyRunningError, FolderError
from runtime.ports import LOOPBACK
from runtime.postgres_home import PostgresHome
from runtime.private_files import read_private_json, write_private_json

SUPERUSER = "postgres"
ROLE = "transfers"
DATABASE = "transfers"

INITDB_OPTIONS = (
    f"--username={SUPERUSER}",
    "--auth=scram-sha-256",
    "--encoding=UTF8",
    "--locale=C",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
    "--data-checksums",
)
# Durability is what this product is about: a commit here is as real as in production.
SERVER_SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "logging_collector": "off",
    # The details of an error hold the values of rows, and the log is no place for them.
    "log_error_verbosity": "terse",
    "log_line_prefix": "%m [%p] ",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
PASSWORD_BYTES = 24
INITDB_SECONDS = 120.0
# How long a server whose supervisor was killed may take for its own shutdown.
PREDECESSOR_SECONDS = 30.0
POLL_SECONDS = 0.1

_PID_FILE = "postmaster.pid"
_PID_FILE_STATUS_LINE = 7


def server_command(home: PostgresHome, port: int) -> tuple[str, ...]:
    """Give the command that serves a data folder on a port."""
    settings = [f"--{name}={value}" for name, value in SERVER_SETTINGS.items()]
    return (str(home.programs / "postgres"), "-D", str(home.data), f"--port={port}", *settings)


def load_passwords(home: PostgresHome) -> dict[str, str]:
    """Read the passwords of the two roles; make them for a folder that has no data yet.

    Raises
    ------
    FolderError
        There is data, but the file of its passwords is gone or not readable.
    """
    passwords = read_private_json(home.credentials)
    if passwords is not None:
        return passwords
    if home.data.exists():
        raise FolderError(
            f"{home.credentials} is missing, and with it the passwords of the data in {home.data}. "
            f"Put it back, or remove {home.folder} to begin anew without that data."
        )
    passwords = {role: secrets.token_urlsafe(PASSWORD_BYTES) for role in (SUPERUSER, ROLE)}
    write_private_json(home.credentials, passwords)
    return passwords


async def create_data(home: PostgresHome, superuser_password: str, log_path: Path) -> None:
    """Make the data folder; it appears only when it is whole.

    Parameters
    ----------
    home
        Where.
    superuser_password
        Password of the role `postgres`.
    log_path
        The server's log; the output of initdb goes beside it.

    Raises
    ------
    PartFailedError
        initdb failed.
    """
    unfinished = home.data.with_name("data.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(mode=0o700)
    _hand_over(unfinished, home.account)
    with _password_file(home, superuser_password) as password_file:
        launch = Launch(
            command=(
                *(str(home.programs / "initdb"), "-D", str(unfinished)),
                *(f"--pwfile={password_file}", *INITDB_OPTIONS),
            ),
            log_path=log_path.with_name("initdb.log"),
            environment=bare_environment(),
            folder=home.folder,
            account=home.account,
        )
        await run_to_end("initdb", launch, timeout_seconds=INITDB_SECONDS)
    unfinished.rename(home.data)
    _sync_folder(home.folder)


async def wait_until_unused(data: Path) -> None:
    """Make sure that no server uses a data folder; wait for one that is stopping.

    Raises
    ------
    AlreadyRunningError
        A server runs on it.
    """
    deadline = time.monotonic() + PREDECESSOR_SECONDS
    while (pid := _live_server(data)) is not None:
        if not _is_stopping(data) or time.monotonic() > deadline:
            raise AlreadyRunningError(
                f"A PostgreSQL server (pid {pid}) already runs on {data}. "
                "Stop it, or choose another data folder with --data-dir."
            )
        await asyncio.sleep(POLL_SECONDS)


def forget_stale_server(data: Path) -> None:
    """Remove the pid file of a server that is gone where its number is now another process's.

    Notes
    -----
    PostgreSQL itself forgives a file that names no process, but refuses to start when the number
    lives, as it does after each restart of a container. Sessions left of the former server still
    protect the data: PostgreSQL finds their shared memory without the file.
    """
    pid = _named_pid(data)
    if pid is not None and psutil.pid_exists(pid) and _live_server(data) is None:
        (data / _PID_FILE).unlink(missing_ok=True)


def _live_server(data: Path) -> int | None:
    pid = _named_pid(data)
    if pid is None:
        return None
    try:
        command = psutil.Process(pid).cmdline()
    except psutil.NoSuchProcess:
        return None
    return pid if str(data) in command else None


def _pid_file_lines(data: Path) -> list[str]:
    try:
        return (data / _PID_FILE).read_text().splitlines()
    except FileNotFoundError:
        return []


def _named_pid(data: Path) -> int | None:
    lines = _pid_file_lines(data)
    return int(lines[0]) if lines and lines[0].isdigit() else None


def _is_stopping(data: Path) -> bool:
    lines = _pid_file_lines(data)
    # No lines: it has just finished.
    return len(lines) <= _PID_FILE_STATUS_LINE or lines[_PID_FILE_STATUS_LINE].strip() == "stopping"


@contextmanager
def _password_file(home: PostgresHome, password: str) -> Iterator[Path]:
    descriptor, name = tempfile.mkstemp(dir=home.folder)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(f"{password}\n")
        _hand_over(Path(name), home.account)
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def _hand_over(path: Path, account: Account | None) -> None:
    if account is not None:
        os.chown(path, account.uid, account.gid)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
