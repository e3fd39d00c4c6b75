"""Calls to Temporal that several gateways make, and how their answers are read.

Raw service calls where a workflow's status is read: the SDK's own reading fails on statuses that
it does not know yet, such as a paused workflow's.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import WorkflowExecutionStatus
from temporalio.api.failure.v1 import Failure
from temporalio.api.workflow.v1 import WorkflowExecutionInfo
from temporalio.api.workflowservice.v1 import (
    DescribeWorkflowExecutionRequest,
    DescribeWorkflowExecutionResponse,
    ListWorkflowExecutionsRequest,
    RequestCancelWorkflowExecutionRequest,
)
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.converter import DataConverter, WorkflowSerializationContext
from temporalio.exceptions import FailureError
from temporalio.service import RPCError, RPCStatusCode

from domain.errors import PayloadsUnavailable, TemporalUnavailable
from workflows.payload_keys import PayloadUnreadable

RPC_TIMEOUT: Final = timedelta(seconds=5)
LIST_PAGE_SIZE: Final = 1_000

Outcome = TypeVar("Outcome")

_STATUS: Final = "WORKFLOW_EXECUTION_STATUS_"
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


async def describe(
    client: Client, workflow_id: str, run_id: str = "", *, retry: bool = False
) -> DescribeWorkflowExecutionResponse | None:
    """Read the state of a workflow, of its newest run by default; ``None`` where there is none.

    Parameters
    ----------
    retry
        Ask again where Temporal answers that it can't now, for about ten seconds.

    Raises
    ------
    TemporalUnavailable
        No answer in time.
    """
    try:
        with temporal_errors():
            return await client.workflow_service.describe_workflow_execution(
                DescribeWorkflowExecutionRequest(
                    namespace=client.namespace,
                    execution=WorkflowExecution(workflow_id=workflow_id, run_id=run_id),
                ),
                retry=retry,
                timeout=RPC_TIMEOUT,
            )
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return None
        raise


async def listed(
    client: Client, query: str, *, maximum: int | None = None, retry: bool = False
) -> AsyncIterator[WorkflowExecutionInfo]:
    """Go through the workflows that a query finds, page by page.

    Parameters
    ----------
    maximum
        After so many it ends; ``None`` goes on to the last.
    retry
        As in ``describe``.

    Raises
    ------
    TemporalUnavailable
        No answer in time.
    """
    next_page, left = b"", maximum
    while left is None or left > 0:
        with temporal_errors():
            page = await client.workflow_service.list_workflow_executions(
                ListWorkflowExecutionsRequest(
                    namespace=client.namespace,
                    query=query,
                    page_size=LIST_PAGE_SIZE if left is None else min(LIST_PAGE_SIZE, left),
                    next_page_token=next_page,
                ),
                retry=retry,
                timeout=RPC_TIMEOUT,
            )
        for found in page.executions:
            yield found
        if left is not None:
            left -= len(page.executions)
        next_page = page.next_page_token
        if not next_page:
            return


async def newest_runs(client: Client, query: str) -> AsyncIterator[WorkflowExecutionInfo]:
    """Go through the workflows that a query finds, each once, as its newest run is now.

    Raises
    ------
    TemporalUnavailable
        No answer in time.
    """
    found = {info.execution.workflow_id async for info in listed(client, query)}
    for workflow_id in sorted(found):
        described = await describe(client, workflow_id)
        if described is not None:
            yield described.workflow_execution_info


async def outcome_of(
    client: Client, workflow_id: str, result_type: type[Outcome], *, run_id: str | None = None
) -> Outcome | None:
    """Read what a closed workflow, or one run of it, told; ``None`` where it ended without that.

    Raises
    ------
    TemporalUnavailable
        No answer in time, as where it is not closed.
    """
    handle: WorkflowHandle[Any, Outcome] = client.get_workflow_handle(
        workflow_id, run_id=run_id, result_type=result_type
    )
    try:
        with temporal_errors():
            return await handle.result(rpc_timeout=RPC_TIMEOUT)
    except WorkflowFailureError:
        return None


async def request_cancel(
    client: Client,
    execution: WorkflowExecution,
    *,
    identity: str,
    reason: str,
    request_id: str = "",
) -> None:
    """Ask a workflow to end, as it sees fit.

    Parameters
    ----------
    request_id
        With one, repeats are the same request.

    Raises
    ------
    TemporalUnavailable
        No answer in time.
    """
    with temporal_errors():
        await client.workflow_service.request_cancel_workflow_execution(
            RequestCancelWorkflowExecutionRequest(
                namespace=client.namespace,
                workflow_execution=execution,
                identity=identity,
                reason=reason,
                request_id=request_id,
            ),
            timeout=RPC_TIMEOUT,
        )


def status_of(described: DescribeWorkflowExecutionResponse) -> str:
    """Give Temporal's name of a workflow's status, as ``RUNNING``."""
    name = WorkflowExecutionStatus.Name(described.workflow_execution_info.status)
    return name.removeprefix(_STATUS)


def moment_of(timestamp: Any) -> datetime:
    """Read a time."""
    moment: datetime = timestamp.ToDatetime(tzinfo=UTC)
    return moment


def moment_in(message: Any, field: str) -> datetime | None:
    """Read a time that a message need not have."""
    return moment_of(getattr(message, field)) if message.HasField(field) else None


def converter_of(client: Client, workflow_id: str) -> DataConverter:
    """Give the converter of what stands in a workflow's history, encrypted or not."""
    context = WorkflowSerializationContext(client.namespace, workflow_id)
    return client.data_converter.with_context(context)


async def told_failure(client: Client, workflow_id: str, failure: Failure) -> str:
    """Read what something in a workflow failed of, with its code; it may be encrypted."""
    if failure.HasField("server_failure_info") and failure.HasField("cause"):
        # What is too long for the server it keeps as the cause, cut off, under words of its own.
        failure = failure.cause
    code = failure.application_failure_info.type
    try:
        error = await converter_of(client, workflow_id).decode_failure(failure)
        message = error.message if isinstance(error, FailureError) else str(error)
    except PayloadUnreadable as unreadable:
        message = str(unreadable)
    return f"{code}: {message}" if code else message


async def told_last_failure(client: Client, workflow_id: str, attempted: Any) -> str | None:
    """Read what the last attempt of an activity failed of; ``None`` where it did not fail."""
    if not attempted.HasField("last_failure"):
        return None
    return await told_failure(client, workflow_id, attempted.last_failure)
