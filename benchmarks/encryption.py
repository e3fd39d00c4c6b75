"""What encrypted payloads cost: the API with and without keys, in turn, on one stack.

Run `python -m benchmarks.encryption`. Prints transfers/s and CPU of the API's process a transfer;
the ratio of the two is what counts, for absolute figures vary on shared machines.
"""

import argparse
import asyncio
import statistics
import sys
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass

import psutil

from persistence.database import Database
from runtime.composition import make_services
from tests.support.api import Client, Json, new_key
from tests.support.encrypted_stack import EncryptedStack, encrypted_stack
from tests.support.postgres import postgres_server
from tests.support.served import ServedApi

CLIENTS = 30
WARM_UP_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Measured:
    """One way, once."""

    transfers_per_second: float
    cpu_milliseconds: float


async def move(client: Client, ends: Json, until: float) -> int:
    """Move money one transfer after another; gives their number."""
    count = 0
    while time.monotonic() < until:
        response = await client.post_transfer(
            key=new_key(), currency="EUR", amount=1, description="rent of March", **ends
        )
        response.raise_for_status()
        count += 1
    return count


async def load(client: Client, seconds: float) -> int:
    """Keep so many requests in flight, each between two accounts of its own."""
    pairs = [
        (await client.account(balance=1_000_000), await client.account()) for _ in range(CLIENTS)
    ]
    until = time.monotonic() + seconds
    return sum(
        await asyncio.gather(
            *(
                move(client, {"source": source["id"], "destination": destination["id"]}, until)
                for source, destination in pairs
            )
        )
    )


def cpu_seconds(served: ServedApi) -> float:
    """Read the processor's time that the API's process has taken."""
    times = psutil.Process(served.part.pid).cpu_times()
    return float(times.user + times.system)


async def measure(ground: EncryptedStack, keys: str, seconds: float) -> Measured:
    """Serve the API with some keys, or with none, and load it."""
    async with AsyncExitStack() as opened:
        served = await opened.enter_async_context(ground.api(PAYLOAD_KEYS=keys))
        client = await ground.client(opened, served)
        await load(client, WARM_UP_SECONDS)
        before, began = cpu_seconds(served), time.monotonic()
        count = await load(client, seconds)
        spent, took = cpu_seconds(served) - before, time.monotonic() - began
        for line in served.part.log_path.read_text().splitlines():
            if not line.startswith("{"):
                print(line, file=sys.stderr)
        return Measured(count / took, spent / count * 1_000)


async def run(rounds: int, seconds: float) -> None:
    """Measure both ways in turn, and print the medians."""
    async with AsyncExitStack() as opened:
        server = await opened.enter_async_context(postgres_server(print))
        url = await opened.enter_async_context(server.database())
        database = Database.at(url)
        opened.push_async_callback(database.close)
        access = make_services(database).access
        ground = await opened.enter_async_context(encrypted_stack(url, access))
        ways = {"plain": "", "encrypted": ground.keys}
        found: dict[str, list[Measured]] = {name: [] for name in ways}
        for number in range(1, rounds + 1):
            for name, keys in ways.items():
                measured = await measure(ground, keys, seconds)
                found[name].append(measured)
                print(f"round {number}: {name}: {measured}", file=sys.stderr, flush=True)
    rates = [statistics.median(m.transfers_per_second for m in found[name]) for name in ways]
    costs = [statistics.median(m.cpu_milliseconds for m in found[name]) for name in ways]
    print(f"transfers/s: {rates[0]:.1f} plain, {rates[1]:.1f} encrypted: {rates[1] / rates[0]:.3f}")
    print(f"CPU of the API: {costs[0]:.2f} ms, {costs[1]:.2f} ms: {costs[1] / costs[0]:.3f}")


def main() -> None:
    """Measure as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8.0)
    arguments = parser.parse_args()
    asyncio.run(run(arguments.rounds, arguments.seconds))


if __name__ == "__main__":
    main()
