"""Objects of a store that is down, loses answers, or is cut off at a chosen call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from flameduck.engine.storage.objects_protocol import ObjectInfo, Objects

Result = TypeVar("Result")
Fault = Callable[[str, str], None]
"""Called with the operation and the path; what it raises is what happens."""


def nothing(operation: str, path: str) -> None:
    """No fault."""


class FaultyObjects:
    """Another store's objects. `before` is called before each call, `after` once it is done and not answered yet."""

    def __init__(self, inner: Objects) -> None:
        self._inner = inner
        self.before: Fault = nothing
        self.after: Fault = nothing

    def _call(self, operation: str, path: str, work: Callable[[], Result]) -> Result:
        self.before(operation, path)
        result = work()
        self.after(operation, path)
        return result

    @property
    def url(self) -> str:
        """The root."""
        return self._inner.url

    def read(self, path: str, start: int | None = None, stop: int | None = None) -> bytes:
        """All bytes of an object, or a range."""
        return self._call("read", path, lambda: self._inner.read(path, start, stop))

    def write(self, path: str, data: bytes) -> None:
        """Replace or make an object."""
        self._call("write", path, lambda: self._inner.write(path, data))

    def create(self, path: str, data: bytes) -> None:
        """Make an object that is not there."""
        self._call("create", path, lambda: self._inner.create(path, data))

    def put_file(self, path: str, local_path: str) -> None:
        """Replace or make an object with the bytes of a local file."""
        self._call("put_file", path, lambda: self._inner.put_file(path, local_path))

    def list(self, prefix: str) -> list[ObjectInfo]:
        """The objects below a directory."""
        return self._call("list", prefix, lambda: self._inner.list(prefix))

    def directories(self) -> Sequence[str]:
        """The first parts of names that have several."""
        return self._call("directories", "", self._inner.directories)

    def size(self, path: str) -> int:
        """The size of an object in bytes."""
        return self._call("size", path, lambda: self._inner.size(path))

    def delete(self, path: str) -> None:
        """Remove an object."""
        self._call("delete", path, lambda: self._inner.delete(path))

    def local_path(self, path: str) -> str | None:
        """Where the object is as a file of this machine."""
        return self._inner.local_path(path)
