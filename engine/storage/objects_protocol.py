"""What every store of objects promises: named bytes below one root, whole or not there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from ...schema.errors import StorageError


@dataclass(frozen=True)
class ObjectInfo:
    """A name and its size."""

    path: str
    size_bytes: int


class Objects(Protocol):
    """Bytes by name below one root. Safe for several threads and processes.

    A name is a relative path with `/`. No name may be a directory of another. `write`, `create` and
    `put_file` are atomic and durable: a reader sees all of the new bytes or none, and on return they outlive
    a crash.
    A read of several ranges is not atomic against a `write`; objects that are read so are written once.

    Raises `ObjectMissing`, `ObjectExists`, `Unavailable` where trying again may help, else `StorageError`.
    Messages name the URL and the path, never credentials.
    """

    @property
    def url(self) -> str:
        """The root, without credentials."""
        ...

    def read(self, path: str, start: int | None = None, stop: int | None = None) -> bytes:
        """All bytes of an object, or those in `[start, stop)` as far as it reaches; `0 <= start <= stop`."""
        ...

    def write(self, path: str, data: bytes) -> None:
        """Replace or make an object."""
        ...

    def create(self, path: str, data: bytes) -> None:
        """Make an object that is not there yet; at most one caller succeeds, the others get `ObjectExists`.

        Where the answer of a remote store is lost and the request sent again, the one who made the object
        may get `ObjectExists` too: whoever must know puts something of its own into the bytes and reads
        them back.
        """
        ...

    def put_file(self, path: str, local_path: str) -> None:
        """Replace or make an object with the bytes of a local file, without holding them in memory."""
        ...

    def list(self, prefix: str) -> list[ObjectInfo]:
        """The objects below a directory (`""`: all), recursively, by name; none when it is not there."""
        ...

    def directories(self) -> Sequence[str]:
        """The first parts of the names of all objects that have several, by name, without reading all names."""
        ...

    def size(self, path: str) -> int:
        """The size of an object in bytes."""
        ...

    def delete(self, path: str) -> None:
        """Remove an object; one that is not there is no error."""
        ...

    def local_path(self, path: str) -> str | None:
        """Where the object is as a file of this machine, if it is one; it need not exist."""
        ...


def checked_path(path: str) -> str:
    """The name, if it stays below the root. Raises `StorageError`."""
    if not path or path.startswith("/") or "\\" in path or not path.isprintable():
        raise StorageError(f"object name {path!r}: expected a relative path of printable characters")
    if any(part in ("", ".", "..") for part in path.split("/")):
        raise StorageError(f"object name {path!r}: empty, `.` and `..` parts are not allowed")
    return path


def checked_new_path(path: str) -> str:
    """A name that may be written: its last part starts with no `.`, since those are temporary files."""
    if checked_path(path).rpartition("/")[2].startswith("."):
        raise StorageError(f"object name {path!r}: the last part may not start with `.`")
    return path


def checked_range(path: str, start: int | None, stop: int | None) -> tuple[int, int | None]:
    """The range of a read as (start, stop), stop None to the end. Raises `StorageError`."""
    first = start or 0
    if first < 0 or (stop is not None and stop < first):
        raise StorageError(f"object {path!r}: no range [{start}, {stop})")
    return first, stop
