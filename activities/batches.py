"""The steps of a batch as Temporal activities: one call of a service each."""

from typing import Final

from temporalio import activity

from activities.application_errors import application_errors
from activities.contracts import BatchKey, BatchProgress, BatchSteps, StopInput
from domain.batches import TransferBatch
from domain.ids import BatchId, TenantId
from domain.transfers import Failure
from services.batch_posting import BatchPostingService

CHUNKS_AN_ATTEMPT: Final = 20
"""Chunks that one activity posts: some seconds of work and one event in the history."""


class BatchActivities(BatchSteps):
    """Carries out the steps with ``BatchPostingService``."""

    def __init__(self, posting: BatchPostingService) -> None:
        self._posting = posting

    @activity.defn(name="post_batch_chunks")
    async def post_batch_chunks(self, batch: BatchKey) -> BatchProgress:
        """See ``BatchSteps.post_batch_chunks`` and ``BatchPostingService.post``."""
        with application_errors():
            posted = await self._posting.post(
                TenantId(batch.tenant_id),
                BatchId(batch.batch_id),
                chunks=CHUNKS_AN_ATTEMPT,
                on_chunk=lambda now: activity.heartbeat(now.position),
            )
        return _progress(posted)

    @activity.defn(name="stop_batch")
    async def stop_batch(self, stop: StopInput) -> BatchProgress:
        """See ``BatchSteps.stop_batch`` and ``BatchPostingService.stop``."""
        with application_errors():
            stopped = await self._posting.stop(
                TenantId(stop.batch.tenant_id),
                BatchId(stop.batch.batch_id),
                Failure(stop.failure.code, stop.failure.message),
            )
        return _progress(stopped)


def _progress(batch: TransferBatch) -> BatchProgress:
    return BatchProgress(
        state=batch.state,
        stage=batch.stage,
        total=batch.counts.total,
        position=batch.position,
        settled=batch.counts.settled,
    )
