"""Temporal as operators see it: what is in a workflow's way, and how it is moved on."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID, uuid4

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import (
    EventType,
    PendingActivityState,
    PendingWorkflowTaskState,
)
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflow.v1 import PendingActivityInfo, WorkflowExecutionInfo
from temporalio.api.workflowservice.v1 import (
    DescribeWorkflowExecutionResponse,
    GetWorkflowExecutionHistoryReverseRequest,
    PauseActivityRequest,
    ResetActivityRequest,
    TerminateWorkflowExecutionRequest,
    UnpauseActivityRequest,
    UnpauseWorkflowExecutionRequest,
)
from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.common import WorkflowIDReusePolicy as ReusePolicy
from temporalio.service import RPCError, RPCStatusCode

from activities.contracts import TransferInput
from domain.ids import TenantId
from domain.ids import workflow_id as workflow_id_of
from domain.limits import STUCK_TASK_ATTEMPTS
from domain.stuck import NOT_FOUND, PendingStep, WorkflowSight
from workflows.search_attributes import TRANSFER_ID, search_attributes_of
from workflows.temporal_calls import (
    RPC_TIMEOUT,
    describe,
    listed,
    moment_in,
    moment_of,
    request_cancel,
    status_of,
    temporal_errors,
    told_failure,
    told_last_failure,
)
from workflows.transfer import WORKFLOW_TASK_TIMEOUT, TransferWorkflow

IDENTITY: Final = "transfers-operator"
_PAUSED_STATES: Final = frozenset(
    {
        PendingActivityState.PENDING_ACTIVITY_STATE_PAUSED,
        PendingActivityState.PENDING_ACTIVITY_STATE_PAUSE_REQUESTED,
    }
)
_TASK_ENDS: Final = frozenset(
    {EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED, EventType.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT}
)
_OUR_TYPES: Final = "WorkflowType IN ('TransferWorkflow', 'TransferBatchWorkflow')"
_FLAGS: Final = ("TemporalPauseInfo IS NOT NULL", "TemporalReportedProblems IS NOT NULL")
"""Search attributes that the server sets by itself, each since a version of its own."""
_GONE: Final = frozenset({RPCStatusCode.NOT_FOUND, RPCStatusCode.FAILED_PRECONDITION})
_TASK_EVENTS_READ: Final = 10


@dataclass(frozen=True, slots=True)
class OpenWorkflow:
    """An open workflow of a transfer, as the list of all has it."""

    workflow_id: str
    run_id: str
    started_at: datetime
    transfer_id: UUID | None


class OperationsGateway:
    """Looks at workflows and moves them on.

    Notes
    -----
    Every call raises ``TemporalUnavailable`` where Temporal does not answer in time. What is asked
    of a workflow or step that has ended meanwhile is done without a word: it needs it no more.
    """

    def __init__(self, client: Client, *, task_queue: str) -> None:
        self._client = client
        self._task_queue = task_queue

    async def look(self, workflow_id: str) -> WorkflowSight:
        """Tell what is in a workflow's way."""
        found = await describe(self._client, workflow_id)
        if found is None:
            return WorkflowSight(workflow_id, None, NOT_FOUND)
        failure = None
        if found.pending_workflow_task.attempt >= STUCK_TASK_ATTEMPTS:
            failure = await self._task_failure(found.workflow_execution_info.execution)
        steps = [await self._step(workflow_id, pending) for pending in found.pending_activities]
        return _sight(workflow_id, found, steps, failure)

    async def flagged(self, *, maximum: int) -> list[str]:
        """Find the ids of open workflows that are paused, or whose tasks fail.

        Notes
        -----
        By marks that the server itself sets, and may lag. A server that knows a mark not finds none
        by it.
        """
        found: dict[str, None] = {}
        for flag in _FLAGS:
            query = f"{_OUR_TYPES} AND ExecutionStatus IN ('Running', 'Paused') AND {flag}"
            with _unknown_attributes():
                async for info in listed(self._client, query, maximum=maximum):
                    found[info.execution.workflow_id] = None
        return list(found)[:maximum]

    async def open_transfers(
        self, *, started_before: datetime, maximum: int
    ) -> AsyncIterator[OpenWorkflow]:
        """Go through the open workflows of transfers that were started before a time."""
        query = (
            "WorkflowType = 'TransferWorkflow' AND ExecutionStatus = 'Running' "
            f"AND StartTime < '{started_before.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}'"
        )
        async for info in listed(self._client, query, maximum=maximum):
            yield self._open(info)

    async def accepted(self, transfer_id: UUID) -> OpenWorkflow | None:
        """Find the workflow of a transfer that the database need not know."""
        query = f"{TRANSFER_ID.name} = '{transfer_id}'"
        async for info in listed(self._client, query, maximum=1):
            return self._open(info)
        return None

    async def retry(self, sight: WorkflowSight) -> int:
        """Let the pending steps be tried at once, their counts of attempts anew.

        Returns
        -------
        int
            How many steps that was.
        """

        def reset(step: PendingStep) -> Awaitable[object]:
            return self._client.workflow_service.reset_activity(
                ResetActivityRequest(
                    namespace=self._client.namespace,
                    execution=_execution(sight),
                    identity=IDENTITY,
                    id=step.id,
                ),
                timeout=RPC_TIMEOUT,
            )

        return await _each(sight.steps, reset, paused=False)

    async def pause(self, sight: WorkflowSight, reason: str) -> int:
        """Let the pending steps not be tried any more; an attempt that is under way goes on."""

        def pause(step: PendingStep) -> Awaitable[object]:
            return self._client.workflow_service.pause_activity(
                PauseActivityRequest(
                    namespace=self._client.namespace,
                    execution=_execution(sight),
                    identity=IDENTITY,
                    id=step.id,
                    reason=reason,
                    request_id=str(uuid4()),
                ),
                timeout=RPC_TIMEOUT,
            )

        return await _each(sight.steps, pause, paused=False)

    async def resume(self, sight: WorkflowSight, reason: str) -> int:
        """Let what is paused go on: the steps, and the workflow as a whole."""
        done = 0
        if sight.is_paused:
            with _ended():
                await self._client.workflow_service.unpause_workflow_execution(
                    UnpauseWorkflowExecutionRequest(
                        namespace=self._client.namespace,
                        workflow_id=sight.workflow_id,
                        run_id=sight.run_id or "",
                        identity=IDENTITY,
                        reason=reason,
                        request_id=str(uuid4()),
                    ),
                    timeout=RPC_TIMEOUT,
                )
                done += 1

        def unpause(step: PendingStep) -> Awaitable[object]:
            return self._client.workflow_service.unpause_activity(
                UnpauseActivityRequest(
                    namespace=self._client.namespace,
                    execution=_execution(sight),
                    identity=IDENTITY,
                    id=step.id,
                ),
                timeout=RPC_TIMEOUT,
            )

        return done + await _each(sight.steps, unpause, paused=True)

    async def request_cancel(self, sight: WorkflowSight, reason: str) -> None:
        """Ask a workflow to give its transfer up; it hears of it whenever a worker is there."""
        with _ended():
            await request_cancel(
                self._client,
                _execution(sight),
                identity=IDENTITY,
                reason=reason,
                request_id=str(uuid4()),
            )

    async def terminate(self, sight: WorkflowSight, reason: str) -> None:
        """End a workflow whose transfer has its outcome. Only that very run of it."""
        with _ended():
            await self._client.workflow_service.terminate_workflow_execution(
                TerminateWorkflowExecutionRequest(
                    namespace=self._client.namespace,
                    workflow_execution=_execution(sight),
                    identity=IDENTITY,
                    reason=reason,
                ),
                timeout=RPC_TIMEOUT,
            )

    async def restart(self, order: TransferInput) -> str:
        """Carry an order out in a new run of its workflow, and end the one that may be open.

        Returns
        -------
        str
            The new run's id.

        Notes
        -----
        One call: at no moment is the transfer without an open workflow, so that the reconciliation
        does not take it for abandoned. The first step finds what is recorded under the key.
        """
        with temporal_errors():
            handle = await self._client.start_workflow(
                TransferWorkflow.run,
                order,
                id=workflow_id_of(TenantId(order.tenant_id), order.idempotency_key),
                task_queue=self._task_queue,
                id_reuse_policy=ReusePolicy.ALLOW_DUPLICATE,
                id_conflict_policy=WorkflowIDConflictPolicy.TERMINATE_EXISTING,
                task_timeout=WORKFLOW_TASK_TIMEOUT,
                search_attributes=search_attributes_of(order),
                rpc_timeout=RPC_TIMEOUT,
            )
        return handle.result_run_id or ""

    async def _task_failure(self, execution: WorkflowExecution) -> str | None:
        """Tell what the newest task failed of; repeated failures are not in the history."""
        with temporal_errors():
            found = await self._client.workflow_service.get_workflow_execution_history_reverse(
                GetWorkflowExecutionHistoryReverseRequest(
                    namespace=self._client.namespace,
                    execution=execution,
                    maximum_page_size=_TASK_EVENTS_READ,
                ),
                timeout=RPC_TIMEOUT,
            )
        for event in found.history.events:
            if event.event_type in _TASK_ENDS:
                return await self._task_end(execution.workflow_id, event)
        return None

    async def _task_end(self, workflow_id: str, event: HistoryEvent) -> str:
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT:
            return "A worker took the workflow task and did not finish it in time."
        failure = event.workflow_task_failed_event_attributes.failure
        return await told_failure(self._client, workflow_id, failure)

    async def _step(self, workflow_id: str, found: PendingActivityInfo) -> PendingStep:
        return PendingStep(
            id=found.activity_id,
            name=found.activity_type.name,
            attempt=found.attempt,
            is_paused=found.paused or found.state in _PAUSED_STATES,
            is_running=found.state == PendingActivityState.PENDING_ACTIVITY_STATE_STARTED,
            last_failure=await told_last_failure(self._client, workflow_id, found),
            scheduled_at=moment_in(found, "scheduled_time"),
            next_attempt_at=moment_in(found, "next_attempt_schedule_time"),
        )

    def _open(self, info: WorkflowExecutionInfo) -> OpenWorkflow:
        indexed = info.search_attributes.indexed_fields
        named: Sequence[Any] = []
        if TRANSFER_ID.name in indexed:
            payload = indexed[TRANSFER_ID.name]
            # Search attributes are never encrypted: they are read without the client's codec.
            named = self._client.data_converter.payload_converter.from_payloads([payload])
        return OpenWorkflow(
            workflow_id=info.execution.workflow_id,
            run_id=info.execution.run_id,
            started_at=moment_of(info.start_time),
            transfer_id=UUID(named[0]) if named else None,
        )


