"""Waiting for what comes about by itself."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Final

WAIT_SECONDS = 60.0
PAUSE_SECONDS = 0.05

SOON: Final = 4
"""Seconds: what comes before has to be done by then, also on a busy machine."""


def in_seconds(seconds: float) -> str:
    """Write a time from now on as the API takes it."""
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


async def until(
    is_so: Callable[[], Awaitable[bool]], *, timeout_seconds: float = WAIT_SECONDS
) -> None:
    """Wait until a condition holds; fail where it does not in time."""
    async with asyncio.timeout(timeout_seconds):
        while not await is_so():  # noqa: ASYNC110 - what is waited for is in another process
            await asyncio.sleep(PAUSE_SECONDS)
