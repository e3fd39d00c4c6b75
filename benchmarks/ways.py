"""The ways that are measured side by side: the service over HTTP, the floor, and the peers."""

from contextlib import AsyncExitStack
from importlib.util import find_spec
from typing import Final

from benchmarks.choices import Contention
from benchmarks.load.closed_loop import ClosedLoop
from benchmarks.measuring import SETTLE_SECONDS, Way
from benchmarks.peers.pgbench import CLIENTS, Pgbench
from benchmarks.peers.process import Peer, running_peer
from benchmarks.stack import BenchStack
from runtime.part import Report

ALONE: Final = 1
MANY: Final = 50

CUT_OFF_SECONDS: Final = 2.0
"""wrk leaves its last requests behind, and the servers go on with them."""

FLOOR: Final = "floor"
TEMPLATE: Final = "Temporal template"
DBOS: Final = "DBOS"
TPCB: Final = "pgbench TPC-B"
BARE: Final = "bare SQL transfer"

DBOS_DATABASE: Final = "bench_dbos"


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
            settle_seconds=CUT_OFF_SECONDS if in_flight > ALONE else SETTLE_SECONDS,
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
        "dbos_url": bench.url(DBOS_DATABASE),
        "pairs": str(bench.pairs[Contention.DISTINCT]),
    }
    peer = await opened.enter_async_context(running_peer(module, setup, folder=bench.folder))
    return [_peer_way(bench, peer, name, in_flight) for in_flight in numbers]


async def closed_ways(bench: BenchStack, opened: AsyncExitStack, *, report: Report) -> list[Way]:
    """Start all peers, and give all that is measured in a closed loop.

    Raises
    ------
    PeerError, LoadGeneratorError
        One of them does not work.
    """
    both = (ALONE, MANY)
    dbos: list[Way] = []
    if find_spec("dbos") is None:
        report("without DBOS: it is not installed")
    else:
        await bench.create_database(DBOS_DATABASE)
        dbos = await peer_ways(bench, opened, DBOS, "dbos_steps", *both)
    tpcb = await Pgbench.tpcb(bench)
    servers = bench.stack.info.pids
    return [
        *await peer_ways(bench, opened, FLOOR, "floor", *both),
        *transfer_ways(bench, Contention.DISTINCT, *both),
        *transfer_ways(bench, Contention.HOT_DESTINATION, *both),
        *transfer_ways(bench, Contention.HOT_SOURCE, *both),
        *transfer_ways(bench, Contention.ZIPF, *both),
        *await peer_ways(bench, opened, TEMPLATE, "template", *both),
        *dbos,
        Way(TPCB, CLIENTS, tpcb, servers),
        Way(BARE, CLIENTS, Pgbench.bare_transfer(bench), servers),
    ]


def _peer_way(bench: BenchStack, peer: Peer, name: str, in_flight: int) -> Way:
    return Way(
        name,
        in_flight,
        lambda seconds: peer.run(in_flight=in_flight, seconds=seconds),
        {**bench.stack.info.pids, "peer": peer.pid},
    )
