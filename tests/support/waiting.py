"""Waiting for what comes about by itself."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Final

WAIT_SECONDS = 60.0
PAUSE_SECONDS_MINIMUM = 0.05
PAUSE_SECONDS_MAXIMUM = 0.5
PAUSE_SHARE = 0.1
"""Of the time waited so far: whoever asks more often takes the machine from what is waited for."""

SOON: Final = 4
"""Seconds: what comes before has to be done by then, also on a busy machine."""


def in_seconds(seconds: float) -> str:
    """Write a time from now on as the API takes it."""
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


async def until(
    is_so: Callable[[], Awaitable[bool]], *, timeout_seconds: float = WAIT_SECONDS
) -> None:
    """Wait until a condition holds; fail where it does not in time."""
    began = time.monotonic()
    async with asyncio.timeout(timeout_seconds):
        while not await is_so():
            share = (time.monotonic() - began) * PAUSE_SHARE
            await asyncio.sleep(min(max(share, PAUSE_SECONDS_MINIMUM), PAUSE_SECONDS_MAXIMUM))
