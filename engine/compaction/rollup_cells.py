"""The samples of one part added up by type, bucket of time and stack, so many hours at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ...schema import tables
from ..storage.numbering import repeated
from ..trie import offsets_of
from .row_groups import RowGroups
from .waiting_rows import SCHEMA

IntArray = npt.NDArray[np.int64]

MOST_CELLS = 16 << 20
"""Buckets times stacks that are added up at a time, 9 bytes each."""

NARROW_NS, WIDE_NS = tables.ROLLUP_WIDTHS_NS.values()
IN_WIDE = WIDE_NS // NARROW_NS
"""How many narrow buckets a wide one has."""


@dataclass(frozen=True)
class Profiles:
    """The profiles of a part in order, and the type of each; `n` are their samples, from the row `first` on."""

    kind: IntArray
    ts: IntArray
    n: IntArray
    first: int

    @property
    def start(self) -> IntArray:
        """The first row of each, and the end of all."""
        return offsets_of(self.n) + self.first


@dataclass(frozen=True)
class Cells:
    """The sums of one type in some hours, by narrow bucket and stack; and which cells have samples at all.

    As rows they have the columns of `waiting_rows.SCHEMA`, in stored order.

    `size` is what the sizes of all values add up to.
    """

    kind: int
    hours: IntArray
    value: IntArray
    has_samples: npt.NDArray[np.bool_]
    size: float

    def narrow(self) -> pa.Table:
        """The sums by narrow bucket."""
        buckets = (self.hours[:, None] * IN_WIDE + np.arange(IN_WIDE)).ravel() * NARROW_NS
        shape = len(buckets), -1
        return self._rows(buckets, self.value.reshape(shape), self.has_samples.reshape(shape))

    def wide(self) -> pa.Table:
        """The sums by wide bucket."""
        return self._rows(
            self.hours * WIDE_NS, self.value.sum(axis=1), np.asarray(self.has_samples.any(axis=1))
        )

    def _rows(self, buckets: IntArray, value: IntArray, has_samples: npt.NDArray[np.bool_]) -> pa.Table:
        cell = np.flatnonzero(has_samples)
        group, stack = np.divmod(cell, value.shape[1])
        columns = [
            repeated(self.kind, len(cell), pa.uint16()),
            buckets[group],
            stack.astype(np.uint32),
            value.ravel()[cell],
        ]
        return pa.table(columns, schema=SCHEMA)


def cells_of(profiles: Profiles, samples: RowGroups, stacks: int) -> Iterator[Cells]:
    """All cells of a part, in the order of types and hours. `samples` has the columns stack and value."""
    hours_at_a_time = max(MOST_CELLS // (IN_WIDE * stacks), 1)
    hour = profiles.ts // WIDE_NS
    used = profiles.n > 0
    for kind in np.unique(profiles.kind[used]).tolist():
        of_kind = used & (profiles.kind == kind)
        hours = np.unique(hour[of_kind])
        for at in range(0, len(hours), hours_at_a_time):
            some = hours[at : at + hours_at_a_time]
            chosen = of_kind & (hour >= some[0]) & (hour <= some[-1])
            yield _cells(profiles, chosen, some, samples, (kind, stacks))


def _cells(
    profiles: Profiles,
    chosen: npt.NDArray[np.bool_],
    hours: IntArray,
    samples: RowGroups,
    shape: tuple[int, int],
) -> Cells:
    """Those of the chosen profiles, which are of some hours and of one type; `shape` is that and how many stacks."""
    kind, stacks = shape
    bucket = profiles.ts // NARROW_NS
    slot = np.searchsorted(hours, bucket // IN_WIDE) * IN_WIDE + bucket % IN_WIDE
    # Cells of profiles that are not chosen would be before the first one.
    cell = np.where(chosen, slot * stacks, -1)
    start = profiles.start
    sums = _Sums(len(hours) * IN_WIDE * stacks)
    rows = np.flatnonzero(chosen)
    for first, (stack, value) in samples.pieces(int(start[rows[0]]), int(start[rows[-1] + 1])):
        cell_of_sample = np.repeat(cell, np.diff(start.clip(first, first + len(stack))))
        sums.add(cell_of_sample, stack, value)
    shaped = len(hours), IN_WIDE, stacks
    return Cells(kind, hours, sums.value.reshape(shaped), sums.has_samples.reshape(shaped), sums.size)


class _Sums:
    """So many sums while they are added up."""

    def __init__(self, cells: int) -> None:
        self.value = np.zeros(cells, np.int64)
        self.has_samples = np.zeros(cells, np.bool_)
        self.size = 0.0

    def add(self, first_cell: IntArray, stack: npt.NDArray[Any], value: npt.NDArray[Any]) -> None:
        """Add samples, each to the cell of its stack from a first one on; below 0: of none."""
        inside = first_cell >= 0
        chosen = slice(None) if inside.all() else inside
        cell, summed = first_cell[chosen] + stack[chosen], value[chosen]
        np.add.at(self.value, cell, summed)
        self.has_samples[cell] = True
        self.size += float(np.abs(summed.astype(np.float64)).sum())
