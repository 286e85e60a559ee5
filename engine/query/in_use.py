"""What the visible profiles of a block use of its series, stacks and symbols: the rest might as well not be there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from .opened import OpenBlock, PartStacks, ProfileRows
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
    has_labelsets = "labelset" in block.meta.sample_extras
    labelsets = np.zeros(_rows(block, "labelsets", "labelset_id") if has_labelsets else 0, np.bool_)
    stacks: dict[int, BoolArray] = {}
    locations = np.zeros(len(block.symbols.location_id), np.bool_)
    part_of_row = block.index.part[rows.series]
    for part in block.meta.parts:
        used = np.zeros(part.stacks[1] - part.stacks[0], np.bool_)
        for samples in _samples(block, rows.take(part_of_row == part.part), has_labelsets):
            used[samples.column("stack").to_numpy()] = True
            if has_labelsets:
                labelsets[samples.column("labelset").drop_null().to_numpy()] = True
        stacks[part.part] = used
        locations[_locations_of(block.read_stacks(part.part), used)] = True
    functions = _functions_of(block, locations)
    return InUse(
        block.index.table.column("profiles").to_numpy() > 0,
        stacks,
        locations,
        functions,
        _mappings_of(block, locations, rows),
        labelsets,
    )


def _rows(block: OpenBlock, table: str, column: str) -> int:
    return len(block.block.table(table, [column]))


def _samples(block: OpenBlock, rows: ProfileRows, has_labelsets: bool) -> Iterator[pa.Table]:
    """The samples of some profiles, a bounded number at a time."""
    columns = ["stack", "labelset"] if has_labelsets else ["stack"]
    rows = rows.take(rows.n > 0)
    window = np.cumsum(rows.n) // _WINDOW_ROWS
    for number in np.unique(window):
        mine = rows.take(window == number)
        wanted, _ = expand_ranges(mine.start, mine.n)
        low, high = int(wanted.min()), int(wanted.max()) + 1
        table = block.block.table("samples", columns, (low, high))
        yield table if len(table) == len(wanted) else table.take(pa.array(wanted - low))


def _locations_of(stacks: PartStacks, used: BoolArray) -> IntArray:
    """The locations on the paths of the used stacks."""
    nodes = np.zeros(len(stacks.trie), np.bool_)
    level: IntArray = np.unique(stacks.node_of_stack[used]).astype(np.int64)
    while len(level):
        level = level[~nodes[level]]
        nodes[level] = True
        level = np.unique(stacks.trie.parent[level]).astype(np.int64)
    symbols = stacks.trie.symbol[nodes]
    return np.unique(symbols[symbols >= 0]).astype(np.int64)


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
