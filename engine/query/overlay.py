"""Function trees of many parts laid over each other, so that merging their values is adding up arrays.

Which nodes parts have in common depends on the parts, not on the question, and finding it out costs more than
all the rest of a merge; so it is kept.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from threading import Lock

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ...schema.partial import NODES, FunctionPartial
from ..trie import levels_of, offsets_of, totals
from .opened import PartTree

IntArray = npt.NDArray[np.int64]

MOST_NODES = 8_000_000
"""Nodes of parts, before any is merged, in the overlays that are kept; one takes 10 to 40 bytes."""

PartKey = tuple[str, int]
"""A block's ULID and a part's number."""


@dataclass(frozen=True)
class PartValues:
    """A part's tree and the own values of its nodes."""

    tree: PartTree
    own: IntArray


@dataclass(frozen=True)
class Overlay:
    """The distinct nodes of some trees: `nodes` has the columns of `NODES` without values, the root first.

    `node_of` says for each tree where its nodes are, `parent` where the parents of nodes are; `levels` lists the
    nodes of each depth, deepest first, without the root.
    """

    nodes: pa.Table
    node_of: Mapping[PartKey, IntArray]
    parent: IntArray
    levels: tuple[IntArray, ...]

    @classmethod
    def of(cls, trees: Mapping[PartKey, PartTree]) -> Overlay:
        """Lay trees, at least one, over each other by path."""
        parts = list(trees.values())
        code = pa.array(np.concatenate([part.path_hash for part in parts])).dictionary_encode()
        node = code.indices.to_numpy().astype(np.int64)
        leaders = np.empty(len(code.dictionary), np.int64)
        # The last assignment stays: backwards, so that a node's first tree is its leader.
        leaders[node[::-1]] = np.arange(len(node))[::-1]
        starts = offsets_of(np.array([len(part.trie) for part in parts]))[:-1]
        parent = np.concatenate([part.trie.parent + start for part, start in zip(parts, starts, strict=True)])
        depth = np.concatenate([part.trie.depth for part in parts])[leaders]
        columns = pa.concat_tables([_described(part) for part in parts]).unify_dictionaries().combine_chunks()
        return cls(
            columns.take(pa.array(leaders)),
            dict(zip(trees, np.split(node, starts[1:]), strict=True)),
            node[parent[leaders]],
            tuple(levels_of(depth))[:0:-1],
        )

    def merged(self, values: Mapping[PartKey, PartValues]) -> FunctionPartial:
        """The sums of the values of all trees, nodes that neither hold nor lead to any left out."""
        own = np.zeros(len(self.nodes), np.int64)
        holds = np.zeros(len(self.nodes), np.bool_)
        for key, part in values.items():
            # No path comes twice in one tree, so plain indexing adds right.
            holders = np.flatnonzero(part.own != 0)
            node = self.node_of[key][holders]
            own[node] += part.own[holders]
            holds[node] = True
        return _partial(self.nodes, own, holds, self._inclusive)

    def _inclusive(self, own: IntArray) -> IntArray:
        total = own.copy()
        for level in self.levels:
            np.add.at(total, self.parent[level], total[level])
        return total


def _described(part: PartTree) -> pa.Table:
    """The nodes of one tree, all columns but the values."""
    names = pa.concat_arrays([part.names.cast(pa.string()), pa.array([""], pa.string())])
    symbol = np.where(part.trie.symbol < 0, len(part.names), part.trie.symbol)
    parent_hash = part.path_hash[part.trie.parent]
    parent_hash[0] = 0
    columns = [
        pa.array(part.path_hash),
        pa.array(parent_hash),
        pa.DictionaryArray.from_arrays(pa.array(symbol, pa.int32()), names),
        pa.array(part.trie.depth, pa.uint32()),
        pa.array(part.first),
    ]
    return pa.table(columns, names=NODES.names[: len(columns)])


def partial_of(part: PartValues) -> FunctionPartial:
    """The values of one tree."""
    return _partial(
        _described(part.tree), part.own, part.own != 0, lambda own: totals(own, part.tree.trie.size)
    )


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
        self._kept: OrderedDict[tuple[PartKey, ...], Overlay] = OrderedDict()
        self._lock = Lock()

    def merged(self, values: Mapping[PartKey, PartValues]) -> FunctionPartial:
        """The sums of some trees' values."""
        if not values:
            return FunctionPartial()
        if len(values) == 1:
            return partial_of(next(iter(values.values())))
        return self._overlay({key: part.tree for key, part in values.items()}).merged(values)

    def _overlay(self, trees: Mapping[PartKey, PartTree]) -> Overlay:
        key = tuple(trees)
        with self._lock:
            overlay = self._kept.get(key)
            if overlay is not None:
                self._kept.move_to_end(key)
                return overlay
        overlay = Overlay.of(trees)
        with self._lock:
            self._kept[key] = overlay
            while len(self._kept) > 1 and _held_nodes(self._kept.values()) > self._most_nodes:
                self._kept.popitem(last=False)
        return overlay


def _held_nodes(overlays: Iterable[Overlay]) -> int:
    return sum(len(node_of) for overlay in overlays for node_of in overlay.node_of.values())
