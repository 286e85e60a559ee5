"""Write the tables of a block as files, and read their rows back.

`<tenant>/blocks/<ULID>/<table>.parquet` and, last, `meta.json`: a directory without it is not a block.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Protocol

import numpy as np
import pyarrow as pa
import xxhash

from ...schema import tables
from ...schema.block import BlockMeta, FileMeta, block_from_json
from ...schema.errors import CorruptBlock
from .layout import BlockTables
from .objects_protocol import Objects
from .table_files import encode_table, row_group_starts

if TYPE_CHECKING:
    # Imported where files are read or written, which blocks in memory are not.
    import pyarrow.parquet as pq


_PIECE_BYTES = 8 << 20


class Locate(Protocol):
    """From an object's path, and what its bytes must be if that is known, to a local file with them."""

    def __call__(self, path: str, expected: FileMeta | None = None) -> str:
        """The local file's path. Raises `CorruptBlock`, `ObjectMissing` or `Unavailable`."""
        ...


class Block(Protocol):
    """One block that can be read: stored, or only in memory."""

    @property
    def meta(self) -> BlockMeta:
        """What the block holds."""
        ...

    def table(self, name: str, columns: Sequence[str], rows: tuple[int, int] | None = None) -> pa.Table:
        """Columns of one table, all rows or a half-open range; an absent table is empty."""
        ...

    def part_table(self, name: str, columns: Sequence[str], part: int) -> pa.Table:
        """Columns of one part's rows of `stacks`, `stacktraces` or `frames`."""
        ...

    def path(self, name: str) -> str | None:
        """A local path of the table's file, or None when it is only in memory."""
        ...

    @property
    def tables(self) -> Mapping[str, pa.Table] | None:
        """All tables by name of a block that is only in memory, or None when it is in files."""
        ...


class MemoryBlock:
    """A block that was built and not written."""

    def __init__(self, built: BlockTables) -> None:
        self._built = built

    @property
    def meta(self) -> BlockMeta:
        """What the block holds."""
        return self._built.meta

    def table(self, name: str, columns: Sequence[str], rows: tuple[int, int] | None = None) -> pa.Table:
        """Columns of one table, all rows or a half-open range."""
        table = self._built.tables[name].select(list(columns))
        return table if rows is None else table.slice(rows[0], rows[1] - rows[0])

    def part_table(self, name: str, columns: Sequence[str], part: int) -> pa.Table:
        """Columns of one part's rows of `stacks`, `stacktraces` or `frames`."""
        return self.table(name, columns, self.meta.parts[part].trie_rows(name))

    def path(self, name: str) -> str | None:
        """None: there is no file."""
        return None

    @property
    def tables(self) -> Mapping[str, pa.Table] | None:
        """All tables by name."""
        return self._built.tables


class StoredBlock:
    """A block in files. `locate` turns an object's path into a local file's, fetching it if need be.

    Safe for several threads.
    """

    def __init__(self, meta: BlockMeta, locate: Locate) -> None:
        self._meta = meta
        self._locate = locate
        self._footers: dict[str, tuple[pq.FileMetaData, Sequence[int]]] = {}
        self._lock = Lock()

    @property
    def meta(self) -> BlockMeta:
        """What the block holds."""
        return self._meta

    @property
    def tables(self) -> Mapping[str, pa.Table] | None:
        """None: the tables are in files."""
        return None

    def table(self, name: str, columns: Sequence[str], rows: tuple[int, int] | None = None) -> pa.Table:
        """Columns of one table, all rows or a half-open range; reads only the row groups in it."""
        import pyarrow.parquet as pq

        path = self.path(name)
        if path is None or (rows is not None and rows[0] >= rows[1]):
            return _schema(name).empty_table().select(list(columns))
        try:
            footer, starts = self._footer(name, path)
            file = pq.ParquetFile(path, metadata=footer)
            if rows is None:
                return file.read(list(columns), use_threads=False)
            first, last = _row_groups(starts, rows)
            table = file.read_row_groups(list(range(first, last)), list(columns), use_threads=False)
            return table.slice(rows[0] - starts[first], rows[1] - rows[0])
        except (pa.ArrowInvalid, OSError) as error:
            raise CorruptBlock(f"block {self._meta.ulid}: {name}.parquet: {error}") from None

    def read_bytes(self, name: str, columns: Sequence[str], rows: tuple[int, int] | None = None) -> int:
        """The compressed size of what `table` reads of the file."""
        path = self.path(name)
        if path is None or (rows is not None and rows[0] >= rows[1]):
            return 0
        footer, starts = self._footer(name, path)
        groups = range(*((0, footer.num_row_groups) if rows is None else _row_groups(starts, rows)))
        chunks = (
            footer.row_group(group).column(number) for group in groups for number in range(footer.num_columns)
        )
        return sum(
            chunk.total_compressed_size for chunk in chunks if chunk.path_in_schema.split(".")[0] in columns
        )

    def part_table(self, name: str, columns: Sequence[str], part: int) -> pa.Table:
        """Columns of one part's rows of `stacks`, `stacktraces` or `frames`."""
        return self.table(name, columns, self.meta.parts[part].trie_rows(name))

    def path(self, name: str) -> str | None:
        """A local path of the table's file, or None when the block has no such table."""
        file_name = f"{name}.parquet"
        if file_name not in self._meta.files:
            return None
        expected = self._meta.files[file_name]
        return self._locate(block_path(self._meta.tenant, self._meta.ulid, file_name), expected)

    def _footer(self, name: str, path: str) -> tuple[pq.FileMetaData, Sequence[int]]:
        with self._lock:
            known = self._footers.get(name)
        if known is None:
            import pyarrow.parquet as pq

            footer = pq.read_metadata(path)
            known = footer, row_group_starts(footer)
            self._check(name, os.path.getsize(path), footer.num_rows)
            with self._lock:
                self._footers[name] = known
        return known

    def _check(self, name: str, size_bytes: int, rows: int) -> None:
        """Raises `CorruptBlock` where a file and the metadata contradict each other: rows would be missing unnoticed."""
        told_bytes, told_rows = self._meta.files[f"{name}.parquet"].size_bytes, self._meta.rows(name)
        if size_bytes != told_bytes:
            raise CorruptBlock(
                f"block {self._meta.ulid}: {name}.parquet: {size_bytes} bytes instead of {told_bytes}"
            )
        if told_rows is not None and rows != told_rows:
            raise CorruptBlock(f"block {self._meta.ulid}: {name}.parquet: {rows} rows instead of {told_rows}")


