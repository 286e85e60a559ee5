"""Flat columns of a decoded batch: lists end to end, the profile of each row, and what is wrong with some."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ...schema import identity
from ..trie import offsets_of

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
    """A list column, flat: the rows of list `i` are `offsets[i]` to `offsets[i + 1]`."""

    values: pa.Array
    offsets: IntArray

    @classmethod
    def of(cls, lists: pa.ListArray) -> Column:
        """A repeated field: of a profile, or of the rows of another column."""
        return cls(lists.values, lists.offsets.to_numpy().astype(np.int64))

    def numbers(self, name: str = "") -> npt.NDArray[Any]:
        """A scalar field of the rows, or the rows themselves if they are scalars; no copy unless they are bools."""
        values = self.values.field(name) if name else self.values
        found: npt.NDArray[Any] = values.to_numpy(zero_copy_only=False)
        return found

    def nested(self, name: str) -> Column:
        """A repeated field of the rows; its lists are per row."""
        return Column.of(self.values.field(name))

    @cached_property
    def lengths(self) -> IntArray:
        """Rows of each list."""
        lengths: IntArray = np.diff(self.offsets)
        return lengths

    @cached_property
    def owner(self) -> IntArray:
        """The list that each row belongs to."""
        return np.repeat(np.arange(len(self.offsets) - 1), self.lengths)

    def spread(self, per_list: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """A value of each list, repeated for each of its rows."""
        return np.repeat(per_list, self.lengths)

    def refuse_rows(self, bad: BoolArray, reason: str) -> None:
        """Raise `BadProfiles` for the lists that hold marked rows; the lists must be profiles."""
        if bad.any():
            refuse_each(np.searchsorted(self.offsets, np.flatnonzero(bad), side="right") - 1, reason)


def refuse(bad: BoolArray, reason: str) -> None:
    """Raise `BadProfiles` for the marked profiles."""
    if bad.any():
        refuse_each(np.flatnonzero(bad), reason)


def refuse_each(profiles: IntArray, reason: str) -> None:
    """Raise `BadProfiles` for these profiles."""
    raise BadProfiles({int(profile): reason for profile in np.unique(profiles)})


@dataclass(frozen=True)
class Distinct:
    """The distinct values of an array: the row where each is first seen, and which of them each row holds."""

    rows: IntArray
    code: IntArray

    @property
    def leader(self) -> IntArray:
        """For each row, the first row with its value."""
        leader: IntArray = self.rows[self.code]
        return leader

    def firsts(self, rows: IntArray) -> IntArray:
        """The first rows of the values that `rows` hold, ascending, each once."""
        used = np.zeros(len(self.rows), np.bool_)
        used[self.code[rows]] = True
        return self.rows[used]


def distinct(values: npt.NDArray[Any]) -> Distinct:
    """Group equal values, in order of first appearance."""
    encoded = pa.array(values).dictionary_encode()
    code: IntArray = encoded.indices.to_numpy()  # of 32 bits, which all that follows takes as well
    rows = np.empty(len(encoded.dictionary), np.int64)
    # Assigned back to front, so that the first of several rows stays.
    rows[code[::-1]] = np.arange(len(code) - 1, -1, -1)
    return Distinct(rows, code)


def distinct_apart(hashes: U64Array, column: Column, owners: IntArray) -> Distinct:
    """Group equal hashes of a column's rows, those of different lists' owners apart."""
    if not len(owners) or (owners == owners[0]).all():
        return distinct(hashes)
    return distinct(identity.combine(hashes, column.spread(owners.astype(np.uint64))))


def gather(starts: IntArray, lengths: IntArray) -> tuple[IntArray, IntArray]:
    """The items of some lists, end to end, and the offsets of these lists."""
    offsets = offsets_of(lengths)
    return np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], lengths), offsets


def list_array(offsets: IntArray, values: pa.Array) -> pa.ListArray:
    """An Arrow list column."""
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values)
