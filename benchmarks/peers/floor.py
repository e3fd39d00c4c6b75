"""The floor that the engine sets: an empty workflow, started eagerly, with its result fetched."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from temporalio import workflow
from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from benchmarks.peers.driver import Once, Setup, serve

TASK_QUEUE: Final = "bench-floor"
WORKFLOW_TASK_SLOTS: Final = 100


@workflow.defn(name="BenchEmptyWorkflow")
class EmptyWorkflow:
    """What the engine costs by itself."""

    @workflow.run
    async def run(self, value: str) -> str:
        """Return at once."""
        return value


@asynccontextmanager
async def open_floor(setup: Setup) -> AsyncIterator[Once]:
    """Give a run of the empty workflow."""
    client = await Client.connect(setup["temporal_address"])
    worker = Worker(
        client,
        task_queue=TASK_QUEUE,
        workflows=[EmptyWorkflow],
        workflow_runner=UnsandboxedWorkflowRunner(),
        max_concurrent_workflow_tasks=WORKFLOW_TASK_SLOTS,
    )

    async def once() -> None:
        handle = await client.start_workflow(
            EmptyWorkflow.run,
            "x",
            id=f"floor-{uuid.uuid4()}",
            task_queue=TASK_QUEUE,
            request_eager_start=True,
        )
        await handle.result()

    async with worker:
        yield once


if __name__ == "__main__":
    serve(open_floor)
