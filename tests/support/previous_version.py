"""``python -m tests.support.previous_version --old REF``: the version before, on the schema of now.

Migrates a scratch database with the code here, then lets an older version's API and worker, out of
a worktree of their own, pass transfers of every kind on it, alone and beside the processes of this
version. Each version's own ``verify`` then proves the ledger. Ends with exit code 1 where anything
is not as it should be.

Each logs in as it does where it is deployed: as the service's role, which row-level security binds,
or as the tables' owner where the version is from before that role.
"""

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

from domain.access import DEFAULT_SCOPES
from persistence.database import Database
from runtime.child_process import Launch, run_to_end
from runtime.command_part import CommandPart
from runtime.composition import make_services
from runtime.migrations import head_revision
from runtime.ports import LOOPBACK, free_port
from runtime.stack_files import throwaway_data_dir
from tests.support.api import Client, new_key
from tests.support.batches import row, run_batch
from tests.support.postgres import PostgresServer, postgres_server
from tests.support.temporal import TemporalServer, temporal_server

ROOT = Path(__file__).resolve().parents[2]
VERIFY_SECONDS = 120.0
COMMAND = "from cli.main import run; run()"
# What code does that knows one schema only: without its look at the revision it can be tried too.
WITHOUT_REVISION = f"""
import runtime.migrations as migrations
async def pass_over(database): return None
migrations.schema_problem = migrations.require_current_schema = pass_over
{COMMAND}
"""
ROUNDS = 10


@dataclass(frozen=True, slots=True)
class Version:
    """A version's code, and where its servers are."""

    name: str
    folder: Path
    database_url: str
    temporal: TemporalServer
    logs: Path
    program: str = COMMAND

    @property
    def role(self) -> str | None:
        """The role of the database that it works as."""
        return urlsplit(self.database_url).username

    def environment(self, **more: str) -> dict[str, str]:
        """Run this version's code: its folder comes before what is installed."""
        return {
            **os.environ,
            "PYTHONPATH": str(self.folder),
            "DATABASE_URL": self.database_url,
            "TEMPORAL_ADDRESS": self.temporal.address,
            "TEMPORAL_NAMESPACE": self.temporal.namespace,
            **more,
        }

    @asynccontextmanager
    async def api(self, *, with_worker: bool = True) -> AsyncIterator[str]:
        """Serve its API; gives the URL."""
        port = free_port()
        url = f"http://{LOOPBACK}:{port}"
        part = CommandPart(
            "api",
            self._command("api"),
            environment=self.environment(
                API_HOST=LOOPBACK, API_PORT=str(port), RUN_WORKER_IN_API=str(with_worker)
            ),
            log_path=self.logs / f"{self.name}-api.log",
            port=port,
            ready_url=f"{url}/readyz",
        )
        await part.start()
        try:
            yield url
        finally:
            await part.stop()

    @asynccontextmanager
    async def worker(self) -> AsyncIterator[None]:
        """Run its worker."""
        log_path = self.logs / f"{self.name}-worker.log"
        part = CommandPart(
            "worker", self._command("worker"), environment=self.environment(), log_path=log_path
        )
        await part.start()
        try:
            yield
        finally:
            await part.stop()

    async def verify(self) -> None:
        """Prove the ledger as this version does."""
        launch = Launch(
            command=self._command("verify"),
            environment=self.environment(),
            log_path=self.logs / f"{self.name}-verify.log",
        )
        await run_to_end("verify", launch, timeout_seconds=VERIFY_SECONDS)

    def _command(self, name: str) -> tuple[str, ...]:
        return (sys.executable, "-P", "-c", self.program, name)


def url_for(folder: Path, server: PostgresServer, owner_url: str) -> str:
    """Give the URL that a version's processes log in with; a version without roles has one role."""
    if not (folder / "persistence" / "privileges.py").exists():
        return owner_url
    url = server.as_service(owner_url)
    _require(url != owner_url, "the service's role, which cannot be made on this server")
    return url


