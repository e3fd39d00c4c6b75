"""The care for the whole ledger, run by a schedule."""

from datetime import timedelta
from typing import Final

from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from activities.ledger_contracts import LedgerCareReport, LedgerCareSteps

ATTEMPT_TIMEOUT: Final = timedelta(seconds=60)
RETRIES: Final = RetryPolicy(maximum_attempts=3)
"""The schedule's next run tries again anyway."""


@workflow.defn(name="LedgerCareWorkflow")
class LedgerCareWorkflow:
    """Seals what was posted, clears away what was left behind, and proves a slice of the ledger."""

    @workflow.run
    async def run(self) -> LedgerCareReport:
        """Do each once."""
        sealing = await workflow.execute_activity_method(
            LedgerCareSteps.seal_ledger,
            start_to_close_timeout=ATTEMPT_TIMEOUT,
            retry_policy=RETRIES,
        )
        resolution = await workflow.execute_activity_method(
            LedgerCareSteps.resolve_leftovers,
            start_to_close_timeout=ATTEMPT_TIMEOUT,
            retry_policy=RETRIES,
        )
        proof = await workflow.execute_activity_method(
            LedgerCareSteps.prove_ledger_slices,
            start_to_close_timeout=ATTEMPT_TIMEOUT,
            retry_policy=RETRIES,
        )
        return LedgerCareReport(sealing, resolution, proof)
