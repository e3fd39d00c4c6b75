"""Chaos by hand: ``python -m tests.chaos --duration 300 --seed 7``."""

import argparse
import asyncio
import sys
import time
from pathlib import Path
from typing import Final

import uvloop

from tests.chaos.campaign import WHOLE, campaign_on, new_seed
from tests.chaos.report import Report
from tests.chaos.site import running_site

DURATION_SECONDS: Final = 300.0


def main() -> int:
    """Run chaos for a while; exit code 1 where anything is wrong."""
    arguments = _arguments()
    sys.stdout.write(f"seed {arguments.seed}, {arguments.duration:g} s\n")
    report = uvloop.run(_run(arguments.seed, arguments.duration, arguments.logs))
    sys.stdout.write(f"\n{report.to_text()}")
    if arguments.json is not None:
        arguments.json.write_text(report.to_json())
    return 0 if report.is_clean else 1


async def _run(seed: int, duration_seconds: float, logs: Path | None) -> Report:
    began = time.monotonic()

    def say(line: str) -> None:
        sys.stdout.write(f"{time.monotonic() - began:7.1f} s  {line}\n")
        sys.stdout.flush()

    async with running_site(WHOLE) as site:
        say(f"{', '.join(site.parts)} run")
        try:
            async with campaign_on(site, seed, say) as campaign:
                return await campaign.run(duration_seconds)
        finally:
            if logs is not None:
                await asyncio.to_thread(site.keep_logs, logs)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--duration", type=float, default=DURATION_SECONDS, help="seconds")
    parser.add_argument("--seed", type=int, default=new_seed())
    parser.add_argument("--json", type=Path, help="file for the figures and all violations")
    parser.add_argument("--logs", type=Path, help="folder to keep the logs of all parts in")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
