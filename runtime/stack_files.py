"""Files of a local stack's data folder: where it runs, its keys, and the lock that it holds."""

import contextlib
import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from runtime.local_errors import AlreadyRunningError, FolderError
from runtime.postgres_home import SHARED_FOLDER, make_data_folder, moved_home
from runtime.private_files import read_private_json, write_private_json

STACK_FILE = "stack.json"
KEYS_FILE = "keys.json"
LOCK_FILE = "stack.lock"


@dataclass(frozen=True, slots=True)
class BootstrapKeys:
    """The two API keys of a local stack.

    Parameters
    ----------
    api_key
        Has every scope but the operators'.
    operator_key
        Has all scopes.
    """

    api_key: str = field(repr=False)
    operator_key: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class StackInfo:
    """Where a running local stack is to be found: the content of ``stack.json``.

    Parameters
    ----------
    database_url
        For the owner of the tables, who migrates and sees all.
    service_database_url
        For the role that API and worker have, which sees one tenant at a time.
    reader_database_url
        For the role that sees all and changes nothing.
    """

    api_url: str
    console_url: str
    temporal_ui_url: str
    temporal_address: str
    temporal_namespace: str
    database_url: str = field(repr=False)
    service_database_url: str = field(default="", repr=False)
    reader_database_url: str = field(default="", repr=False)
    api_key: str = field(repr=False)
    operator_key: str = field(repr=False)
    pids: Mapping[str, int]


def write_stack_file(data_dir: Path, info: StackInfo) -> None:
    """Write ``stack.json``, readable by its owner alone, in one step."""
    write_private_json(data_dir / STACK_FILE, asdict(info))


def read_stack_file(data_dir: Path) -> StackInfo | None:
    """Read ``stack.json``; None where no stack has written one.

    Raises
    ------
    FolderError
        It cannot be read by this user.

    Notes
    -----
    A stack that was killed leaves its file behind, until the next one starts.
    """
    content = read_private_json(data_dir / STACK_FILE)
    return None if content is None else StackInfo(**content)


def remove_stack_file(data_dir: Path) -> None:
    """Remove ``stack.json``: no stack runs here."""
    (data_dir / STACK_FILE).unlink(missing_ok=True)


def load_keys(data_dir: Path, system_identifier: int) -> BootstrapKeys | None:
    """Read the keys of an earlier start; None where the database is not the one they belong to."""
    content = read_private_json(data_dir / KEYS_FILE)
    if content is None or content["system_identifier"] != system_identifier:
        return None
    return BootstrapKeys(content["api_key"], content["operator_key"])


def save_keys(data_dir: Path, system_identifier: int, keys: BootstrapKeys) -> None:
    """Keep the keys for later starts, with the database they belong to."""
    content = asdict(keys) | {"system_identifier": system_identifier}
    write_private_json(data_dir / KEYS_FILE, content)


@contextlib.contextmanager
def hold_stack_lock(data_dir: Path, *, api_url: str) -> Iterator[None]:
    """Keep a data folder for one stack.

    Parameters
    ----------
    data_dir
        The folder.
    api_url
        Told to those who come while it is held.

    Raises
    ------
    FolderError
        The lock belongs to another user.
    AlreadyRunningError
        Another stack holds it.

    Notes
    -----
    The operating system lets go of the lock when the process ends, however it ends.
    """
    path = data_dir / LOCK_FILE
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise FolderError(f"{path} cannot be opened: {error.strerror}.") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _already_running(data_dir) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps({"pid": os.getpid(), "api_url": api_url}).encode(), 0)
        yield
        os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def throwaway_data_dir() -> Iterator[Path]:
    """Give a data folder for a stack that leaves nothing behind: for tests and the demo."""
    data_dir = Path(tempfile.mkdtemp(prefix="transfers-")) / "local"
    if os.geteuid() == 0:
        # mkdtemp's folder is ours and new; the server's account has to pass through it.
        data_dir.parent.chmod(0o711)
    try:
        make_data_folder(data_dir)
        yield data_dir
    finally:
        moved = moved_home(data_dir)
        for folder in (moved, data_dir.parent):
            if folder is not None:
                shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            # Only where it is empty.
            SHARED_FOLDER.rmdir()


def _already_running(data_dir: Path) -> AlreadyRunningError:
    try:
        holder = json.loads((data_dir / LOCK_FILE).read_text())
        who = f"pid {holder['pid']}, {holder['api_url']}"
    except (OSError, ValueError):
        # It has taken the lock, but has not said who it is yet, or to another user only.
        who = "just started, or another user's"
    return AlreadyRunningError(
        f"A local stack already runs on {data_dir} ({who}). "
        "Stop it, or choose another data folder with --data-dir."
    )
