"""How a process ends that has used Temporal's SDK."""

import logging
import os
import sys
from contextlib import suppress
from typing import NoReturn


def leave(code: int) -> NoReturn:
    """End the process without taking the interpreter down.

    Notes
    -----
    Threads of the Temporal SDK may still finish a call; an interpreter that ends meanwhile is
    aborted, and the exit code is lost (temporalio/sdk-python issue 300).
    """
    with suppress(OSError):  # nobody reads any more
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)
