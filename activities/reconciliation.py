"""Transfers and batches whose workflow is gone, brought to their one right end."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Protocol, TypeAlias

import structlog
from temporalio import activity

from activities.contracts import BatchProgress, ReconciliationReport, ReconciliationSteps
from domain.batches import BatchStage, TransferBatch
from domain.errors import (
    BatchCancelled,
    BatchRejected,
    BatchWorkflowTerminated,
    DatabaseUnavailable,
    WorkflowTerminated,
)
from domain.states import ProcessState
from domain.transfers import Failure, Transfer
from services.batch_posting import BatchPostingService
from services.batches import BatchService
from services.transactions import TransactionService
from services.workflow_census import ClosedStatus, OpenWorkflowIds, WorkflowCensus

IDLE_SECONDS: Final = 5.0
"""A transfer that moved more recently is left to its workflow."""

RUN_SECONDS: Final = 45.0
"""After so long a run ends where it is, within its activity's time; the next one goes on."""

TakeSample: TypeAlias = Callable[[], Awaitable[bool]]
"""Keeps the figures of this moment for the overview, where it is time for that."""

CarryOn: TypeAlias = Callable[[str], Awaitable[None]]
"""Starts the workflow of an id anew that completed, while its transfer has not."""

COMPLETED: Final = "COMPLETED"
"""What ``closed_status`` says where a workflow has ended as it should."""

NOT_FOUND: Final = "NOT_FOUND"
"""What ``closed_status`` says where Temporal knows no such workflow."""


REJECTED_BEFORE: Final = Failure(
    BatchRejected.code, "The batch was rejected, before the database was restored to earlier."
)
"""Which rows were to blame is not known any more."""


class BatchWorkflows(Protocol):
    """The workflows of batches, as the reconciliation sees them."""

    async def start(self, batch: TransferBatch) -> None:
        """Start the workflow of a batch that never had one."""

    async def carry_on(self, batch: TransferBatch) -> None:
        """Start the workflow of a batch anew that completed, while the batch has not."""

    async def told(self, batch: TransferBatch) -> BatchProgress | None:
        """Read what the closed workflow of a batch ended with."""


class ReconciliationActivities(ReconciliationSteps):
    """Compares the database's unfinished transfers with Temporal's workflows."""

    def __init__(
        self,
        transactions: TransactionService,
        batches: BatchService,
        batch_posting: BatchPostingService,
        *,
        closed_status: ClosedStatus,
        open_workflow_ids: OpenWorkflowIds,
        batch_workflows: BatchWorkflows,
        carry_on: CarryOn,
        take_sample: TakeSample,
    ) -> None:
        self._transactions = transactions
        self._batches = batches
        self._batch_posting = batch_posting
        self._batch_workflows = batch_workflows
        self._carry_on = carry_on
        self._take_sample = take_sample
        self._closed_status = closed_status
        self._open_workflow_ids = open_workflow_ids

    @activity.defn(name="resolve_abandoned_transfers")
    async def resolve_abandoned_transfers(self) -> ReconciliationReport:
        """See ``ReconciliationSteps.resolve_abandoned_transfers``.

        Notes
        -----
        Safe beside any step that may still run: ``TransactionService.compensate`` decides under
        the transfer's lock. A sample comes last, and holds nothing up: a repeat takes no other one.
        """
        report = await self._resolve_all()
        try:
            await self._take_sample()
        except DatabaseUnavailable as error:
            structlog.get_logger("reconciliation").warning("sample_not_taken", reason=error.message)
        return report

    async def _resolve_all(self) -> ReconciliationReport:
        census = WorkflowCensus(
            closed_status=self._closed_status, open_workflow_ids=self._open_workflow_ids
        )
        deadline = asyncio.get_running_loop().time() + RUN_SECONDS
        examined = resolved = 0
        async for transfer in self._transactions.unfinished(idle_seconds=IDLE_SECONDS):
            if asyncio.get_running_loop().time() > deadline:
                return ReconciliationReport(examined, resolved, is_complete=False)
            examined += 1
            status = await census.closed_status(transfer.workflow_id)
            if status is not None:
                await self._resolve(transfer, status)
                resolved += 1
        async for batch in self._batches.unfinished(idle_seconds=IDLE_SECONDS):
            examined += 1
            resolved += await self._resolve_batch(batch)
        return ReconciliationReport(examined=examined, resolved=resolved)

    async def _resolve(self, transfer: Transfer, status: str) -> None:
        """Bring a transfer without a workflow to its right end.

        Notes
        -----
        A workflow completes only after its transfer has. Where the database knows less, it was
        restored to an earlier time, and the transfer goes on from there, to what clients were told.
        """
        if status == COMPLETED:
            now = await self._transactions.get(transfer.tenant_id, transfer.id)
            if not now.is_final:
                await self._carry_on(now.workflow_id)
        else:
            await self._transactions.compensate(
                transfer.tenant_id, transfer.id, Failure.of(WorkflowTerminated(status))
            )

    async def _resolve_batch(self, batch: TransferBatch) -> bool:
        """Bring a batch without a workflow to its right end; start one that never had any."""
        status = await self._closed_status(batch.workflow_id)
        if status is None:
            return False
        if status == NOT_FOUND and batch.stage is BatchStage.STAGED:
            # Temporal was away when the batch was recorded.
            await self._batch_workflows.start(batch)
        elif status == COMPLETED:
            await self._follow_batch(batch)
        else:
            terminated = Failure.of(BatchWorkflowTerminated(status))
            await self._batch_posting.stop(batch.tenant_id, batch.id, terminated)
        return True

    async def _follow_batch(self, batch: TransferBatch) -> None:
        """Bring a batch to where its workflow, which completed, has told that it was.

        Notes
        -----
        As for transfers: the database was restored to an earlier time, and the batch goes on from
        there. What was told to be stopped, or rejected, moves nothing that had not moved then.
        """
        now = await self._batches.get(batch.tenant_id, batch.id)
        told = await self._batch_workflows.told(now)
        if now.is_final:
            return
        if told is None or told.state is ProcessState.SUCCESS:
            await self._batch_workflows.carry_on(now)
        elif told.stage is BatchStage.REJECTED:
            await self._batch_posting.stop(now.tenant_id, now.id, REJECTED_BEFORE)
        else:
            await self._repeat_stopped(now, told.position)

    async def _repeat_stopped(self, batch: TransferBatch, position: int) -> None:
        """Post a batch up to where it was stopped, and stop it there."""
        now = batch
        while not now.is_final and now.position < position:
            now = await self._batch_posting.post(
                now.tenant_id, now.id, chunks=1, on_chunk=lambda _posted: None
            )
        cancelled = Failure.of(BatchCancelled())
        await self._batch_posting.stop(now.tenant_id, now.id, cancelled)
