"""The runs of standing orders that Temporal remembers."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime

from temporalio.client import Client

from activities.standing_order_contracts import RunOutcome
from domain.ids import StandingOrderId
from domain.standing_orders import parse_run_workflow_id
from workflows.temporal_calls import moment_in, newest_runs, outcome_of


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
        async for info in newest_runs(self._client, query):
            workflow_id = info.execution.workflow_id
            named, closed_at = parse_run_workflow_id(workflow_id), moment_in(info, "close_time")
            if named is not None and closed_at is not None:
                outcome = await outcome_of(self._client, workflow_id, RunOutcome)
                yield ClosedRun(*named, outcome, closed_at)
