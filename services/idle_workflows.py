"""Workflows that run although their transfer or batch is final."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from domain.ids import BatchId, TenantId, parse_uuid
from persistence.database import Database
from persistence.proofs import FoundViolation
from persistence.reconciliation import FinishedWork
from services.transactions import TransactionService
from services.workflow_census import ClosedStatus, OpenWorkflowIds, WorkflowCensus

WORKFLOWS: Final = "workflows"
"""Name of the proof that this and the transfers without a workflow are."""

PAUSE_SECONDS: Final = 60.0
"""How often all open workflows are looked at."""

SETTLED_SECONDS: Final = 30.0
"""A workflow ends within moments of its transfer; after so long it is asked to."""

STUCK_SECONDS: Final = 300.0
"""After so long it has been asked several times: that is for people to look at."""

ABANDONED_SECONDS: Final = 120.0
"""A transfer that has rested so long without a workflow should have been ended long ago."""

PAGE_SIZE: Final = 500
WORKFLOWS_INVARIANT: Final = 7
_UUID_LENGTH: Final = 36

CancelWorkflow = Callable[[str], Awaitable[None]]
"""Asks the workflow of an id to end; one that is closed needs not hear it."""


@dataclass(frozen=True, slots=True)
class IdleReport:
    """What a look at all open workflows found.

    Parameters
    ----------
    asked
        How many were asked to end.
    """

    examined: int
    asked: int
    violations: tuple[FoundViolation, ...]


class IdleWorkflowService:
    """Asks workflows to end whose work is done, and tells what database and Temporal disagree on.

    Parameters
    ----------
    closed_status
        Tells how a workflow was closed; ``None`` while it is open.
    open_workflow_ids, open_batch_workflow_ids
        Go through the open workflows of transfers, and of batches.
    """

    def __init__(
        self,
        database: Database,
        transactions: TransactionService,
        *,
        closed_status: ClosedStatus,
        open_workflow_ids: OpenWorkflowIds,
        open_batch_workflow_ids: OpenWorkflowIds,
        cancel: CancelWorkflow,
    ) -> None:
        self._database = database
        self._transactions = transactions
        self._closed_status = closed_status
        self._open_workflow_ids = open_workflow_ids
        self._open_batch_workflow_ids = open_batch_workflow_ids
        self._cancel = cancel

    async def end_idle(self) -> IdleReport | None:
        """Look at all open workflows, unless that was done a moment ago.

        Raises
        ------
        DatabaseUnavailable, TemporalUnavailable
            The next run begins again.

        Notes
        -----
        A cancel is safe for any transfer that is final: its workflow reads that from the database
        and ends.
        """
        async with self._database.transaction() as unit_of_work:
            walk = await unit_of_work.proofs.walk(WORKFLOWS)
            age = await unit_of_work.proofs.age(WORKFLOWS)
            # What was just made has not looked yet.
            progress = {found.name: found for found in await unit_of_work.proofs.progress()}
        is_recent = age is not None and age.total_seconds() < PAUSE_SECONDS
        if is_recent and progress[WORKFLOWS].completed_at is not None:
            return None
        report = await self._look()
        async with self._database.transaction() as unit_of_work:
            await unit_of_work.proofs.record(WORKFLOWS, report.violations)
            await unit_of_work.proofs.advance(walk, position=None, examined=report.examined)
        return report

    async def _look(self) -> IdleReport:
        examined = asked = 0
        violations: list[FoundViolation] = []
        async for page in _pages(self._open_workflow_ids()):
            examined += len(page)
            asked += await self._end(await self._finished_transfers(page), violations)
        async for page in _pages(self._open_batch_workflow_ids()):
            examined += len(page)
            asked += await self._end(await self._finished_batches(page), violations)
        census = WorkflowCensus(
            closed_status=self._closed_status, open_workflow_ids=self._open_workflow_ids
        )
        async for transfer in self._transactions.unfinished(idle_seconds=ABANDONED_SECONDS):
            examined += 1
            status = await census.closed_status(transfer.workflow_id)
            if status is not None:
                message = f"is {transfer.state}, and its workflow is {status}"
                violations.append(
                    FoundViolation(WORKFLOWS_INVARIANT, f"transfer {transfer.id}", message)
                )
        return IdleReport(examined, asked, tuple(violations))

    async def _finished_transfers(self, page: Sequence[str]) -> list[FinishedWork]:
        named = [
            (workflow_id, TenantId(tenant_id), workflow_id[_UUID_LENGTH + 1 :])
            for workflow_id in page
            if (tenant_id := parse_uuid(workflow_id[:_UUID_LENGTH])) is not None
        ]
        async with self._database.reading() as unit_of_work:
            return await unit_of_work.reconciliation.finished_transfers(named)

    async def _finished_batches(self, page: Sequence[str]) -> list[FinishedWork]:
        named = [
            (workflow_id, BatchId(UUID(workflow_id.rpartition("/")[2]))) for workflow_id in page
        ]
        async with self._database.reading() as unit_of_work:
            return await unit_of_work.reconciliation.finished_batches(named)

    async def _end(self, finished: Sequence[FinishedWork], violations: list[FoundViolation]) -> int:
        """Ask workflows to end whose work has been done for a while; the list lags a little."""
        asked = 0
        for work in finished:
            if work.seconds < SETTLED_SECONDS:
                continue
            if await self._closed_status(work.workflow_id) is not None:
                continue
            await self._cancel(work.workflow_id)
            asked += 1
            if work.seconds > STUCK_SECONDS:
                message = f"is {work.state}, and its workflow still runs"
                violations.append(FoundViolation(WORKFLOWS_INVARIANT, work.subject, message))
        return asked


async def _pages(ids: AsyncIterator[str]) -> AsyncIterator[list[str]]:
    page: list[str] = []
    async for workflow_id in ids:
        page.append(workflow_id)
        if len(page) == PAGE_SIZE:
            yield page
            page = []
    if page:
        yield page
