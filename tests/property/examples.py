"""How many examples a search takes: what a test run can spare, or more by hand."""

import os
from typing import Final

from hypothesis import HealthCheck, settings

TIMES: Final = int(os.environ.get("EXAMPLES_TIMES", "1"))
"""How many times as many examples as in a test run."""


def examples(count: int, *, steps: int = 50) -> settings:
    """Search so many examples; of a state machine, of so many steps each."""
    return settings(
        max_examples=count * TIMES,
        stateful_step_count=steps,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
