"""Gauges that tell what the one database says, and how often they are brought up to date."""

import time
from typing import Final

from prometheus_client import Gauge

FRESH_SECONDS: Final = 5.0
"""A process asks the database no more often, however often it is scraped."""


def gauge(name: str, description: str, *labels: str) -> Gauge:
    """Make a gauge. Of several processes, the last that set it is right."""
    return Gauge(name, description, labels, multiprocess_mode="mostrecent")


class Pace:
    """Lets something be done once in a while.

    Parameters
    ----------
    seconds
        At least so many pass in between.
    """

    def __init__(self, seconds: float = FRESH_SECONDS) -> None:
        self._seconds = seconds
        self._last_at: float | None = None

    def is_due(self) -> bool:
        """Tell whether it is time again; then the next time is so many seconds from now."""
        now = time.monotonic()
        if self._last_at is not None and now - self._last_at < self._seconds:
            return False
        self._last_at = now
        return True
