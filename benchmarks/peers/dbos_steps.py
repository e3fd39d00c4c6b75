"""A peer: the same three steps as a DBOS workflow, its own tables on the same PostgreSQL server."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from dbos import DBOS, SetWorkflowID

from benchmarks.peers.details import Details, endless_details
from benchmarks.peers.driver import Once, Setup, serve
from benchmarks.peers.steps import MoneySteps, require_success


class DurableSteps:
    """The steps and the workflow over them, registered with DBOS."""

    def __init__(self, steps: MoneySteps) -> None:
        # DBOS records the arguments and the results of plain functions, so that these are closures.
        @DBOS.step(name="bench_reserve")
        async def reserve(details: Details) -> str:
            return await steps.reserve(details)

        @DBOS.step(name="bench_post")
        async def post(details: Details) -> str:
            return await steps.post(details)

        @DBOS.step(name="bench_finalise")
        async def finalise(details: Details) -> str:
            return await steps.finalise(details)

        @DBOS.workflow(name="bench_transfer")
        async def transfer(details: Details) -> str:
            await reserve(details)
            await post(details)
            return str(await finalise(details))

        self._transfer = transfer

    async def run(self, details: Details) -> str:
        """Carry a transfer out under its key."""
        with SetWorkflowID(details.key):
            return str(await self._transfer(details))


@asynccontextmanager
async def open_dbos(setup: Setup) -> AsyncIterator[Once]:
    """Give a transfer: a workflow with a key of its own, and its result awaited."""
    async with MoneySteps.open(setup["database_url"]) as steps:
        DBOS(
            config={
                "name": "bench",
                "system_database_url": setup["dbos_url"],
                "log_level": "WARNING",
            }
        )
        durable = DurableSteps(steps)
        await asyncio.to_thread(DBOS.launch)
        transfers = endless_details(
            Path(setup["pairs"]), tenant_id=setup["tenant_id"], key_prefix=f"dbos-{uuid.uuid4()}"
        )

        async def once() -> None:
            require_success(await durable.run(next(transfers)))

        yield once
        await asyncio.to_thread(DBOS.destroy)


if __name__ == "__main__":
    serve(open_dbos)
