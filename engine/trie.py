"""Call trees as arrays in pre-order: a node's subtree is the `size` nodes from itself on.

No recursion and no per-node Python: tries are built, merged and measured one level at a time. Node 0 is the
root; its parent is itself. A node's total is a difference of a prefix sum.

Numbers of nodes and symbols are 32 bits wide wherever they fit: a trie may have tens of millions of nodes, and
what is held for each of them decides how much memory it takes to build one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from ..schema import identity
from . import path_grid

IntArray = npt.NDArray[np.int64]
NumberArray = npt.NDArray[np.signedinteger[Any]]
"""Numbers of nodes, symbols or rows: int32 where they fit, else int64."""

Width = type[np.int32] | type[np.int64]

U64Array = npt.NDArray[np.uint64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Trie:
    """Nodes in pre-order. `symbol` is what the builder was given, -1 at the root; `depth` is 0 at the root."""

    parent: NumberArray
    symbol: NumberArray
    size: NumberArray
    depth: NumberArray

    def __len__(self) -> int:
        return len(self.parent)


@dataclass(frozen=True)
class Ragged:
    """Lists of integers, end to end: list `i` is `values[offsets[i]:offsets[i + 1]]`."""

    values: NumberArray
    offsets: NumberArray

    @property
    def lengths(self) -> NumberArray:
        """Items in each list."""
        return np.diff(self.offsets)

    def take(self, rows: NumberArray) -> Ragged:
        """The lists at `rows`, in that order."""
        starts = self.offsets[rows]
        lengths = self.offsets[1:][rows] - starts
        count = int(lengths.sum())
        offsets = offsets_of(lengths, width_of(count + 1))
        items = numbers_to(count)
        items += np.repeat((starts - offsets[:-1]).astype(items.dtype), lengths)
        return Ragged(self.values[items], offsets)

    def reversed(self) -> Ragged:
        """Every list back to front."""
        items = np.repeat(self.offsets[:-1] + self.offsets[1:] - 1, self.lengths)
        items -= numbers_to(len(items))
        return Ragged(self.values[items], self.offsets)


def width_of(count: int) -> Width:
    """The type for numbers below `count`, and for -1."""
    return np.int32 if count <= np.iinfo(np.int32).max else np.int64


def numbers_to(count: int) -> NumberArray:
    """0, 1, 2 … below `count`."""
    return np.arange(count, dtype=width_of(count))


def offsets_of(lengths: NumberArray, width: Width = np.int64) -> NumberArray:
    """List offsets from list lengths: one more entry, starting at 0."""
    offsets = np.zeros(len(lengths) + 1, width)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def levels_of(depth: NumberArray) -> Iterator[IntArray]:
    """Node numbers by depth, the root's level first."""
    order = order_by_depth(depth)
    bounds = np.searchsorted(depth[order], np.arange(int(depth.max(initial=0)) + 2))
    for start, stop in pairwise(bounds):
        yield order[start:stop]


def order_by_depth(depth: NumberArray) -> IntArray:
    """Nodes by depth, those of one depth in their order."""
    if depth.max(initial=0) <= np.iinfo(np.uint16).max:
        # Of so short numbers numpy makes a radix sort, which takes a tenth of the time.
        return np.argsort(depth.astype(np.uint16), kind="stable")
    return np.argsort(depth, kind="stable")


def build_trie(paths: Ragged, symbol_count: int) -> tuple[Trie, NumberArray]:
    """A trie of root-first paths over symbols `0..symbol_count-1`; siblings are ordered by symbol.

    Returns the trie and the node that each path ends at.
    """
    if path_grid.fits(len(paths.lengths), int(paths.lengths.max(initial=0)), symbol_count):
        built = path_grid.grid_trie(paths.values, paths.lengths, symbol_count)
        return _of_grid(built), built.at(numbers_to(len(paths.lengths)), paths.lengths)
    longest_first = np.argsort(-paths.lengths, kind="stable")
    lengths = paths.lengths[longest_first]
    starts = paths.offsets[:-1][longest_first]
    levels = _Levels(symbol_count, len(paths.values))
    at = np.zeros(len(lengths), levels.width)
    for depth in range(int(lengths.max(initial=0))):
        active = int(np.searchsorted(-lengths, -depth, side="left"))
        at[:active] = levels.descend(at[:active], paths.values[starts[:active] + depth])
    trie, position = levels.finish()
    ends = np.empty(len(lengths), levels.width)
    ends[longest_first] = position[at]
    return trie, ends


