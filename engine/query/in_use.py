"""What the visible profiles of a block use of its series, stacks and symbols: the rest might as well not be there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ...schema.identity import NO_ID
from ..trie import offsets_of
from .opened import OpenBlock, ProfileRows
from .stack_totals import expand_ranges
from .visible import VisibleBlock

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

_WINDOW_ROWS = 1 << 22


@dataclass(frozen=True)
class InUse:
    """A mask over each table of a block; `stacks` one a part."""

    series: BoolArray
    stacks: Mapping[int, BoolArray]
    locations: BoolArray
    functions: BoolArray
    mappings: BoolArray
    labelsets: BoolArray


def in_use(block: VisibleBlock) -> InUse:
    """What the visible profiles of a block use. Reads one or two columns of its samples, and its location tries."""
    found: InUse = block.whole.once(f"in use {block.key}", lambda: _found(block))
    return found


def same_hidden(whole: OpenBlock, like: VisibleBlock) -> VisibleBlock:
    """The same block as it is read in another way, with the same profiles hidden, and what is known of it."""
    whole.once(f"in use {like.key}", lambda: in_use(like))
    return VisibleBlock(whole, like.hidden, like.key)


USED_TABLES = ("index", "stacks", "locations", "functions", "mappings")
"""The tables in which a row says that there is something."""


def rows_in_use(block: VisibleBlock, table: str) -> BoolArray:
    """Which rows of one of `USED_TABLES` visible profiles use."""
    if table == "index":
        # Known without a look at samples.
        series: BoolArray = block.index.table.column("profiles").to_numpy() > 0
        return series
    used = in_use(block)
    if table == "stacks":
        return np.concatenate([np.zeros(0, np.bool_), *used.stacks.values()])
    rows: BoolArray = getattr(used, table)
    return rows


def _found(block: VisibleBlock) -> InUse:
    rows = block.profiles(np.arange(len(block.index.series_id)), None, None)
    parts = len(block.meta.parts)
    # Of all parts at once: a block may have thousands, which share row groups.
    stacks = block.block.table("stacks", ["part", "node"])
    first_stack = _firsts(stacks, parts)
    used = np.zeros(len(stacks), np.bool_)
    has_labelsets = "labelset" in block.meta.sample_extras
    labelsets = np.zeros(len(block.block.table("labelsets", ["labelset"])) if has_labelsets else 0, np.bool_)
    for samples in _samples(block, rows, has_labelsets):
        used[first_stack[samples.column("part").to_numpy()] + samples.column("stack").to_numpy()] = True
        if has_labelsets:
            labelsets[samples.column("labelset").drop_null().to_numpy()] = True
    locations = np.zeros(len(block.symbols.location_id), np.bool_)
    locations[_locations_of(block, stacks, used)] = True
    return InUse(
        block.index.table.column("profiles").to_numpy() > 0,
        dict(enumerate(np.split(used, first_stack[1:-1]))),
        locations,
        _functions_of(block, locations),
        _mappings_of(block, locations, rows),
        labelsets,
    )


def _firsts(table: pa.Table, parts: int) -> IntArray:
    """The first row of each part, and the number of rows."""
    firsts: IntArray = np.searchsorted(table.column("part").to_numpy(), np.arange(parts + 1)).astype(np.int64)
    return firsts


def _samples(block: OpenBlock, rows: ProfileRows, has_labelsets: bool) -> Iterator[pa.Table]:
    """The samples of some profiles, a bounded number at a time."""
    columns = ["part", "stack", "labelset"] if has_labelsets else ["part", "stack"]
    rows = rows.take(rows.n > 0)
    window = np.cumsum(rows.n) // _WINDOW_ROWS
    for number in np.unique(window):
        mine = rows.take(window == number)
        wanted, _ = expand_ranges(mine.start, mine.n)
        low, high = int(wanted.min()), int(wanted.max()) + 1
        table = block.block.table("samples", columns, (low, high))
        yield table if len(table) == len(wanted) else table.take(pa.array(wanted - low))


def _locations_of(block: OpenBlock, stacks: pa.Table, used: BoolArray) -> IntArray:
    """The locations on the paths of the used stacks."""
    table = block.block.table("stacktraces", ["part", "size", "location"])
    first_node = _firsts(table, len(block.meta.parts))
    is_end = np.zeros(len(table), np.int64)
    is_end[first_node[stacks.column("part").to_numpy()[used]] + stacks.column("node").to_numpy()[used]] = 1
    # Below a node are those that follow it: a path leads through it if one of them is an end.
    ends = offsets_of(is_end)
    node = np.arange(len(table))
    on_path = ends[node + table.column("size").to_numpy()] > ends[node]
    locations = table.column("location").to_numpy()[on_path]
    return np.unique(locations[locations != NO_ID]).astype(np.int64)


def _functions_of(block: OpenBlock, locations: BoolArray) -> BoolArray:
    """The functions in the lines of some locations, and those that stand for locations without lines."""
    symbols = block.symbols
    used = np.zeros(len(symbols.function_name), np.bool_)
    lines = symbols.line_function.lengths
    used[symbols.line_function.values[np.repeat(locations, lines)]] = True
    display = symbols.display[locations & (lines == 0)]
    used[display[display >= 0]] = True
    return used


def _mappings_of(block: OpenBlock, locations: BoolArray, rows: ProfileRows) -> BoolArray:
    """The mappings of some locations, and those that the profiles list."""
    used = np.zeros(len(block.symbols.mapping_filename), np.bool_)
    mapping = block.symbols.mapping[locations]
    used[mapping[mapping >= 0]] = True
    listed = block.table("profiles", ["mappings"]).column("mappings").take(pa.array(rows.row))
    ids = block.table("mappings", ["mapping_id"]).column("mapping_id")
    known = pc.list_flatten(listed).unique()
    if isinstance(known, pa.ChunkedArray):
        known = known.combine_chunks()
    used |= pc.is_in(ids, value_set=known).to_numpy()
    return used
