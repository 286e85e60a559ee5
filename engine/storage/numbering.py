"""From content hashes to rows: tables that hold every key once, and lookups by key."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ...schema.errors import CorruptBlock

IntArray = npt.NDArray[np.int64]
U64Array = npt.NDArray[np.uint64]

ATTRIBUTES = {"mapping_id", "address"}
"""Columns that rows of one identity may differ in; the first one seen stays."""

_CHUNK_ROWS = 1 << 16


class Lookup:
    """The union of tables by one hash column: the first row of each key stays.

    A key that comes again must bring the same content, attributes aside. Chunks are merged as they double, so
    that adding stays linear and comparing touches few of them.
    """

    def __init__(self, schema: pa.Schema, key: str) -> None:
        self._key = key
        self._chunks = [schema.empty_table()]
        self._keys = np.zeros(0, np.uint64)
        self._rows = np.zeros(0, np.int64)
        self.size_bytes = 0

    def add(self, table: pa.Table) -> IntArray:
        """Take the rows whose keys are new; returns, for each row given, where its key is in `table()`.

        Raises `CorruptBlock` when a known key brings other content.
        """
        keys = table.column(self._key).to_numpy()
        order = np.argsort(keys)
        wanted = keys[order]
        repeated = np.append(False, wanted[1:] == wanted[:-1])[: len(wanted)]
        slot = np.searchsorted(self._keys, wanted)
        hit = np.zeros(len(wanted), np.bool_)
        inside = slot < len(self._keys)
        hit[inside] = self._keys[slot[inside]] == wanted[inside]
        if hit.any():
            self._compare(table.take(pa.array(order[hit])), self._rows[slot[hit]])
        fresh = ~hit & ~repeated
        if fresh.any():
            self._insert(table, order[fresh], wanted[fresh], slot[fresh])
        rows = np.empty(len(keys), np.int64)
        rows[order] = self._rows[np.searchsorted(self._keys, wanted)]
        return rows

    def unknown(self, table: pa.Table) -> pa.Table:
        """The rows whose keys have not come before. Raises `CorruptBlock` when a known key brings other content."""
        keys = table.column(self._key).to_numpy()
        slot = np.minimum(np.searchsorted(self._keys, keys), max(len(self._keys) - 1, 0))
        known = self._keys[slot] == keys if len(self._keys) else np.zeros(len(keys), np.bool_)
        if not known.any():
            return table
        self._compare(table.filter(pa.array(known)), self._rows[slot[known]])
        return table.filter(pa.array(~known))

    def rows_of(self, keys: U64Array) -> IntArray:
        """Where keys that came before are in `table()`. Raises `CorruptBlock` for one that did not."""
        slot = np.minimum(np.searchsorted(self._keys, keys), max(len(self._keys) - 1, 0))
        unknown = self._keys[slot] != keys if len(self._keys) else np.ones(len(keys), np.bool_)
        if unknown.any():
            raise CorruptBlock(f"id {int(keys[unknown][0]):#x} is referred to and is not there")
        return self._rows[slot]

    def _insert(self, table: pa.Table, at: IntArray, keys: U64Array, slot: IntArray) -> None:
        arrival = np.argsort(at)
        rows = np.empty(len(at), np.int64)
        rows[arrival] = np.arange(len(at)) + self._starts()[-1]
        self._keys = np.insert(self._keys, slot, keys)
        self._rows = np.insert(self._rows, slot, rows)
        new = table.take(pa.array(at[arrival])) if len(at) < len(table) else table
        self.size_bytes += int(new.nbytes)
        self._append(new)

    def _starts(self) -> IntArray:
        return np.cumsum([0, *map(len, self._chunks)])

    def _append(self, new: pa.Table) -> None:
        self._chunks.append(new)
        while len(self._chunks) > 1 and len(self._chunks[-1]) * 2 >= len(self._chunks[-2]):
            last, before = self._chunks.pop(), self._chunks.pop()
            self._chunks.append(pa.concat_tables([before, last]).combine_chunks())

    def _compare(self, again: pa.Table, rows: IntArray) -> None:
        starts = self._starts()
        chunk_of = np.searchsorted(starts, rows, side="right") - 1
        for number in np.unique(chunk_of):
            here = np.flatnonzero(chunk_of == number)
            stored = self._chunks[number].take(rows[here] - starts[number])
            self._require_equal(stored, again.take(here))

    def _require_equal(self, stored: pa.Table, again: pa.Table) -> None:
        for name in again.column_names:
            ours, theirs = stored.column(name).combine_chunks(), again.column(name).combine_chunks()
            if name in ATTRIBUTES or ours.equals(theirs):
                continue
            row = next(i for i in range(len(again)) if ours[i] != theirs[i])
            raise CorruptBlock(
                f"hash collision: {self._key} {again.column(self._key)[row].as_py():#x} stands for "
                f"{ours[row].as_py()!r} and for {theirs[row].as_py()!r} ({name})"
            )

    def table(self) -> pa.Table:
        """Every row kept, in order of arrival."""
        if len(self._chunks) > 1:
            self._chunks = [pa.concat_tables(self._chunks).combine_chunks()]
        return self._chunks[0]


def first_rows(
    keys: pa.ChunkedArray | pa.Array, wanted: pa.ChunkedArray | pa.Array, strict: bool = False
) -> IntArray:
    """Row of each `wanted` key among distinct `keys`; -1 where it is not there.

    With `strict` a missing key raises `CorruptBlock`.
    """
    rows = pc.fill_null(pc.index_in(flat_array(wanted), value_set=flat_array(keys)), -1)
    found: IntArray = rows.to_numpy(zero_copy_only=False).astype(np.int64)
    if strict and (found < 0).any():
        missing = wanted[int(np.flatnonzero(found < 0)[0])].as_py()
        raise CorruptBlock(f"id {missing:#x} is referred to and is not there")
    return found


def repeated(value: int, length: int, kind: pa.DataType) -> pa.ChunkedArray:
    """A column of one value, in chunks that are all the same memory."""
    chunk = pa.array(np.full(min(length, _CHUNK_ROWS), value), kind)
    whole, rest = divmod(length, _CHUNK_ROWS)
    return pa.chunked_array([chunk] * whole + [chunk[:rest]], kind)


def flat_array(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    """A column in one piece."""
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
