"""Record the histories that the replay tests hold workflows against.

Run `python -m tests.replay.record` after a change of a workflow that is meant to be a new version,
and keep the old files as long as such workflows may run.
"""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from temporalio.client import Client, WorkflowHandle
from temporalio.exceptions import ApplicationError

from persistence.database import Database
from runtime.composition import Services, make_services
from runtime.temporal import connect
from tests.support.postgres import postgres_server
from tests.support.temporal import temporal_server
from tests.support.wallets import Wallets, make_wallets, reference
from tests.support.workers import InjectedSteps, WorkerFactory

HISTORIES = Path(__file__).parent / "histories"
# What tells of the machine and is not needed for a replay.
LEFT_OUT = {"stackTrace", "identity", "binaryChecksum"}
Hook = Callable[[], Awaitable[None]]


async def record(services: Services, client: Client) -> None:
    """Run each scenario once and write its history."""

    def failing(times: int) -> Hook:
        left = [times]

        async def fail() -> None:
            if left[0]:
                left[0] -= 1
                raise ApplicationError("the database is away", type="database_unavailable")

        return fail

    async def run(
        name: str,
        wallets: Wallets,
        amount_minor: int = 100,
        *,
        before: dict[str, Hook] | None = None,
        after: dict[str, Hook] | None = None,
    ) -> None:
        workers = WorkerFactory(client, services)
        worker = await workers(InjectedSteps(services, before=before, after=after))
        await worker.intake.submit(
            wallets.tenant_id, wallets.request(amount_minor), wait_seconds=30
        )
        handle = client.get_workflow_handle(wallets.workflow_id)
        await handle.result()
        await write_history(f"transfer-{name}", handle)
        await workers.stop()

    await run("fast", await make_wallets(services))
    await run("refused", await make_wallets(services), amount_minor=1_001)
    await run("durable", await make_wallets(services), before={"post_entries": failing(3)})
    frozen = await make_wallets(services)

    async def freeze() -> None:
        await services.accounts.freeze(frozen.tenant_id, reference(frozen.destination))

    await run("compensated", frozen, after={"reserve_funds": freeze})
    cancelled = await make_wallets(services)
    fail = failing(2)

    async def cancel() -> None:
        await fail()
        await client.get_workflow_handle(cancelled.workflow_id).cancel()

    await run("cancelled", cancelled, before={"reserve_funds": cancel})


async def write_history(name: str, handle: WorkflowHandle[Any, Any]) -> None:
    """Keep the history of a workflow that has ended."""
    history = _cleaned((await handle.fetch_history()).to_json_dict())
    (HISTORIES / f"{name}.json").write_text(json.dumps(history, indent=1) + "\n")


def _cleaned(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _cleaned(part) for key, part in value.items() if key not in LEFT_OUT}
    if isinstance(value, list):
        return [_cleaned(part) for part in value]
    return value


async def main(record: Callable[[Services, Client], Awaitable[None]]) -> None:
    """Start servers, and record on them."""
    async with AsyncExitStack() as opened:
        postgres = await opened.enter_async_context(postgres_server(print))
        temporal = await opened.enter_async_context(temporal_server())
        url = await opened.enter_async_context(postgres.database())
        database = Database.at(url)
        opened.push_async_callback(database.close)
        client = await connect(temporal.address, temporal.namespace)
        await record(make_services(database), client)


def run(record: Callable[[Services, Client], Awaitable[None]]) -> None:
    """Record, and leave."""
    HISTORIES.mkdir(exist_ok=True)
    asyncio.run(main(record))
    # The SDK's threads may still run, and abort an interpreter that takes itself down.
    os._exit(0)


if __name__ == "__main__":
    run(record)
