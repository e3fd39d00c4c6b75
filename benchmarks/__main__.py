"""Measures the service beside the engine's floor and its peers, on the same servers in one run."""

import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.util import find_spec
from typing import Final

import uvloop

from benchmarks.batches import measure_batches
from benchmarks.growth import grow
from benchmarks.load.closed_loop import LoadGeneratorError, wrk_program
from benchmarks.machine import this_machine
from benchmarks.measuring import Rounds, failures_of
from benchmarks.plan import GROWTH_ROUNDS_MAXIMUM, WARM_UP_SECONDS, Plan, Section
from benchmarks.pressure import calibrate, open_loops, press, saturation_of
from benchmarks.report import markdown, write_into
from benchmarks.results import Results
from benchmarks.stack import BenchStack, running_stack
from benchmarks.targets import TO_FLOOR
from benchmarks.ways import closed_ways

RESULTS_FILE: Final = "results.json"


def say(line: str) -> None:
    """Print progress, apart from the report."""
    print(line, file=sys.stderr, flush=True)


async def bench(plan: Plan) -> Results:
    """Start the servers, measure, prove the ledger."""
    results = Results(plan=plan.as_json())
    if plan.sections - {Section.GROWTH, Section.BATCHES}:
        async with _running(plan, results) as stack:
            await _closed(plan, stack, results)
            await _pressed(plan, stack, results)
    if Section.BATCHES in plan.sections:
        async with _running(plan, results) as stack:
            results.batches = await measure_batches(
                stack, rounds=plan.rounds, seconds=plan.seconds, report=say
            )
    if Section.GROWTH in plan.sections:
        # On servers of its own: what the others leave behind would be most of the smallest size.
        async with _running(plan, results) as stack:
            await _growth(plan, stack, results)
    return results


def deliver(plan: Plan, results: Results) -> None:
    """Write what is to be written, and print the report."""
    plots = []
    if plan.output is not None:
        plan.output.mkdir(parents=True, exist_ok=True)
        results.write(plan.output / RESULTS_FILE)
        if find_spec("matplotlib") is None:
            say("no plots: matplotlib is not installed")
        else:
            from benchmarks.plots import draw  # noqa: PLC0415 - only where matplotlib is

            plots = draw(results, plan.output)
    report = markdown(results, plots=plots)
    if plan.document is not None:
        write_into(plan.document, report)
    print(report)


def main() -> None:
    """Parse, measure, report; the exit code says whether anything failed."""
    plan = Plan.parse(None, __doc__ or "")
    try:
        wrk_program()
    except LoadGeneratorError as error:
        sys.exit(str(error))
    results = uvloop.run(bench(plan))
    deliver(plan, results)
    sys.stdout.flush()
    # The SDK's threads may still run, and abort an interpreter that takes itself down.
    os._exit(1 if results.problems else 0)


@asynccontextmanager
async def _running(plan: Plan, results: Results) -> AsyncIterator[BenchStack]:
    """Give servers, and prove their ledger at the end."""
    async with running_stack(seed=plan.seed, api_workers=plan.api_workers, report=say) as stack:
        results.machine = await this_machine(stack)
        yield stack
        await stack.idle()
        say("proving the ledger")
        results.problems += await stack.problems()


def _rounds(plan: Plan, rounds: int) -> Rounds:
    return Rounds(rounds, plan.seconds, WARM_UP_SECONDS, plan.seed, say)


async def _closed(plan: Plan, stack: BenchStack, results: Results) -> None:
    if Section.CLOSED not in plan.sections:
        return
    async with AsyncExitStack() as opened:
        ways = await closed_ways(stack, opened, report=say)
        wanted = [way for way in ways if plan.wants(way.key)]
        results.closed = await _rounds(plan, plan.rounds).measure(wanted)
    results.problems += failures_of(results.closed)


async def _pressed(plan: Plan, stack: BenchStack, results: Results) -> None:
    if not plan.sections & {Section.OPEN_LOOP, Section.BACK_PRESSURE}:
        return
    closed = results.closed.get(TO_FLOOR.of)
    saturation = closed.per_second.median if closed else await calibrate(stack)
    await stack.idle()
    if Section.OPEN_LOOP in plan.sections:
        results.open_loops = await open_loops(
            stack, reference_per_second=saturation, seconds=plan.seconds, report=say
        )
        saturation = saturation_of(next(iter(results.open_loops.values())))
    if Section.BACK_PRESSURE in plan.sections:
        results.pressure = await press(
            stack,
            saturation_per_second=saturation,
            seconds=plan.pressure_seconds,
            report=say,
        )


async def _growth(plan: Plan, stack: BenchStack, results: Results) -> None:
    results.growth = await grow(
        stack,
        plan.sizes,
        workflows_maximum=plan.workflows_maximum,
        rounds=_rounds(plan, min(plan.rounds, GROWTH_ROUNDS_MAXIMUM)),
    )
    for point in results.growth:
        results.problems += failures_of(point.summaries)


if __name__ == "__main__":
    main()
