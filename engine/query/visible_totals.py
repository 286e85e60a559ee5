"""Sums by stack over the visible samples of a block: those of all samples, and what hidden profiles have of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from ..database import DuckDB
from .opened import OpenBlock
from .plan import BlockScan
from .stack_totals import StackTotals, TimeRange, rows_totals, stack_totals
from .visible import VisibleBlock

IntArray = npt.NDArray[np.int64]


def visible_totals(
    block: OpenBlock, scan: BlockScan, time: TimeRange, database: Callable[[], DuckDB]
) -> list[StackTotals]:
    """Sums over the visible samples that `scan` chooses, in whichever way reads fewer samples one by one."""
    if not isinstance(block, VisibleBlock):
        return stack_totals(block, scan, time, database)
    series = scan.series
    if not len(block.hidden_profiles(series, None, None)):
        return stack_totals(block.whole, scan, time, database)
    hidden = block.hidden_profiles(series, time.start_ns, time.end_ns)
    shown = block.profiles(series, time.start_ns, time.end_ns)
    if shown.n.sum() <= hidden.n.sum():
        return rows_totals(block, shown.start, shown.n, np.ones(len(shown)))
    # Whether the visible ones are all inside of the range says nothing about the others.
    every = replace(scan, timed=time.start_ns is not None or time.end_ns is not None)
    found = stack_totals(block.whole, every, time, database)
    return without_profiles(block, found, hidden.start, hidden.n)


def without_profiles(
    block: OpenBlock, totals: Sequence[StackTotals], start: IntArray, n: IntArray
) -> list[StackTotals]:
    """The sums without some profiles that are in them, given by their row ranges."""
    taken = {one.part: one for one in rows_totals(block, start, n, np.ones(len(start)))}
    return [_minus(total, taken.get(total.part)) for total in totals]


def _minus(total: StackTotals, taken: StackTotals | None) -> StackTotals:
    if taken is None:
        return total
    return StackTotals(
        total.part, np.concatenate([total.stack, taken.stack]), np.concatenate([total.value, -taken.value])
    )
