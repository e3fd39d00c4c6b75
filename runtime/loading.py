"""How a process that stays loads what it needs."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


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
