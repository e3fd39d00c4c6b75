"""Temporal as the API and the operators see it: start transfers, wait for them, look at them."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, cast

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import PendingActivityState
from temporalio.api.workflow.v1 import PendingActivityInfo
from temporalio.api.workflowservice.v1 import GetWorkflowExecutionHistoryRequest
from temporalio.client import (
    Client,
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.common import WorkflowIDReusePolicy as ReusePolicy
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from activities.contracts import FailureDetails, OperationInput, TransferInput, TransferProgress
from domain.errors import TemporalUnavailable
from domain.ids import TenantId, TransferId
from domain.ids import workflow_id as workflow_id_of
from domain.stuck import NOT_FOUND, OPEN_STATUSES
from workflows.payload_keys import PayloadUnreadable
from workflows.search_attributes import TENANT_ID, TRANSFER_ID, search_attributes_of
from workflows.temporal_calls import (
    RPC_TIMEOUT,
    converter_of,
    describe,
    listed,
    moment_in,
    moment_of,
    outcome_of,
    status_of,
    temporal_errors,
    told_last_failure,
)
from workflows.transfer import WORKFLOW_TASK_TIMEOUT, TransferWorkflow

QUERY_TIMEOUT: Final = timedelta(seconds=3)
ACCEPTANCE_SECONDS: Final = 1.0
"""How long an operation is given at least to be taken in."""

_CUT_SHORT: Final = "AcceptedUpdateCompletedWorkflow"
"""Temporal's own failure of an update whose workflow was ended while it carried it out."""
_CONTINUED: Final = "CONTINUED_AS_NEW"


class OperationRefused(Exception):
    """The workflow carried an operation out, and the database refused it."""

    def __init__(self, failure: FailureDetails) -> None:
        self.failure = failure
        super().__init__(failure.message)


class WorkflowClosed(Exception):
    """The key's workflow has already ended; the database knows how."""


@dataclass(frozen=True, slots=True)
class StartedTransfer:
    """A workflow that runs: just started, or found running.

    Parameters
    ----------
    is_in_process
        Its first task was handed to a worker of this process with the start.
    """

    handle: WorkflowHandle[TransferWorkflow, TransferProgress]
    is_in_process: bool


@dataclass(frozen=True, slots=True)
class PendingActivity:
    """An activity that Temporal is trying."""

    name: str
    state: str
    attempt: int
    last_failure: str | None
    next_attempt_at: datetime | None


@dataclass(frozen=True, slots=True)
class LiveWorkflow:
    """A workflow as Temporal sees it now.

    Parameters
    ----------
    stage
        The workflow's own answer; ``None`` where no worker answers.
    """

    workflow_id: str
    run_id: str
    status: str
    stage: str | None
    started_at: datetime
    closed_at: datetime | None
    history_length: int
    pending_activities: tuple[PendingActivity, ...]


@dataclass(frozen=True, slots=True)
class ClosedTransfer:
    """A workflow of a transfer that has ended.

    Parameters
    ----------
    outcome
        What it told; ``None`` where it failed, or was cancelled or terminated.
    """

    order: TransferInput
    outcome: TransferProgress | None
    closed_at: datetime


@dataclass(frozen=True, slots=True)
class OpenTransfer:
    """A workflow of a transfer that runs."""

    order: TransferInput
    started_at: datetime


