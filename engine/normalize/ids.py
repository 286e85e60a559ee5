"""From ids, which each profile gives out as it likes, to rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from .columns import BoolArray, Column, IntArray, U64Array, distinct

_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class References:
    """References to rows: a reference of profile `p` means row `values + base[p]`. `bad` marks those to nothing."""

    values: IntArray
    base: IntArray
    bad: BoolArray | None = None

    def rows(self, lengths: IntArray) -> IntArray:
        """The rows, where each profile makes `lengths` references; meaningless where they are bad."""
        return self.values + np.repeat(self.base, lengths)


class Ids:
    """Which row an id stands for within its profile.

    Ids 1..n in order, which Go and most agents write, are a subtraction; others are looked up by a key made of
    profile and id, and then verified. Raises `BadProfiles` for an id of 0 and for one that is given twice.
    """

    def __init__(self, column: Column, what: str) -> None:
        self._column = column
        self._ids: U64Array = column.numbers("id")
        if not (self._ids != 0).all():
            column.refuse_rows(self._ids == 0, f"a {what} has the reserved id 0")
        before = column.spread(column.offsets[:-1] - 1)
        self._dense = bool((self._ids.view(np.int64) + before == np.arange(len(self._ids))).all())
        if not self._dense:
            self._index(what)

    def _index(self, what: str) -> None:
        # Salted, so that nobody can aim an id at the key of another profile in the same batch.
        salt = np.random.default_rng().integers(0, 2**64, len(self._column.lengths), np.uint64)
        self._salt: npt.NDArray[np.uint64] = salt
        self._keys = self._ids * _MULTIPLIER + self._column.spread(salt)
        known = distinct(self._keys)
        if len(known.rows) < len(self._keys):
            again = known.leader != np.arange(len(self._keys))
            self._column.refuse_rows(again, f"two {what}s have one id")

    def find(self, references: U64Array, bounds: IntArray) -> References:
        """The rows of references; those of profile `p` are `bounds[p]` to `bounds[p + 1]`."""
        return self._subtract(references, bounds) if self._dense else self._look_up(references, bounds)

    def _subtract(self, references: U64Array, bounds: IntArray) -> References:
        base = self._column.offsets[:-1] - 1
        count = self._column.lengths.view(np.uint64)
        used = np.flatnonzero(np.diff(bounds))
        if len(used):
            starts = bounds[used]
            most, least = np.maximum.reduceat(references, starts), np.minimum.reduceat(references, starts)
            if (most > count[used]).any() or not least.all():
                bad = (references == 0) | (references > np.repeat(count, np.diff(bounds)))
                return References(np.where(bad, np.uint64(1), references).view(np.int64), base, bad)
        return References(references.view(np.int64), base)

    def _look_up(self, references: U64Array, bounds: IntArray) -> References:
        lengths = np.diff(bounds)
        keys = references * _MULTIPLIER + np.repeat(self._salt, lengths)
        found = pc.fill_null(pc.index_in(pa.array(keys), value_set=pa.array(self._keys)), -1)
        rows: IntArray = found.to_numpy().astype(np.int64)
        bad = rows < 0
        rows[bad] = 0
        offsets = self._column.offsets
        bad |= self._ids[rows] != references
        bad |= (rows < np.repeat(offsets[:-1], lengths)) | (rows >= np.repeat(offsets[1:], lengths))
        return References(rows, np.zeros(len(lengths), np.int64), bad if bad.any() else None)
