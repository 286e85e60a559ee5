"""Objects of a remote store, over its fsspec file system."""

from __future__ import annotations

import contextlib
import os
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from ...schema.errors import ObjectMissing, StorageError, Unavailable
from .objects_errors import Contended, PartsLost, RangeBeyondEnd, foreign_errors, translated
from .objects_protocol import ObjectInfo, checked_new_path, checked_path, checked_range

_CREATE_ATTEMPTS = 8
_PUT_ATTEMPTS = 5
_PUT_OPTIONS: Mapping[str, Mapping[str, int]] = MappingProxyType({"s3": {"chunksize": 16 << 20}})
"""How a large file is cut, so that its parts in flight fit in memory."""

_EXCLUSIVE = frozenset({"s3", "gs", "az"})
"""Stores whose client passes a condition on with a write: If-None-Match, or generation 0."""


class RemoteObjects:
    """Objects behind an fsspec file system, whose client retries by itself. `Objects` says the rest.

    `kind` is `s3`, `gs`, `az`, or another protocol's name: those can be read and written, not committed to.
    """

    def __init__(self, url: str, kind: str, filesystem: Any) -> None:
        self._url = url.rstrip("/")
        self._kind = kind
        self._filesystem = filesystem
        self._root = str(filesystem._strip_protocol(self._url))
        self._foreign = foreign_errors(kind)

    @property
    def url(self) -> str:
        """The root."""
        return self._url

    def read(self, path: str, start: int | None = None, stop: int | None = None) -> bytes:
        """All bytes of an object, or those in `[start, stop)`."""
        first, last = checked_range(path, start, stop)
        if first == last:
            return b""
        # With a start, even 0, s3fs asks once; without, it asks for the size before.
        try:
            with self._errors(path):
                data: bytes = self._filesystem.cat_file(self._name(path), start=first, end=last)
                return data
        except RangeBeyondEnd:
            return b""

    def write(self, path: str, data: bytes) -> None:
        """Replace or make an object."""
        name = self._name(checked_new_path(path))
        with self._written(path):
            self._filesystem.pipe_file(name, data)

    def create(self, path: str, data: bytes) -> None:
        """Make an object that is not there yet, by the store's conditional write."""
        if self._kind not in _EXCLUSIVE:
            raise StorageError(
                f"{self._url}: a {self._kind} store has no exclusive create, which commits need"
            )
        name = self._name(checked_new_path(path))
        for attempt in range(_CREATE_ATTEMPTS):
            with contextlib.suppress(Contended), self._written(path):
                self._filesystem.pipe_file(name, data, mode="create")
                return
            time.sleep(random.uniform(0, 0.02 * 2**attempt))
        raise Unavailable(f"{self._url}/{path}: other writes of it do not end")

    def put_file(self, path: str, local_path: str) -> None:
        """Replace or make an object with the bytes of a file."""
        if not os.path.isfile(local_path):
            raise StorageError(f"{local_path}: no such file to store as {path}")
        name = self._name(checked_new_path(path))
        for attempt in range(1, _PUT_ATTEMPTS + 1):
            try:
                with self._written(path):
                    self._filesystem.put_file(local_path, name, **_PUT_OPTIONS.get(self._kind, {}))
                return
            except PartsLost:
                # No request of it would succeed if the client repeated it. Where only the last answer was lost, the
                # object is there: it is written once more.
                if attempt == _PUT_ATTEMPTS:
                    raise

    def list(self, prefix: str) -> list[ObjectInfo]:
        """The objects below a directory, sorted by name, as the store lists them now."""
        below = (self._name(prefix) if prefix else self._root) + "/"
        try:
            with self._errors(prefix):
                found: dict[str, Any] = self._filesystem.find(below.rstrip("/"), detail=True)
        except ObjectMissing:
            return []
        start = len(self._root) + 1
        infos = [
            ObjectInfo(name[start:], int(info["size"]))
            for name, info in found.items()
            if name.startswith(below) and not name.endswith("/")
        ]
        return sorted(infos, key=lambda info: info.path)

    def directories(self) -> Sequence[str]:
        """The first parts of names that have several, by name, as the store lists them now."""
        try:
            with self._errors(""):
                found: list[dict[str, Any]] = self._filesystem.ls(self._root, detail=True)
        except ObjectMissing:
            return ()
        names = [info["name"].rstrip("/") for info in found if info["type"] == "directory"]
        return sorted(name.rpartition("/")[2] for name in names if name != self._root)

    def size(self, path: str) -> int:
        """The size of an object in bytes."""
        with self._errors(path):
            info = self._filesystem.info(self._name(path))
            if info["type"] == "directory":
                raise FileNotFoundError
            return int(info["size"])

    def delete(self, path: str) -> None:
        """Remove an object; one that is not there is no error."""
        with contextlib.suppress(ObjectMissing), self._errors(path):
            self._filesystem.rm_file(self._name(path))

    def local_path(self, path: str) -> str | None:
        """None: it is not a file of this machine."""
        checked_path(path)
        return None

    def _name(self, path: str) -> str:
        return f"{self._root}/{checked_path(path)}"

    @contextlib.contextmanager
    def _errors(self, path: str) -> Iterator[None]:
        """Map what the client raises."""
        try:
            yield
        except self._foreign as error:
            raise translated(f"{self._url}/{path}", error) from None

    @contextlib.contextmanager
    def _written(self, path: str) -> Iterator[None]:
        """The same for a write, where only the bucket can be missing."""
        try:
            with self._errors(path):
                yield
        except ObjectMissing:
            raise StorageError(f"{self._url}/{path}: the bucket is not there") from None
