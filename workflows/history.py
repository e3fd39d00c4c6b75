"""What Temporal still has of a transfer's workflow, as evidence."""

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflow.v1 import PendingActivityInfo
from temporalio.api.workflowservice.v1 import (
    DescribeWorkflowExecutionResponse,
    GetWorkflowExecutionHistoryRequest,
)
from temporalio.client import Client, WorkflowHistory
from temporalio.service import RPCError, RPCStatusCode

from domain.errors import TemporalUnavailable
from domain.evidence import HistoryRecord, TemporalEvidence, WorkflowRun
from domain.limits import (
    EVIDENCE_HISTORY_EVENTS_MAXIMUM,
    EVIDENCE_RUNS_MAXIMUM,
    EVIDENCE_TEMPORAL_SECONDS_MAXIMUM,
)
from domain.stuck import NOT_FOUND, OPEN_STATUSES
from domain.transfers import Transfer
from workflows.search_attributes import BATCH_ID, TRANSFER_ID
from workflows.temporal_calls import (
    RPC_TIMEOUT,
    describe,
    listed,
    moment_in,
    moment_of,
    status_of,
    temporal_errors,
    told_failure,
)

PAGE_EVENTS: Final = 500
LOCAL_ACTIVITY: Final = "core_local_activity"
"""Name of the markers in which the SDK keeps local activities."""

_PREFIX: Final = "EVENT_TYPE_"


@dataclass(frozen=True, slots=True)
class _Facts:
    """What an event says of the transfer; a failure may still be encrypted."""

    what: str
    step: str | None = None
    attempt: int | None = None
    reason: str | None = None
    failure: Failure | None = None


class HistoryReader:
    """Reads histories of workflows.

    Notes
    -----
    Every call raises ``TemporalUnavailable`` where Temporal does not answer in time.
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    async def read(self, transfer: Transfer) -> TemporalEvidence:
        """Read what Temporal keeps of the runs of a transfer's workflow, the oldest first.

        Notes
        -----
        Of very many runs, the newest. A run whose history is gone tells nothing any more.
        Temporal refuses a read now and then where it is busy with the same workflow, and is asked
        again: a document should not lack the history for that.
        """
        try:
            async with asyncio.timeout(EVIDENCE_TEMPORAL_SECONDS_MAXIMUM):
                return await self._read(transfer)
        except TimeoutError as error:
            raise TemporalUnavailable from error

    async def _read(self, transfer: Transfer) -> TemporalEvidence:
        workflow_id = transfer.workflow_id
        described, is_complete = await self._runs(transfer)
        runs: list[WorkflowRun] = []
        records: list[HistoryRecord] = []
        left = EVIDENCE_HISTORY_EVENTS_MAXIMUM
        for found in reversed(described):
            events, is_whole = await self._events(_execution_of(found), left)
            left -= len(events)
            is_complete = is_complete and is_whole
            runs.insert(0, _run_of(found))
            records = [*await self._records(found, events), *records]
        newest = runs[-1] if runs else None
        return TemporalEvidence(
            workflow_id=workflow_id,
            run_id=newest.id if newest else None,
            status=newest.status if newest else NOT_FOUND,
            runs=runs,
            records=records,
            is_complete=is_complete,
        )

    async def raw(self, workflow_id: str, run_id: str = "") -> str | None:
        """Give a run's events as Temporal has them, in JSON; ``None`` where it has none.

        Parameters
        ----------
        run_id
            Of the newest run where it is empty.

        Notes
        -----
        Payloads stay encoded, and encrypted where they are. No more than
        ``EVIDENCE_HISTORY_EVENTS_MAXIMUM`` events.
        """
        execution = WorkflowExecution(workflow_id=workflow_id, run_id=run_id)
        events, _ = await self._events(execution, EVIDENCE_HISTORY_EVENTS_MAXIMUM)
        return WorkflowHistory(workflow_id, events).to_json() if events else None

    async def _runs(
        self, transfer: Transfer
    ) -> tuple[list[DescribeWorkflowExecutionResponse], bool]:
        """Find the runs of a transfer's workflow, oldest first; tell whether those are all.

        Notes
        -----
        Temporal's list may lag, so that the newest run is asked for by itself. It is searched by
        ids: the workflow's own ends with a client's key, which may hold any character.
        """
        newest = await describe(self._client, transfer.workflow_id, retry=True)
        if newest is None:
            return [], True
        found = {_execution_of(newest).run_id: newest}
        query = f"{TRANSFER_ID.name} = '{transfer.id}'"
        if transfer.batch_id is not None:
            query = f"{BATCH_ID.name} = '{transfer.batch_id}'"
        most = EVIDENCE_RUNS_MAXIMUM + 1
        run_ids = [
            info.execution.run_id
            async for info in listed(self._client, query, maximum=most, retry=True)
            if info.execution.workflow_id == transfer.workflow_id
        ]
        for run_id in run_ids[:EVIDENCE_RUNS_MAXIMUM]:
            if run_id not in found:
                run = await describe(self._client, transfer.workflow_id, run_id, retry=True)
                if run is not None:
                    found[run_id] = run
        return sorted(found.values(), key=_started_at), len(run_ids) <= EVIDENCE_RUNS_MAXIMUM

    async def _records(
        self, found: DescribeWorkflowExecutionResponse, events: Sequence[HistoryEvent]
    ) -> list[HistoryRecord]:
        execution, steps = _execution_of(found), _steps_of(events)
        records = [
            await self._record(execution, event.event_id, moment_of(event.event_time), facts)
            for event in events
            if (facts := _facts_of(event, steps)) is not None
        ]
        # Of a workflow that was terminated, the server still tells what was pending then.
        pending_activities = found.pending_activities if status_of(found) in OPEN_STATUSES else ()
        return records + [
            await self._record(
                execution,
                0,
                # One that no worker has taken up yet has not started.
                moment_in(pending, "last_started_time") or moment_of(pending.scheduled_time),
                _pending(pending),
            )
            for pending in pending_activities
        ]

    async def _record(
        self, execution: WorkflowExecution, event_id: int, moment: datetime, facts: _Facts
    ) -> HistoryRecord:
        error = facts.reason
        if facts.failure is not None:
            error = await told_failure(self._client, execution.workflow_id, facts.failure)
        return HistoryRecord(
            run_id=execution.run_id,
            event_id=event_id,
            occurred_at=moment,
            what=facts.what,
            step=facts.step,
            attempt=facts.attempt,
            error=error or None,
        )

    async def _events(
        self, execution: WorkflowExecution, maximum: int
    ) -> tuple[list[HistoryEvent], bool]:
        """Read a run's history from its start; tell whether that is all of it."""
        events: list[HistoryEvent] = []
        next_page = b""
        while len(events) < maximum:
            try:
                with temporal_errors():
                    page = await self._client.workflow_service.get_workflow_execution_history(
                        GetWorkflowExecutionHistoryRequest(
                            namespace=self._client.namespace,
                            execution=execution,
                            maximum_page_size=PAGE_EVENTS,
                            next_page_token=next_page,
                        ),
                        retry=True,
                        timeout=RPC_TIMEOUT,
                    )
            except RPCError as error:
                if error.status is not RPCStatusCode.NOT_FOUND:
                    raise
                return events, False
            events += page.history.events
            next_page = page.next_page_token
            if not next_page:
                return events[:maximum], len(events) <= maximum
        return events[:maximum], False


