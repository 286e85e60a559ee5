"""Block files as DuckDB and Arrow can read them: local paths where possible, else ranged reads.

A file of a local store is read where it is. One of a remote store is copied into the disk cache as a whole
when it is small, and read in cached pieces, through a file system that DuckDB is given, when it is large.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from ...schema.block import FileMeta
from ...schema.errors import CorruptBlock, StorageError, Unavailable
from .blocks import Locate
from .disk_cache import DiskCache
from .duckfiles import PositionalFile
from .objects import duckdb_filesystem
from .objects_protocol import Objects, checked_path

PROTOCOL = "flameduck"
WHOLE_BYTES = 64 << 20
"""Files up to this size are copied whole."""

_PIECE_BYTES = 2 << 20
_FETCH_BYTES = 16 << 20


def block_locator(objects: Objects, directory: Path, max_bytes: int) -> Locate:
    """A function from a block file's path in a store to a local file's, fetching it if need be."""
    return BlockFiles(objects, DiskCache(directory, max_bytes)).locate


class BlockFiles:
    """The files of immutable blocks, for readers. Safe for several threads.

    Only for objects that never change: block files, not the catalog.
    """

    def __init__(self, objects: Objects, cache: DiskCache, whole_bytes: int = WHOLE_BYTES) -> None:
        self._objects = objects
        self._cache = cache
        self._whole_bytes = whole_bytes
        # Sizes never change, and dictionary operations are atomic.
        self._sizes: dict[str, int] = {}

    def locate(self, path: str, expected: FileMeta | None = None) -> str:
        """A local file with the bytes of an object, copied there if need be, whatever its size.

        Raises `CorruptBlock` when the store has other bytes than are expected, asked twice.
        """
        local = self._objects.local_path(path)
        if local is not None:
            return local
        name = self._cache_name(path)
        if expected is None:
            found = self._cache.find_whole(name)
            return str(found or self._cache.whole(name, self._size(path), partial(self._chunks, path)))
        # Nobody need be asked for the size then.
        self._sizes[path] = expected.size_bytes
        try:
            return str(self._copied(path, expected))
        except CorruptBlock:
            # What came may have been the answer to another question.
            return str(self._copied(path, expected))

    def _copied(self, path: str, expected: FileMeta) -> Path:
        size_bytes, checksum = expected.size_bytes, expected.checksum
        try:
            return self._cache.whole(
                self._cache_name(path), size_bytes, partial(self._chunks, path), checksum
            )
        except Unavailable:
            found_bytes = self._objects.size(path)
            if found_bytes >= size_bytes:
                raise
            raise CorruptBlock(
                f"{self._cache_name(path)}: {found_bytes} bytes instead of {size_bytes}"
            ) from None

    def paths(self, paths: Sequence[str]) -> list[str]:
        """What DuckDB can read in place of each object, once it was given `filesystem`."""
        return [self._readable(path) for path in paths]

    def open(self, path: str) -> io.RawIOBase:
        """An object as a file for several threads, which reads only the pieces that are asked for."""
        size_bytes = self._size(path)
        if self._objects.local_path(path) is not None:
            return PositionalFile(partial(self._objects.read, path), size_bytes)
        return PositionalFile(partial(self._read_pieces, path, size_bytes), size_bytes)

    def filesystem(self) -> object:
        """For DuckDB to register: opens the objects that `paths` has named by URL, and no others."""
        return duckdb_filesystem(PROTOCOL, self._open_named)

    def _readable(self, path: str) -> str:
        local = self._objects.local_path(path)
        if local is not None:
            return local
        found = self._cache.find_whole(self._cache_name(path))
        if found is not None:
            return str(found)
        size_bytes = self._size(path)
        if size_bytes <= self._whole_bytes and self._cache.make_room(size_bytes):
            return self.locate(path)
        return f"{PROTOCOL}://{path}"

    def _open_named(self, path: str) -> io.RawIOBase:
        if path not in self._sizes:
            raise FileNotFoundError(path)
        return self.open(path)

    def _size(self, path: str) -> int:
        size_bytes = self._sizes.get(path)
        if size_bytes is None:
            size_bytes = self._sizes[path] = self._objects.size(checked_path(path))
        return size_bytes

    def _cache_name(self, path: str) -> str:
        return f"{self._objects.url}/{path}"

    def _chunks(self, path: str) -> Iterator[bytes]:
        """The bytes of an object, a part at a time."""
        size_bytes = self._size(path)
        for start in range(0, size_bytes, _FETCH_BYTES):
            yield self._fetch(path, start, min(start + _FETCH_BYTES, size_bytes))

    def _fetch(self, path: str, start: int, stop: int) -> bytes:
        data = self._objects.read(path, start, stop)
        if len(data) != stop - start:
            raise Unavailable(f"{self._cache_name(path)}: {len(data)} bytes came of [{start}, {stop})")
        return data

    def _read_pieces(self, path: str, size_bytes: int, start: int, stop: int) -> bytes:
        """Bytes of a large object by way of cached pieces; runs of missing ones are fetched at once."""
        name = self._cache_name(path)
        first, last = start // _PIECE_BYTES, (stop - 1) // _PIECE_BYTES + 1
        pieces = {number: self._cache.find_piece(name, number) for number in range(first, last)}
        for run_start, run_stop in _runs([number for number, data in pieces.items() if data is None]):
            offset = run_start * _PIECE_BYTES
            data = self._fetch(path, offset, min(run_stop * _PIECE_BYTES, size_bytes))
            for number in range(run_start, run_stop):
                place = number * _PIECE_BYTES - offset
                pieces[number] = data[place : place + _PIECE_BYTES]
                # A cache that cannot be written to makes reading slower, not impossible.
                with contextlib.suppress(StorageError):
                    self._cache.store_piece(name, number, data[place : place + _PIECE_BYTES])
        joined = b"".join(pieces[number] or b"" for number in range(first, last))
        return joined[start - first * _PIECE_BYTES : stop - first * _PIECE_BYTES]


def _runs(numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Ascending numbers as half-open runs, of no more than one fetch each."""
    longest = _FETCH_BYTES // _PIECE_BYTES
    start = 0
    for position in range(1, len(numbers) + 1):
        ends = position == len(numbers) or numbers[position] != numbers[position - 1] + 1
        if ends or position - start == longest:
            yield numbers[start], numbers[position - 1] + 1
            start = position
