"""Temporal as the API and the operators see it: start transfers, wait for them, look at them.

Raw service calls where a workflow's status is read: the SDK's own reading fails on statuses that
it does not know yet, such as a paused workflow's.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import PendingActivityState, WorkflowExecutionStatus
from temporalio.api.workflow.v1 import PendingActivityInfo
from temporalio.api.workflowservice.v1 import (
    DescribeWorkflowExecutionRequest,
    DescribeWorkflowExecutionResponse,
    GetWorkflowExecutionHistoryRequest,
    ListWorkflowExecutionsRequest,
)
from temporalio.client import (
    Client,
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.common import WorkflowIDReusePolicy as ReusePolicy
from temporalio.converter import DataConverter, WorkflowSerializationContext
from temporalio.exceptions import ApplicationError, FailureError, WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from activities.contracts import FailureDetails, OperationInput, TransferInput, TransferProgress
from domain.errors import PayloadsUnavailable, TemporalUnavailable
from domain.ids import TenantId, TransferId
from domain.ids import workflow_id as workflow_id_of
from workflows.payload_keys import PayloadUnreadable
from workflows.search_attributes import TENANT_ID, TRANSFER_ID, search_attributes_of
from workflows.transfer import WORKFLOW_TASK_TIMEOUT, TransferWorkflow

RPC_TIMEOUT: Final = timedelta(seconds=5)
QUERY_TIMEOUT: Final = timedelta(seconds=3)
ACCEPTANCE_SECONDS: Final = 1.0
"""How long an operation is given at least to be taken in."""
LIST_PAGE_SIZE: Final = 1_000

_CUT_SHORT: Final = "AcceptedUpdateCompletedWorkflow"
"""Temporal's own failure of an update whose workflow was ended while it carried it out."""
_OPEN_STATUSES: Final = frozenset({"RUNNING", "PAUSED"})
_PASSING_FAILURES: Final = frozenset(
    {
        RPCStatusCode.ABORTED,
        RPCStatusCode.CANCELLED,
        RPCStatusCode.DEADLINE_EXCEEDED,
        RPCStatusCode.INTERNAL,
        RPCStatusCode.RESOURCE_EXHAUSTED,
        RPCStatusCode.UNAVAILABLE,
        RPCStatusCode.UNKNOWN,
    }
)


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
            database has no transfer.

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
        described = await self._describe(workflow_id)
        if described is None:
            return "NOT_FOUND"
        status = _status(described)
        return None if status in _OPEN_STATUSES else status

    async def live(self, workflow_id: str) -> LiveWorkflow | None:
        """Look at a workflow; ``None`` where Temporal knows no such one (any more)."""
        described = await self._describe(workflow_id)
        if described is None:
            return None
        info = described.workflow_execution_info
        return LiveWorkflow(
            workflow_id=workflow_id,
            run_id=info.execution.run_id,
            status=_status(described),
            stage=await self._stage(workflow_id),
            started_at=_time(info.start_time),
            closed_at=_time(info.close_time) if info.HasField("close_time") else None,
            history_length=info.history_length,
            pending_activities=tuple(
                [
                    _pending(found, await self._failure(workflow_id, found))
                    for found in described.pending_activities
                ]
            ),
        )

    async def accepted(self, tenant_id: TenantId, transfer_id: TransferId) -> TransferInput | None:
        """Find the order of a transfer that Temporal has accepted, recorded or not."""
        query = f"{TRANSFER_ID.name} = '{transfer_id}' AND {TENANT_ID.name} = '{tenant_id}'"
        async for execution in self._list(query):
            return await self._input(execution)
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
        async for execution in self._list(query):
            yield execution.workflow_id

    async def open_batch_workflow_ids(self) -> AsyncIterator[str]:
        """Go through the ids of all open workflows of batches, as ``open_workflow_ids`` does."""
        query = "WorkflowType = 'TransferBatchWorkflow' AND ExecutionStatus = 'Running'"
        async for execution in self._list(query):
            yield execution.workflow_id

    async def _describe(self, workflow_id: str) -> DescribeWorkflowExecutionResponse | None:
        try:
            with temporal_errors():
                return await self._client.workflow_service.describe_workflow_execution(
                    DescribeWorkflowExecutionRequest(
                        namespace=self._client.namespace,
                        execution=WorkflowExecution(workflow_id=workflow_id),
                    ),
                    timeout=RPC_TIMEOUT,
                )
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return None
            raise

    async def _stage(self, workflow_id: str) -> str | None:
        handle: WorkflowHandle[TransferWorkflow, TransferProgress] = (
            self._client.get_workflow_handle(workflow_id, result_type=TransferProgress)
        )
        try:
            return await handle.query(TransferWorkflow.stage, rpc_timeout=QUERY_TIMEOUT)
        except (RPCError, PayloadUnreadable):
            return None

    async def _failure(self, workflow_id: str, found: PendingActivityInfo) -> str | None:
        """Read why a pending activity's last attempt failed; it may be encrypted."""
        if not found.HasField("last_failure"):
            return None
        code = found.last_failure.application_failure_info.type
        try:
            error = await self._converter(workflow_id).decode_failure(found.last_failure)
            message = error.message if isinstance(error, FailureError) else str(error)
        except PayloadUnreadable as unreadable:
            message = str(unreadable)
        return f"{code}: {message}" if code else message

    def _converter(self, workflow_id: str) -> DataConverter:
        context = WorkflowSerializationContext(self._client.namespace, workflow_id)
        return self._client.data_converter.with_context(context)

    async def _list(self, query: str) -> AsyncIterator[WorkflowExecution]:
        next_page = b""
        while True:
            with temporal_errors():
                page = await self._client.workflow_service.list_workflow_executions(
                    ListWorkflowExecutionsRequest(
                        namespace=self._client.namespace,
                        query=query,
                        page_size=LIST_PAGE_SIZE,
                        next_page_token=next_page,
                    ),
                    timeout=RPC_TIMEOUT,
                )
            for found in page.executions:
                yield found.execution
            next_page = page.next_page_token
            if not next_page:
                return

    async def _input(self, execution: WorkflowExecution) -> TransferInput:
        with temporal_errors():
            history = await self._client.workflow_service.get_workflow_execution_history(
                GetWorkflowExecutionHistoryRequest(
                    namespace=self._client.namespace, execution=execution, maximum_page_size=1
                ),
                timeout=RPC_TIMEOUT,
            )
        started = history.history.events[0].workflow_execution_started_event_attributes
        converter = self._converter(execution.workflow_id)
        with temporal_errors():
            decoded: list[Any] = await converter.decode(started.input.payloads, [TransferInput])
        order: TransferInput = decoded[0]
        return order


