"""A log in one local file: frames that are on disk when `append` returns, and are whole when read back.

    file   "FDHEAD1\n" frame*
    frame  length u32, checksum u64 (xxh3 of the payload), payload; little endian

A crash may leave part of the last frame; reading stops there.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import xxhash

from ...schema.errors import StorageError, Unavailable

MAGIC = b"FDHEAD1\n"
_FRAME = struct.Struct("<IQ")
MAX_FRAME_BYTES = 1 << 30


class LogFile:
    """The steps that change a log's file; tests put another one in, which loses or refuses them."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640)

    def write(self, data: bytes) -> None:
        """Append all of the bytes. Raises `OSError`."""
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view) :]

    def sync(self) -> None:
        """Return once what was written outlives a power failure. Raises `OSError`."""
        os.fdatasync(self._descriptor)

    def sync_name(self) -> None:
        """Return once the file's name outlives a power failure. Raises `OSError`."""
        sync_directory(self._path.parent)

    def truncate(self, size_bytes: int) -> None:
        """Cut the file to a size, and go on from there. Raises `OSError`."""
        os.ftruncate(self._descriptor, size_bytes)
        os.lseek(self._descriptor, size_bytes, os.SEEK_SET)

    def close(self) -> None:
        """Release the file."""
        os.close(self._descriptor)


class Log:
    """A log that is written; one thread at a time."""

    def __init__(self, path: Path, opened: type[LogFile] = LogFile) -> None:
        """Make the file and its name durable. Raises `Unavailable`."""
        self.path = path
        self._broken = ""
        try:
            self._file = opened(path)
            try:
                self._file.write(MAGIC)
                self._file.sync()
                self._file.sync_name()
            except OSError:
                self._abandon()
                raise
        except OSError as error:
            raise Unavailable(f"{path}: the log cannot be made: {error.strerror or error}") from None
        self.size_bytes = len(MAGIC)

    def append(self, payloads: Sequence[bytes]) -> None:
        """Write frames; all of them are durable on return, and none is there when this raises `Unavailable`."""
        if self._broken:
            raise Unavailable(f"{self.path}: {self._broken}")
        data = b"".join(
            part
            for payload in payloads
            for part in (_FRAME.pack(len(payload), xxhash.xxh3_64_intdigest(payload)), payload)
        )
        try:
            self._file.write(data)
            self._file.sync()
        except OSError as error:
            self._take_back(error)
        self.size_bytes += len(data)

    def _take_back(self, error: OSError) -> None:
        """Remove what a failed append wrote; a log that cannot do that takes nothing more."""
        reason = f"the log cannot be written: {error.strerror or error}"
        try:
            self._file.truncate(self.size_bytes)
            self._file.sync()
        except OSError:
            self._broken = reason
        raise Unavailable(f"{self.path}: {reason}") from None

    def _abandon(self) -> None:
        """Leave nothing of a log that could not be made."""
        self.close()
        with suppress(OSError):
            self.path.unlink()

    @property
    def broken(self) -> bool:
        """Whether nothing can be appended any more."""
        return bool(self._broken)

    def close(self) -> None:
        """Release the file; what was appended is durable whatever comes of that."""
        with suppress(OSError):
            self._file.close()


@dataclass
class LogReader:
    """Reads a log; `lost_bytes` is what lies behind the last whole frame, known once all are read."""

    path: Path
    lost_bytes: int = 0

    def payloads(self) -> Iterator[bytes]:
        """The whole frames, up to the first that is not. Raises `StorageError` for another kind of file."""
        try:
            with self.path.open("rb") as file:
                yield from self._payloads(file)
        except OSError as error:
            raise StorageError(f"{self.path}: {error.strerror or error}") from None

    def _payloads(self, file: BinaryIO) -> Iterator[bytes]:
        size_bytes = os.fstat(file.fileno()).st_size
        magic = file.read(len(MAGIC))
        if magic != MAGIC:
            if MAGIC.startswith(magic):
                return
            raise StorageError(f"{self.path}: not a head's log: it begins with {magic!r}")
        self.lost_bytes = size_bytes - len(MAGIC)
        while len(head := file.read(_FRAME.size)) == _FRAME.size:
            length, checksum = _FRAME.unpack(head)
            if length > min(MAX_FRAME_BYTES, self.lost_bytes - _FRAME.size):
                return
            payload = file.read(length)
            if len(payload) < length or xxhash.xxh3_64_intdigest(payload) != checksum:
                return
            self.lost_bytes -= _FRAME.size + length
            yield payload


def read_log(path: Path) -> Iterator[bytes]:
    """The whole frames of a log. Raises `StorageError`."""
    return LogReader(path).payloads()


def sync_directory(path: Path) -> None:
    """Return once the names in a directory outlive a power failure. Raises `OSError`."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
