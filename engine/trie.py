"""Call trees as arrays in pre-order: a node's subtree is the `size` nodes from itself on.

No recursion and no per-node Python: tries are built, merged and measured one level at a time. Node 0 is the
root; its parent is itself. A node's total is a difference of a prefix sum.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from ..schema import identity

IntArray = npt.NDArray[np.int64]
U64Array = npt.NDArray[np.uint64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Trie:
    """Nodes in pre-order. `symbol` is what the builder was given, -1 at the root; `depth` is 0 at the root."""

    parent: IntArray
    symbol: IntArray
    size: IntArray
    depth: IntArray

    def __len__(self) -> int:
        return len(self.parent)


@dataclass(frozen=True)
class Ragged:
    """Lists of integers, end to end: list `i` is `values[offsets[i]:offsets[i + 1]]`."""

    values: IntArray
    offsets: IntArray

    @property
    def lengths(self) -> IntArray:
        """Items in each list."""
        return np.diff(self.offsets)

    def take(self, rows: IntArray) -> Ragged:
        """The lists at `rows`, in that order."""
        starts = self.offsets[rows]
        offsets = offsets_of(self.offsets[rows + 1] - starts)
        items = np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], np.diff(offsets))
        return Ragged(self.values[items], offsets)

    def reversed(self) -> Ragged:
        """Every list back to front."""
        last = np.repeat(self.offsets[:-1] + self.offsets[1:] - 1, self.lengths)
        return Ragged(self.values[last - np.arange(len(self.values))], self.offsets)


def offsets_of(lengths: IntArray) -> IntArray:
    """List offsets from list lengths: one more entry, starting at 0."""
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def levels_of(depth: IntArray) -> Iterator[IntArray]:
    """Node numbers by depth, the root's level first."""
    order = order_by_depth(depth)
    bounds = np.searchsorted(depth[order], np.arange(int(depth.max(initial=0)) + 2))
    for start, stop in pairwise(bounds):
        yield order[start:stop]


def order_by_depth(depth: IntArray) -> IntArray:
    """Nodes by depth, those of one depth in their order."""
    if depth.max(initial=0) <= np.iinfo(np.uint16).max:
        # Of so short numbers numpy makes a radix sort, which takes a tenth of the time.
        return np.argsort(depth.astype(np.uint16), kind="stable")
    return np.argsort(depth, kind="stable")


def build_trie(paths: Ragged, symbol_count: int) -> tuple[Trie, IntArray]:
    """A trie of root-first paths over symbols `0..symbol_count-1`; siblings are ordered by symbol.

    Returns the trie and the node that each path ends at.
    """
    longest_first = np.argsort(-paths.lengths, kind="stable")
    lengths = paths.lengths[longest_first]
    starts = paths.offsets[:-1][longest_first]
    levels = _Levels(symbol_count)
    at = np.zeros(len(lengths), np.int64)
    for depth in range(int(lengths.max(initial=0))):
        active = int(np.searchsorted(-lengths, -depth, side="left"))
        at[:active] = levels.descend(at[:active], paths.values[starts[:active] + depth])
    trie, position = levels.finish()
    ends = np.empty(len(lengths), np.int64)
    ends[longest_first] = position[at]
    return trie, ends


def project_trie(trie: Trie, symbols: Ragged, symbol_count: int) -> tuple[Trie, IntArray]:
    """Replace each node by a chain of other symbols (none, one or several) and merge what becomes equal.

    `symbols` lists, for every node of `trie`, its new symbols root first. Siblings are ordered by symbol.
    Returns the new trie and, for every old node, the new node it ends at.
    """
    lengths = symbols.lengths
    new_depth = np.zeros(len(trie), np.int64)
    for nodes in levels_of(trie.depth):
        new_depth[nodes] = new_depth[trie.parent[nodes]] * (trie.depth[nodes] > 0) + lengths[nodes]
    node = np.repeat(np.arange(len(trie)), lengths)
    step = np.arange(len(node)) - np.repeat(symbols.offsets[:-1], lengths)
    depth = new_depth[node] - lengths[node] + step
    levels = _Levels(symbol_count)
    at = np.zeros(len(trie), np.int64)
    holder = _nearest_with_symbols(trie, lengths)
    for items in levels_of(depth) if len(depth) else ():
        owner = node[items]
        before = np.where(step[items] > 0, owner, holder[owner])
        at[owner] = levels.descend(at[before], symbols.values[items])
    at = np.where(lengths > 0, at, at[holder])
    new_trie, position = levels.finish()
    return new_trie, position[at]


def _nearest_with_symbols(trie: Trie, lengths: IntArray) -> IntArray:
    """For each node its closest proper ancestor that has symbols of its own, or the root."""
    holder = np.zeros(len(trie), np.int64)
    for nodes in levels_of(trie.depth):
        parent = trie.parent[nodes]
        holder[nodes] = np.where(lengths[parent] > 0, parent, holder[parent])
    return holder


