"""A guard against regressions, in less than a minute: ratios to the floor, beside recorded ones.

It only prints what it finds: absolute times and even ratios vary on shared machines. It fails where
transfers fail or the ledger does not add up.
"""

import argparse
import json
import os
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import uvloop

from benchmarks.batches import send_batches
from benchmarks.choices import Contention
from benchmarks.load.closed_loop import LoadGeneratorError, wrk_program
from benchmarks.machine import this_machine
from benchmarks.measuring import Rounds, Summary, failures_of
from benchmarks.plan import API_WORKERS, SEED
from benchmarks.report import closed_table, figure, table
from benchmarks.stack import running_stack
from benchmarks.targets import ALONE_TO_FLOOR, CPU_TO_FLOOR, TO_FLOOR
from benchmarks.ways import ALONE, FLOOR, MANY, peer_ways, transfer_ways

RECORDED: Final = Path(__file__).with_name("recorded.json")
ROUNDS: Final = 2
SECONDS: Final = 2.5
WARM_UP_SECONDS: Final = 1.0
GUARDED: Final = (TO_FLOOR, ALONE_TO_FLOOR, CPU_TO_FLOOR)
BATCH_ROWS: Final = 20_000
NOTEWORTHY: Final = 1.5
"""A ratio that is worse than the recorded one by more than this factor is pointed at."""


def say(line: str) -> None:
    """Print progress, apart from the report."""
    print(line, file=sys.stderr, flush=True)


async def measure() -> tuple[dict[str, Summary], str, list[str]]:
    """Measure the service and the floor; also name the machine, and say what failed."""
    async with AsyncExitStack() as opened:
        stack = await opened.enter_async_context(
            running_stack(seed=SEED, api_workers=API_WORKERS, report=say)
        )
        ways = [
            *await peer_ways(stack, opened, FLOOR, "floor", ALONE, MANY),
            *transfer_ways(stack, Contention.DISTINCT, ALONE, MANY),
        ]
        summaries = await Rounds(ROUNDS, SECONDS, WARM_UP_SECONDS, SEED, say).measure(ways)
        _, seconds = await send_batches(stack, Contention.DISTINCT, BATCH_ROWS, 1)
        say(f"a batch of {BATCH_ROWS:,} rows: {BATCH_ROWS / seconds:,.0f} transfers/s")
        machine = str(await this_machine(stack))
        await stack.idle()
        return summaries, machine, [*failures_of(summaries), *await stack.problems()]


def ratios_of(summaries: Mapping[str, Summary]) -> dict[str, float]:
    """Give the guarded ratios."""
    found = {str(ratio): ratio.among(summaries) for ratio in GUARDED}
    return {name: round(value, 3) for name, value in found.items() if value is not None}


def comparison(ratios: Mapping[str, float], recorded: Mapping[str, Any]) -> str:
    """Write ratios beside the recorded ones."""
    rows = []
    for ratio in GUARDED:
        now, then = ratios.get(str(ratio)), recorded.get("ratios", {}).get(str(ratio))
        if now is None:
            continue
        note = ""
        if then:
            worse = then / now if ratio.more_is_better else now / then
            note = f"WORSE by a factor of {worse:.2f}" if worse > NOTEWORTHY else "as recorded"
            note = f"better by a factor of {1 / worse:.2f}" if worse < 1 / NOTEWORTHY else note
        rows.append([str(ratio), figure(now), figure(then) if then else "", note])
    return table(["ratio (way / in flight)", "now", "recorded", ""], rows)


def main() -> None:
    """Measure, compare, and record where that is asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quick", description=__doc__)
    parser.add_argument("--record", action="store_true", help="record the ratios as the new ones")
    arguments = parser.parse_args()
    try:
        wrk_program()
    except LoadGeneratorError as error:
        sys.exit(str(error))
    summaries, machine, problems = uvloop.run(measure())
    ratios = ratios_of(summaries)
    recorded = json.loads(RECORDED.read_text()) if RECORDED.exists() else {}
    print(closed_table(summaries))
    print()
    print(comparison(ratios, recorded))
    for problem in problems:
        print(f"PROBLEM: {problem}")
    if arguments.record and not problems:
        others = max(summary.foreign_cpu_share.median for summary in summaries.values())
        content = {
            "machine": machine,
            "cpu_used_by_others": round(others, 2),
            "ratios": ratios,
        }
        RECORDED.write_text(f"{json.dumps(content, indent=2)}\n")
    sys.stdout.flush()
    # The SDK's threads may still run, and abort an interpreter that takes itself down.
    os._exit(1 if problems else 0)


if __name__ == "__main__":
    main()
