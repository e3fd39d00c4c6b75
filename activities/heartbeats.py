"""Signs of life of activities that take long."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from temporalio import activity

BEAT_SECONDS: Final = 2.0


@asynccontextmanager
async def beating(*, pause_seconds: float = BEAT_SECONDS) -> AsyncIterator[None]:
    """Tell Temporal while a block runs that its worker lives.

    Parameters
    ----------
    pause_seconds
        Between two signs of life; far less than the activity's heartbeat timeout.

    Notes
    -----
    Each wait in the block has its own bound; this is for those who wait for a worker that died.
    Outside of an activity it does nothing.
    """
    if not activity.in_activity():
        yield
        return
    beats = asyncio.create_task(_beat(pause_seconds))
    try:
        yield
    finally:
        beats.cancel()


async def _beat(pause_seconds: float) -> None:
    while True:
        activity.heartbeat()
        await asyncio.sleep(pause_seconds)
