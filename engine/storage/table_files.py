"""The Parquet file of one table of a block, written part by part.

Samples are delta-packed stack numbers and dictionaries under zstd 1, which measured smallest and fastest to scan.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    import pyarrow.parquet as pq

ROW_GROUP_ROWS = 491_520
"""Rows of a row group at most."""

OWN_GROUP_ROWS = 65_536
"""A part of at least this many rows starts its own row groups; smaller ones share, in part order."""

_DELTA = {
    "samples": ("stack",),
    "stacks": ("stack", "node"),
    "stacktraces": ("node", "parent", "frame"),
    "frames": ("frame", "parent"),
    "locations": ("location",),
    "functions": ("function",),
    "profiles": ("start",),
    "rollup_5m": ("stack",),
    "rollup_1h": ("stack",),
}
_PLAIN = {
    "profiles": ("profile_id", "upload_id"),
    "stacks": ("stack_id",),
    "locations": ("location_id",),
    "functions": ("function_id",),
}


class TableWriter:
    """Takes the rows of one part after the other."""

    def __init__(self, sink: str | pa.NativeFile, name: str, schema: pa.Schema) -> None:
        """`sink` is a path or an open stream."""
        # Imported where files are written, which questions need not wait for.
        import pyarrow.parquet as pq

        delta, plain = _DELTA.get(name, ()), _PLAIN.get(name, ())
        packed = {column: "DELTA_BINARY_PACKED" for column in delta if column in schema.names}
        dictionary = [path for path in _leaf_paths(schema) if path.split(".")[0] not in (*delta, *plain)]
        self._schema = schema
        self._waiting: list[pa.Table] = []
        self._waiting_rows = 0
        self.rows = 0
        """How many were taken."""
        self._writer: Any = pq.ParquetWriter(
            sink,
            schema,
            compression="zstd",
            compression_level=1,
            use_dictionary=dictionary,
            column_encoding=packed or None,
            write_statistics=True,
            store_schema=True,
        )

    def __enter__(self) -> TableWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            # What went wrong may be the disk, which takes no footer either.
            with suppress(OSError):
                self._writer.close()
            return
        if self._waiting or not self.rows:
            self._write_waiting()
        self._writer.close()

    def write_part(self, pieces: Iterable[pa.Table], most_rows: int) -> None:
        """Take a part in pieces, of so many rows at most: large parts are written at once, small ones together."""
        if most_rows >= OWN_GROUP_ROWS:
            if self._waiting:
                self._write_waiting()
            for piece in pieces:
                self.rows += len(piece)
                self._writer.write_table(piece, row_group_size=ROW_GROUP_ROWS)
            return
        if self._waiting and self._waiting_rows + most_rows > ROW_GROUP_ROWS:
            self._write_waiting()
        for piece in pieces:
            self.rows += len(piece)
            self._waiting_rows += len(piece)
            self._waiting.append(piece)

    def _write_waiting(self) -> None:
        table = pa.concat_tables([self._schema.empty_table(), *self._waiting])
        self._writer.write_table(table, row_group_size=ROW_GROUP_ROWS)
        self._waiting, self._waiting_rows = [], 0


def row_group_starts(footer: pq.FileMetaData) -> list[int]:
    """The first row of each row group of a file, and the end of the last."""
    rows = [footer.row_group(number).num_rows for number in range(footer.num_row_groups)]
    starts: list[int] = np.cumsum([0, *rows]).tolist()
    return starts


def encode_table(name: str, table: pa.Table) -> bytes:
    """The Parquet bytes of one table."""
    sink = pa.BufferOutputStream()
    with TableWriter(sink, name, table.schema) as writer:
        start = 0
        for length in _part_lengths(table):
            writer.write_part([table.slice(start, length)], length)
            start += length
    data: bytes = sink.getvalue().to_pybytes()
    return data


def _part_lengths(table: pa.Table) -> Sequence[int]:
    if "part" not in table.column_names or not len(table):
        return [len(table)]
    lengths: list[int] = np.bincount(table.column("part").to_numpy()).tolist()
    return lengths


def _leaf_paths(schema: pa.Schema) -> Iterator[str]:
    """Parquet's names of the leaf columns."""
    for field in schema:
        yield from _leaves(field, field.name)


def _leaves(field: pa.Field, path: str) -> Iterator[str]:
    kind = field.type
    if pa.types.is_map(kind):
        yield f"{path}.key_value.key"
        yield f"{path}.key_value.value"
    elif pa.types.is_list(kind):
        yield from _leaves(kind.value_field, f"{path}.list.element")
    elif pa.types.is_struct(kind):
        for child in kind:
            yield from _leaves(child, f"{path}.{child.name}")
    else:
        yield path
