"""A file that DuckDB may read through a file system of Python's, from several threads."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable


class PositionalFile(io.RawIOBase):
    """A read-only file over `read_at(start, stop)`, whose position is each thread's own.

    DuckDB seeks and then reads the same file from several threads, with nothing in between to keep the two
    together.
    """

    def __init__(self, read_at: Callable[[int, int], bytes], size_bytes: int) -> None:
        self._read_at = read_at
        self._size_bytes = size_bytes
        self._own = threading.local()

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """This thread's position."""
        return getattr(self._own, "position", 0)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move this thread's position."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self.tell(), os.SEEK_END: self._size_bytes}[whence]
        self._own.position = max(base + offset, 0)
        return self.tell()

    def read(self, size: int | None = -1) -> bytes:
        """The bytes from this thread's position on: `size`, or fewer at the end."""
        start = self.tell()
        stop = self._size_bytes if size is None or size < 0 else min(start + size, self._size_bytes)
        data = self._read_at(start, stop) if start < stop else b""
        self._own.position = start + len(data)
        return data

    def readall(self) -> bytes:
        """The bytes from this thread's position to the end."""
        return self.read()

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        """Fill a buffer from this thread's position on."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)
