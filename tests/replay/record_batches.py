"""Record the histories of batches.

Run `python -m tests.replay.record_batches`; see ``record``, also for `--again NAME`.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Collection
from functools import partial

from temporalio import activity
from temporalio.client import Client, WorkflowHandle
from temporalio.exceptions import ApplicationError
from temporalio.worker import Worker

from activities.batches import CHUNKS_AN_ATTEMPT, BatchActivities
from activities.contracts import BatchKey, BatchProgress, BatchSteps, StopInput
from domain.batches import TransferBatch
from runtime.composition import Services
from runtime.temporal import connect
from services.batch_posting import BatchPostingService
from tests.replay.record import HISTORIES, named_again, run, write_history
from tests.support.staged import new_keys, stage_batch
from tests.support.temporal import embedded_temporal
from tests.support.wallets import make_wallets
from workflows.transfer_batch import TransferBatchWorkflow

ROWS = 3
EVENTS_BEFORE_A_NEW_RUN = 8
"""Fewer than the first step leaves behind."""

Hook = Callable[[], Awaitable[None]]


class HookedSteps(BatchSteps):
    """The real steps, a row a chunk, with something done before each attempt to post."""

    def __init__(self, services: Services, before: Hook) -> None:
        self._real = BatchActivities(BatchPostingService(services.database, chunk_rows=1))
        self._before = before

    @activity.defn(name="post_batch_chunks")
    async def post_batch_chunks(self, batch: BatchKey) -> BatchProgress:
        await self._before()
        return await self._real.post_batch_chunks(batch)

    @activity.defn(name="stop_batch")
    async def stop_batch(self, stop: StopInput) -> BatchProgress:
        return await self._real.stop_batch(stop)


async def record(services: Services, client: Client, again: Collection[str] = ()) -> None:
    """Run each scenario that has no file, or is named, and write its history."""

    async def take(
        name: str,
        before: Hook,
        end: Callable[..., Awaitable[object]],
        *,
        rows: int = ROWS,
        client: Client = client,
    ) -> None:
        if (HISTORIES / f"batch-{name}.json").exists() and name not in again:
            return
        steps = HookedSteps(services, before)
        queue = f"batches-{secrets.token_hex(6)}"
        async with Worker(
            client,
            task_queue=queue,
            workflows=[TransferBatchWorkflow],
            activities=[steps.post_batch_chunks, steps.stop_batch],
        ):
            batch = await stage_batch(await make_wallets(services), new_keys(rows))
            handle = await client.start_workflow(
                TransferBatchWorkflow.run,
                BatchKey(batch.tenant_id, batch.id),
                id=batch.workflow_id,
                task_queue=queue,
            )
            await end(handle, batch)
            await handle.result()
            first_run = handle.first_execution_run_id
            await write_history(
                f"batch-{name}", client.get_workflow_handle(handle.id, run_id=first_run)
            )

    async def nothing(*_arguments: object) -> None:
        pass

    await take("posted", nothing, nothing)
    limits = {"limit.historyCount.suggestContinueAsNew": EVENTS_BEFORE_A_NEW_RUN}
    async with embedded_temporal(**limits) as server:
        own = await connect(server.address, server.namespace)
        rows = CHUNKS_AN_ATTEMPT + 1
        await take("continued", nothing, nothing, rows=rows, client=own)
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
    run(partial(record, again=named_again(__doc__)))
