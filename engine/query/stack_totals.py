"""The heart of every call tree: sums of values by stack, over the samples of one block.

Blocks in files are summed by DuckDB on integer keys; blocks in memory, and single profiles picked out of
either, by numpy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ..database import DuckDB, Query, query_file
from ..trie import offsets_of
from .opened import OpenBlock
from .plan import BlockScan

IntArray = npt.NDArray[np.int64]

_MIN_NS, _MAX_NS = -(2**63), 2**63 - 1
_MANY_SERIES_RUNS = 4
_PERFECT_HASH_BITS = 22

_SQL = f"{__package__}.sql"
_ALL = query_file(_SQL, "stack_totals")
_PART = query_file(_SQL, "stack_totals_of_part")
_PART_IN_TIME = query_file(_SQL, "stack_totals_of_part_in_time")
_SERIES = query_file(_SQL, "stack_totals_of_series")


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
            "start_ns": _MIN_NS if self.start_ns is None else self.start_ns,
            "end_ns": _MAX_NS if self.end_ns is None else self.end_ns,
        }


def stack_totals(
    block: OpenBlock, scan: BlockScan, time: TimeRange, database: Callable[[], DuckDB]
) -> list[StackTotals]:
    """Sums over all samples that `scan` chooses; `time` counts only when the scan is timed."""
    path = block.block.path("samples")
    if path is None:
        chosen = block.profiles(scan.series, *((time.start_ns, time.end_ns) if scan.timed else (None, None)))
        return rows_totals(block, chosen.start, chosen.n, np.ones(len(chosen)))
    totals: list[StackTotals] = []
    for query, parameters, tables in _queries(block, scan, time, path):
        with database().session() as session:
            answer = session.arrow(query, parameters, tables)
        totals += _by_part(answer, parameters.get("part"))
    return totals


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
        return [(_SERIES, bounds | (time if scan.timed else TimeRange(None, None)).parameters(), chosen)]
    series = scan.series
    contiguous = len(series) == series[-1] - series[0] + 1
    if contiguous and not scan.timed and len(scan.parts) > 1 and _fits_perfect_hash(block):
        parts = [part.part for part in scan.parts]
        return [(_ALL, _bounds(block, parts, path, int(series[0]), int(series[-1])), {})]
    queries: list[tuple[Query, dict[str, object], dict[str, pa.Table]]] = []
    for part, (first, last) in runs:
        bounds = _bounds(block, [part], path, first, last - 1) | {"part": part}
        if scan.timed:
            queries.append((_PART_IN_TIME, bounds | time.parameters(), {}))
        else:
            queries.append((_PART, bounds, {}))
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
    rows, owner = expand_ranges(start, n)
    if not len(rows):
        return []
    low, high = int(rows.min()), int(rows.max()) + 1
    table = block.block.table("samples", ["part", "stack", "value"], (low, high))
    rows -= low
    part, stack, value = (table.column(name).to_numpy()[rows] for name in ("part", "stack", "value"))
    if (weight == 1).all():
        return split_by_part(part, stack.astype(np.int64), value)
    key = part.astype(np.int64) << 32 | stack
    keys, inverse = np.unique(key, return_inverse=True)
    weighted = np.rint(np.bincount(inverse, weights=value * weight[owner])).astype(np.int64)
    return split_by_part(keys >> 32, keys & 0xFFFFFFFF, weighted)


def expand_ranges(start: IntArray, n: IntArray) -> tuple[IntArray, IntArray]:
    """Every row of some row ranges, and the range that each came from."""
    offsets = offsets_of(n)
    owner = np.repeat(np.arange(len(n)), n)
    return np.arange(offsets[-1]) + (start - offsets[:-1])[owner], owner
