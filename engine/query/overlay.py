"""Function trees of many parts laid over each other, so that merging their values is adding up arrays.

Which nodes parts have in common depends on the parts, not on the question, and finding it out costs more than
all the rest of a merge; so it is kept.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from threading import Lock

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ...schema.partial import NODES, FunctionPartial
from ..trie import NumberArray, levels_of, numbers_to, offsets_of
from .function_tree import FunctionTree, PartTree, TreeKey

IntArray = npt.NDArray[np.int64]
U64Array = npt.NDArray[np.uint64]

MOST_NODES = 8_000_000
"""Nodes of parts, before any is merged, in the overlays that are kept; one takes 10 to 40 bytes."""


@dataclass(frozen=True)
class PartValues:
    """The own values of the nodes of a part's tree, or of the first ones, and the key of that tree."""

    key: TreeKey
    tree: FunctionTree
    own: IntArray


@dataclass(frozen=True)
class Overlay:
    """The distinct nodes of some trees: `nodes` has the columns of `NODES` without values, the root first.

    `node_of` says for each tree where its nodes are, `parent` where the parents of nodes are; `levels` lists the
    nodes of each depth, deepest first, without the root.
    """

    nodes: pa.Table
    node_of: Mapping[TreeKey, NumberArray]
    parent: NumberArray
    levels: tuple[IntArray, ...]

    @classmethod
    def of(cls, trees: Mapping[TreeKey, FunctionTree]) -> Overlay:
        """Lay trees, at least one, over each other by path."""
        if len(trees) == 1:
            (tree,) = trees.values()
            node_of = dict.fromkeys(trees, numbers_to(len(tree)))
            return cls(_described(tree, slice(None)), node_of, tree.parent, _deepest_first(tree.depth))
        each = list(trees.values())
        node, leaders = number_hashes(np.concatenate([tree.path_hash for tree in each]))
        bounds = offsets_of(np.array([len(tree) for tree in each]))
        nodes_of = np.split(node, bounds[1:-1])
        # What a tree brings: the nodes that no earlier one has. Blocks of one service have most in common.
        ends = pairwise(np.searchsorted(leaders, bounds))
        brought = [leaders[a:b] - start for (a, b), start in zip(ends, bounds, strict=False)]
        found = list(zip(each, nodes_of, brought, strict=True))
        nodes = pa.concat_tables([_described(tree, rows) for tree, _, rows in found])
        return cls(
            nodes.unify_dictionaries().combine_chunks(),
            dict(zip(trees, nodes_of, strict=True)),
            np.concatenate([numbers[tree.parent[rows]] for tree, numbers, rows in found]),
            _deepest_first(np.concatenate([tree.depth[rows] for tree, _, rows in found])),
        )

    def covers(self, trees: Mapping[TreeKey, FunctionTree]) -> bool:
        """Whether none of the trees, which have the keys of those that it was made of, has grown since."""
        return all(len(tree) <= len(self.node_of[key]) for key, tree in trees.items())

    def merged(self, values: Iterable[PartValues]) -> FunctionPartial:
        """The sums of values of the trees, nodes that neither hold nor lead to any left out."""
        own = np.zeros(len(self.nodes), np.int64)
        holds = np.zeros(len(self.nodes), np.bool_)
        for part in values:
            # No path comes twice in one tree, so plain indexing adds right.
            holders = np.flatnonzero(part.own != 0)
            node = self.node_of[part.key][holders]
            own[node] += part.own[holders]
            holds[node] = True
        return _partial(self.nodes, own, holds, self._inclusive)

    def _inclusive(self, own: IntArray) -> IntArray:
        return _inclusive(own, self.parent, self.levels)


def _deepest_first(depth: NumberArray) -> tuple[IntArray, ...]:
    """The nodes of each depth, without the root."""
    return tuple(levels_of(depth))[:0:-1]


def _inclusive(own: IntArray, parent: NumberArray, levels: Iterable[IntArray]) -> IntArray:
    total = own.copy()
    for level in levels:
        np.add.at(total, parent[level], total[level])
    return total


