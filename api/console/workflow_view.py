"""A transfer's workflow as the console shows it: what Temporal says now, and what it keeps."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from api.context import ApiContext
from domain.errors import TemporalUnavailable
from domain.evidence import HistoryRecord, TemporalEvidence, WorkflowRun
from domain.transfers import Transfer
from workflows.gateway import LiveWorkflow

ATTEMPTS_SECONDS: Final = 1.0
"""How long a transfer's page waits for its attempts: it is shown without them after that."""


@dataclass(frozen=True, slots=True)
class WorkflowView:
    """What Temporal says of a transfer's workflow.

    Parameters
    ----------
    live
        The newest run now; ``None`` where Temporal knows none.
    history
        What happened in all its runs.
    run
        The one that is looked at; ``None`` where Temporal does not know it.
    url
        Of the run in Temporal's UI, where there is one.
    """

    live: LiveWorkflow | None
    history: TemporalEvidence
    run: WorkflowRun | None
    url: str | None

    @property
    def is_newest(self) -> bool:
        """Whether the newest run is looked at."""
        return self.run is None or self.run.id == self.history.run_id

    @property
    def records(self) -> Sequence[HistoryRecord]:
        """What happened in the run that is looked at, oldest first."""
        return [record for record in self.history.records if self._is_of_run(record)]

    def _is_of_run(self, record: HistoryRecord) -> bool:
        return self.run is not None and record.run_id == self.run.id


async def view_workflow(context: ApiContext, transfer: Transfer, run_id: str) -> WorkflowView:
    """Look at a run of a transfer's workflow; the newest is named by an empty id.

    Raises
    ------
    TemporalUnavailable
        No answer in time.
    """
    live, history = await asyncio.gather(
        context.gateway.live(transfer.workflow_id), context.console.history.read(transfer)
    )
    wanted = run_id or history.run_id
    run = next((each for each in history.runs if each.id == wanted), None)
    url = None if run is None else context.workflow_url(transfer.workflow_id, run.id)
    return WorkflowView(live, history, run, url)


async def records_of(context: ApiContext, transfer: Transfer) -> Sequence[HistoryRecord] | None:
    """Read what Temporal keeps of a transfer; ``None`` where it does not answer at once.

    Notes
    -----
    A batch's workflow tells of chunks, and of none of its transfers.
    """
    if transfer.batch_id is not None:
        return None
    try:
        async with asyncio.timeout(ATTEMPTS_SECONDS):
            return (await context.console.history.read(transfer)).records
    except (TemporalUnavailable, TimeoutError):
        return None