async def _each(
    steps: Iterable[PendingStep], act: Callable[[PendingStep], Awaitable[object]], *, paused: bool
) -> int:
    """Act on the steps that are paused, or on those that are not; tell how many that was."""
    done = 0
    for step in steps:
        if step.is_paused is paused:
            with _ended():
                await act(step)
                done += 1
    return done


@contextmanager
def _ended() -> Iterator[None]:
    """Pass over what the workflow or the step has ended before."""
    try:
        with temporal_errors():
            yield
    except RPCError as error:
        if error.status not in _GONE:
            raise


@contextmanager
def _unknown_attributes() -> Iterator[None]:
    """Pass over a search attribute that this server does not have."""
    try:
        yield
    except RPCError as error:
        if error.status is not RPCStatusCode.INVALID_ARGUMENT:
            raise


def _execution(sight: WorkflowSight) -> WorkflowExecution:
    return WorkflowExecution(workflow_id=sight.workflow_id, run_id=sight.run_id or "")


def _sight(
    workflow_id: str,
    found: DescribeWorkflowExecutionResponse,
    steps: Sequence[PendingStep],
    task_failure: str | None,
) -> WorkflowSight:
    task, status = found.pending_workflow_task, status_of(found)
    extended = found.workflow_extended_info
    reasons = [
        extended.pause_info.reason if extended.HasField("pause_info") else "",
        *(pending.pause_info.manual.reason for pending in found.pending_activities),
    ]
    return WorkflowSight(
        workflow_id=workflow_id,
        run_id=found.workflow_execution_info.execution.run_id,
        status=status,
        is_paused=status == "PAUSED" or extended.HasField("pause_info"),
        pause_reason=next((reason for reason in reasons if reason), None),
        steps=tuple(steps),
        task_attempt=task.attempt,
        task_scheduled_at=moment_in(task, "scheduled_time"),
        task_failure=task_failure,
        is_task_running=task.state == PendingWorkflowTaskState.PENDING_WORKFLOW_TASK_STATE_STARTED,
    )
