"""A single transfer over HTTP against the engine's floor, in one run on the same servers.

The floor is an empty workflow, started eagerly on a worker of this process, with its result
fetched. Both are done in turn, so that the machine's other work falls on both. Run `make bench`.
"""

import argparse
import os
import platform
import statistics
import time
import uuid
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any, Final

import httpx
import uvloop
from temporalio import workflow
from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from runtime.local import make_local_stack
from runtime.stack_files import throwaway_data_dir
from runtime.stack_options import LocalStackOptions

WARM_UP: Final = 30
TASK_QUEUE: Final = "floor"
TIMEOUT_SECONDS: Final = 40.0


@workflow.defn
class EmptyWorkflow:
    """What the engine costs by itself."""

    @workflow.run
    async def run(self, value: str) -> str:
        """Return at once."""
        return value


async def floor_of(client: Client) -> Callable[[], Awaitable[None]]:
    """Give a run of an empty workflow."""

    async def once() -> None:
        handle = await client.start_workflow(
            EmptyWorkflow.run,
            "x",
            id=str(uuid.uuid4()),
            task_queue=TASK_QUEUE,
            request_eager_start=True,
        )
        await handle.result()

    return once


async def transfer_of(http: httpx.AsyncClient) -> Callable[[], Awaitable[None]]:
    """Give a transfer between two new accounts."""

    async def post(path: str, body: dict[str, Any], key: str | None = None) -> dict[str, Any]:
        headers = {"Idempotency-Key": key} if key else {}
        response = await http.post(path, json=body, headers=headers)
        response.raise_for_status()
        answer: dict[str, Any] = response.json()
        return answer

    user = await post("/v1/users", {"name": "Bench"})
    source, destination = [
        await post("/v1/accounts", {"user_id": user["id"], "currency": "EUR", **limit})
        for limit in ({"overdraft_limit": 10**9}, {})
    ]
    body = {
        "source": source["id"],
        "destination": destination["id"],
        "amount": 1,
        "currency": "EUR",
    }

    async def once() -> None:
        transfer = await post("/v1/transfers", body, str(uuid.uuid4()))
        if transfer["state"] != "SUCCESS":
            raise RuntimeError(f"the transfer is {transfer['state']}")

    return once


async def measure(
    ways: dict[str, Callable[[], Awaitable[None]]], runs: int
) -> dict[str, list[float]]:
    """Time each way in turn, in milliseconds, after a warm-up."""
    milliseconds: dict[str, list[float]] = {name: [] for name in ways}
    for run in range(WARM_UP + runs):
        for name, once in ways.items():
            began = time.perf_counter()
            await once()
            if run >= WARM_UP:
                milliseconds[name].append((time.perf_counter() - began) * 1000)
    return milliseconds


async def bench(runs: int) -> None:
    """Start a throw-away stack, measure, and print."""
    async with AsyncExitStack() as opened:
        folder = opened.enter_context(throwaway_data_dir())
        stack = await opened.enter_async_context(
            make_local_stack(LocalStackOptions.on_free_ports(folder), report=lambda _line: None)
        )
        client = await Client.connect(stack.info.temporal_address)
        worker = Worker(
            client,
            task_queue=TASK_QUEUE,
            workflows=[EmptyWorkflow],
            workflow_runner=UnsandboxedWorkflowRunner(),
        )
        await opened.enter_async_context(worker)
        http = await opened.enter_async_context(
            httpx.AsyncClient(
                base_url=stack.info.api_url,
                headers={"Authorization": f"Bearer {stack.info.api_key}"},
                timeout=TIMEOUT_SECONDS,
                trust_env=False,
            )
        )
        ways = {"floor": await floor_of(client), "transfer": await transfer_of(http)}
        report(await measure(ways, runs), runs)


def report(milliseconds: dict[str, list[float]], runs: int) -> None:
    """Print medians with their spread, and the ratio."""
    print(f"{runs} each, in turn; Python {platform.python_version()}, {os.cpu_count()} cores")
    print(f"{'':10} {'p50 ms':>8} {'p95 ms':>8} {'p99 ms':>8}")
    medians = {}
    for name, values in milliseconds.items():
        cuts = statistics.quantiles(values, n=100)
        medians[name] = statistics.median(values)
        print(f"{name:10} {medians[name]:8.1f} {cuts[94]:8.1f} {cuts[98]:8.1f}")
    print(f"p50 of a transfer is {medians['transfer'] / medians['floor']:.2f} times the floor's")


def main() -> None:
    """Parse and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=500, help="counted runs of each (default 500)")
    uvloop.run(bench(parser.parse_args().runs))
    # The SDK's threads may still run, and abort an interpreter that takes itself down.
    os._exit(0)


if __name__ == "__main__":
    main()
