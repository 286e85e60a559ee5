"""Block files of a remote store on the local disk, where DuckDB and Arrow read them as plain files.

Block files never change, so a copy is right for ever. It is fetched whole on first use, written under another
name and renamed, so that several threads and processes can share the directory; the copies used longest ago go
when the directory grows over its bound. DuckDB is never given an fsspec file system: its asynchronous readers
seek and read one shared file object, which can return wrong bytes without an error.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from threading import Lock

import xxhash

from .objects import Objects

_TRIM_TO = 0.9


class BlockCache:
    """Local copies of the objects of one store, at most about `max_bytes` of them."""

    def __init__(self, objects: Objects, directory: Path, max_bytes: int) -> None:
        self._objects = objects
        self._directory = directory / xxhash.xxh3_128_hexdigest(objects.url.encode())
        self._max_bytes = max_bytes
        self._lock = Lock()
        self._size_bytes = -1

    def locate(self, path: str) -> str:
        """A local file with the bytes of an object, fetched if need be. Raises what the store raises."""
        local = self._directory / path
        try:
            os.utime(local)
            return str(local)
        except FileNotFoundError:
            pass
        data = self._objects.read(path)
        local.parent.mkdir(parents=True, exist_ok=True)
        temporary = local.with_name(f".{local.name}.{secrets.token_hex(8)}")
        temporary.write_bytes(data)
        temporary.replace(local)
        self._grew(len(data), local)
        return str(local)

    def _grew(self, by_bytes: int, newest: Path) -> None:
        with self._lock:
            if self._size_bytes < 0:
                self._size_bytes = sum(size for _, size, _ in self._files())
            else:
                self._size_bytes += by_bytes
            if self._size_bytes > self._max_bytes:
                self._trim(newest)

    def _trim(self, newest: Path) -> None:
        """Remove the files used longest ago; never the one just fetched."""
        files = sorted(self._files())
        self._size_bytes = sum(size for _, size, _ in files)
        for _, size_bytes, path in files:
            if self._size_bytes <= self._max_bytes * _TRIM_TO:
                break
            if path != newest:
                path.unlink(missing_ok=True)
                self._size_bytes -= size_bytes

    def _files(self) -> list[tuple[int, int, Path]]:
        """Time of last use, size and path of each copy."""
        found: list[tuple[int, int, Path]] = []
        for folder, _, names in os.walk(self._directory):
            for name in names:
                path = Path(folder, name)
                with contextlib.suppress(FileNotFoundError):
                    status = path.stat()
                    found.append((status.st_mtime_ns, status.st_size, path))
        return found


def block_locator(objects: Objects, directory: Path, max_bytes: int) -> Callable[[str], str]:
    """A function from an object's path to a local file: the object itself where it is one, else a cached copy."""
    cache = BlockCache(objects, directory, max_bytes)

    def locate(path: str) -> str:
        return objects.local_path(path) or cache.locate(path)

    return locate