def _row_groups(starts: Sequence[int], rows: tuple[int, int]) -> tuple[int, int]:
    """The row groups, half open, that some rows are in; `starts` has the first row of each, and the end of all."""
    first = max(int(np.searchsorted(starts, rows[0], side="right")) - 1, 0)
    return first, min(int(np.searchsorted(starts, rows[1], side="left")), len(starts) - 1)


def _schema(name: str) -> pa.Schema:
    return tables.ROLLUP if name in tables.ROLLUP_WIDTHS_NS else tables.TABLES[name]


def block_path(tenant: str, ulid: str, file_name: str) -> str:
    """Where a file of a block lies below the store's root."""
    return f"{tenant}/blocks/{ulid}/{file_name}"


def write_block(objects: Objects, built: BlockTables) -> BlockMeta:
    """Write every file and then meta.json; the block is visible only once a catalog entry names it.

    Returns the metadata with sizes and checksums.
    """
    files: dict[str, FileMeta] = {}
    for name, table in built.tables.items():
        if name == "labelsets" and not len(table):
            continue
        data = encode_table(name, table)
        objects.write(block_path(built.meta.tenant, built.meta.ulid, f"{name}.parquet"), data)
        files[f"{name}.parquet"] = FileMeta(len(data), xxhash.xxh3_128_hexdigest(data))
    return _write_meta(objects, built.meta, files)


def put_block(objects: Objects, meta: BlockMeta, directory: Path) -> BlockMeta:
    """The same for a block whose files are in a directory."""
    files: dict[str, FileMeta] = {}
    for path in sorted(directory.glob("*.parquet")):
        objects.put_file(block_path(meta.tenant, meta.ulid, path.name), str(path))
        files[path.name] = FileMeta(path.stat().st_size, _checksum(path))
    return _write_meta(objects, meta, files)


def require_checksums(block: Block) -> None:
    """Read a block's files, as they are on this machine, to the end. Raises `CorruptBlock` for one that differs."""
    for file_name, expected in block.meta.files.items():
        path = block.path(file_name.removesuffix(".parquet"))
        try:
            found = None if path is None else FileMeta(os.path.getsize(path), _checksum(Path(path)))
        except OSError as error:
            raise CorruptBlock(f"block {block.meta.ulid}: {file_name}: {error.strerror or error}") from None
        if found is None or found == expected:
            continue
        if found.size_bytes != expected.size_bytes:
            told = f"{found.size_bytes} bytes instead of {expected.size_bytes}"
            raise CorruptBlock(f"block {block.meta.ulid}: {file_name}: {told}")
        raise CorruptBlock(f"block {block.meta.ulid}: {file_name}: checksum differs")


def _checksum(path: Path) -> str:
    digest = xxhash.xxh3_128()
    with path.open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            digest.update(piece)
    return digest.hexdigest()


def _write_meta(objects: Objects, meta: BlockMeta, files: Mapping[str, FileMeta]) -> BlockMeta:
    finished = replace(meta, files=files, size_bytes=sum(file.size_bytes for file in files.values()))
    objects.write(block_path(meta.tenant, meta.ulid, "meta.json"), finished.to_json())
    return finished


def read_meta(objects: Objects, tenant: str, ulid: str) -> BlockMeta:
    """A block's metadata. Raises `ObjectMissing`, or `CorruptBlock` also when it is another block's."""
    path = block_path(tenant, ulid, "meta.json")
    try:
        return _checked_meta(objects.read(path), path, tenant, ulid)
    except CorruptBlock:
        # What came may have been the answer to another question.
        return _checked_meta(objects.read(path), path, tenant, ulid)


def _checked_meta(data: bytes, path: str, tenant: str, ulid: str) -> BlockMeta:
    meta = block_from_json(data, path)
    if (meta.tenant, meta.ulid) != (tenant, ulid):
        raise CorruptBlock(f"block {ulid}: its meta.json is that of block {meta.ulid} of {meta.tenant}")
    return meta
