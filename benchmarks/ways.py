"""The ways that are measured side by side: the service over HTTP, the floor, and the peers."""

from contextlib import AsyncExitStack
from typing import Final

from benchmarks.choices import Contention
from benchmarks.load.closed_loop import ClosedLoop
from benchmarks.measuring import Way
from benchmarks.peers.process import Peer, running_peer
from benchmarks.stack import BenchStack

ALONE: Final = 1
MANY: Final = 50

FLOOR: Final = "floor"


def transfer(contention: Contention) -> str:
    """Name the way of the service over HTTP."""
    return f"transfer, {contention}"


def transfer_ways(bench: BenchStack, contention: Contention, *numbers: int) -> list[Way]:
    """Give the service over HTTP, with numbers of clients."""
    return [
        Way(
            transfer(contention),
            in_flight,
            ClosedLoop(bench, contention, in_flight=in_flight),
            bench.stack.info.pids,
        )
        for in_flight in numbers
    ]


async def peer_ways(
    bench: BenchStack, opened: AsyncExitStack, name: str, module: str, *numbers: int
) -> list[Way]:
    """Start a peer, and give it with numbers of clients.

    Raises
    ------
    PeerError
        It did not become ready.
    """
    info = bench.stack.info
    setup = {
        "temporal_address": info.temporal_address,
        "database_url": info.database_url,
        "tenant_id": str(bench.tenant_id),
        "pairs": str(bench.pairs[Contention.DISTINCT]),
    }
    peer = await opened.enter_async_context(running_peer(module, setup, folder=bench.folder))
    return [_peer_way(bench, peer, name, in_flight) for in_flight in numbers]


def _peer_way(bench: BenchStack, peer: Peer, name: str, in_flight: int) -> Way:
    return Way(
        name,
        in_flight,
        lambda seconds: peer.run(in_flight=in_flight, seconds=seconds),
        {**bench.stack.info.pids, "peer": peer.pid},
    )
