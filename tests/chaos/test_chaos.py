"""A short run of chaos: ``python -m tests.chaos`` does it for longer.

The seed is in the summary; ``CHAOS_SEED`` sets it.
"""

import os
import sys

import pytest

from tests.chaos.campaign import WHOLE, campaign_on, new_seed
from tests.chaos.history import History, Kind
from tests.chaos.report import by_class
from tests.chaos.site import running_site
from tests.conftest import SERVERS

SEED_VARIABLE = "CHAOS_SEED"
DURATION_SECONDS = 30.0
EACH_KIND = {Kind.TRANSFER, Kind.HOLD, Kind.CAPTURE, Kind.REVERSAL, Kind.BATCH}


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def has_enough(history: History) -> bool:
    """Tell whether clients were told of each kind, and each class of faults was injected."""
    return history.done().keys() >= EACH_KIND and all(by_class(history.faults).values())


async def test_random_faults_lose_double_and_stick_nothing(pytestconfig: pytest.Config) -> None:
    seed = int(os.environ.get(SEED_VARIABLE) or new_seed())
    pytestconfig.stash[SERVERS].append(f"Chaos: {SEED_VARIABLE}={seed}")
    async with running_site(WHOLE) as site, campaign_on(site, seed, say) as campaign:
        report = await campaign.run(DURATION_SECONDS, is_enough=has_enough)
        # Shown where the test fails; the logs themselves are thrown away.
        say(f"{report.to_text()}\n{site.log_tails()}")
    assert report.is_clean, report.to_text()
    # What nothing was asked of, or nothing has failed under, proves little.
    assert report.figures.done.keys() >= EACH_KIND, report.to_text()
    assert all(report.faults_by_class.values()), report.to_text()
    assert report.sealed_entries > 0
