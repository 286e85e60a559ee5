"""The stacks of a block while it is collected: most of its symbols, end to end in arrays that grow."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ...schema import profile
from ..trie import Ragged
from .key_index import IntArray
from .numbering import Lookup, ragged

_LEAST_ITEMS = 1 << 10


class GrowingArray:
    """Numbers with room for more. What `filled` gave stays as it is."""

    def __init__(self, kind: npt.DTypeLike) -> None:
        self._items = np.empty(_LEAST_ITEMS, kind)
        self._length = 0

    def __len__(self) -> int:
        return self._length

    @property
    def filled(self) -> npt.NDArray[Any]:
        """All numbers so far, as a view."""
        return self._items[: self._length]

    def extend(self, more: npt.NDArray[Any]) -> None:
        """Add numbers at the end."""
        length = self._length + len(more)
        if length > len(self._items):
            # Doubling keeps growing linear; memory that was never written takes none.
            items = np.empty(max(length, 2 * len(self._items)), self._items.dtype)
            items[: self._length] = self.filled
            self._items = items
        self._items[self._length : length] = more
        self._length = length


class StackLookup(Lookup):
    """A `Lookup` of stacks: taking some copies nothing but these, and telling whether two are equal, little more."""

    def __init__(self) -> None:
        super().__init__(profile.STACKS, "stack_id")
        self._ids = GrowingArray(np.uint64)
        self._locations = GrowingArray(np.uint64)
        self._offsets = GrowingArray(np.int32)
        self._offsets.extend(np.zeros(1, np.int32))

    def _keep(self, new: pa.RecordBatch) -> None:
        lists = ragged(new.column("locations"))
        self._ids.extend(self._keys_of(new))
        self._offsets.extend(len(self._locations) + np.cumsum(lists.lengths))
        self._locations.extend(lists.values)

    def _compare(self, table: pa.RecordBatch, again: IntArray, rows: IntArray) -> None:
        stored = Ragged(self._locations.filled, self._offsets.filled).take(rows)
        theirs = ragged(table.column("locations"))
        if len(again) < len(table):
            theirs = theirs.take(again)
        if not (
            np.array_equal(stored.offsets, theirs.offsets) and np.array_equal(stored.values, theirs.values)
        ):
            (kept,) = self.table().take(pa.array(rows)).combine_chunks().to_batches()
            self._require_equal(kept, table.take(pa.array(again)))

    def table(self) -> pa.Table:
        """Every stack, in order of arrival, as views of the arrays."""
        offsets, locations = pa.array(self._offsets.filled), pa.array(self._locations.filled)
        lists = pa.ListArray.from_arrays(offsets, locations)
        return pa.table([pa.array(self._ids.filled), lists], schema=self._schema)