def number_hashes(hashes: U64Array) -> tuple[NumberArray, IntArray]:
    """Distinct hashes as 0, 1, 2 … in the order of their first appearance; and where each appears first.

    A hash table by whole arrays, twice as fast as one value at a time: rows claim slots, the first row of a slot
    wins it, equal ones go with it, and the others try other slots.
    """
    first = np.empty(len(hashes), np.int32)
    rows = np.arange(len(hashes))
    spread = 0x9E3779B97F4A7C15
    while len(rows):
        wanted = hashes[rows]
        bits = (2 * len(rows)).bit_length()
        slot = (wanted * np.uint64(spread) >> np.uint64(64 - bits)).view(np.int64)
        holder = np.empty(1 << bits, np.int32)
        # The last assignment stays: backwards, so that the first row wins.
        holder[slot[::-1]] = rows[::-1]
        winner = holder[slot]
        settled = hashes[winner] == wanted
        first[rows[settled]] = winner[settled]
        rows = rows[~settled]
        spread += 2
    leads = first == np.arange(len(first))
    number = np.cumsum(leads, dtype=np.int32) - 1
    return number[first], np.flatnonzero(leads)


def _described(tree: FunctionTree, rows: NumberArray | slice) -> pa.Table:
    """Some nodes of one tree, all columns but the values."""
    names = pa.concat_arrays([tree.names.cast(pa.string()), pa.array([""], pa.string())])
    symbol, parent = tree.symbol[rows], tree.parent[rows]
    parent_hash = tree.path_hash[parent]
    parent_hash[symbol < 0] = 0
    columns = [
        pa.array(tree.path_hash[rows]),
        pa.array(parent_hash),
        pa.DictionaryArray.from_arrays(pa.array(np.where(symbol < 0, len(tree.names), symbol)), names),
        pa.array(tree.depth[rows], pa.uint32()),
        pa.array(tree.first[rows]),
    ]
    return pa.table(columns, names=NODES.names[: len(columns)])


def partial_of(tree: FunctionTree, own: IntArray) -> FunctionPartial:
    """The values of one tree."""
    levels = _deepest_first(tree.depth)
    nodes = _described(tree, slice(None))
    return _partial(nodes, own, own != 0, lambda values: _inclusive(values, tree.parent, levels))


def _partial(
    nodes: pa.Table, own: IntArray, holds: npt.NDArray[np.bool_], inclusive: Callable[[IntArray], IntArray]
) -> FunctionPartial:
    total = inclusive(own)
    # Values that cancel out leave a total of 0 above them.
    used = total if (own >= 0).all() and not (holds & (own == 0)).any() else inclusive(holds.astype(np.int64))
    keep = used > 0
    keep[0] = True
    table = nodes.append_column("self", pa.array(own)).append_column("total", pa.array(total))
    return FunctionPartial(table if keep.all() else table.filter(pa.array(keep)))


class Overlays:
    """The overlays that were used last. Safe for several threads."""

    def __init__(self, most_nodes: int = MOST_NODES) -> None:
        self._most_nodes = most_nodes
        self._kept: OrderedDict[tuple[TreeKey, ...], Overlay] = OrderedDict()
        self._lock = Lock()

    def of(self, parts: Iterable[PartTree]) -> Overlay:
        """The overlay of some trees, at least one."""
        trees: dict[TreeKey, FunctionTree] = {}
        for part in parts:
            known = trees.get(part.key)
            if known is None or len(known) < len(part.functions):
                trees[part.key] = part.functions
        key = tuple(trees)
        with self._lock:
            overlay = self._kept.get(key)
            if overlay is not None and overlay.covers(trees):
                self._kept.move_to_end(key)
                return overlay
        overlay = Overlay.of(trees)
        with self._lock:
            self._kept[key] = overlay
            self._kept.move_to_end(key)
            while len(self._kept) > 1 and _held_nodes(self._kept.values()) > self._most_nodes:
                self._kept.popitem(last=False)
        return overlay


def _held_nodes(overlays: Iterable[Overlay]) -> int:
    return sum(len(node_of) for overlay in overlays for node_of in overlay.node_of.values())
