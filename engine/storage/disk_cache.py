"""Copies of immutable objects on this machine's disk: checksummed, bounded, shared by threads and processes.

`<directory>/<2 digits>/<key>/<part>.<size>.<xxh3-128>`: the name holds what the bytes must be, so one rename
makes a copy valid, and a broken one is found and fetched again. Which copy was used longest ago is told by
the file's modification time, which each use renews.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import BinaryIO

import xxhash

from ...schema.errors import CorruptBlock, StorageError

WHOLE = "whole"
"""The part that is a whole object; others are numbered pieces."""

_STRIPES = 64
_RENEW_AFTER_S = 60
_STALE_S = 3600
_FILL = 0.9
"""How full the cache is after making room, so that it need not be done at once again."""


@dataclass(frozen=True)
class _Copy:
    path: Path
    size_bytes: int
    used_s: float

    @property
    def is_whole(self) -> bool:
        return self.path.name.startswith(WHOLE + ".")


class DiskCache:
    """A bounded directory of copies, the least recently used going first. Safe for threads and processes.

    A whole copy stays for `keep_s` after its last use, longer than any query, since DuckDB opens files late;
    while all of the cache is in such use, it may grow over its bound by what `whole` is asked for.
    """

    def __init__(self, directory: Path, max_bytes: int, keep_s: float = 900.0) -> None:
        self._directory = directory
        self._max_bytes = max_bytes
        self._keep_s = keep_s
        # One thread at a time fetches the parts that share a stripe.
        self._stripes = [Lock() for _ in range(_STRIPES)]
        # Guards `_disk_bytes`, None until the directory was looked through, and `_arriving_bytes`.
        self._room_lock = Lock()
        self._disk_bytes: int | None = None
        self._arriving_bytes = 0
        # Whole copies whose bytes this process has checked.
        self._checked: set[Path] = set()

    def find_whole(self, name: str, checksum: str = "") -> Path | None:
        """The whole copy of an object, if there is a good one, with the checksum (xxh3-128, hex) if one is given."""
        found = self._find(name, WHOLE)
        if found is None:
            return None
        with _cache_errors(found):
            is_it = not checksum or found.name.endswith(f".{checksum}")
            if not is_it or (found not in self._checked and not _is_good(found)):
                self._drop(found)
                return None
            self._checked.add(found)
            return found if _renew(found) else None

    def whole(
        self, name: str, size_bytes: int, chunks: Callable[[], Iterable[bytes]], checksum: str = ""
    ) -> Path:
        """The whole copy of an object, made of `chunks()` unless it is there, even if that is over the bound.

        Raises `CorruptBlock` where a checksum (xxh3-128, hex) is given and what comes has another: it is not kept.
        """
        found = self.find_whole(name, checksum)
        if found is not None:
            return found
        with self._stripe(name, WHOLE):
            found = self.find_whole(name, checksum)
            if found is None:
                self._reserve(size_bytes)
                found = self._store(name, WHOLE, size_bytes, chunks())
                if checksum and not found.name.endswith(f".{checksum}"):
                    self._dropped(found, size_bytes)
                    raise CorruptBlock(f"{name}: checksum differs")
                self._checked.add(found)
            return found

    def find_piece(self, name: str, number: int) -> bytes | None:
        """A piece of an object, if there is a good copy."""
        found = self._find(name, str(number))
        if found is None:
            return None
        with _cache_errors(found), contextlib.suppress(FileNotFoundError):
            data = found.read_bytes()
            if found.name == _file_name(str(number), len(data), xxhash.xxh3_128_hexdigest(data)):
                _renew(found)
                return data
            self._drop(found)
        return None

    def store_piece(self, name: str, number: int, data: bytes) -> None:
        """Keep a piece of an object, if there is room."""
        if self._reserve(len(data)):
            self._store(name, str(number), len(data), [data])
        else:
            self._arrived(len(data), stored=False)

    def make_room(self, size_bytes: int) -> bool:
        """Remove what was used longest ago until `size_bytes` more fit; false when they cannot."""
        fits = self._reserve(size_bytes)
        self._arrived(size_bytes, stored=False)
        return fits

    def _reserve(self, size_bytes: int) -> bool:
        """Count bytes that are about to arrive, with or without room for them."""
        with self._room_lock, _cache_errors(self._directory):
            if self._disk_bytes is None:
                self._disk_bytes = sum(copy.size_bytes for copy in self._copies())
            if self._disk_bytes + self._arriving_bytes + size_bytes > self._max_bytes:
                self._disk_bytes = self._evict(self._arriving_bytes + size_bytes)
            self._arriving_bytes += size_bytes
            return self._disk_bytes + self._arriving_bytes <= self._max_bytes

    def _arrived(self, size_bytes: int, stored: bool) -> None:
        """Count bytes that were reserved as stored, or as never to come."""
        with self._room_lock:
            self._arriving_bytes -= size_bytes
            if stored and self._disk_bytes is not None:
                self._disk_bytes += size_bytes

    def _evict(self, size_bytes: int) -> int:
        """Remove old copies; returns the bytes left on disk, where other processes work too."""
        copies = sorted(self._copies(), key=lambda copy: copy.used_s)
        total_bytes = sum(copy.size_bytes for copy in copies)
        goal_bytes = int(self._max_bytes * _FILL) - size_bytes
        in_use_since = time.time() - self._keep_s
        with _only_process(self._directory) as alone:
            for copy in copies if alone else ():
                if total_bytes <= goal_bytes:
                    break
                if not (copy.is_whole and copy.used_s > in_use_since):
                    self._drop(copy.path)
                    total_bytes -= copy.size_bytes
        return total_bytes

    def _copies(self) -> Iterator[_Copy]:
        """All copies on disk; removes what a crash left behind."""
        for folder, _, names in os.walk(self._directory):
            for name in names:
                path = Path(folder, name)
                with contextlib.suppress(FileNotFoundError):
                    status = path.stat()
                    if name.endswith(".tmp") and status.st_mtime < time.time() - _STALE_S:
                        path.unlink()
                    elif not name.startswith("."):
                        yield _Copy(path, status.st_size, status.st_mtime)

    def _dropped(self, path: Path, size_bytes: int) -> None:
        """Drop a copy that was counted as stored."""
        self._drop(path)
        with self._room_lock:
            if self._disk_bytes is not None:
                self._disk_bytes -= size_bytes

    def _drop(self, path: Path) -> None:
        self._checked.discard(path)
        path.unlink(missing_ok=True)
        # Only an empty directory can be removed.
        with contextlib.suppress(OSError):
            path.parent.rmdir()

    def _find(self, name: str, part: str) -> Path | None:
        try:
            with os.scandir(self._folder(name)) as files:
                return next((Path(file.path) for file in files if file.name.startswith(part + ".")), None)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StorageError(f"cache {self._directory}: {error.strerror or error}") from None

    def _store(self, name: str, part: str, size_bytes: int, chunks: Iterable[bytes]) -> Path:
        """Keep bytes for which room was reserved."""
        stored = False
        try:
            with _cache_errors(self._directory):
                target = self._write(name, part, chunks)
            stored = True
            return target
        finally:
            self._arrived(size_bytes, stored)

    def _write(self, name: str, part: str, chunks: Iterable[bytes]) -> Path:
        """Write under another name, then rename. Not synced: the checksum tells what a crash did."""
        temporary, file = _new_file(self._folder(name))
        digest, size_bytes = xxhash.xxh3_128(), 0
        try:
            with file:
                for chunk in chunks:
                    file.write(chunk)
                    digest.update(chunk)
                    size_bytes += len(chunk)
            target = temporary.with_name(_file_name(part, size_bytes, digest.hexdigest()))
            temporary.replace(target)
            return target
        finally:
            temporary.unlink(missing_ok=True)

    def _folder(self, name: str) -> Path:
        key = hashlib.blake2b(name.encode(), digest_size=16).hexdigest()
        return self._directory / key[:2] / key

    def _stripe(self, name: str, part: str) -> Lock:
        return self._stripes[hash((name, part)) % _STRIPES]


def _file_name(part: str, size_bytes: int, checksum: str) -> str:
    return f"{part}.{size_bytes}.{checksum}"


def _is_good(path: Path) -> bool:
    """Whether the bytes are those that the name says; not when it is gone."""
    _, size_bytes, checksum = path.name.split(".")
    digest = xxhash.xxh3_128()
    try:
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
            return file.tell() == int(size_bytes) and digest.hexdigest() == checksum
    except FileNotFoundError:
        return False


def _renew(path: Path) -> bool:
    """Note that a copy is used; false when it is gone."""
    try:
        if path.stat().st_mtime < time.time() - _RENEW_AFTER_S:
            os.utime(path)
        return True
    except FileNotFoundError:
        return False


def _new_file(folder: Path) -> tuple[Path, BinaryIO]:
    """A new temporary file; another process may remove the empty directory at any time."""
    for _ in range(8):
        path = folder / f".{secrets.token_hex(8)}.tmp"
        # mkdir says that there is something when what was there is gone before it looks what it is.
        with contextlib.suppress(FileNotFoundError, FileExistsError):
            folder.mkdir(parents=True, exist_ok=True)
            return path, path.open("xb")
    # It says what else may be in the way.
    folder.mkdir(parents=True, exist_ok=True)
    raise StorageError(f"{folder}: disappears")


@contextlib.contextmanager
def _cache_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(f"cache {path}: {error.strerror or error}") from None


@contextlib.contextmanager
def _only_process(directory: Path) -> Iterator[bool]:
    """Whether this process is the one that may remove copies now."""
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / ".lock").open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
