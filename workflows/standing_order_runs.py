"""The runs of standing orders that Temporal remembers."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime

from temporalio.client import Client, WorkflowFailureError, WorkflowHandle

from activities.standing_order_contracts import RunOutcome
from domain.ids import StandingOrderId
from domain.standing_orders import parse_run_workflow_id
from workflows.standing_order import StandingOrderWorkflow
from workflows.temporal_calls import (
    RPC_TIMEOUT,
    describe,
    listed,
    moment_in,
    temporal_errors,
)


@dataclass(frozen=True, slots=True)
class ClosedRun:
    """A run whose workflow has ended.

    Parameters
    ----------
    outcome
        What it told; ``None`` where it failed, or was cancelled or terminated.
    """

    order_id: StandingOrderId
    scheduled_at: datetime
    outcome: RunOutcome | None
    closed_at: datetime


class StandingOrderRunGateway:
    """Reads the workflows of runs.

    Notes
    -----
    Every call raises ``TemporalUnavailable`` where Temporal does not answer in time.
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    async def closed_since(self, moment: datetime) -> AsyncIterator[ClosedRun]:
        """Go through the runs whose workflow has ended since a time, of all tenants.

        Notes
        -----
        From Temporal's visibility store, which follows the truth with a small delay. Of a time that
        was started several times, the last workflow counts.
        """
        query = f"WorkflowType = 'StandingOrderWorkflow' AND CloseTime >= '{moment.isoformat()}'"
        found = {info.execution.workflow_id async for info in listed(self._client, query)}
        for workflow_id in sorted(found):
            named = parse_run_workflow_id(workflow_id)
            described = await describe(self._client, workflow_id)
            if named is None or described is None:
                continue
            closed_at = moment_in(described.workflow_execution_info, "close_time")
            if closed_at is not None:
                yield ClosedRun(*named, await self._outcome(workflow_id), closed_at)

    async def _outcome(self, workflow_id: str) -> RunOutcome | None:
        handle: WorkflowHandle[StandingOrderWorkflow, RunOutcome] = (
            self._client.get_workflow_handle(workflow_id, result_type=RunOutcome)
        )
        try:
            with temporal_errors():
                return await handle.result(rpc_timeout=RPC_TIMEOUT)
        except WorkflowFailureError:
            return None
