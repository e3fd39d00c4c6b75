"""Record the histories of batches anew, as further versions of those that are there.

Run `python -m tests.replay.record_batches`; see ``record``.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable

from temporalio import activity
from temporalio.client import Client, WorkflowHandle
from temporalio.exceptions import ApplicationError
from temporalio.worker import Worker

from activities.batches import BatchActivities
from activities.contracts import BatchKey, BatchProgress, BatchSteps, StopInput
from domain.batches import BatchOrder, BatchRow, RowStatus, TransferBatch
from domain.ids import BatchId
from domain.transfers import TransferType
from runtime.composition import Services
from services.chunk_text import staged_row
from services.identifiers import new_uuid
from tests.replay.record import run, write_history
from tests.support.wallets import Wallets, make_wallets
from workflows.transfer_batch import TransferBatchWorkflow

ROWS = 3
Hook = Callable[[], Awaitable[None]]


class HookedSteps(BatchSteps):
    """The real steps, with something done before each attempt to post."""

    def __init__(self, services: Services, before: Hook) -> None:
        self._real = BatchActivities(services.batch_posting)
        self._before = before

    @activity.defn(name="post_batch_chunks")
    async def post_batch_chunks(self, batch: BatchKey) -> BatchProgress:
        await self._before()
        return await self._real.post_batch_chunks(batch)

    @activity.defn(name="stop_batch")
    async def stop_batch(self, stop: StopInput) -> BatchProgress:
        return await self._real.stop_batch(stop)


async def stage(services: Services, wallets: Wallets, key: str | None = None) -> TransferBatch:
    """Record a batch of some transfers from the source to the destination."""
    client_key, _ = await services.access.create_key(
        tenant_name=secrets.token_hex(8), name="test", scopes=frozenset()
    )
    order = BatchOrder(
        id=BatchId(new_uuid()),
        tenant_id=wallets.tenant_id,
        idempotency_key=secrets.token_hex(8),
        fingerprint=bytes(32),
        is_atomic=False,
        description=None,
        rows=ROWS,
        requested_by=client_key.id,
    )
    rows = [
        BatchRow(
            position=position,
            idempotency_key=key or secrets.token_hex(8),
            type=TransferType.INTERNAL,
            source=str(wallets.source.id),
            destination=str(wallets.destination.id),
            amount_minor=100,
            currency="EUR",
            description=None,
            metadata={},
            effective_at=None,
            status=RowStatus.PENDING,
            failure=None,
            transfer_id=None,
        )
        for position in range(1, ROWS + 1)
    ]
    lines = (f"{order.id}\t{order.tenant_id}\t{staged_row(row)}".encode() for row in rows)
    return await services.batches.stage(order, lines)


async def record(services: Services, client: Client) -> None:
    """Run each scenario once and write its history."""

    async def take(name: str, before: Hook, end: Callable[..., Awaitable[object]]) -> None:
        steps = HookedSteps(services, before)
        queue = f"batches-{secrets.token_hex(6)}"
        async with Worker(
            client,
            task_queue=queue,
            workflows=[TransferBatchWorkflow],
            activities=[steps.post_batch_chunks, steps.stop_batch],
        ):
            batch = await stage(services, await make_wallets(services))
            handle = await client.start_workflow(
                TransferBatchWorkflow.run,
                BatchKey(batch.tenant_id, batch.id),
                id=batch.workflow_id,
                task_queue=queue,
            )
            await end(handle, batch)
            await handle.result()
            await write_history(f"batch-{name}", handle)

    async def nothing(*_arguments: object) -> None:
        pass

    await take("posted", nothing, nothing)
    failures = iter(range(3))

    async def fail() -> None:
        for _ in failures:
            raise ApplicationError("the database is away", type="database_unavailable")

    await take("retried", fail, nothing)
    for name in ("cancelled", "signalled"):
        reached, released = asyncio.Event(), asyncio.Event()

        async def wait(reached: asyncio.Event = reached, go: asyncio.Event = released) -> None:
            reached.set()
            await go.wait()

        async def end(
            handle: WorkflowHandle[TransferBatchWorkflow, BatchProgress],
            batch: TransferBatch,
            name: str = name,
            reached: asyncio.Event = reached,
            released: asyncio.Event = released,
        ) -> None:
            await reached.wait()
            if name == "cancelled":
                await handle.cancel()
            else:
                await services.batches.request_cancel(batch.tenant_id, batch.id)
                await handle.signal(TransferBatchWorkflow.cancel)
            released.set()

        await take(name, wait, end)


if __name__ == "__main__":
    run(record)