async def pass_transfers(client: Client) -> int:
    """Move money in every way that the contract has, and check each outcome; gives their number."""
    source, destination = [await client.account(balance=balance) for balance in (10_000, 0)]
    ends = {"source": source["id"], "destination": destination["id"]}
    for _ in range(ROUNDS):
        key = new_key()
        first = await client.post_transfer(key=key, currency="EUR", amount=7, **ends)
        again = await client.post_transfer(key=key, currency="EUR", amount=7, **ends)
        _require((first.status_code, again.status_code) == (201, 201), first.text)
        _require(first.json() == again.json(), again.text)
    refused = await client.post_transfer(key=new_key(), currency="EUR", amount=10**9, **ends)
    _require(refused.json()["code"] == "insufficient_funds", refused.text)
    held = await client.hold(amount=50, **ends)
    captured = await client.operate(held, "capture", amount=30, final=True)
    _require(captured.status_code == HTTPStatus.OK, captured.text)
    taken_back = await client.operate(held, "reversals", amount=10)
    _require(taken_back.status_code == HTTPStatus.CREATED, taken_back.text)
    await client.withdraw(source["id"], 100)
    batch = await run_batch(client, [row(1, **ends)])
    _require(batch["counts"]["succeeded"] == 1, str(batch))
    moved = 7 * ROUNDS + 30 - 10 + 1
    _require(await client.balance(destination) == (moved, 0), "the destination's balance")
    _require(await client.balance(source) == (10_000 - moved - 100, 0), "the source's balance")
    return ROUNDS + 8


async def run(old: Version, new: Version) -> int:
    """Pass transfers with the old version alone, then with each beside the other."""
    database = Database.at(new.database_url)
    access = make_services(database).access
    passed = 0
    try:
        for title, serving, working in (
            (f"{old.name} alone", old, old),
            (f"API of {old.name}, worker of {new.name}", old, new),
            (f"API of {new.name}, worker of {old.name}", new, old),
        ):
            async with AsyncExitStack() as opened:
                await opened.enter_async_context(working.worker())
                url = await opened.enter_async_context(serving.api(with_worker=serving is working))
                record, key = await access.create_key(
                    tenant_name=title, name="test", scopes=DEFAULT_SCOPES
                )
                client = await opened.enter_async_context(Client(url, key, record))
                passed += await pass_transfers(client)
                _say(f"{title}: passed")
        for version in (old, new):
            await version.verify()
            _say(f"{version.name} proves the ledger")
    finally:
        await database.close()
    return passed


def _require(is_right: bool, what: str) -> None:  # noqa: FBT001 - an assertion
    if not is_right:
        raise SystemExit(f"not as it should be: {what}")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


@asynccontextmanager
async def checked_out(ref: str) -> AsyncIterator[Path]:
    """Give a worktree of an older commit, for as long as the block lasts."""
    with tempfile.TemporaryDirectory(prefix="previous-") as folder:
        path = Path(folder) / "tree"
        _git("worktree", "add", "--detach", "--quiet", str(path), ref)
        try:
            yield path
        finally:
            _git("worktree", "remove", "--force", str(path))


def _git(*arguments: str) -> str:
    return subprocess.run(  # noqa: S603 - git, and what this file gives it
        ["git", *arguments],  # noqa: S607 - found on the path, as a developer's is
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()


async def main() -> None:
    """Check one pair of versions."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--old", required=True, metavar="REF", help="commit of the older version")
    parser.add_argument(
        "--ignore-revision",
        action="store_true",
        help="let code start that knows one schema only, from before 0007 said which it serves",
    )
    parser.add_argument("--keep-logs", type=Path, help="folder for the processes' logs")
    arguments = parser.parse_args()
    async with AsyncExitStack() as opened:
        folder = await opened.enter_async_context(checked_out(arguments.old))
        server = await opened.enter_async_context(postgres_server(_say))
        database_url = await opened.enter_async_context(server.database())
        temporal = await opened.enter_async_context(temporal_server())
        logs = arguments.keep_logs or opened.enter_context(throwaway_data_dir())
        name = _git("rev-parse", "--short", arguments.old)
        program = WITHOUT_REVISION if arguments.ignore_revision else COMMAND
        old, new = (
            Version(title, tree, url_for(tree, server, database_url), temporal, logs, code)
            for title, tree, code in ((name, folder, program), ("this version", ROOT, COMMAND))
        )
        roles = " and ".join(f"{each.name} as {each.role}" for each in (old, new))
        _say(f"{name} on a schema at {head_revision()}; {roles}")
        passed = await run(old, new)
    _say(f"{passed} transfers passed, none lost or doubled")


if __name__ == "__main__":
    asyncio.run(main())
