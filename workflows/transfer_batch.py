"""The posting of one batch."""

import asyncio
from datetime import timedelta
from typing import Final

from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from activities.contracts import (
        BatchKey,
        BatchProgress,
        BatchSteps,
        FailureDetails,
        StopInput,
    )
    from domain.batches import BatchStage
    from domain.errors import BatchCancelled

STEP_TIMEOUT: Final = timedelta(minutes=5)
HEARTBEAT_TIMEOUT: Final = timedelta(seconds=15)
"""After this long without a posted chunk, another worker goes on: longer than any chunk takes."""

STOP_TIMEOUT: Final = timedelta(seconds=20)
"""After this, another worker stops the batch: longer than its few statements may take."""

RETRIES: Final = RetryPolicy(
    initial_interval=timedelta(milliseconds=200), maximum_interval=timedelta(seconds=5)
)
"""Never gives up; Temporal's UI shows the attempts and the last failure."""

WAITING_PAUSE: Final = timedelta(seconds=2)
"""Between two looks at transfers that were made elsewhere and are not final yet."""

STEPS_A_RUN: Final = 100
"""Steps after which the workflow goes on with a new history."""


@workflow.defn(name="TransferBatchWorkflow")
class TransferBatchWorkflow:
    """Posts a batch chunk by chunk, until every row has its outcome.

    Notes
    -----
    How far the batch is stands in the database; the workflow only sees to it that it goes on. It
    ends normally whatever becomes of the batch, also after a cancel, which is heeded between two
    chunks.
    """

    @workflow.init
    def __init__(self, batch: BatchKey) -> None:
        self._batch = batch
        self._progress: BatchProgress | None = None
        self._is_cancelled = False

    @workflow.run
    async def run(self, batch: BatchKey) -> BatchProgress:
        """Post the batch and return how it ended."""
        for _ in range(STEPS_A_RUN):
            progress = self._progress = await self._post()
            if progress.is_final:
                return progress
            if workflow.info().is_continue_as_new_suggested():
                break
            if progress.position == progress.total:
                await self._pause()
        if self._is_cancelled:
            # It came within the last pause, and the next run would not know of it.
            return await self._stop()
        return workflow.continue_as_new(batch)

    @workflow.signal
    def cancel(self) -> None:
        """Stop at the end of the chunk that is being posted."""
        self._is_cancelled = True

    @workflow.query
    def progress(self) -> BatchProgress | None:
        """Tell what the database said after the last step; nothing before the first."""
        return self._progress

    @workflow.query
    def stage(self) -> str:
        """Tell how far the batch has come, as a transfer's workflow does."""
        return self._progress.stage if self._progress else BatchStage.STAGED

    async def _post(self) -> BatchProgress:
        """Post some chunks, or stop; a cancel meanwhile is remembered, for a chunk may commit."""
        attempt = asyncio.create_task(
            workflow.execute_activity_method(
                BatchSteps.post_batch_chunks,
                self._batch,
                start_to_close_timeout=STEP_TIMEOUT,
                heartbeat_timeout=HEARTBEAT_TIMEOUT,
                retry_policy=RETRIES,
            )
        )
        try:
            progress = await asyncio.shield(attempt)
        except asyncio.CancelledError:
            # The database lets the stop in between two chunks, and the attempt finds it there.
            self._is_cancelled = True
            await self._stop()
            progress = await attempt
        return await self._stop() if self._is_cancelled and not progress.is_final else progress

    async def _stop(self) -> BatchProgress:
        cancelled = BatchCancelled()
        return await workflow.execute_activity_method(
            BatchSteps.stop_batch,
            StopInput(self._batch, FailureDetails(cancelled.code, cancelled.message)),
            start_to_close_timeout=STOP_TIMEOUT,
            retry_policy=RETRIES,
        )

    async def _pause(self) -> None:
        try:
            await workflow.wait_condition(lambda: self._is_cancelled, timeout=WAITING_PAUSE)
        except TimeoutError:
            return
        except asyncio.CancelledError:
            self._is_cancelled = True
