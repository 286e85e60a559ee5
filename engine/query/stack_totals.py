"""The heart of every call tree: sums of values by stack, over the samples of one block.

Blocks in files are summed by DuckDB on integer keys; small blocks, blocks in memory, and single profiles
picked out of any, by numpy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ...schema.times import FIRST_NS, LAST_NS
from ..database import DuckDB, Query, query_file
from ..trie import offsets_of
from .opened import OpenBlock
from .plan import BlockScan

IntArray = npt.NDArray[np.int64]

_MANY_SERIES_RUNS = 4
_FEW_ROWS = 262_144
"""Up to so many samples numpy adds up in less time than DuckDB needs to plan a query."""
_PERFECT_HASH_BITS = 22

_SQL = f"{__package__}.sql"


@dataclass(frozen=True)
class StackTotals:
    """Values by stack of one part; a stack may come several times."""

    part: int
    stack: IntArray
    value: IntArray


@dataclass(frozen=True)
class TimeRange:
    """`[start_ns, end_ns)`; `None` is open."""

    start_ns: int | None
    end_ns: int | None

    def parameters(self) -> dict[str, int]:
        """The bounds as SQL parameters."""
        return {
            "start_ns": FIRST_NS if self.start_ns is None else self.start_ns,
            "end_ns": LAST_NS if self.end_ns is None else self.end_ns,
        }


def stack_totals(
    block: OpenBlock, scan: BlockScan, time: TimeRange, database: Callable[[], DuckDB]
) -> list[StackTotals]:
    """Sums over all samples that `scan` chooses; `time` counts only when the scan is timed."""
    path = block.block.path("samples")
    if path is None or _rows_of(block, scan) <= _FEW_ROWS:
        return _rows_as_totals(block, *_row_ranges(block, scan, time))
    totals: list[StackTotals] = []
    for query, parameters, tables in _queries(block, scan, time, path):
        with database().session() as session:
            if block.note_read is not None:
                session.measure()
            answer = session.arrow(query, parameters, tables)
            if block.note_read is not None:
                block.note_read("samples", *session.measured())
        totals += _by_part(answer, parameters.get("part"))
    return totals


def _rows_of(block: OpenBlock, scan: BlockScan) -> int:
    """Samples of the parts that a scan touches."""
    ranges = [block.meta.parts[part.part].samples for part in scan.parts]
    return sum(last - first for first, last in ranges)


def _row_ranges(block: OpenBlock, scan: BlockScan, time: TimeRange) -> tuple[IntArray, IntArray]:
    """First row and number of rows of what a scan reads."""
    parts = [block.meta.parts[part.part] for part in scan.parts]
    whole = all(one.series_runs == (part.series,) for one, part in zip(scan.parts, parts, strict=True))
    if whole and not scan.timed:
        bounds = np.array([part.samples for part in parts], np.int64)
        return bounds[:, 0], bounds[:, 1] - bounds[:, 0]
    chosen = block.profiles(scan.series, *((time.start_ns, time.end_ns) if scan.timed else (None, None)))
    return chosen.start, chosen.n


def _queries(
    block: OpenBlock, scan: BlockScan, time: TimeRange, path: str
) -> list[tuple[Query, dict[str, object], dict[str, pa.Table]]]:
    """The queries that together read the scan: one over everything, one a part, or one for scattered series."""
    runs = [(part.part, run) for part in scan.parts for run in part.series_runs]
    if len(runs) > _MANY_SERIES_RUNS * len(scan.parts):
        chosen = {"chosen": pa.table({"series": pa.array(scan.series, pa.uint32())})}
        bounds = _bounds(
            block, [part.part for part in scan.parts], path, int(scan.series[0]), int(scan.series[-1])
        )
        return [
            (
                query_file(_SQL, "stack_totals_of_series"),
                bounds | (time if scan.timed else TimeRange(None, None)).parameters(),
                chosen,
            )
        ]
    series = scan.series
    contiguous = len(series) == series[-1] - series[0] + 1
    if contiguous and not scan.timed and len(scan.parts) > 1 and _fits_perfect_hash(block):
        parts = [part.part for part in scan.parts]
        return [
            (
                query_file(_SQL, "stack_totals"),
                _bounds(block, parts, path, int(series[0]), int(series[-1])),
                {},
            )
        ]
    queries: list[tuple[Query, dict[str, object], dict[str, pa.Table]]] = []
    for part, (first, last) in runs:
        bounds = _bounds(block, [part], path, first, last - 1) | {"part": part}
        if scan.timed:
            queries.append((query_file(_SQL, "stack_totals_of_part_in_time"), bounds | time.parameters(), {}))
        else:
            queries.append((query_file(_SQL, "stack_totals_of_part"), bounds, {}))
    return queries


def _fits_perfect_hash(block: OpenBlock) -> bool:
    stacks = max(part.stacks[1] - part.stacks[0] for part in block.meta.parts)
    return (len(block.meta.parts) - 1).bit_length() + stacks.bit_length() <= _PERFECT_HASH_BITS


def _bounds(block: OpenBlock, parts: list[int], path: str, first: int, last: int) -> dict[str, object]:
    facts = [block.meta.parts[part] for part in parts]
    most_stacks = max(part.stacks[1] - part.stacks[0] for part in facts)
    statistics = {
        "stack": {"min": 0, "max": max(most_stacks - 1, 0)},
        "part": {"min": 0, "max": len(block.meta.parts) - 1},
    }
    return {"files": [path], "statistics": statistics, "first_series": first, "last_series": last}


def _by_part(answer: pa.Table, part: object) -> list[StackTotals]:
    stack = answer.column("stack").to_numpy().astype(np.int64)
    value = answer.column("value").to_numpy()
    if isinstance(part, int):
        return [StackTotals(part, stack, value)]
    return split_by_part(answer.column("part").to_numpy(), stack, value)


def split_by_part(part: npt.NDArray[np.integer], stack: IntArray, value: IntArray) -> list[StackTotals]:
    """Rows of several parts as one `StackTotals` a part."""
    order = np.argsort(part, kind="stable")
    numbers, first = np.unique(part[order], return_index=True)
    pieces = np.split(order, first[1:]) if len(numbers) else []
    return [StackTotals(int(n), stack[rows], value[rows]) for n, rows in zip(numbers, pieces, strict=True)]


def rows_totals(
    block: OpenBlock, start: IntArray, n: IntArray, weight: npt.NDArray[np.float64]
) -> list[StackTotals]:
    """Sums over the samples of single profiles, given by their row ranges; each range's values count `weight` times.

    Weighted values are rounded once a stack.
    """
    if (weight == 1).all():
        return _rows_as_totals(block, start, n)
    rows, owner = expand_ranges(start, n)
    if not len(rows):
        return []
    low, high = int(rows.min()), int(rows.max()) + 1
    table = block.block.table("samples", ["part", "stack", "value"], (low, high))
    rows -= low
    part, stack, value = (table.column(name).to_numpy()[rows] for name in ("part", "stack", "value"))
    return weighted_totals(part, stack, value * weight[owner])


def weighted_totals(
    part: npt.NDArray[np.integer], stack: npt.NDArray[np.integer], value: npt.NDArray[np.float64]
) -> list[StackTotals]:
    """Values that carry weights, added up and rounded once a stack."""
    key = part.astype(np.int64) << 32 | stack
    keys, inverse = np.unique(key, return_inverse=True)
    summed = np.rint(np.bincount(inverse, weights=value)).astype(np.int64)
    return split_by_part(keys >> 32, keys & 0xFFFFFFFF, summed)


def _rows_as_totals(block: OpenBlock, start: IntArray, n: IntArray) -> list[StackTotals]:
    """The samples of some row ranges (ascending), as they are: a stack comes once a sample."""
    start, n = _joined_ranges(start[n > 0], n[n > 0])
    if not len(start):
        return []
    low, high = int(start[0]), int(start[-1] + n[-1])
    table = block.block.table("samples", ["stack", "value"], (low, high))
    stack, value = table.column("stack").to_numpy(), table.column("value").to_numpy()
    # Rows are sorted by part, so where a part ends is a matter of bisection.
    ends = np.array([part.samples[1] for part in block.meta.parts], np.int64)
    if len(start) == 1:
        bounds = np.clip(ends - low, 0, high - low)
    else:
        rows, _ = expand_ranges(start, n)
        stack, value = stack[rows - low], value[rows - low]
        bounds = np.searchsorted(rows, ends)
    return [
        StackTotals(part, stack[first:last].astype(np.int64), value[first:last])
        for part, (first, last) in enumerate(pairwise([0, *bounds.tolist()]))
        if last > first
    ]


def sums_of(totals: Sequence[StackTotals]) -> list[StackTotals]:
    """The same with every part and every stack once, in order, and without sums of zero."""
    by_part: dict[int, list[StackTotals]] = {}
    for one in totals:
        by_part.setdefault(one.part, []).append(one)
    summed = []
    for part, found in sorted(by_part.items()):
        stack = np.concatenate([one.stack for one in found])
        sums = np.zeros(int(stack.max(initial=-1)) + 1, np.int64)
        np.add.at(sums, stack, np.concatenate([one.value for one in found]))
        used = np.flatnonzero(sums)
        summed.append(StackTotals(part, used, sums[used]))
    return summed


def _joined_ranges(start: IntArray, n: IntArray) -> tuple[IntArray, IntArray]:
    """Row ranges with those that follow each other joined."""
    first = np.flatnonzero(np.append(True, start[1:] != start[:-1] + n[:-1])[: len(start)])
    return start[first], np.add.reduceat(n, first) if len(first) else n


def expand_ranges(start: IntArray, n: IntArray) -> tuple[IntArray, IntArray]:
    """Every row of some row ranges, and the range that each came from."""
    offsets = offsets_of(n)
    owner = np.repeat(np.arange(len(n)), n)
    return np.arange(offsets[-1]) + (start - offsets[:-1])[owner], owner
