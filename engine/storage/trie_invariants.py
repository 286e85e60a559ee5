"""What must hold in the trees of one part: `stacks` leads into `stacktraces`, and that into `frames`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ...schema.block import PartMeta
from ...schema.identity import NO_ID
from ..trie import Trie, depths_of, first_occurrences, path_hashes
from .blocks import Block

IntArray = npt.NDArray[np.int64]
Columns = Mapping[str, npt.NDArray[Any]]

_COLUMNS = {
    "stacks": ("part", "stack", "node", "stack_id"),
    "stacktraces": ("part", "node", "parent", "size", "location", "frame"),
    "frames": ("part", "frame", "parent", "size", "function", "depth", "first"),
}
_NUMBERS = {"stacks": "stack", "stacktraces": "node", "frames": "frame"}


def broken_tries(block: Block, part: PartMeta) -> Iterator[str]:
    """What does not hold. Raises `CorruptBlock` for a file that cannot be read."""
    stacks, nodes, frames = tables = [_columns(block, name, part.part) for name in _COLUMNS]
    for name, table in zip(_COLUMNS, tables, strict=True):
        if (table["part"] != part.part).any():
            yield f"{name}: part is not that of the metadata"
        if (table[_NUMBERS[name]] != np.arange(len(table["part"]))).any():
            yield f"{name}: {_NUMBERS[name]} does not count rows"
    locations = block.table("locations", ["location_id"]).column("location_id").to_numpy()
    functions = len(block.table("functions", ["function"]))
    broken = [
        *_out_of_range("stacks", "node", stacks["node"], len(nodes["node"])),
        *_out_of_range("stacktraces", "frame", nodes["frame"], len(frames["frame"])),
        *_broken_tree("stacktraces", nodes, "location", len(locations)),
        *_broken_tree("frames", frames, "function", functions),
    ]
    yield from broken
    if not broken:
        yield from _broken_contents(stacks, nodes, frames, locations)


def _columns(block: Block, name: str, part: int) -> Columns:
    table = block.part_table(name, _COLUMNS[name], part)
    return {column: table.column(column).to_numpy() for column in _COLUMNS[name]}


def _out_of_range(name: str, column: str, numbers: npt.NDArray[Any], count: int) -> Iterator[str]:
    if (numbers >= count).any():
        yield f"{name}: {column} is out of range"


def _broken_tree(name: str, table: Columns, symbol: str, symbols: int) -> Iterator[str]:
    """Pre-order: a node's subtree is the rows from itself on; only the root has no symbol."""
    parent, size = table["parent"].astype(np.int64), table["size"].astype(np.int64)
    node = np.arange(len(parent))
    if not len(node) or parent[0] != 0 or size[0] != len(node) or table[symbol][0] != NO_ID:
        yield f"{name}: the first row is not a root"
        return
    yield from _out_of_range(name, symbol, table[symbol][1:], symbols)
    if (parent[1:] >= node[1:]).any():
        yield f"{name}: a parent does not come before its child"
        return
    children = np.zeros(len(node), np.int64)
    np.add.at(children, parent[1:], size[1:])
    is_inner = np.flatnonzero(size > 1)
    if (children + 1 != size).any():
        yield f"{name}: size is not one more than that of the children"
    elif (node + size > parent + size[parent]).any() or (parent[is_inner + 1] != is_inner).any():
        yield f"{name}: rows are not in pre-order"


def _broken_contents(
    stacks: Columns, nodes: Columns, frames: Columns, location_ids: npt.NDArray[np.uint64]
) -> Iterator[str]:
    """What follows from the trees: depths, recursion, and the identity of each stack."""
    parent = frames["parent"].astype(np.int64)
    depth = depths_of(parent)
    if (frames["depth"] != depth).any():
        yield "frames: depth is not one more than that of the parent"
    trie = Trie(parent, _symbol(frames["function"]), frames["size"].astype(np.int64), depth)
    if (frames["first"] != first_occurrences(trie)).any():
        yield "frames: first is not where a function is on a path for the first time"
    parent = nodes["parent"].astype(np.int64)
    trie = Trie(parent, _symbol(nodes["location"]), nodes["size"].astype(np.int64), depths_of(parent))
    if (path_hashes(trie, location_ids)[stacks["node"]] != stacks["stack_id"]).any():
        yield "stacks: stack_id is not that of the locations"


def _symbol(numbers: npt.NDArray[np.uint32]) -> IntArray:
    return np.where(numbers == NO_ID, -1, numbers.astype(np.int64))
