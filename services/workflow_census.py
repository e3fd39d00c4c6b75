"""Whether workflows are open, of a few or of many."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final, TypeAlias

DESCRIBED_MAXIMUM: Final = 100
"""So many workflows are asked for one by one; of more, the list of all open ones is read first."""

ClosedStatus: TypeAlias = Callable[[str], Awaitable[str | None]]
"""Tells how the workflow of an id was closed (or that it is lost); ``None`` while it is open."""

OpenWorkflowIds: TypeAlias = Callable[[], AsyncIterator[str]]
"""Goes through the ids of all open workflows of transfers; may lag a little."""


class WorkflowCensus:
    """Tells of workflows whether they are open. Made for one run through many of them.

    Notes
    -----
    The list lags behind the truth, and errs on the safe side: a workflow that is not on it is asked
    for by itself, and one that is still on it although it was closed is found by a later run.
    """

    def __init__(self, *, closed_status: ClosedStatus, open_workflow_ids: OpenWorkflowIds) -> None:
        self._closed_status = closed_status
        self._open_workflow_ids = open_workflow_ids
        self._described = 0
        self._listed: frozenset[str] | None = None

    async def closed_status(self, workflow_id: str) -> str | None:
        """Tell how a workflow was closed; ``None`` while it is open.

        Raises
        ------
        TemporalUnavailable
            No answer.
        """
        if self._described >= DESCRIBED_MAXIMUM:
            if self._listed is None:
                self._listed = frozenset([found async for found in self._open_workflow_ids()])
            if workflow_id in self._listed:
                return None
        self._described += 1
        return await self._closed_status(workflow_id)
