"""Sums by stack over the visible samples of a block: those of all samples, and what hidden profiles have of them.

Hidden profiles are scattered over a block until it is written anew, so that reading them means to read most of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ..database import DuckDB
from .opened import OpenBlock, ProfileRows
from .plan import BlockScan
from .stack_totals import (
    StackTotals,
    TimeRange,
    expand_ranges,
    rows_totals,
    split_by_part,
    stack_totals,
    sums_of,
)
from .visible import VisibleBlock

IntArray = npt.NDArray[np.int64]
U32Array = npt.NDArray[np.uint32]

_WINDOW_ROWS = 1 << 22
"""Rows of samples that are read at a time."""

_KEPT_SAMPLES = 1 << 21
"""Hidden samples of a block that are kept for the next question; of more, those that it is about are read again."""


def visible_totals(
    block: OpenBlock, scan: BlockScan, time: TimeRange, database: Callable[[], DuckDB]
) -> list[StackTotals]:
    """Sums over the visible samples that `scan` chooses."""
    if not isinstance(block, VisibleBlock):
        return stack_totals(block, scan, time, database)
    series = scan.series
    if not len(block.hidden_profiles(series, None, None)):
        return stack_totals(block.whole, scan, time, database)
    hidden = block.hidden_profiles(series, time.start_ns, time.end_ns)
    shown = block.profiles(series, time.start_ns, time.end_ns)
    if shown.n.sum() <= hidden.n.sum():
        return _totals_of(block, shown)
    # Whether the visible ones are all inside of the range says nothing about the others.
    index = block.whole.index
    before = time.start_ns is not None and bool((index.min_ts[series] < time.start_ns).any())
    after = time.end_ns is not None and bool((index.max_ts[series] >= time.end_ns).any())
    found = stack_totals(block.whole, replace(scan, timed=before or after), time, database)
    return _minus(found, _hidden_totals(block, hidden))


def without_profiles(
    block: OpenBlock, totals: Sequence[StackTotals], start: IntArray, n: IntArray
) -> list[StackTotals]:
    """The sums without some profiles that are in them, given by their row ranges."""
    return _minus(totals, rows_totals(block, start, n, np.ones(len(start))))


def _minus(totals: Sequence[StackTotals], taken: Sequence[StackTotals]) -> list[StackTotals]:
    by_part = {one.part: one for one in taken}
    return [_difference(total, by_part.get(total.part)) for total in totals]


def _difference(total: StackTotals, taken: StackTotals | None) -> StackTotals:
    if taken is None:
        return total
    return StackTotals(
        total.part, np.concatenate([total.stack, taken.stack]), np.concatenate([total.value, -taken.value])
    )


def _totals_of(block: OpenBlock, profiles: ProfileRows) -> list[StackTotals]:
    """Sums over the samples of some profiles (ascending), which are read a bounded number at a time."""
    found: list[StackTotals] = []
    for window in _windows(profiles):
        found = sums_of([*found, *rows_totals(block, window.start, window.n, np.ones(len(window)))])
    return found


def _windows(profiles: ProfileRows) -> Iterator[ProfileRows]:
    """Profiles with samples, in groups whose samples are not far from each other."""
    profiles = profiles.take(profiles.n > 0)
    first = 0
    while first < len(profiles):
        low = int(profiles.start[first])
        last = max(int(np.searchsorted(profiles.start + profiles.n, low + _WINDOW_ROWS)), first + 1)
        yield profiles.take(np.arange(first, last))
        first = last


@dataclass(frozen=True)
class _HiddenSamples:
    """The samples of all hidden profiles of a block; `profile` is the row of each one's."""

    profile: IntArray
    part: U32Array
    stack: U32Array
    value: IntArray


def _hidden_totals(block: VisibleBlock, profiles: ProfileRows) -> list[StackTotals]:
    """Sums over the samples of some hidden profiles."""
    if block.profile_ranges(block.hidden)[1].sum() > _KEPT_SAMPLES:
        return _totals_of(block, profiles)
    every: _HiddenSamples = block.whole.once(f"hidden samples {block.key}", lambda: _read_hidden(block))
    if len(profiles) == len(block.hidden):
        return split_by_part(every.part, every.stack.astype(np.int64), every.value)
    wanted = np.zeros(int(block.hidden[-1]) + 1, np.bool_)
    wanted[profiles.row] = True
    mine = wanted[every.profile]
    return split_by_part(every.part[mine], every.stack[mine].astype(np.int64), every.value[mine])


def _read_hidden(block: VisibleBlock) -> _HiddenSamples:
    pieces: list[_HiddenSamples] = []
    series = np.arange(len(block.index.series_id))
    for window in _windows(block.hidden_profiles(series, None, None)):
        rows, owner = expand_ranges(window.start, window.n)
        low, high = int(rows[0]), int(rows[-1]) + 1
        table = block.block.table("samples", ["part", "stack", "value"], (low, high))
        part, stack, value = (
            table.column(name).to_numpy()[rows - low] for name in ("part", "stack", "value")
        )
        pieces.append(_HiddenSamples(window.row[owner], part, stack, value))
    kinds = {"profile": np.int64, "part": np.uint32, "stack": np.uint32, "value": np.int64}
    columns = {
        name: np.concatenate([np.zeros(0, kind), *(getattr(one, name) for one in pieces)])
        for name, kind in kinds.items()
    }
    return _HiddenSamples(**columns)
