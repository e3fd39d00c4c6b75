"""How many connections each process of an API has open, in memory that all of them share."""

import mmap
import os
import tempfile
from typing import Final, Self

_NOT_SERVING: Final = -1
_WIDTH_BYTES: Final = 8


class SharedLoad:
    """A number for each process; each writes its own and reads all.

    Notes
    -----
    The kernel wakes every process that waits on a shared listener and tends to favour one: with
    long-lived connections, one process then serves nearly all of them. So a process that has more
    than another leaves a new connection to that one for a moment.
    """

    def __init__(self, file: int) -> None:
        self.file = file
        self._numbers = memoryview(mmap.mmap(file, 0)).cast("q")

    @classmethod
    def for_processes(cls, maximum: int) -> Self:
        """Make room for so many processes, none of which serves yet."""
        with tempfile.TemporaryFile() as made:
            made.write(_NOT_SERVING.to_bytes(_WIDTH_BYTES, "little", signed=True) * maximum)
            made.flush()
            return cls(os.dup(made.fileno()))

    def tell(self, slot: int, connections: int) -> None:
        """Say how many connections a process has open."""
        self._numbers[slot] = connections

    def withdraw(self, slot: int) -> None:
        """Say that a process takes no connections (any more)."""
        self._numbers[slot] = _NOT_SERVING

    def has_fewer(self, connections: int) -> bool:
        """Tell whether a process that serves has fewer connections than this."""
        return any(_NOT_SERVING < number < connections for number in self._numbers)

    def close(self) -> None:
        """Close the file; other processes keep theirs."""
        os.close(self.file)
