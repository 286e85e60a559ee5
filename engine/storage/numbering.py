"""From content hashes to rows: tables that hold every key once, and lookups by key."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ...schema.errors import CorruptBlock
from ..trie import Ragged
from .key_index import IntArray, KeyIndex, U64Array

ATTRIBUTES = {"mapping_id", "address"}
"""Columns that rows of one identity may differ in; the first one seen stays."""

_CHUNK_ROWS = 1 << 16
_SMALL_ROWS = 1 << 11


class Lookup:
    """The union of tables by one hash column: the first row of each key stays.

    A key that comes again must bring the same content, attributes aside. Chunks are merged as they double, so
    that adding stays linear and comparing touches few of them.
    """

    def __init__(self, schema: pa.Schema, key: str) -> None:
        self._schema = schema
        self._key = key
        self._content = [name for name in schema.names if name not in ATTRIBUTES]
        self._chunks: list[pa.RecordBatch] = []
        self._index = KeyIndex()
        self.size_bytes = 0
        """About what the rows take."""

    def add(self, table: pa.Table) -> None:
        """Take the rows whose keys are new. Raises `CorruptBlock` when a known key brings other content."""
        self.add_unknown(self.unknown(table))

    def add_unknown(self, table: pa.Table) -> None:
        """Take rows whose keys have not come before."""
        if len(table):
            self._append(_batch_of(self._first_of_each_key(table)))

    def unknown(self, table: pa.Table) -> pa.Table:
        """The rows whose keys have not come before. Raises `CorruptBlock` when a known key brings other content."""
        if not len(table) or not len(self._index):
            return table
        rows = self._index.find(self._keys_of(table))
        known = np.flatnonzero(rows >= 0)
        if not len(known):
            return table
        self._compare(_batch_of(table), known, rows[known])
        if len(known) == len(table):
            return table.slice(0, 0)
        return table.take(pa.array(np.flatnonzero(rows < 0)))

    def rows_of(self, keys: U64Array) -> IntArray:
        """Where keys that came before are in `table()`. Raises `CorruptBlock` for one that did not."""
        rows = self._index.find(keys)
        missing = np.flatnonzero(rows < 0)
        if len(missing):
            raise CorruptBlock(f"id {int(keys[missing[0]]):#x} is referred to and is not there")
        return rows

    def _keys_of(self, table: pa.Table | pa.RecordBatch) -> U64Array:
        keys: U64Array = table.column(self._key).to_numpy()
        return keys

    def _first_of_each_key(self, table: pa.Table) -> pa.Table:
        keys, first = np.unique(self._keys_of(table), return_index=True)
        return table if len(keys) == len(table) else table.take(pa.array(np.sort(first)))

    def _append(self, new: pa.RecordBatch) -> None:
        begin = len(self._index)
        self._index.add(self._keys_of(new), np.arange(begin, begin + len(new)))
        self.size_bytes += int(new.nbytes)
        self._keep(new)

    def _keep(self, new: pa.RecordBatch) -> None:
        self._chunks.append(new)
        while len(self._chunks) > 1 and _to_be_joined(*self._chunks[-2:]):
            self._chunks[-2:] = [pa.concat_batches(self._chunks[-2:])]

    def _compare(self, table: pa.RecordBatch, again: IntArray, rows: IntArray) -> None:
        """Rows `again` of a table with the rows that were kept for their keys."""
        table = table.select(self._content)
        begin = 0
        for chunk in self._chunks:
            here = np.flatnonzero((rows >= begin) & (rows < begin + len(chunk)))
            if len(here):
                stored = chunk.select(self._content).take(pa.array(rows[here] - begin))
                whole = len(here) == len(table)
                self._require_equal(stored, table if whole else table.take(pa.array(again[here])))
            begin += len(chunk)

    def _require_equal(self, stored: pa.RecordBatch, again: pa.RecordBatch) -> None:
        if stored.equals(again):
            return
        for name in self._content:
            ours, theirs = stored.column(name), again.column(name)
            if ours.equals(theirs):
                continue
            row = next(i for i in range(len(again)) if ours[i] != theirs[i])
            raise CorruptBlock(
                f"hash collision: {self._key} {again.column(self._key)[row].as_py():#x} stands for "
                f"{ours[row].as_py()!r} and for {theirs[row].as_py()!r} ({name})"
            )

    def table(self) -> pa.Table:
        """Every row kept, in order of arrival, in the chunks that are kept anyway."""
        return pa.Table.from_batches(self._chunks, self._schema)


def _batch_of(table: pa.Table) -> pa.RecordBatch:
    """A table with rows, in one piece."""
    (batch,) = table.combine_chunks().to_batches()
    return batch


def _to_be_joined(before: pa.RecordBatch, last: pa.RecordBatch) -> bool:
    """Chunks double, so that adding stays linear; small ones are joined at once, so that there are few."""
    return 2 * len(last) >= len(before) or len(before) + len(last) < _SMALL_ROWS


def first_rows(
    keys: pa.ChunkedArray | pa.Array, wanted: pa.ChunkedArray | pa.Array, strict: bool = False
) -> IntArray:
    """Row of each `wanted` key among distinct `keys`; -1 where it is not there.

    With `strict` a missing key raises `CorruptBlock`.
    """
    if strict:
        return known_rows(keys, wanted).astype(np.int64)
    rows = pc.fill_null(pc.index_in(flat_array(wanted), value_set=flat_array(keys)), -1)
    found: IntArray = rows.to_numpy(zero_copy_only=False).astype(np.int64)
    return found


def known_rows(keys: pa.ChunkedArray | pa.Array, wanted: pa.ChunkedArray | pa.Array) -> npt.NDArray[np.int32]:
    """Row of each `wanted` key among distinct `keys`. Raises `CorruptBlock` for one that is not there."""
    rows = pc.index_in(wanted, value_set=flat_array(keys))
    if rows.null_count:
        missing = wanted[pc.index(rows.is_null(), True).as_py()].as_py()
        raise CorruptBlock(f"id {missing:#x} is referred to and is not there")
    found: npt.NDArray[np.int32] = rows.to_numpy()
    return found


def repeated(value: int, length: int, kind: pa.DataType) -> pa.ChunkedArray:
    """A column of one value, in chunks that are all the same memory."""
    chunk = pa.array(np.full(min(length, _CHUNK_ROWS), value), kind)
    whole, rest = divmod(length, _CHUNK_ROWS)
    return pa.chunked_array([chunk] * whole + [chunk[:rest]], kind)


def ragged(lists: pa.ListArray) -> Ragged:
    """Lists from the first on, without what a slice leaves out."""
    offsets = lists.offsets.to_numpy()
    return Ragged(lists.flatten().to_numpy(), offsets - offsets[0])


def flat_array(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    """A column in one piece."""
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
