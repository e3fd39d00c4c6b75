"""A short run of chaos: ``python -m tests.chaos`` does it for longer.

The seed is in the summary; ``CHAOS_SEED`` sets it.
"""

import os
import sys

import pytest

from tests.chaos.campaign import WHOLE, campaign_on, new_seed
from tests.chaos.site import running_site
from tests.conftest import SERVERS

SEED_VARIABLE = "CHAOS_SEED"
DURATION_SECONDS = 30.0


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


async def test_random_faults_lose_double_and_stick_nothing(pytestconfig: pytest.Config) -> None:
    seed = int(os.environ.get(SEED_VARIABLE) or new_seed())
    pytestconfig.stash[SERVERS].append(f"Chaos: {SEED_VARIABLE}={seed}")
    async with running_site(WHOLE) as site, campaign_on(site, seed, say) as campaign:
        report = await campaign.run(DURATION_SECONDS)
        # Shown where the test fails; the logs themselves are thrown away.
        say(f"{report.to_text()}\n{site.log_tails()}")
    assert report.figures.acknowledged > 0
    assert len(report.faults) > 1
    assert report.is_clean, report.to_text()