class TransferGateway:
    """Starts and reads the workflows of transfers.

    Notes
    -----
    Every call raises ``TemporalUnavailable`` where Temporal does not answer in time.
    """

    def __init__(self, client: Client, *, task_queue: str) -> None:
        self._client = client
        self._task_queue = task_queue

    async def start(self, order: TransferInput, *, again: bool = False) -> StartedTransfer:
        """Start the workflow of an order's key, or find it running.

        Parameters
        ----------
        again
            Start anew although the key's workflow has ended. Only for a key under which the
            database has no transfer, or one that has not come to its end.

        Raises
        ------
        WorkflowClosed
            The key's workflow has ended.
        TemporalUnavailable
            No answer; the workflow may have started all the same.
        """
        try:
            with temporal_errors():
                handle = await self._client.start_workflow(
                    TransferWorkflow.run,
                    order,
                    id=workflow_id_of(TenantId(order.tenant_id), order.idempotency_key),
                    task_queue=self._task_queue,
                    id_reuse_policy=(
                        ReusePolicy.ALLOW_DUPLICATE if again else ReusePolicy.REJECT_DUPLICATE
                    ),
                    id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                    task_timeout=WORKFLOW_TASK_TIMEOUT,
                    search_attributes=search_attributes_of(order),
                    request_eager_start=True,
                    rpc_timeout=RPC_TIMEOUT,
                )
        except WorkflowAlreadyStartedError as error:
            raise WorkflowClosed from error
        # The SDK's own mark, which has no public name yet.
        eagerly_started: bool = getattr(handle, "__temporal_eagerly_started", False)
        return StartedTransfer(handle, eagerly_started)

    async def outcome(self, started: StartedTransfer) -> TransferProgress | None:
        """Wait for a workflow's end; ``None`` where it ended without an outcome."""
        try:
            with temporal_errors():
                return await started.handle.result()
        except WorkflowFailureError:
            return None

    async def operate(
        self, workflow_id: str, operation: OperationInput, *, wait_seconds: float
    ) -> bool:
        """Send an operation to a transfer's workflow, and wait until it is done.

        Each call is an update of its own: Temporal would keep a refusal for its update's ID, and
        what is refused now may be right later. The database knows the operation's key.

        Returns
        -------
        bool
            Whether it is done; else it is still under way after the wait.

        Raises
        ------
        OperationRefused
            The database's answer, with its code.
        WorkflowClosed
            The workflow has ended, perhaps in the middle of it; the database knows whether it was
            done.
        TemporalUnavailable
            No answer; the operation may still happen. The same key finds out.
        """
        handle: WorkflowHandle[TransferWorkflow, TransferProgress] = (
            self._client.get_workflow_handle(workflow_id, result_type=TransferProgress)
        )
        seconds = max(wait_seconds, ACCEPTANCE_SECONDS)
        try:
            # The SDK begins its own time-out anew with each of its calls.
            async with asyncio.timeout(seconds):
                with temporal_errors():
                    await handle.execute_update(
                        operation.operation.value,
                        operation,
                        rpc_timeout=timedelta(seconds=seconds),
                    )
        except WorkflowUpdateFailedError as error:
            cause = error.cause
            if not isinstance(cause, ApplicationError) or cause.type in {None, _CUT_SHORT}:
                raise WorkflowClosed from error
            raise OperationRefused(FailureDetails(str(cause.type), cause.message)) from error
        except (TimeoutError, WorkflowUpdateRPCTimeoutOrCancelledError) as error:
            if await self.closed_status(workflow_id) is not None:
                raise WorkflowClosed from error
            return False
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                raise WorkflowClosed from error
            if error.status is RPCStatusCode.FAILED_PRECONDITION:
                # Its task has failed or timed out a few times, as where workers die: another comes.
                raise TemporalUnavailable from error
            raise
        return True

    async def closed_status(self, workflow_id: str) -> str | None:
        """Tell how a workflow was closed; ``None`` while it is open.

        Returns
        -------
        str | None
            Temporal's name of the status, or ``NOT_FOUND`` where Temporal knows no such workflow.
        """
        described = await describe(self._client, workflow_id)
        if described is None:
            return NOT_FOUND
        status = status_of(described)
        return None if status in OPEN_STATUSES else status

    async def live(self, workflow_id: str) -> LiveWorkflow | None:
        """Look at a workflow; ``None`` where Temporal knows no such one (any more)."""
        described = await describe(self._client, workflow_id)
        if described is None:
            return None
        info = described.workflow_execution_info
        return LiveWorkflow(
            workflow_id=workflow_id,
            run_id=info.execution.run_id,
            status=status_of(described),
            stage=await self._stage(workflow_id),
            started_at=moment_of(info.start_time),
            closed_at=moment_in(info, "close_time"),
            history_length=info.history_length,
            pending_activities=tuple(
                [
                    _pending(found, await told_last_failure(self._client, workflow_id, found))
                    for found in described.pending_activities
                ]
            ),
        )

    async def accepted(self, tenant_id: TenantId, transfer_id: TransferId) -> TransferInput | None:
        """Find the order of a transfer that Temporal has accepted, recorded or not."""
        query = f"{TRANSFER_ID.name} = '{transfer_id}' AND {TENANT_ID.name} = '{tenant_id}'"
        async for info in listed(self._client, query):
            return await self._input(info.execution)
        return None

    async def known_order(self, workflow_id: str) -> TransferInput | None:
        """Read the order that Temporal accepted under an id, also of a workflow that has ended."""
        try:
            return await self.order_of(workflow_id)
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return None
            raise

    async def order_of(self, workflow_id: str) -> TransferInput:
        """Read the order that a workflow was started with."""
        return await self._input(WorkflowExecution(workflow_id=workflow_id))

    async def open_workflow_ids(self) -> AsyncIterator[str]:
        """Go through the ids of all open workflows of transfers.

        Notes
        -----
        From Temporal's visibility store, which follows the truth with a small delay.
        """
        query = "WorkflowType = 'TransferWorkflow' AND ExecutionStatus = 'Running'"
        async for info in listed(self._client, query):
            yield info.execution.workflow_id

    async def closed_since(self, moment: datetime) -> AsyncIterator[ClosedTransfer]:
        """Go through the workflows of transfers that have ended since a time, of all tenants.

        Notes
        -----
        Temporal forgets them after its retention. From its visibility store, which follows the
        truth with a small delay.
        """
        query = f"WorkflowType = 'TransferWorkflow' AND CloseTime >= '{moment.isoformat()}'"
        async for info in listed(self._client, query):
            execution = info.execution
            described = await describe(self._client, execution.workflow_id, execution.run_id)
            if described is None or status_of(described) == _CONTINUED:
                continue
            outcome = await outcome_of(
                self._client, execution.workflow_id, TransferProgress, run_id=execution.run_id
            )
            closed_at = moment_of(described.workflow_execution_info.close_time)
            yield ClosedTransfer(await self._input(execution), outcome, closed_at)

    async def open_transfers(self) -> AsyncIterator[OpenTransfer]:
        """Go through the open workflows of transfers with their orders."""
        async for workflow_id in self.open_workflow_ids():
            described = await describe(self._client, workflow_id)
            if described is not None and status_of(described) in OPEN_STATUSES:
                started_at = moment_of(described.workflow_execution_info.start_time)
                yield OpenTransfer(await self.order_of(workflow_id), started_at)

    async def carry_on(self, workflow_id: str) -> None:
        """Start the workflow of a transfer anew that completed, while the transfer has not.

        Notes
        -----
        With the order of before. Its first step finds the transfer as it is, or records it.
        """
        await self.start(await self.order_of(workflow_id), again=True)

    async def give_up(self, order: TransferInput, *, reason: str) -> None:
        """End the workflow of an order without any compensation.

        Only for an order of which the database knows nothing: nothing of it is left behind.
        """
        workflow_id = workflow_id_of(TenantId(order.tenant_id), order.idempotency_key)
        with temporal_errors():
            await self._client.get_workflow_handle(workflow_id).terminate(
                reason=reason, rpc_timeout=RPC_TIMEOUT
            )

    async def open_batch_workflow_ids(self) -> AsyncIterator[str]:
        """Go through the ids of all open workflows of batches, as ``open_workflow_ids`` does."""
        query = "WorkflowType = 'TransferBatchWorkflow' AND ExecutionStatus = 'Running'"
        async for info in listed(self._client, query):
            yield info.execution.workflow_id

    async def _stage(self, workflow_id: str) -> str | None:
        handle: WorkflowHandle[TransferWorkflow, TransferProgress] = (
            self._client.get_workflow_handle(workflow_id, result_type=TransferProgress)
        )
        try:
            return await handle.query(TransferWorkflow.stage, rpc_timeout=QUERY_TIMEOUT)
        except (RPCError, PayloadUnreadable):
            return None

    async def _input(self, execution: WorkflowExecution) -> TransferInput:
        with temporal_errors():
            history = await self._client.workflow_service.get_workflow_execution_history(
                GetWorkflowExecutionHistoryRequest(
                    namespace=self._client.namespace, execution=execution, maximum_page_size=1
                ),
                timeout=RPC_TIMEOUT,
            )
        started = history.history.events[0].workflow_execution_started_event_attributes
        converter = converter_of(self._client, execution.workflow_id)
        with temporal_errors():
            [order] = await converter.decode(started.input.payloads, [TransferInput])
        return cast(TransferInput, order)


def _pending(found: PendingActivityInfo, last_failure: str | None) -> PendingActivity:
    return PendingActivity(
        name=found.activity_type.name,
        state=PendingActivityState.Name(found.state).removeprefix("PENDING_ACTIVITY_STATE_"),
        attempt=found.attempt,
        last_failure=last_failure,
        next_attempt_at=moment_in(found, "next_attempt_schedule_time"),
    )
