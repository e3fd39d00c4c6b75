"""Batches over HTTP, from the request to the last row's durable outcome, beside pgbench's TPC-B."""

import asyncio
import itertools
import json
import statistics
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import httpx

from benchmarks.choices import Contention
from benchmarks.filling import fill_ledger
from benchmarks.peers.pgbench import Pgbench
from benchmarks.processes import memory_mib
from benchmarks.stack import CURRENCY, BenchStack
from runtime.part import Report

ROWS: Final = 100_000
GROWN_TRANSFERS: Final = 1_000_000
IN_FLIGHT: Final = 2
CONTENTIONS: Final = (Contention.DISTINCT, Contention.HOT_SOURCE, Contention.ZIPF)
GROWN_CONTENTIONS: Final = (Contention.DISTINCT, Contention.HOT_SOURCE)
TIMEOUT_SECONDS: Final = 300.0
POLL_SECONDS: Final = 0.1
MEMORY_OF: Final = ("api", "worker")


@dataclass(frozen=True, slots=True)
class BatchRun:
    """Batches of one kind, and the median of the rounds.

    Parameters
    ----------
    in_flight
        Batches at a time.
    staged_seconds
        Until the last request was answered: all rows read, checked and recorded.
    seconds
        Until every row had its outcome.
    transfers_before
        In the tables before the first round.
    to_tpcb
        Rows a second over pgbench's transactions a second, measured just before and after.
    """

    kind: str
    rows: int
    in_flight: int
    transfers_before: int
    staged_seconds: float
    seconds: float
    per_second: float
    lowest_per_second: float
    highest_per_second: float
    to_tpcb: float


@dataclass(frozen=True, slots=True)
class BatchResults:
    """What was measured.

    Parameters
    ----------
    tpcb_per_second
        All measurements of pgbench in this run.
    memory_mib
        Peak of each process after everything.
    idle_memory_mib
        The same before the first batch.
    """

    tpcb_per_second: list[float]
    runs: list[BatchRun]
    memory_mib: dict[str, float]
    idle_memory_mib: dict[str, float]


async def measure_batches(
    bench: BenchStack,
    *,
    rounds: int,
    seconds: float,
    report: Report,
    rows: int = ROWS,
    grown_transfers: int = GROWN_TRANSFERS,
) -> BatchResults:
    """Measure batches on empty tables and on grown ones, and pgbench between them.

    Parameters
    ----------
    seconds
        Of each measurement of pgbench.
    grown_transfers
        What the tables are filled to, where they hold less, for the second part; 0 leaves it out.
    """
    tpcb = await Pgbench.tpcb(bench)
    rates: list[float] = []

    async def reference() -> float:
        rates.append((await tpcb(seconds)).per_second)
        report(f"pgbench TPC-B: {rates[-1]:,.0f}/s")
        return rates[-1]

    async def run(contention: Contention, *, in_flight: int = 1) -> BatchRun:
        before = await _count(bench)
        each = [await send_batches(bench, contention, rows, in_flight) for _ in range(rounds)]
        reference_rate = statistics.mean([rates[-1], await reference()])
        speeds = [rows * in_flight / total for _, total in each]
        median = statistics.median(speeds)
        found = BatchRun(
            kind=contention,
            rows=rows,
            in_flight=in_flight,
            transfers_before=before,
            staged_seconds=statistics.median([staged for staged, _ in each]),
            seconds=statistics.median([total for _, total in each]),
            per_second=median,
            lowest_per_second=min(speeds),
            highest_per_second=max(speeds),
            to_tpcb=median / reference_rate,
        )
        report(
            f"batch of {rows:,}, {contention}, {in_flight} in flight, {before:,} before: "
            f"{median:,.0f}/s ({found.to_tpcb:.2f} x TPC-B), staged in {found.staged_seconds:.1f} s"
        )
        return found

    idle = _memory(bench)
    await reference()
    runs = [await run(contention) for contention in CONTENTIONS]
    if grown_transfers:
        missing = grown_transfers - await _count(bench)
        if missing > 0:
            report(f"filling the tables to {grown_transfers:,} transfers")
            await fill_ledger(bench, missing)
        runs += [await run(contention) for contention in GROWN_CONTENTIONS]
    runs.append(await run(Contention.DISTINCT, in_flight=IN_FLIGHT))
    return BatchResults(rates, runs, _memory(bench), idle)


async def send_batches(
    bench: BenchStack, contention: Contention, rows: int, in_flight: int
) -> tuple[float, float]:
    """Send batches at the same time; give the seconds to the last answer, and to the last outcome.

    Raises
    ------
    RuntimeError
        Not every row has moved its money.
    """
    pairs = bench.pairs[contention].read_text().splitlines()
    bodies = [_body(pairs, rows) for _ in range(in_flight)]
    info = bench.stack.info
    async with httpx.AsyncClient(
        base_url=info.api_url,
        headers={"Authorization": f"Bearer {info.api_key}", "Content-Type": "application/json"},
        timeout=TIMEOUT_SECONDS,
        trust_env=False,
    ) as http:
        began = time.monotonic()

        async def one(body: bytes) -> tuple[float, float]:
            sent = await http.post(
                "/v1/transfer-batches",
                content=body,
                headers={"Idempotency-Key": str(uuid.uuid4()), "Prefer": "respond-async"},
            )
            batch: dict[str, Any] = sent.raise_for_status().json()
            staged = time.monotonic() - began
            while batch["state"] == "PROCESSING":
                await asyncio.sleep(POLL_SECONDS)
                batch = (await http.get(f"/v1/transfer-batches/{batch['id']}")).json()
            if batch["counts"]["succeeded"] != rows:
                raise RuntimeError(f"not all rows succeeded: {batch}")
            return staged, time.monotonic() - began

        found = await asyncio.gather(*(one(body) for body in bodies))
    return max(staged for staged, _ in found), max(total for _, total in found)


def _body(pairs: Sequence[str], rows: int) -> bytes:
    sides = (pair.split() for pair in itertools.islice(itertools.cycle(pairs), rows))
    transfers = [
        {
            "idempotency_key": f"bench-{uuid.uuid4()}",
            "source": source,
            "destination": destination,
            "amount": 1,
            "currency": CURRENCY,
            "description": "Salary",
        }
        for source, destination in sides
    ]
    return json.dumps({"transfers": transfers}).encode()


async def _count(bench: BenchStack) -> int:
    return int((await bench.execute("SELECT count(*) FROM transfers"))[0][0])


def _memory(bench: BenchStack) -> dict[str, float]:
    pids = bench.stack.info.pids
    return {name: memory_mib(pids[name]) for name in MEMORY_OF}
