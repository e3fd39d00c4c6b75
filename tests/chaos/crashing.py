"""The product with workers that die where a test wants them to.

``python -m tests.chaos.crashing api|worker`` runs a command. A worker looks into the folder that
``CRASH_FOLDER`` names for a mine: a file that names a subject, an activity and a boundary. There it
kills itself, once. The subject is whom an activity is for: a tenant, a standing order, or, of an
activity for all of them, its workflow's id. The worker is started again from a process that has
everything loaded and only forks, so that dying often does not take long.
"""

import ctypes
import functools
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, Self

import psycopg
from psycopg.rows import DictRow
from sqlalchemy import text
from temporalio import activity, workflow

from activities.batches import BatchActivities
from activities.ledger import LedgerCareActivities
from activities.reconciliation import ReconciliationActivities
from activities.resting import RestingActivities
from activities.standing_orders import StandingOrderActivities
from activities.transfers import TransferActivities
from cli.main import run
from domain.ids import TenantId
from persistence.batch_statements import BatchStatements
from persistence.database import Database, UnitOfWork
from persistence.direct import DirectStatements
from persistence.tenancy import Tenancy
from runtime import composition  # noqa: F401 - what every worker loads
from runtime.child_launcher import PR_SET_PDEATHSIG
from services.batch_posting import BatchPostingService
from workflows import ledger_care, reconciliation, standing_order

FOLDER_VARIABLE: Final = "CRASH_FOLDER"
DONE_SUFFIX: Final = ".done"
ACTIVITIES: Final[Mapping[type, tuple[str, ...]]] = {
    TransferActivities: ("reserve_funds", "post_entries", "finalise", "compensate"),
    RestingActivities: ("schedule", "expire", "carry_out_operation"),
    BatchActivities: ("post_batch_chunks", "stop_batch"),
    ReconciliationActivities: ("resolve_abandoned_transfers",),
    LedgerCareActivities: ("seal_ledger", "resolve_leftovers", "prove_ledger_slices"),
    StandingOrderActivities: (
        "prepare_standing_order_run",
        "settle_standing_order_run",
        "reconcile_standing_orders",
    ),
}
LOST_AFTER: Final = timedelta(seconds=10)
"""After so long the server gives the attempt of a worker that died to another one; the product
lets it wait for up to a minute, which tests of what follows need not."""

CHUNK_ROWS: Final = 2
"""Of a batch, so that a small one has several chunks."""

HAS_WRITTEN: Final = "SELECT pg_current_xact_id_if_assigned()"


class Boundary(StrEnum):
    """Where in an activity a worker can die."""

    BEFORE_TRANSACTION = "before_the_transaction"
    BEFORE_COMMIT = "before_commit"
    BEFORE_ANSWER = "after_commit_before_the_answer"
    BEFORE_TASK_COMPLETES = "before_the_workflow_task_completes"


@dataclass(frozen=True, slots=True)
class Mine:
    """Where a worker is to die, once.

    Parameters
    ----------
    subject
        For whom it works then.
    """

    folder: Path
    subject: str
    activity: str
    boundary: Boundary

    @property
    def path(self) -> Path:
        """The file that says so."""
        return self.folder / f"{self.subject} {self.activity} {self.boundary}"

    @property
    def done_path(self) -> Path:
        """What the file becomes where a worker dies."""
        return self.path.with_name(self.path.name + DONE_SUFFIX)

    def arm(self, *, passes: int = 0) -> None:
        """Let the next worker die that comes there, after so many that pass."""
        draft = self.path.with_name(self.path.name + ".draft")
        draft.write_text(str(passes))
        draft.rename(self.path)

    def step_on(self) -> None:
        """Die where a test has asked for it and no other worker was first."""
        try:
            passes = int(self.path.read_text())
            if passes:
                self.arm(passes=passes - 1)
                return
            self.path.rename(self.done_path)
        except FileNotFoundError:
            return
        os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True, slots=True)
