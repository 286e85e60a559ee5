"""Samples picked out by the span or the trace in which they were taken.

Blocks that hold no span or trace ids answer nothing without being read.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ...schema.errors import RequestError
from ...schema.request import Selection
from .opened import OpenBlock
from .plan import Picked
from .stack_totals import StackTotals, expand_ranges, split_by_part, weighted_totals

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

_WINDOW_ROWS = 1 << 22


def picked_by(selection: Selection) -> Picked | None:
    """What a selection picks samples by; None when it takes all. Raises `RequestError` for an id that is none."""
    if not selection.picks_samples:
        return None
    # Most questions do not get here, and need nothing of normalising.
    from ..normalize.sample_labels import parse_span_id, parse_trace_id

    if selection.span_ids and selection.trace_ids:
        raise RequestError("span ids and trace ids cannot be combined")
    if selection.span_ids:
        spans = {text: parse_span_id(text) for text in selection.span_ids}
        _refuse_malformed("span id", 16, [text for text, span in spans.items() if not span])
        return Picked("span_id", span_ids=tuple(spans.values()))
    traces = {text: parse_trace_id(text) for text in selection.trace_ids}
    _refuse_malformed("trace id", 32, [text for text, trace in traces.items() if trace is None])
    return Picked("trace_id", trace_ids=tuple(filter(None, traces.values())))


def _refuse_malformed(what: str, digits: int, malformed: list[str]) -> None:
    if malformed:
        raise RequestError(f"{what} {malformed[0][:64]!r}: expected {digits} hexadecimal digits")


def holds_any(block: OpenBlock, picked: Picked) -> bool:
    """Whether samples of a block have such ids at all."""
    return picked.column in block.meta.sample_extras


def is_picked(ids: pa.ChunkedArray, picked: Picked) -> BoolArray:
    """Which of some samples are picked, by their column of ids."""
    wanted = pa.array(picked.span_ids, pa.uint64()) if picked.span_ids else pa.array(picked.trace_ids)
    marks: BoolArray = pc.is_in(ids, value_set=wanted.cast(ids.type)).to_numpy()
    return marks


def picked_rows(block: OpenBlock, rows: IntArray, picked: Picked) -> BoolArray:
    """Which of some rows of the samples are picked."""
    if not len(rows) or not holds_any(block, picked):
        return np.zeros(len(rows), np.bool_)
    low, high = int(rows.min()), int(rows.max()) + 1
    table = block.block.table("samples", [picked.column], (low, high))
    marks: BoolArray = is_picked(table.column(picked.column), picked)[rows - low]
    return marks


def picked_totals(
    block: OpenBlock, ranges: tuple[IntArray, IntArray, npt.NDArray[np.float64]], picked: Picked
) -> list[StackTotals]:
    """Sums over the picked samples of some profiles: their first rows, numbers of rows, and weights."""
    if not holds_any(block, picked):
        return []
    start, n, weight = ranges
    columns: list[tuple[npt.NDArray[np.generic], ...]] = []
    for window in _windows(start, n):
        rows, owner = expand_ranges(start[window], n[window])
        low, high = int(rows.min()), int(rows.max()) + 1
        table = block.block.table("samples", ["part", "stack", "value", picked.column], (low, high))
        table = table.take(pa.array(rows - low))
        marks = is_picked(table.column(picked.column), picked)
        found = (table.column(name).to_numpy()[marks] for name in ("part", "stack", "value"))
        columns.append((*found, weight[window][owner[marks]]))
    if not columns:
        return []
    part, stack, value, counted = (np.concatenate(column) for column in zip(*columns, strict=True))
    if (weight == 1).all():
        return split_by_part(part.astype(np.int64), stack.astype(np.int64), value.astype(np.int64))
    return weighted_totals(part, stack, value * counted)


def _windows(start: IntArray, n: IntArray) -> Iterator[IntArray]:
    """Profiles with samples, in groups of neighbours of bounded size."""
    order = np.argsort(start, kind="stable")
    order = order[n[order] > 0]
    group = np.cumsum(n[order]) // _WINDOW_ROWS
    for number in np.unique(group):
        yield order[group == number]
