"""Builds that are broken on purpose are found: what the chaos proves is worth that much."""

import asyncio
import sys
from collections.abc import Callable

from tests.chaos.broken import commit_without_the_disk, post_without_a_step_key
from tests.chaos.campaign import campaign_on
from tests.chaos.nemesis import Fault, Nemesis
from tests.chaos.report import Report
from tests.chaos.site import POSTGRES, SitePlan, running_site
from tests.chaos.town import seeded

SEED = 1
WORKING_SECONDS = 20.0
SETTLING_SECONDS = 25.0


async def run_broken(breakage: Callable[[], None], fault: Fault, *, strikes: int) -> Report:
    """Let clients work on a broken build while one fault happens again and again."""
    program = (sys.executable, "-m", "tests.chaos.broken", breakage.__name__)
    plan = SitePlan(apis=1, workers=0, program=program)

    async def strike(nemesis: Nemesis, _is_over: asyncio.Event) -> None:
        for number in range(strikes):
            await nemesis.await_traffic()
            await nemesis.inject(fault, seeded(SEED, f"strike {number}"))
        await nemesis.mend()

    async with running_site(plan) as site, campaign_on(site, SEED, print) as campaign:
        return await campaign.run(WORKING_SECONDS, faults=strike, settling_seconds=SETTLING_SECONDS)


async def test_a_build_that_answers_before_the_disk_has_it_is_found_to_lose() -> None:
    # PostgreSQL writes what it put off within 0.6 s: a strike in calm loses nothing.
    fault = Fault("immediate shutdown", POSTGRES)
    report = await run_broken(commit_without_the_disk, fault, strikes=6)
    assert report.figures.lost > 0


async def test_a_build_whose_posting_has_no_step_key_is_found_to_double() -> None:
    report = await run_broken(post_without_a_step_key, Fault("kill", "api-1"), strikes=2)
    assert report.figures.doubled > 0