class Work:
    """What is being done for whom."""

    subject: str
    activity: str

    @classmethod
    def of(cls, name: str, arguments: Sequence[Any], workflow_id: str) -> Self:
        """Find out for whom an activity with such arguments works."""
        if not arguments:
            return cls(workflow_id, name)
        argument = arguments[0]
        for field in ("transfer", "batch"):
            argument = getattr(argument, field, argument)
        return cls(str(getattr(argument, "order_id", None) or argument.tenant_id), name)

    def die_if(self, boundary: Boundary) -> None:
        """Die where a test has asked for it."""
        folder = Path(os.environ[FOLDER_VARIABLE])
        Mine(folder, self.subject, self.activity, boundary).step_on()

    async def die_before_commit(self, has_written: Callable[[], Awaitable[object | None]]) -> None:
        """Die at the end of a transaction that has changed something."""
        if await has_written() is not None:
            self.die_if(Boundary.BEFORE_COMMIT)


_present: ContextVar[Work | None] = ContextVar("present", default=None)


def plant() -> None:
    """Put the boundaries into this process."""
    for owner, names in ACTIVITIES.items():
        for name in names:
            setattr(owner, name, _mined(getattr(owner, name), name))
    setattr(Database, "transaction", _mined_transaction(Database.transaction))  # noqa: B010
    setattr(Database, "batching", _mined_batching(Database.batching))  # noqa: B010
    setattr(DirectStatements, "_one", _mined_statement(DirectStatements._one))  # noqa: B010, SLF001
    for call in (workflow.execute_activity_method, workflow.execute_local_activity_method):
        setattr(workflow, call.__name__, _mined_call(call))


def shorten() -> None:
    """Make batches and waits so small that tests can see their ends."""
    BatchPostingService.__init__.__kwdefaults__ = {"chunk_rows": CHUNK_ROWS}
    for module in (ledger_care, reconciliation, standing_order):
        setattr(module, "ATTEMPT_TIMEOUT", LOST_AFTER)  # noqa: B010


def _mined(step: Callable[..., Awaitable[Any]], name: str) -> Callable[..., Awaitable[Any]]:
    @functools.wraps(step)
    async def mined(self: object, *arguments: Any) -> Any:
        work = Work.of(name, arguments, activity.info().workflow_id or "")
        _present.set(work)
        work.die_if(Boundary.BEFORE_TRANSACTION)
        result = await step(self, *arguments)
        work.die_if(Boundary.BEFORE_ANSWER)
        return result

    return mined


def _mined_call(call: Any) -> Any:
    @functools.wraps(call)
    async def mined(step: Any, *arguments: Any, **options: Any) -> Any:
        result = await call(step, *arguments, **options)
        work = Work.of(step.__name__, arguments, workflow.info().workflow_id)
        work.die_if(Boundary.BEFORE_TASK_COMPLETES)
        return result

    return mined


def _mined_transaction(transaction: Any) -> Any:
    @asynccontextmanager
    async def mined(self: Database, tenancy: Tenancy) -> AsyncIterator[UnitOfWork]:
        async with transaction(self, tenancy) as unit_of_work:
            yield unit_of_work
            if (work := _present.get()) is not None:
                connection = unit_of_work._connection  # noqa: SLF001
                await work.die_before_commit(lambda: connection.scalar(text(HAS_WRITTEN)))

    return mined


def _mined_batching(batching: Any) -> Any:
    @asynccontextmanager
    async def mined(self: Database) -> AsyncIterator[BatchStatements]:
        async with batching(self) as statements:
            yield statements
            if (work := _present.get()) is not None:
                connection = statements._connection  # noqa: SLF001
                await work.die_before_commit(lambda: _has_written(connection))

    return mined


def _mined_statement(one: Any) -> Any:
    async def mined(
        self: DirectStatements,
        tenant_id: TenantId,
        statement: str,
        parameters: Mapping[str, Any],
    ) -> Any:
        work = _present.get()
        if work is None:
            return await one(self, tenant_id, statement, parameters)
        # A transaction around the one statement, so that there is a moment before its commit.
        connection = self._connection
        async with connection.transaction():
            row = await one(self, tenant_id, statement, parameters)
            await work.die_before_commit(lambda: _has_written(connection))
        return row

    return mined


async def _has_written(connection: psycopg.AsyncConnection[DictRow]) -> object | None:
    cursor = await connection.execute(HAS_WRITTEN)
    row = await cursor.fetchone()
    return None if row is None else next(iter(row.values()))


def main(command: str) -> None:
    """Run a command; a worker again and again."""
    sys.argv[1:] = [command]
    if command != "worker":
        run()
    while True:
        child = os.fork()
        if not child:
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            shorten()
            plant()
            run()
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            sys.exit(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main(*sys.argv[1:])
