"""The door to object stores: what a URL opens. Only this module imports fsspec, and only when it is needed.

`/path` and `file://` are files, `memory://name` is this process, `s3://`, `gs://` and `az://` are the clouds.
Their credentials come from where their clients look: environment, profile files, the machine's role.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import unquote

from ...schema.errors import StorageError
from .objects_local import LocalObjects
from .objects_memory import open_memory
from .objects_protocol import ObjectInfo, Objects
from .objects_remote import RemoteObjects

__all__ = ["ObjectInfo", "Objects", "duckdb_filesystem", "open_objects"]

_KINDS: Mapping[str, str] = MappingProxyType({"s3a": "s3", "gcs": "gs", "abfs": "az", "abfss": "az"})
"""Other names of a scheme."""

_EXTRAS: Mapping[str, str] = MappingProxyType({"s3": "s3", "gs": "gcs", "az": "azure"})
"""The extra of this package that brings a scheme's client."""

_OPTIONS: Mapping[str, Mapping[str, object]] = MappingProxyType(
    {
        "s3": {
            "config_kwargs": {
                "retries": {"total_max_attempts": 5, "mode": "standard"},
                "connect_timeout": 10,
                "read_timeout": 30,
            },
            "max_concurrency": 4,
        }
    }
)
_URL = re.compile(r"([a-z][a-z0-9+.-]*)://(.*)", re.DOTALL)
_PASSWORD = re.compile(r"[^/@]*:[^/@]*@")


def open_objects(url: str) -> Objects:
    """The objects below a path or a URL. Nothing is contacted or made yet.

    Raises `StorageError` for a scheme that is unknown or whose extra is not installed.
    """
    found = _URL.fullmatch(url)
    if found is None:
        return LocalObjects(Path(url).expanduser())
    scheme, rest = found.groups()
    if _PASSWORD.match(rest):
        raise StorageError(f"{scheme}://: credentials in a URL end up in logs; put them into the environment")
    if scheme == "file":
        return LocalObjects(Path(unquote(rest)))
    if not rest.strip("/"):
        raise StorageError(f"{url}: expected a name after ://")
    if scheme == "memory":
        return open_memory(rest.strip("/"))
    kind = _KINDS.get(scheme, scheme)
    return RemoteObjects(url, kind, _filesystem(scheme, kind))


def _filesystem(scheme: str, kind: str) -> Any:
    import fsspec

    options = {"use_listings_cache": False, "skip_instance_cache": True, **_OPTIONS.get(kind, {})}
    try:
        return fsspec.filesystem(scheme, **options)
    except ImportError:
        extra = f"'flameduck[{_EXTRAS[kind]}]'" if kind in _EXTRAS else f"what fsspec needs for {scheme}"
        raise StorageError(f"{scheme}:// needs another package: pip install {extra}") from None
    except ValueError as error:
        raise StorageError(f"{scheme}:// cannot be opened: {error}") from None


def duckdb_filesystem(protocol: str, open_file: Callable[[str], io.RawIOBase]) -> object:
    """A read-only file system for DuckDB to register: `<protocol>://<path>` opens `open_file(path)`.

    Each file must be safe under threads, since DuckDB seeks and reads one from several.
    """
    import fsspec

    class ReadOnlyFileSystem(fsspec.AbstractFileSystem):  # type: ignore[misc]
        """What DuckDB asks of a file system, and no more."""

        cachable = False

        def _open(self, path: str, mode: str = "rb", **_: object) -> io.RawIOBase:
            if mode != "rb":
                raise PermissionError(f"{path}: read-only")
            return open_file(path)

        def info(self, path: str, **_: object) -> dict[str, object]:
            """Name, type and size."""
            with open_file(self._strip_protocol(path)) as file:
                return {"name": path, "type": "file", "size": file.seek(0, os.SEEK_END)}

        def modified(self, path: str) -> datetime:
            """Always the same: what is read so is never written again."""
            return datetime(2000, 1, 1, tzinfo=UTC)

    ReadOnlyFileSystem.protocol = protocol
    return ReadOnlyFileSystem()
