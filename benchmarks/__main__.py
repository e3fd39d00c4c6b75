"""Measures the service beside the engine's floor and its peers, on the same servers in one run."""

import argparse
import os
import sys
from contextlib import AsyncExitStack

import uvloop

from benchmarks.measuring import Rounds, failures_of
from benchmarks.report import closed_table
from benchmarks.stack import running_stack
from benchmarks.ways import closed_ways


def say(line: str) -> None:
    """Print progress, apart from the report."""
    print(line, file=sys.stderr, flush=True)


async def bench(arguments: argparse.Namespace) -> int:
    """Start the servers, measure, report."""
    async with AsyncExitStack() as opened:
        stack = await opened.enter_async_context(running_stack(seed=arguments.seed, report=say))
        ways = await closed_ways(stack, opened)
        rounds = Rounds(arguments.rounds, arguments.seconds, 2, arguments.seed, say)
        summaries = await rounds.measure(ways)
        print(closed_table(summaries))
        problems = [*failures_of(summaries), *await stack.problems()]
    for problem in problems:
        say(problem)
    return 1 if problems else 0


def main() -> None:
    """Parse and measure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", default="closed")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--seed", type=int, default=7)
    code = uvloop.run(bench(parser.parse_args()))
    sys.stdout.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