def project_trie(trie: Trie, symbols: Ragged, symbol_count: int) -> tuple[Trie, NumberArray]:
    """Replace each node by a chain of other symbols (none, one or several) and merge what becomes equal.

    `symbols` lists, for every node of `trie`, its new symbols root first; the root has none. Siblings are ordered
    by symbol. Returns the new trie and, for every old node, the new node it ends at.
    """
    leaves = np.flatnonzero(trie.size == 1)
    depth_bound = int(trie.depth.max(initial=0)) * int(symbols.lengths.max(initial=0))
    if path_grid.fits(len(leaves), depth_bound, symbol_count):
        return _project_few(trie, leaves, symbols, symbol_count)
    levels = _Levels(symbol_count, len(symbols.values))
    holder, depth = _chain_starts(trie, symbols)
    owner = np.repeat(numbers_to(len(trie)), symbols.lengths)
    depth = numbers_to(len(owner)) + depth[owner]
    at = np.zeros(len(trie), levels.width)
    for items in levels_of(depth) if len(depth) else ():
        node = owner[items]
        before = np.where(items > symbols.offsets[node], node, holder[node])
        at[node] = levels.descend(at[before], symbols.values[items])
    at = np.where(symbols.lengths > 0, at, at[holder])
    del symbols, holder, owner, depth
    new_trie, position = levels.finish()
    return new_trie, position[at]


def _project_few(
    trie: Trie, leaves: IntArray, symbols: Ragged, symbol_count: int
) -> tuple[Trie, NumberArray]:
    """The same by a grid of the paths to the leaves."""
    # The first leaf below each node: its path leads through the node.
    leaf = np.cumsum(trie.size == 1) - (trie.size == 1)
    place = trie.depth - 1
    inner = np.flatnonzero(trie.depth)
    nodes = np.zeros((len(leaves), int(trie.depth.max())), np.int64)
    nodes[leaf[inner], place[inner]] = inner
    nodes = np.maximum.accumulate(nodes, axis=0)
    is_filled = np.arange(nodes.shape[1]) < trie.depth[leaves][:, None]
    counts = np.where(is_filled, symbols.lengths[nodes], 0)
    reached = np.cumsum(counts, axis=1)
    built = path_grid.grid_trie(symbols.take(nodes[is_filled]).values, reached[:, -1], symbol_count)
    node_of_node = np.zeros(len(trie), np.int32)
    node_of_node[inner] = built.at(leaf[inner], reached[leaf[inner], place[inner]])
    return _of_grid(built), node_of_node


def _of_grid(built: path_grid.GridTrie) -> Trie:
    return Trie(built.parent, built.symbol, built.size, built.depth)


def _chain_starts(trie: Trie, symbols: Ragged) -> tuple[NumberArray, NumberArray]:
    """For each node its closest proper ancestor that has symbols of its own, or the root; and the depth of its first
    symbol, less the place of that symbol in `symbols`.
    """
    lengths = symbols.lengths
    holder = np.zeros(len(trie), trie.parent.dtype)
    depth = np.zeros(len(trie), width_of(len(symbols.values)))
    for nodes in islice(levels_of(trie.depth), 1, None):
        parent = trie.parent[nodes]
        holder[nodes] = np.where(lengths[parent] > 0, parent, holder[parent])
        depth[nodes] = depth[parent] + lengths[parent]
    depth -= symbols.offsets[:-1].astype(depth.dtype)
    return holder, depth


class _Levels:
    """A trie under construction, breadth first: each level is sorted by (parent, symbol)."""

    def __init__(self, symbol_count: int, most_nodes: int) -> None:
        self.width = width_of(max(symbol_count, most_nodes + 1))
        self._radix = np.int64(max(symbol_count, 1))
        self._parents: list[NumberArray] = [np.zeros(1, self.width)]
        self._symbols: list[NumberArray] = [np.full(1, -1, self.width)]
        self._bounds = [0, 1]

    def descend(self, parent: NumberArray, symbol: NumberArray) -> NumberArray:
        """Add the next level's nodes; returns the node of each (parent, symbol)."""
        keys, inverse = np.unique(parent * self._radix + symbol, return_inverse=True)
        above, own = np.divmod(keys, self._radix)
        self._parents.append(above.astype(self.width))
        self._symbols.append(own.astype(self.width))
        nodes: NumberArray = (inverse + self._bounds[-1]).astype(self.width)
        self._bounds.append(self._bounds[-1] + len(keys))
        return nodes

    def finish(self) -> tuple[Trie, NumberArray]:
        """The trie in pre-order, and the pre-order position of each breadth-first node; nothing is kept here."""
        parent, symbol = np.concatenate(self._parents), np.concatenate(self._symbols)
        self._parents, self._symbols = [], []
        return _in_preorder(parent, symbol, [slice(a, b) for a, b in pairwise(self._bounds)])


