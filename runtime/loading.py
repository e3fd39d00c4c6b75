"""What a process that stays does with its memory: while it loads, and from then on."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

COLLECTOR_THRESHOLDS: Final = (50_000, 20, 20)
"""Objects, then younger collections, between two collections of a generation."""


@contextmanager
def loading() -> Iterator[None]:
    """Let the garbage collector rest while modules are loaded.

    Notes
    -----
    Modules make a million objects, none of them garbage: to look for some takes a quarter of the
    time until a process serves. Nor are they looked through later.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def settle_memory() -> None:
    """Spare the garbage collector what a started process keeps, and let it look more rarely.

    Notes
    -----
    A workflow leaves a few hundred objects in cycles, and a chunk of a batch holds thousands in
    none. By default they are looked through so often that it takes a twentieth of the API's time,
    and a tenth of that of a worker which posts a batch.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTOR_THRESHOLDS)
