"""The service under arrivals at rising rates, and under more than it can take."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.choices import Contention
from benchmarks.load.closed_loop import ClosedLoop
from benchmarks.load.open_loop import OpenLoad, open_loop
from benchmarks.measuring import SETTLE_SECONDS
from benchmarks.stack import BenchStack
from benchmarks.ways import MANY
from runtime.part import Report

SHARES: Final = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0)
"""Shares of what a closed loop reaches; the first that saturates, from 1 on, is the last."""
OPEN_CONTENTIONS: Final = (Contention.DISTINCT, Contention.HOT_DESTINATION, Contention.ZIPF)
SERVED_SHARE: Final = 0.95
"""Below this share of the arrivals served in time, the service is saturated."""

PRESSURE_FACTOR: Final = 3.0
PRESSURE_DRAIN_SECONDS: Final = 30.0
RECOVERY_FACTOR: Final = 0.5
RECOVERY_SECONDS: Final = 10.0
CALIBRATION_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Pressure:
    """What became of far too many arrivals.

    Parameters
    ----------
    saturation_per_second
        What a closed loop reaches; the arrivals are a multiple of it.
    beyond
        While they lasted.
    recovery
        Right afterwards, with few arrivals; what the time before left undone is still there.
    idle_after_seconds
        From the last arrival until no transfer was unfinished; ``None`` where that took too long.
    """

    saturation_per_second: float
    beyond: OpenLoad
    recovery: OpenLoad
    idle_after_seconds: float | None


async def calibrate(bench: BenchStack) -> float:
    """Find what a closed loop reaches, in transfers a second."""
    load = ClosedLoop(bench, Contention.DISTINCT, in_flight=MANY)
    await load(CALIBRATION_SECONDS)
    return max(1.0, (await load(CALIBRATION_SECONDS)).per_second)


async def open_loops(
    bench: BenchStack, *, reference_per_second: float, seconds: float, report: Report
) -> dict[str, list[OpenLoad]]:
    """Raise the rate of arrivals until the service is saturated, for each contention."""
    measured: dict[str, list[OpenLoad]] = {}
    for contention in OPEN_CONTENTIONS:
        loads = measured.setdefault(contention, [])
        for share in SHARES:
            load = await open_loop(
                bench, contention, per_second=share * reference_per_second, seconds=seconds
            )
            loads.append(load)
            report(f"open loop, {contention}: {line_of(load)}")
            await asyncio.sleep(SETTLE_SECONDS)
            # Far below that, a neighbour on the machine is the likelier cause.
            if is_saturated(load) and share >= 1:
                break
        await bench.idle()
    return measured


def is_saturated(load: OpenLoad) -> bool:
    """Tell whether more arrived than was served."""
    return load.served_per_second < SERVED_SHARE * load.offered_per_second


def saturation_of(loads: Sequence[OpenLoad]) -> float:
    """Give the most that was served at any rate."""
    return max(1.0, *(load.served_per_second for load in loads))


async def press(
    bench: BenchStack, *, saturation_per_second: float, seconds: float, report: Report
) -> Pressure:
    """Send far too much for a while, then little, and see how long the rest takes."""

    async def recover() -> OpenLoad:
        await asyncio.sleep(seconds)
        return await open_loop(
            bench,
            Contention.DISTINCT,
            per_second=RECOVERY_FACTOR * saturation_per_second,
            seconds=RECOVERY_SECONDS,
        )

    async def wait() -> float | None:
        await asyncio.sleep(seconds + RECOVERY_SECONDS)
        idle_after_seconds = await bench.idle()
        return None if idle_after_seconds is None else RECOVERY_SECONDS + idle_after_seconds

    beyond, recovery, idle_after_seconds = await asyncio.gather(
        open_loop(
            bench,
            Contention.DISTINCT,
            per_second=PRESSURE_FACTOR * saturation_per_second,
            seconds=seconds,
            drain_seconds=PRESSURE_DRAIN_SECONDS,
        ),
        recover(),
        wait(),
    )
    report(f"back pressure: {line_of(beyond)}")
    report(f"afterwards: {line_of(recovery)}; idle after {idle_after_seconds} s")
    return Pressure(saturation_per_second, beyond, recovery, idle_after_seconds)


def line_of(load: OpenLoad) -> str:
    """Write a load for the one who watches."""
    return (
        f"{load.offered_per_second:.0f}/s arrive, {load.served_per_second:.0f}/s are served, "
        f"p50 {load.latency.p50_ms:.0f} ms, p99 {load.latency.p99_ms:.0f} ms, {load.statuses}"
    )
