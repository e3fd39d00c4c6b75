"""The service with more and more behind it: transfers in its tables, workflows in Temporal."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Final

from benchmarks.choices import Contention
from benchmarks.filling import fill_ledger, fill_temporal
from benchmarks.measuring import Rounds, Summary
from benchmarks.stack import BenchStack
from benchmarks.ways import ALONE, FLOOR, MANY, peer_ways, transfer_ways

HOT_TABLES: Final = (
    "accounts",
    "balances",
    "holds",
    "idempotency_keys",
    "ledger_entries",
    "transfer_events",
    "transfers",
)
SEALED_WITHIN_SECONDS: Final = 300.0
SEAL_POLL_SECONDS: Final = 1.0
STATISTICS_SECONDS: Final = 11.0
"""What idle sessions take to hand in their counts."""


@dataclass(frozen=True, slots=True)
class GrowthPoint:
    """One size.

    Parameters
    ----------
    transfers
        In the tables after the measurement, which adds some.
    workflows
        What Temporal was given beside those that it ran.
    sequential_scans
        How often a table of the hot path was read from end to end, where it was.
    """

    transfers: int
    workflows: int
    database_mib: float
    temporal_mib: float
    summaries: dict[str, Summary]
    sequential_scans: dict[str, int]


async def grow(
    bench: BenchStack, sizes: Sequence[int], *, workflows_maximum: int, rounds: Rounds
) -> list[GrowthPoint]:
    """Measure the service and the floor at each size, from the smallest on."""
    points: list[GrowthPoint] = []
    cloned = 0
    async with AsyncExitStack() as opened:
        ways = [
            *await peer_ways(bench, opened, FLOOR, "floor", ALONE, MANY),
            *transfer_ways(bench, Contention.DISTINCT, ALONE, MANY),
        ]
        # Some finished workflows, to be cloned.
        for way in ways:
            await way.run(rounds.warm_up_seconds)
        for size in sorted(sizes):
            await bench.idle()
            missing = size - await _count(bench)
            if missing > 0:
                rounds.report(f"growth: filling the tables to {size:,} transfers")
                await fill_ledger(bench, missing)
                await _sealed(bench)
            wanted = min(size, workflows_maximum) - cloned
            if wanted > 0:
                rounds.report(f"growth: filling Temporal with {wanted:,} workflows")
                await fill_temporal(bench, wanted, first=cloned)
                cloned += wanted
                # The server was started anew for it.
                ways = [replace(way, pids={**way.pids, **bench.stack.info.pids}) for way in ways]
            before = await _sequential_scans(bench)
            summaries = await rounds.measure(ways)
            after = await _sequential_scans(bench)
            points.append(
                GrowthPoint(
                    transfers=await _count(bench),
                    workflows=cloned,
                    database_mib=await _database_mib(bench),
                    temporal_mib=_temporal_mib(bench),
                    summaries=summaries,
                    sequential_scans={
                        table: after[table] - before[table]
                        for table in after
                        if after[table] > before[table]
                    },
                )
            )
    return points


async def _sealed(bench: BenchStack) -> None:
    """Wait until what was filled in at once is sealed, as what grew over years would be.

    Raises
    ------
    TimeoutError
        It took longer than ``SEALED_WITHIN_SECONDS``.
    """
    async with asyncio.timeout(SEALED_WITHIN_SECONDS):
        while True:
            [[unsealed]] = await bench.execute(
                "SELECT (SELECT count(*) FROM ledger_entries)"
                " - (SELECT coalesce(max(position), 0) FROM ledger_seals)"
            )
            if not unsealed:
                return
            await asyncio.sleep(SEAL_POLL_SECONDS)


async def _count(bench: BenchStack) -> int:
    found = await bench.execute("SELECT count(*) FROM transfers")
    return int(found[0][0])


async def _database_mib(bench: BenchStack) -> float:
    found = await bench.execute("SELECT pg_database_size(current_database()) / 1048576.0")
    return float(found[0][0])


def _temporal_mib(bench: BenchStack) -> float:
    files = (bench.folder / "temporal").glob("temporal.db*")
    return sum(file.stat().st_size for file in files) / 2**20


async def _sequential_scans(bench: BenchStack) -> dict[str, int]:
    await asyncio.sleep(STATISTICS_SECONDS)
    found = await bench.execute(
        "SELECT relname, seq_scan FROM pg_stat_user_tables WHERE relname = ANY(%s)",
        [list(HOT_TABLES)],
    )
    return {str(table): int(scans) for table, scans in found}
