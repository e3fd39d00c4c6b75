"""A peer: Temporal's own money-transfer template, with its defaults, over the service's SQL."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from temporalio import activity
from temporalio.client import Client
from temporalio.worker import Worker

from benchmarks.peers.details import Details, endless_details
from benchmarks.peers.driver import Once, Setup, serve
from benchmarks.peers.steps import MoneySteps, require_success
from benchmarks.peers.template_workflow import MoneyTransfer

TASK_QUEUE: Final = "bench-template"


class Activities:
    """The steps as activities."""

    def __init__(self, steps: MoneySteps) -> None:
        self._steps = steps

    @activity.defn(name="bench_reserve")
    async def reserve(self, details: Details) -> str:
        """See ``MoneySteps``."""
        return await self._steps.reserve(details)

    @activity.defn(name="bench_post")
    async def post(self, details: Details) -> str:
        """See ``MoneySteps``."""
        return await self._steps.post(details)

    @activity.defn(name="bench_finalise")
    async def finalise(self, details: Details) -> str:
        """See ``MoneySteps``."""
        return await self._steps.finalise(details)


@asynccontextmanager
async def open_template(setup: Setup) -> AsyncIterator[Once]:
    """Give a transfer: a plain start, and its result awaited."""
    client = await Client.connect(setup["temporal_address"])
    async with MoneySteps.open(setup["database_url"]) as steps:
        activities = Activities(steps)
        worker = Worker(
            client,
            task_queue=TASK_QUEUE,
            workflows=[MoneyTransfer],
            activities=[activities.reserve, activities.post, activities.finalise],
        )
        transfers = endless_details(
            Path(setup["pairs"]),
            tenant_id=setup["tenant_id"],
            key_prefix=f"template-{uuid.uuid4()}",
        )

        async def once() -> None:
            details = next(transfers)
            require_success(
                await client.execute_workflow(
                    MoneyTransfer.run, details, id=details.key, task_queue=TASK_QUEUE
                )
            )

        async with worker:
            yield once


if __name__ == "__main__":
    serve(open_template)
