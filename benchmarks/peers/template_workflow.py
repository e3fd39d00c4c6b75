"""A money transfer in the shape of Temporal's own template: three regular activities in a row."""

from datetime import timedelta
from typing import Final

from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from benchmarks.peers.details import Details

ATTEMPT_TIMEOUT: Final = timedelta(seconds=5)
RETRIES: Final = RetryPolicy(
    maximum_attempts=3,
    maximum_interval=timedelta(seconds=2),
    non_retryable_error_types=["InsufficientFunds", "AccountNotFound"],
)


@workflow.defn(name="BenchMoneyTransfer")
class MoneyTransfer:
    """Withdraws, deposits, completes."""

    @workflow.run
    async def run(self, details: Details) -> str:
        """Carry the transfer out and return its state."""
        state = ""
        for step in ("bench_reserve", "bench_post", "bench_finalise"):
            state = await workflow.execute_activity(
                step,
                details,
                result_type=str,
                start_to_close_timeout=ATTEMPT_TIMEOUT,
                retry_policy=RETRIES,
            )
        return state