def _in_preorder(
    parent: NumberArray, symbol: NumberArray, levels: Sequence[slice | IntArray]
) -> tuple[Trie, NumberArray]:
    """A trie from its nodes by level, siblings next to each other and in order, the root's level first.

    Returns the trie and the pre-order position of each given node.
    """
    size = np.ones(len(parent), parent.dtype)
    for level in reversed(levels[1:]):
        first = _first_siblings(parent[level])
        size[parent[level][first]] += np.add.reduceat(size[level], first)
    position = np.zeros(len(parent), parent.dtype)
    for level in levels[1:]:
        above = parent[level]
        position[level] = position[above] + 1 + _before_siblings(above, size[level])
    parent, symbol, size = (_moved(column, position) for column in (position[parent], symbol, size))
    depth = np.zeros(len(parent), parent.dtype)
    for number, level in enumerate(levels[1:], start=1):
        depth[position[level]] = number
    return Trie(parent, symbol, size, depth), position


def _moved(column: NumberArray, position: NumberArray) -> NumberArray:
    """Each entry at its position."""
    moved = np.empty_like(column)
    moved[position] = column
    return moved


def _first_siblings(parent: NumberArray) -> IntArray:
    """Where a run of siblings starts; they are neighbours."""
    return np.flatnonzero(np.append(True, parent[1:] != parent[:-1])[: len(parent)])


def _before_siblings(parent: NumberArray, size: NumberArray) -> NumberArray:
    """Sum of the sizes of earlier siblings."""
    before = np.cumsum(size, dtype=size.dtype) - size
    first = _first_siblings(parent)
    return before - np.repeat(before[first], np.diff(np.append(first, len(parent))))


def totals(self_values: IntArray, size: NumberArray) -> IntArray:
    """Inclusive values of pre-order nodes from their own values."""
    running = offsets_of(self_values)
    nodes = np.arange(len(self_values))
    inclusive: IntArray = running[nodes + size] - running[nodes]
    return inclusive


def path_hashes(trie: Trie, symbol_hash: U64Array) -> U64Array:
    """Content hash of the path to each node; `symbol_hash` is per symbol."""
    hashes = np.full(len(trie), identity.ROOT_PATH, np.uint64)
    for nodes in levels_of(trie.depth):
        if trie.depth[nodes[0]] > 0:
            hashes[nodes] = identity.extend_paths(hashes[trie.parent[nodes]], symbol_hash[trie.symbol[nodes]])
    return hashes


def first_occurrences(trie: Trie) -> BoolArray:
    """Which nodes have no proper ancestor with the same symbol: summing totals over them counts recursion once."""
    order = np.argsort(trie.symbol, kind="stable")
    symbol = trie.symbol[order]
    # Groups of one symbol are laid so far apart that one running maximum serves all of them.
    start = np.zeros(len(trie), np.int64)
    np.cumsum(symbol[1:] != symbol[:-1], out=start[1:])
    del symbol
    start *= len(trie) + 1
    start += order
    covered_until = start + trie.size[order]
    np.maximum.accumulate(covered_until, out=covered_until)
    first = np.ones(len(trie), np.bool_)
    first[order[1:]] = covered_until[:-1] <= start[1:]
    return first


def depths_of(parent: NumberArray) -> NumberArray:
    """Depths from parent positions alone, by pointer jumping."""
    ancestor = parent.copy()
    depth = (np.arange(len(parent)) > 0).astype(parent.dtype)
    while ancestor.any():
        depth += depth[ancestor]
        ancestor = ancestor[ancestor]
    return depth


def depths_in(size: NumberArray) -> NumberArray:
    """Depths of pre-order nodes from their sizes alone: a node is below those before it whose subtrees are not over."""
    nodes = numbers_to(len(size))
    over = np.bincount(np.minimum(nodes + size, len(size)), minlength=len(size) + 1)
    depth: NumberArray = nodes - np.cumsum(over[: len(size)], dtype=nodes.dtype)
    return depth


def merge_order(parent: NumberArray, symbol: NumberArray, depth: NumberArray) -> tuple[Trie, NumberArray]:
    """Put nodes of any order into pre-order, siblings by symbol; `parent` holds positions, the root's its own.

    Returns the trie and the pre-order position of each given node.
    """
    radix = np.int64(int(symbol.max(initial=0)) + 2)
    rank = np.zeros(len(parent), np.int64)
    ordered: list[IntArray] = []
    for level in levels_of(depth):
        nodes = level[np.argsort(rank[parent[level]] * radix + symbol[level], kind="stable")]
        rank[nodes] = np.arange(len(nodes))
        ordered.append(nodes)
    return _in_preorder(parent, symbol, ordered)


def unify(
    parent: NumberArray, symbol: NumberArray, depth: NumberArray, symbol_count: int
) -> tuple[Trie, NumberArray]:
    """Merge a forest into one trie by (merged parent, symbol).

    `parent` holds positions, -1 at the forest's roots, which have depth 0 and become children of the root.
    Returns the trie and the node that each given node became.
    """
    levels = _Levels(symbol_count, len(parent))
    at = np.zeros(len(parent), levels.width)
    for nodes in levels_of(depth) if len(depth) else ():
        above = parent[nodes]
        at[nodes] = levels.descend(np.where(above < 0, 0, at[above]), symbol[nodes])
    trie, position = levels.finish()
    return trie, position[at]
