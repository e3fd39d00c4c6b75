"""The walk of a batch's POST: spooled, checked, staged, started."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import IO

from api.batch_schemas import BatchOptions
from api.batch_spool import SpooledBatch, spooled
from domain.access import Principal
from domain.audit import SYSTEM_ACTOR, Actor
from domain.batches import BatchOrder, TransferBatch
from domain.ids import BatchId, TenantId
from domain.limits import BATCHES_READ_AT_ONCE
from services.batches import BatchService
from services.identifiers import new_uuid
from workflows.batch_gateway import BatchGateway


@dataclass(frozen=True, slots=True)
class BatchSubmission:
    """What became of a request.

    Parameters
    ----------
    is_replay
        The batch was recorded by an earlier request with the same key.
    """

    batch: TransferBatch
    is_replay: bool


class BatchIntake:
    """Takes in batches.

    Notes
    -----
    A body goes to a file as it comes and is checked row by row in a thread, so that neither its
    size nor the work on it is felt by other requests. So many are read at once; more wait.
    """

    def __init__(self, *, batches: BatchService, gateway: BatchGateway) -> None:
        self._batches = batches
        self._gateway = gateway
        self._at_once = asyncio.Semaphore(BATCHES_READ_AT_ONCE)

    async def submit(
        self,
        principal: Principal,
        key: str,
        body: AsyncIterator[bytes],
        *,
        media_type: str,
        options: BatchOptions,
        wait_seconds: float,
    ) -> BatchSubmission:
        """Record a batch and start it, or find the one that its key stands for.

        Raises
        ------
        MalformedBody, ValidationFailed
            The body is not as it should be; nothing is recorded.
        IdempotencyKeyReused
            The key was used for another request.
        DatabaseUnavailable, TemporalUnavailable
            Nothing is half-done; the same request later gives the one batch.
        """
        with tempfile.TemporaryFile() as file:
            async for piece in body:
                file.write(piece)
            file.seek(0)
            async with self._at_once:
                order, batch = await self._stage(principal, key, file, media_type, options)
        if not batch.is_final:
            await self._gateway.start(batch)
            if wait_seconds:
                await self._gateway.wait(batch, seconds=wait_seconds)
                batch = await self._batches.get(batch.tenant_id, batch.id)
        return BatchSubmission(batch, is_replay=batch.id != order.id)

    async def cancel(
        self,
        tenant_id: TenantId,
        batch_id: BatchId,
        *,
        actor: Actor = SYSTEM_ACTOR,
        reason: str | None = None,
    ) -> TransferBatch:
        """Ask a batch to stop between two chunks.

        Raises
        ------
        BatchNotFound
            The tenant has no such batch.
        BatchFinished
            Every row of it has its outcome.
        """
        batch = await self._batches.request_cancel(tenant_id, batch_id, actor=actor, reason=reason)
        if not batch.is_final:
            await self._gateway.cancel(batch)
        return batch

    async def _stage(
        self,
        principal: Principal,
        key: str,
        file: IO[bytes],
        media_type: str,
        options: BatchOptions,
    ) -> tuple[BatchOrder, TransferBatch]:
        reading = spooled(file, media_type, options)
        checked: SpooledBatch = await asyncio.to_thread(reading.__enter__)
        try:
            order = BatchOrder(
                id=BatchId(new_uuid()),
                tenant_id=principal.tenant_id,
                idempotency_key=key,
                fingerprint=checked.fingerprint,
                is_atomic=checked.options.atomic,
                description=checked.options.description,
                rows=checked.rows,
                requested_by=principal.api_key_id,
                actor=principal.actor,
            )
            pieces = checked.pieces(str(order.tenant_id), str(order.id))
            return order, await self._batches.stage(order, pieces)
        finally:
            reading.__exit__(None, None, None)
