"""What Temporal still has of a transfer's workflow, as evidence."""

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType, WorkflowExecutionStatus
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflowservice.v1 import (
    DescribeWorkflowExecutionRequest,
    GetWorkflowExecutionHistoryRequest,
)
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from domain.evidence import HistoryRecord, TemporalEvidence
from domain.limits import EVIDENCE_HISTORY_EVENTS_MAXIMUM
from domain.stuck import NOT_FOUND, OPEN_STATUSES
from workflows.gateway import RPC_TIMEOUT, temporal_errors

PAGE_EVENTS: Final = 500
LOCAL_ACTIVITY: Final = "core_local_activity"
"""Name of the markers in which the SDK keeps local activities."""

_PREFIX: Final = "EVENT_TYPE_"


class HistoryReader:
    """Reads histories of workflows.

    Notes
    -----
    Every call raises ``TemporalUnavailable`` where Temporal does not answer in time.
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    async def read(self, workflow_id: str) -> TemporalEvidence:
        """Read what Temporal keeps of the newest run of a workflow."""
        try:
            with temporal_errors():
                found = await self._client.workflow_service.describe_workflow_execution(
                    DescribeWorkflowExecutionRequest(
                        namespace=self._client.namespace,
                        execution=WorkflowExecution(workflow_id=workflow_id),
                    ),
                    timeout=RPC_TIMEOUT,
                )
            execution = found.workflow_execution_info.execution
            events, is_complete = await self._events(execution)
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return TemporalEvidence(workflow_id, None, NOT_FOUND, (), is_complete=True)
            raise
        records = list(_records(execution.run_id, events))
        status = WorkflowExecutionStatus.Name(found.workflow_execution_info.status)
        status = status.removeprefix("WORKFLOW_EXECUTION_STATUS_")
        # Of a workflow that was terminated, the server still tells what was pending then.
        pending_activities = found.pending_activities if status in OPEN_STATUSES else ()
        records += [
            HistoryRecord(
                run_id=execution.run_id,
                event_id=0,
                occurred_at=pending.last_started_time.ToDatetime(tzinfo=UTC),
                what="activity pending",
                step=pending.activity_type.name,
                attempt=pending.attempt,
                error=pending.last_failure.message or None,
            )
            for pending in pending_activities
        ]
        return TemporalEvidence(
            workflow_id=workflow_id,
            run_id=execution.run_id,
            status=status,
            records=records,
            is_complete=is_complete,
        )

    async def _events(self, execution: WorkflowExecution) -> tuple[list[HistoryEvent], bool]:
        events: list[HistoryEvent] = []
        next_page = b""
        while len(events) < EVIDENCE_HISTORY_EVENTS_MAXIMUM:
            with temporal_errors():
                page = await self._client.workflow_service.get_workflow_execution_history(
                    GetWorkflowExecutionHistoryRequest(
                        namespace=self._client.namespace,
                        execution=execution,
                        maximum_page_size=PAGE_EVENTS,
                        next_page_token=next_page,
                    ),
                    timeout=RPC_TIMEOUT,
                )
            events += page.history.events
            next_page = page.next_page_token
            if not next_page:
                return events, True
        return events[:EVIDENCE_HISTORY_EVENTS_MAXIMUM], False


def _records(run_id: str, events: list[HistoryEvent]) -> Iterator[HistoryRecord]:
    """Tell of each event that says something of the transfer; the others are mere bookkeeping."""
    steps: dict[int, str] = {}
    for event in events:
        kind = EventType.Name(event.event_type).removeprefix(_PREFIX)
        if kind == "ACTIVITY_TASK_SCHEDULED":
            steps[event.event_id] = (
                event.activity_task_scheduled_event_attributes.activity_type.name
            )
        read = _READERS.get(kind)
        if read is None:
            continue
        facts = read(event, steps)
        if facts is not None:
            yield HistoryRecord(
                run_id=run_id,
                event_id=event.event_id,
                occurred_at=_time(event.event_time),
                what=facts.pop("what", None) or kind.lower().replace("_", " "),
                **facts,
            )


Facts = dict[str, Any]
Reader = Callable[[HistoryEvent, Mapping[int, str]], Facts | None]


def _local_activity(event: HistoryEvent, _steps: Mapping[int, str]) -> Facts | None:
    marker = event.marker_recorded_event_attributes
    if marker.marker_name != LOCAL_ACTIVITY:
        return None
    failed = marker.HasField("failure")
    facts: Facts = {"what": f"local activity {'failed' if failed else 'completed'}"}
    for payload in marker.details["data"].payloads:
        try:
            told = json.loads(payload.data)
        except ValueError:
            # The SDK's own note, in a form of another version.
            continue
        facts |= {"step": told.get("activity_type"), "attempt": told.get("attempt")}
    if failed:
        facts["error"] = _failure(marker.failure)
    return facts


def _started(event: HistoryEvent, steps: Mapping[int, str]) -> Facts:
    told = event.activity_task_started_event_attributes
    return {
        "what": "activity started",
        "step": steps.get(told.scheduled_event_id),
        "attempt": told.attempt,
        "error": _failure(told.last_failure) if told.HasField("last_failure") else None,
    }


def _activity_end(event: HistoryEvent, steps: Mapping[int, str]) -> Facts:
    told = getattr(event, event.WhichOneof("attributes") or "")
    error = _failure(told.failure) if hasattr(told, "failure") else None
    what = EventType.Name(event.event_type).removeprefix(f"{_PREFIX}ACTIVITY_TASK_").lower()
    return {
        "what": f"activity {what.replace('_', ' ')}",
        "step": steps.get(told.scheduled_event_id),
        "error": error,
    }


def _update(event: HistoryEvent, _steps: Mapping[int, str]) -> Facts:
    told = event.workflow_execution_update_accepted_event_attributes
    return {"what": "update accepted", "step": told.accepted_request.input.name}


def _reason(event: HistoryEvent, _steps: Mapping[int, str]) -> Facts:
    told = getattr(event, event.WhichOneof("attributes") or "")
    return {"error": getattr(told, "reason", "") or getattr(told, "cause", "") or None}


def _task_failed(event: HistoryEvent, _steps: Mapping[int, str]) -> Facts:
    told = event.workflow_task_failed_event_attributes
    return {"error": _failure(told.failure)}


def _plain(_event: HistoryEvent, _steps: Mapping[int, str]) -> Facts:
    return {}


_READERS: Final[Mapping[str, Reader]] = MappingProxyType(
    {
        "WORKFLOW_EXECUTION_STARTED": _plain,
        "WORKFLOW_EXECUTION_COMPLETED": _plain,
        "WORKFLOW_EXECUTION_FAILED": _plain,
        "WORKFLOW_EXECUTION_CANCELED": _plain,
        "WORKFLOW_EXECUTION_TIMED_OUT": _plain,
        "WORKFLOW_EXECUTION_CONTINUED_AS_NEW": _plain,
        "WORKFLOW_EXECUTION_TERMINATED": _reason,
        "WORKFLOW_EXECUTION_CANCEL_REQUESTED": _reason,
        "WORKFLOW_EXECUTION_UPDATE_ACCEPTED": _update,
        "WORKFLOW_TASK_FAILED": _task_failed,
        "WORKFLOW_TASK_TIMED_OUT": _plain,
        "TIMER_STARTED": _plain,
        "TIMER_FIRED": _plain,
        "MARKER_RECORDED": _local_activity,
        "ACTIVITY_TASK_STARTED": _started,
        "ACTIVITY_TASK_COMPLETED": _activity_end,
        "ACTIVITY_TASK_FAILED": _activity_end,
        "ACTIVITY_TASK_TIMED_OUT": _activity_end,
        "ACTIVITY_TASK_CANCELED": _activity_end,
    }
)


def _failure(failure: Any) -> str | None:
    code: str = failure.application_failure_info.type
    return (f"{code}: {failure.message}" if code else str(failure.message)) or None


def _time(timestamp: Any) -> datetime:
    moment: datetime = timestamp.ToDatetime(tzinfo=UTC)
    return moment
