"""The product with workers that die where a test wants them to.

``python -m tests.chaos.crashing api|worker`` runs a command. A worker looks into the folder that
``CRASH_FOLDER`` names, for a file with the tenant's name that says ``ACTIVITY BOUNDARY``: there it
kills itself, once. It is started again from a process that has everything loaded and only forks, so
that dying often does not take long.
"""

import ctypes
import functools
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import psycopg
from psycopg.rows import DictRow
from sqlalchemy import text

from activities.batches import BatchActivities
from activities.resting import RestingActivities
from activities.transfers import TransferActivities
from cli.main import run
from persistence.batch_statements import BatchStatements
from persistence.database import Database, UnitOfWork
from persistence.direct import DirectStatements
from runtime import composition  # noqa: F401 - what every worker loads
from runtime.child_launcher import PR_SET_PDEATHSIG
from workflows import transfer as transfer_workflow
from workflows.transfer_batch import TransferBatchWorkflow

FOLDER_VARIABLE: Final = "CRASH_FOLDER"
DONE_SUFFIX: Final = ".done"
ACTIVITIES: Final[Mapping[type, tuple[str, ...]]] = {
    TransferActivities: ("reserve_funds", "post_entries", "finalise", "compensate"),
    RestingActivities: ("schedule", "expire", "carry_out_operation"),
    BatchActivities: ("post_batch_chunks", "stop_batch"),
}
BATCH_STEPS: Final = {"_post": "post_batch_chunks", "_stop": "stop_batch"}
HAS_WRITTEN: Final = "SELECT pg_current_xact_id_if_assigned()"


class Boundary(StrEnum):
    """Where in an activity a worker can die."""

    BEFORE_TRANSACTION = "before_the_transaction"
    BEFORE_COMMIT = "before_commit"
    BEFORE_ANSWER = "after_commit_before_the_answer"
    BEFORE_TASK_COMPLETES = "before_the_workflow_task_completes"


@dataclass(frozen=True, slots=True)
class Work:
    """What is being done for whom."""

    tenant_id: UUID
    activity: str

    def die_if(self, boundary: Boundary) -> None:
        """Die where a test has asked for it and no other worker was first."""
        arm = Path(os.environ[FOLDER_VARIABLE]) / str(self.tenant_id)
        try:
            if arm.read_text() != f"{self.activity} {boundary}":
                return
            arm.rename(arm.with_suffix(DONE_SUFFIX))
        except FileNotFoundError:
            return
        os.kill(os.getpid(), signal.SIGKILL)

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
    setattr(transfer_workflow, "_attempt", _mined_attempt(transfer_workflow._attempt))  # noqa: B010, SLF001
    for method, name in BATCH_STEPS.items():
        setattr(
            TransferBatchWorkflow,
            method,
            _mined_batch_step(getattr(TransferBatchWorkflow, method), name),
        )


def _mined(activity: Callable[..., Awaitable[Any]], name: str) -> Callable[..., Awaitable[Any]]:
    @functools.wraps(activity)
    async def mined(self: object, argument: Any) -> Any:
        work = Work(_tenant_of(argument), name)
        _present.set(work)
        work.die_if(Boundary.BEFORE_TRANSACTION)
        result = await activity(self, argument)
        work.die_if(Boundary.BEFORE_ANSWER)
        return result

    return mined


def _mined_transaction(transaction: Any) -> Any:
    @asynccontextmanager
    async def mined(self: Database) -> AsyncIterator[UnitOfWork]:
        async with transaction(self) as unit_of_work:
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
    async def mined(self: DirectStatements, statement: str, parameters: Mapping[str, Any]) -> Any:
        work = _present.get()
        if work is None:
            return await one(self, statement, parameters)
        # A transaction around the one statement, so that there is a moment before its commit.
        connection = self._connection
        async with connection.transaction():
            row = await one(self, statement, parameters)
            await work.die_before_commit(lambda: _has_written(connection))
        return row

    return mined


async def _has_written(connection: psycopg.AsyncConnection[DictRow]) -> object | None:
    cursor = await connection.execute(HAS_WRITTEN)
    row = await cursor.fetchone()
    return None if row is None else next(iter(row.values()))


def _mined_attempt(attempt: Any) -> Any:
    async def mined(step: Any, argument: Any) -> Any:
        result = await attempt(step, argument)
        Work(_tenant_of(argument), step.__name__).die_if(Boundary.BEFORE_TASK_COMPLETES)
        return result

    return mined


def _mined_batch_step(step: Any, name: str) -> Any:
    async def mined(self: Any) -> Any:
        result = await step(self)
        Work(self._batch.tenant_id, name).die_if(Boundary.BEFORE_TASK_COMPLETES)
        return result

    return mined


def _tenant_of(argument: Any) -> UUID:
    """Find the tenant in an activity's argument."""
    for name in ("transfer", "batch"):
        argument = getattr(argument, name, argument)
    tenant_id: UUID = argument.tenant_id
    return tenant_id


def main(command: str) -> None:
    """Run a command; a worker again and again."""
    sys.argv[1:] = [command]
    if command != "worker":
        run()
    while True:
        child = os.fork()
        if not child:
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            plant()
            run()
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            sys.exit(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main(*sys.argv[1:])
