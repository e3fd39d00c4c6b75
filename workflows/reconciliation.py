"""The reconciliation of the database with Temporal, run by a schedule."""

from datetime import timedelta
from typing import Final

from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from activities.contracts import ReconciliationReport, ReconciliationSteps

ATTEMPT_TIMEOUT: Final = timedelta(seconds=60)
ATTEMPTS: Final = 3
"""The schedule's next run tries again anyway."""


@workflow.defn(name="ReconciliationWorkflow")
class ReconciliationWorkflow:
    """Ends transfers whose workflow was terminated or lost."""

    @workflow.run
    async def run(self) -> ReconciliationReport:
        """Examine the unfinished transfers once."""
        return await workflow.execute_activity_method(
            ReconciliationSteps.resolve_abandoned_transfers,
            start_to_close_timeout=ATTEMPT_TIMEOUT,
            retry_policy=RetryPolicy(maximum_attempts=ATTEMPTS),
        )
