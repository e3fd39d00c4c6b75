"""Waiting for what comes about by itself."""

import asyncio
from collections.abc import Awaitable, Callable

WAIT_SECONDS = 60.0
PAUSE_SECONDS = 0.05


async def until(
    is_so: Callable[[], Awaitable[bool]], *, timeout_seconds: float = WAIT_SECONDS
) -> None:
    """Wait until a condition holds; fail where it does not in time."""
    async with asyncio.timeout(timeout_seconds):
        while not await is_so():  # noqa: ASYNC110 - what is waited for is in another process
            await asyncio.sleep(PAUSE_SECONDS)
