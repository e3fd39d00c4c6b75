"""Temporal as the API sees it for batches: start, wait, ask to stop."""

import asyncio
from contextlib import suppress

from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.common import SearchAttributePair, TypedSearchAttributes, WorkflowIDConflictPolicy
from temporalio.common import WorkflowIDReusePolicy as ReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from activities.contracts import BatchKey, BatchProgress
from domain.batches import TransferBatch
from workflows.search_attributes import BATCH_ID, TENANT_ID
from workflows.temporal_calls import RPC_TIMEOUT, temporal_errors
from workflows.transfer import WORKFLOW_TASK_TIMEOUT
from workflows.transfer_batch import TransferBatchWorkflow


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
        with suppress(WorkflowAlreadyStartedError), temporal_errors():
            await self._client.start_workflow(
                TransferBatchWorkflow.run,
                BatchKey(batch.tenant_id, batch.id),
                id=batch.workflow_id,
                task_queue=self._task_queue,
                task_timeout=WORKFLOW_TASK_TIMEOUT,
                id_reuse_policy=ReusePolicy.REJECT_DUPLICATE,
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
