"""Objects in the memory of this process, for tests and for stores that need not outlive it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from threading import Lock

from ...schema.errors import ObjectExists, ObjectMissing, StorageError
from .objects_protocol import ObjectInfo, checked_new_path, checked_path, checked_range

_stores: dict[str, MemoryObjects] = {}
_stores_lock = Lock()


class MemoryObjects:
    """Objects in a dictionary. `Objects` says the rest; `durable` means: until the process ends."""

    def __init__(self, name: str) -> None:
        self._name = name
        # Guards `_data`.
        self._lock = Lock()
        self._data: dict[str, bytes] = {}

    @property
    def url(self) -> str:
        """The root."""
        return f"memory://{self._name}"

    def read(self, path: str, start: int | None = None, stop: int | None = None) -> bytes:
        """All bytes of an object, or those in `[start, stop)`."""
        first, last = checked_range(path, start, stop)
        return self._get(path)[first:last]

    def write(self, path: str, data: bytes) -> None:
        """Replace or make an object."""
        checked_new_path(path)
        with self._lock:
            self._data[path] = bytes(data)

    def create(self, path: str, data: bytes) -> None:
        """Make an object that is not there yet."""
        checked_new_path(path)
        with self._lock:
            if path in self._data:
                raise ObjectExists(f"{self.url}/{path}: is there already")
            self._data[path] = bytes(data)

    def put_file(self, path: str, local_path: str) -> None:
        """Replace or make an object with the bytes of a file."""
        try:
            data = Path(local_path).read_bytes()
        except OSError as error:
            raise StorageError(f"{local_path}: {error.strerror or error}") from None
        self.write(path, data)

    def list(self, prefix: str) -> list[ObjectInfo]:
        """The objects below a directory, sorted by name."""
        below = f"{checked_path(prefix)}/" if prefix else ""
        with self._lock:
            found = [
                ObjectInfo(path, len(data)) for path, data in self._data.items() if path.startswith(below)
            ]
        return sorted(found, key=lambda info: info.path)

    def directories(self) -> Sequence[str]:
        """The first parts of names that have several, by name."""
        with self._lock:
            return sorted({path.partition("/")[0] for path in self._data if "/" in path})

    def size(self, path: str) -> int:
        """The size of an object in bytes."""
        return len(self._get(path))

    def delete(self, path: str) -> None:
        """Remove an object; one that is not there is no error."""
        checked_path(path)
        with self._lock:
            self._data.pop(path, None)

    def local_path(self, path: str) -> str | None:
        """None: it is not a file."""
        checked_path(path)
        return None

    def _get(self, path: str) -> bytes:
        checked_path(path)
        with self._lock:
            data = self._data.get(path)
        if data is None:
            raise ObjectMissing(f"{self.url}/{path}: is not there")
        return data


def open_memory(name: str) -> MemoryObjects:
    """The store of this name in this process: the same one each time."""
    with _stores_lock:
        return _stores.setdefault(name, MemoryObjects(name))
