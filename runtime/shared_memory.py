"""Memory that the processes of an API share."""

import mmap
import os
import tempfile
from typing import Self


class SharedMemory:
    """Some bytes behind a file without a name; processes that are given the file share them."""

    def __init__(self, file: int) -> None:
        self.file = file
        self.bytes = mmap.mmap(file, 0)

    @classmethod
    def of_zeros(cls, size_bytes: int) -> Self:
        """Make such memory."""
        with tempfile.TemporaryFile() as made:
            made.truncate(size_bytes)
            return cls(os.dup(made.fileno()))

    def close(self) -> None:
        """Close the file; other processes keep theirs."""
        os.close(self.file)
