"""Transfers whose workflow is gone, brought to their one right end."""

from collections.abc import Awaitable, Callable
from typing import Final

from temporalio import activity

from activities.contracts import ReconciliationReport, ReconciliationSteps
from domain.errors import WorkflowTerminated
from domain.transfers import Failure
from services.transactions import TransactionService

IDLE_SECONDS: Final = 5.0
"""A transfer that moved more recently is left to its workflow."""

ClosedStatus = Callable[[str], Awaitable[str | None]]
"""Tells how the workflow of an id was closed (or that it is lost); ``None`` while it runs."""


class ReconciliationActivities(ReconciliationSteps):
    """Compares the database's unfinished transfers with Temporal's workflows."""

    def __init__(self, transactions: TransactionService, *, closed_status: ClosedStatus) -> None:
        self._transactions = transactions
        self._closed_status = closed_status

    @activity.defn(name="resolve_abandoned_transfers")
    async def resolve_abandoned_transfers(self) -> ReconciliationReport:
        """See ``ReconciliationSteps.resolve_abandoned_transfers``.

        Notes
        -----
        Safe beside any step that may still run: ``TransactionService.compensate`` decides under
        the transfer's lock.
        """
        examined = resolved = 0
        async for transfer in self._transactions.unfinished(idle_seconds=IDLE_SECONDS):
            examined += 1
            status = await self._closed_status(transfer.workflow_id)
            if status is not None:
                await self._transactions.compensate(
                    transfer.tenant_id, transfer.id, Failure.of(WorkflowTerminated(status))
                )
                resolved += 1
        return ReconciliationReport(examined=examined, resolved=resolved)
