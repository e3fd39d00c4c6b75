"""SIGTERM and SIGINT: the first asks a process to finish, the second ends it."""

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from runtime.leaving import leave

STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
EXIT_BY_SIGNAL: Final = 128
"""Shells add the signal's number to this, to say that it ended a process."""


@contextmanager
def stopping_on_signals(
    stop: Callable[[], None], *, before_end: Callable[[], None] = lambda: None
) -> Iterator[None]:
    """Heed signals inside the block, in a running loop's main thread.

    Parameters
    ----------
    stop
        Called at the first signal.
    before_end
        Called at the second one, right before the process ends.
    """
    loop = asyncio.get_running_loop()
    is_stopping = False

    def heed(number: signal.Signals) -> None:
        nonlocal is_stopping
        if is_stopping:
            before_end()
            leave(EXIT_BY_SIGNAL + number)
        is_stopping = True
        stop()

    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, heed, number)
    try:
        yield
    finally:
        for number in STOP_SIGNALS:
            loop.remove_signal_handler(number)