@contextmanager
def temporal_errors() -> Iterator[None]:
    """Name what passes by itself, where Temporal is called.

    Raises
    ------
    TemporalUnavailable
        No answer in time. Other refusals of Temporal pass as they are.
    PayloadsUnavailable
        The answer is encrypted, and its key is not here.
    """
    try:
        yield
    except PayloadUnreadable as error:
        raise PayloadsUnavailable from error
    except RPCError as error:
        if error.status in _PASSING_FAILURES:
            raise TemporalUnavailable from error
        raise


def _status(described: DescribeWorkflowExecutionResponse) -> str:
    name = WorkflowExecutionStatus.Name(described.workflow_execution_info.status)
    return name.removeprefix("WORKFLOW_EXECUTION_STATUS_")


def _pending(found: PendingActivityInfo, last_failure: str | None) -> PendingActivity:
    return PendingActivity(
        name=found.activity_type.name,
        state=PendingActivityState.Name(found.state).removeprefix("PENDING_ACTIVITY_STATE_"),
        attempt=found.attempt,
        last_failure=last_failure,
        next_attempt_at=(
            _time(found.next_attempt_schedule_time)
            if found.HasField("next_attempt_schedule_time")
            else None
        ),
    )


def _time(timestamp: Any) -> datetime:
    moment: datetime = timestamp.ToDatetime(tzinfo=UTC)
    return moment
