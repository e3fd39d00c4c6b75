"""Temporal as the API and the reconciliation see it for batches: start, wait, ask to stop, look."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.common import SearchAttributePair, TypedSearchAttributes, WorkflowIDConflictPolicy
from temporalio.common import WorkflowIDReusePolicy as ReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from activities.contracts import BatchKey, BatchProgress
from domain.batches import TransferBatch
from domain.ids import BatchId, TenantId, parse_batch_workflow_id
from workflows.search_attributes import BATCH_ID, TENANT_ID
from workflows.temporal_calls import (
    RPC_TIMEOUT,
    moment_in,
    moment_of,
    newest_runs,
    outcome_of,
    temporal_errors,
)
from workflows.transfer import WORKFLOW_TASK_TIMEOUT
from workflows.transfer_batch import TransferBatchWorkflow


@dataclass(frozen=True, slots=True)
class KnownBatch:
    """A batch that Temporal knows by its workflow.

    Parameters
    ----------
    told
        What its workflow ended with; ``None`` where it runs, or ended without an outcome.
    at
        When the workflow ended; where it runs, when it started.
    """

    tenant_id: TenantId
    id: BatchId
    told: BatchProgress | None
    at: datetime


class BatchGateway:
    """Starts the workflows of batches and waits for them.

    Notes
    -----
    Every call raises ``TemporalUnavailable`` where Temporal does not answer in time.
    """

    def __init__(self, client: Client, *, task_queue: str) -> None:
        self._client = client
        self._task_queue = task_queue

    async def start(self, batch: TransferBatch) -> None:
        """Start the workflow of a recorded batch, unless it has been started before."""
        await self._start(batch, ReusePolicy.REJECT_DUPLICATE)

    async def carry_on(self, batch: TransferBatch) -> None:
        """Start the workflow of a batch anew that completed, while the batch has not.

        Notes
        -----
        How far the batch is stands in the database, and the workflow goes on from there.
        """
        await self._start(batch, ReusePolicy.ALLOW_DUPLICATE)

    async def told(self, batch: TransferBatch) -> BatchProgress | None:
        """Read what the closed workflow of a batch ended with; ``None`` without an outcome."""
        return await outcome_of(self._client, batch.workflow_id, BatchProgress)

    async def known_since(self, moment: datetime) -> AsyncIterator[KnownBatch]:
        """Go through the batches whose workflow runs, or has ended since a time, of all tenants.

        Notes
        -----
        From Temporal's visibility store, which follows the truth with a small delay. Of a workflow
        that was started several times, the last run counts.
        """
        query = (
            "WorkflowType = 'TransferBatchWorkflow'"
            f" AND (ExecutionStatus = 'Running' OR CloseTime >= '{moment.isoformat()}')"
        )
        async for info in newest_runs(self._client, query):
            workflow_id = info.execution.workflow_id
            named = parse_batch_workflow_id(workflow_id)
            if named is None:
                continue
            closed_at = moment_in(info, "close_time")
            told = (
                None
                if closed_at is None
                else await outcome_of(self._client, workflow_id, BatchProgress)
            )
            yield KnownBatch(*named, told, closed_at or moment_of(info.start_time))

    async def _start(self, batch: TransferBatch, reuse: ReusePolicy) -> None:
        with suppress(WorkflowAlreadyStartedError), temporal_errors():
            await self._client.start_workflow(
                TransferBatchWorkflow.run,
                BatchKey(batch.tenant_id, batch.id),
                id=batch.workflow_id,
                task_queue=self._task_queue,
                task_timeout=WORKFLOW_TASK_TIMEOUT,
                id_reuse_policy=reuse,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                search_attributes=TypedSearchAttributes(
                    [
                        SearchAttributePair(BATCH_ID, str(batch.id)),
                        SearchAttributePair(TENANT_ID, str(batch.tenant_id)),
                    ]
                ),
                rpc_timeout=RPC_TIMEOUT,
            )

    async def wait(self, batch: TransferBatch, *, seconds: float) -> None:
        """Wait for the end of a batch's workflow, for so long at most."""
        handle: WorkflowHandle[TransferBatchWorkflow, BatchProgress] = (
            self._client.get_workflow_handle(batch.workflow_id, result_type=BatchProgress)
        )
        with suppress(TimeoutError, WorkflowFailureError), temporal_errors():
            async with asyncio.timeout(seconds):
                await handle.result()

    async def cancel(self, batch: TransferBatch) -> None:
        """Tell a batch's workflow that it is to stop; one that has ended needs not know."""
        handle: WorkflowHandle[TransferBatchWorkflow, BatchProgress] = (
            self._client.get_workflow_handle(batch.workflow_id, result_type=BatchProgress)
        )
        try:
            with temporal_errors():
                await handle.signal(TransferBatchWorkflow.cancel, rpc_timeout=RPC_TIMEOUT)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