class _Levels:
    """A trie under construction, breadth first: each level is sorted by (parent, symbol)."""

    def __init__(self, symbol_count: int) -> None:
        self._radix = np.int64(max(symbol_count, 1))
        self._parents: list[IntArray] = [np.zeros(1, np.int64)]
        self._symbols: list[IntArray] = [np.full(1, -1, np.int64)]
        self._bounds = [0, 1]

    def descend(self, parent: IntArray, symbol: IntArray) -> IntArray:
        """Add the next level's nodes; returns the node of each (parent, symbol)."""
        keys, inverse = np.unique(parent * self._radix + symbol, return_inverse=True)
        self._parents.append(keys // self._radix)
        self._symbols.append(keys % self._radix)
        nodes: IntArray = inverse + self._bounds[-1]
        self._bounds.append(self._bounds[-1] + len(keys))
        return nodes

    def finish(self) -> tuple[Trie, IntArray]:
        """The trie in pre-order, and the pre-order position of each breadth-first node."""
        parent, symbol = np.concatenate(self._parents), np.concatenate(self._symbols)
        levels = [slice(a, b) for a, b in pairwise(self._bounds)]
        size = np.ones(len(parent), np.int64)
        for level in reversed(levels[1:]):
            np.add.at(size, parent[level], size[level])
        position, depth = np.zeros(len(parent), np.int64), np.zeros(len(parent), np.int64)
        for number, level in enumerate(levels[1:], start=1):
            position[level] = position[parent[level]] + 1 + _before_siblings(parent[level], size[level])
            depth[level] = number
        order = np.empty(len(parent), np.int64)
        order[position] = np.arange(len(parent))
        return Trie(position[parent[order]], symbol[order], size[order], depth[order]), position


def _before_siblings(parent: IntArray, size: IntArray) -> IntArray:
    """Sum of the sizes of earlier siblings; siblings are neighbours."""
    before = np.cumsum(size) - size
    first = np.flatnonzero(np.append(True, parent[1:] != parent[:-1]))
    return before - np.repeat(before[first], np.diff(np.append(first, len(parent))))


def totals(self_values: IntArray, size: IntArray) -> IntArray:
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
            hashes[nodes] = identity.extend_path(hashes[trie.parent[nodes]], symbol_hash[trie.symbol[nodes]])
    return hashes


def first_occurrences(trie: Trie) -> BoolArray:
    """Which nodes have no proper ancestor with the same symbol: summing totals over them counts recursion once."""
    nodes = np.arange(len(trie))
    order = np.lexsort((nodes, trie.symbol))
    group = np.cumsum(np.append(False, trie.symbol[order][1:] != trie.symbol[order][:-1]))
    stride = np.int64(len(trie) + 1)
    end = (nodes + trie.size)[order] + group * stride
    covered_until = np.append(-1, np.maximum.accumulate(end)[:-1])
    first = np.empty(len(trie), np.bool_)
    first[order] = covered_until <= order + group * stride
    return first


def depths_of(parent: IntArray) -> IntArray:
    """Depths from parent positions alone, by pointer jumping."""
    ancestor = parent.copy()
    depth = (np.arange(len(parent)) > 0).astype(np.int64)
    while ancestor.any():
        depth += depth[ancestor]
        ancestor = ancestor[ancestor]
    return depth


def merge_order(parent: IntArray, symbol: IntArray, depth: IntArray) -> tuple[Trie, IntArray]:
    """Put nodes of any order into pre-order, siblings by symbol; `parent` holds positions, the root's its own.

    Returns the trie and the pre-order position of each given node.
    """
    levels: Sequence[IntArray] = list(levels_of(depth))
    radix = np.int64(int(symbol.max(initial=0)) + 2)
    rank = np.zeros(len(parent), np.int64)
    ordered = [levels[0]]
    for level in levels[1:]:
        nodes = level[np.argsort(rank[parent[level]] * radix + symbol[level], kind="stable")]
        rank[nodes] = np.arange(len(nodes))
        ordered.append(nodes)
    size = np.ones(len(parent), np.int64)
    for nodes in reversed(ordered[1:]):
        np.add.at(size, parent[nodes], size[nodes])
    position = np.zeros(len(parent), np.int64)
    for nodes in ordered[1:]:
        position[nodes] = position[parent[nodes]] + 1 + _before_siblings(parent[nodes], size[nodes])
    order = np.empty(len(parent), np.int64)
    order[position] = np.arange(len(parent))
    return Trie(position[parent[order]], symbol[order], size[order], depth[order]), position


def unify(parent: IntArray, symbol: IntArray, depth: IntArray, symbol_count: int) -> tuple[Trie, IntArray]:
    """Merge a forest into one trie by (merged parent, symbol).

    `parent` holds positions, -1 at the forest's roots, which have depth 0 and become children of the root.
    Returns the trie and the node that each given node became.
    """
    levels = _Levels(symbol_count)
    at = np.zeros(len(parent), np.int64)
    for nodes in levels_of(depth) if len(depth) else ():
        above = parent[nodes]
        at[nodes] = levels.descend(np.where(above < 0, 0, at[above]), symbol[nodes])
    trie, position = levels.finish()
    return trie, position[at]
