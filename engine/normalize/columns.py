"""Flat columns of a decoded batch, and lookups from (profile, id) to a row."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ...schema import identity

IntArray = npt.NDArray[np.int64]
U64Array = npt.NDArray[np.uint64]
BoolArray = npt.NDArray[np.bool_]


class BadProfiles(Exception):
    """Some profiles of a batch contradict themselves; the others are fine. `reasons` is by profile number."""

    def __init__(self, reasons: dict[int, str]) -> None:
        super().__init__("; ".join(reasons.values()))
        self.reasons = reasons


@dataclass(frozen=True)
class Column:
    """A list column of a decoded batch, flat: `offsets` says which rows belong to which profile."""

    values: pa.Array
    offsets: IntArray

    @classmethod
    def of(cls, batch: pa.RecordBatch, name: str) -> Column:
        """A repeated message of the profile."""
        return cls.nested(batch.column(name))

    @classmethod
    def nested(cls, lists: pa.ListArray) -> Column:
        """A repeated field inside another column's rows."""
        return cls(lists.values, lists.offsets.to_numpy().astype(np.int64))

    def field(self, name: str) -> npt.NDArray[np.generic]:
        """One scalar field of the messages."""
        values: npt.NDArray[np.generic] = self.values.field(name).to_numpy(zero_copy_only=False)
        return values

    @property
    def lengths(self) -> IntArray:
        """Rows of each profile."""
        return np.diff(self.offsets)

    @property
    def owner(self) -> IntArray:
        """The profile of each row."""
        return np.repeat(np.arange(len(self.offsets) - 1), self.lengths)


def refuse(bad: BoolArray, owner: IntArray, reason: str) -> None:
    """Raise `BadProfiles` for the profiles whose rows are marked; `owner` is the profile of each row."""
    if bad.any():
        raise BadProfiles({int(profile): reason for profile in np.unique(owner[bad])})


class Ids:
    """Which row an id stands for within its profile.

    Ids 1..n in order, which Go and most agents write, are a subtraction; others are looked up by a mixed key
    and then verified.
    """

    def __init__(self, column: Column, what: str) -> None:
        self._what = what
        self._column = column
        self._ids: U64Array = column.field("id").astype(np.uint64)  # type: ignore[assignment]
        first = np.repeat(column.offsets[:-1] - 1, column.lengths)
        self._dense = bool((self._ids.astype(np.int64) + first == np.arange(len(self._ids))).all())
        refuse(self._ids == 0, column.owner, f"{what} has the reserved id 0")
        if not self._dense:
            self._keys = self._mixed(self._ids, column.owner)
            order = np.argsort(self._keys)
            again = np.append(False, self._keys[order][1:] == self._keys[order][:-1])
            refuse(again, column.owner[order], f"{what} id is used twice")

    def rows(self, references: U64Array, owner: IntArray) -> IntArray:
        """The row of each reference made by profile `owner`; -1 where there is none."""
        if self._dense:
            within = (references > 0) & (references <= self._column.lengths[owner].astype(np.uint64))
            rows = references.astype(np.int64) + self._column.offsets[owner] - 1
            return rows if within.all() else np.where(within, rows, -1)
        found = pc.index_in(pa.array(self._mixed(references, owner)), value_set=pa.array(self._keys))
        rows = pc.fill_null(found, -1).to_numpy(zero_copy_only=False).astype(np.int64)
        at = np.maximum(rows, 0)
        right = (rows >= 0) & (self._ids[at] == references) & (self._column.owner[at] == owner)
        return np.where(right, rows, -1)

    @staticmethod
    def _mixed(ids: U64Array, owner: IntArray) -> U64Array:
        return identity.combine(ids, owner.astype(np.uint64))


def chain(values: U64Array, starts: IntArray, lengths: IntArray, step: int) -> U64Array:
    """Chained hash of each list of `values`: from `starts`, `lengths` items, `step` 1 forward or -1 back.

    One item of every list at a time, the longest lists first, so that all work is on whole arrays.
    """
    order = np.argsort(-lengths, kind="stable")
    at, sorted_lengths = starts[order], lengths[order]
    counts = len(lengths) - np.cumsum(np.bincount(sorted_lengths, minlength=1))
    hashes = np.full(len(lengths), identity.ROOT_PATH, np.uint64)
    for depth in range(int(sorted_lengths[0]) if len(lengths) else 0):
        active = int(counts[depth])
        hashes[:active] = identity.extend_path(hashes[:active], values[at[:active] + step * depth])
    out = np.empty(len(lengths), np.uint64)
    out[order] = hashes
    return out


def first_seen(hashes: U64Array) -> IntArray:
    """The row of the first appearance of each distinct value, ascending."""
    if len(hashes) < 20_000:
        return np.sort(np.unique(hashes, return_index=True)[1])
    import polars

    rows: IntArray = polars.Series(hashes).arg_unique().to_numpy().astype(np.int64)
    return rows