def _execution_of(found: DescribeWorkflowExecutionResponse) -> WorkflowExecution:
    return found.workflow_execution_info.execution


def _started_at(found: DescribeWorkflowExecutionResponse) -> datetime:
    return moment_of(found.workflow_execution_info.start_time)


def _run_of(found: DescribeWorkflowExecutionResponse) -> WorkflowRun:
    return WorkflowRun(
        id=_execution_of(found).run_id,
        status=status_of(found),
        started_at=_started_at(found),
        closed_at=moment_in(found.workflow_execution_info, "close_time"),
    )


_Steps = Mapping[int, str]
_Reader = Callable[[str, HistoryEvent, _Steps], _Facts | None]


def _steps_of(events: Iterable[HistoryEvent]) -> _Steps:
    """Name the activities that were scheduled, by the events that did."""
    return {
        event.event_id: event.activity_task_scheduled_event_attributes.activity_type.name
        for event in events
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED
    }


def _facts_of(event: HistoryEvent, steps: _Steps) -> _Facts | None:
    """Tell what an event says of the transfer; ``None`` where it is mere bookkeeping."""
    kind = EventType.Name(event.event_type).removeprefix(_PREFIX)
    read = _READERS.get(kind)
    return None if read is None else read(kind.lower().replace("_", " "), event, steps)


def _plain(what: str, _event: HistoryEvent, _steps: _Steps) -> _Facts:
    return _Facts(what)


def _local_activity(_what: str, event: HistoryEvent, _steps: _Steps) -> _Facts | None:
    marker = event.marker_recorded_event_attributes
    if marker.marker_name != LOCAL_ACTIVITY:
        return None
    told: dict[str, Any] = {}
    for payload in marker.details["data"].payloads:
        # The SDK's own note; in a form of another version it tells nothing here.
        with suppress(ValueError):
            told |= json.loads(payload.data)
    failed = marker.HasField("failure")
    return _Facts(
        f"local activity {'failed' if failed else 'completed'}",
        step=told.get("activity_type"),
        attempt=told.get("attempt"),
        failure=marker.failure if failed else None,
    )


def _started(_what: str, event: HistoryEvent, steps: _Steps) -> _Facts:
    told = event.activity_task_started_event_attributes
    return _Facts(
        "activity started",
        step=steps.get(told.scheduled_event_id),
        attempt=told.attempt,
        failure=told.last_failure if told.HasField("last_failure") else None,
    )


def _pending(found: PendingActivityInfo) -> _Facts:
    return _Facts(
        "activity pending",
        step=found.activity_type.name,
        attempt=found.attempt,
        failure=found.last_failure if found.HasField("last_failure") else None,
    )


def _activity_end(what: str, event: HistoryEvent, steps: _Steps) -> _Facts:
    told = getattr(event, event.WhichOneof("attributes") or "")
    return _Facts(
        what.replace("activity task", "activity"),
        step=steps.get(told.scheduled_event_id),
        failure=getattr(told, "failure", None),
    )


def _update(_what: str, event: HistoryEvent, _steps: _Steps) -> _Facts:
    told = event.workflow_execution_update_accepted_event_attributes
    return _Facts("update accepted", step=told.accepted_request.input.name)


def _reason(what: str, event: HistoryEvent, _steps: _Steps) -> _Facts:
    told = getattr(event, event.WhichOneof("attributes") or "")
    return _Facts(what, reason=getattr(told, "reason", "") or getattr(told, "cause", ""))


def _task_failed(what: str, event: HistoryEvent, _steps: _Steps) -> _Facts:
    return _Facts(what, failure=event.workflow_task_failed_event_attributes.failure)


_READERS: Final[Mapping[str, _Reader]] = MappingProxyType(
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
