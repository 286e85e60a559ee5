"""The call tree of one kind of part in one generation, which grows as stacks come that are new to it.

Nearly every stack of a profile came before: a question about what was pushed a moment ago adds a few paths to a tree
that is there, and needs none of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from ulid import ULID

from ..query.function_tree import FunctionTree, PartTree, TreeKey
from ..trie import NumberArray, Ragged, Trie, build_trie

IntArray = npt.NDArray[np.int64]
U64Array = npt.NDArray[np.uint64]
Nodes = npt.NDArray[np.int32]


@dataclass(frozen=True)
class NamedPaths:
    """Paths root first, as numbers of `names`."""

    paths: Ragged
    names: pa.Array

    def tree(self) -> tuple[FunctionTree, NumberArray]:
        """The tree of the paths, with the names that are in it, and the node that each path ends at."""
        trie, ends = build_trie(self.paths, len(self.names))
        used = np.zeros(len(self.names) + 1, np.bool_)
        used[trie.symbol] = True
        used[-1] = False
        symbol = np.append(np.cumsum(used[:-1]) - 1, -1).astype(np.int32)[trie.symbol]
        names = self.names.take(pa.array(np.flatnonzero(used)))
        return FunctionTree.of(Trie(trie.parent, symbol, trie.size, trie.depth), names), ends


@dataclass(frozen=True)
class _NodeIndex:
    """A node for each of some distinct keys, which are sorted."""

    keys: U64Array
    nodes: Nodes

    @property
    def size_bytes(self) -> int:
        return int(self.keys.nbytes + self.nodes.nbytes)

    def find(self, keys: U64Array) -> Nodes:
        """The node of each key, -1 where it is not there."""
        place = np.searchsorted(self.keys, keys)
        is_known = np.append(self.keys, 0)[place] == keys
        is_known &= place < len(self.keys)
        return np.where(is_known, np.append(self.nodes, -1)[place], -1).astype(np.int32)

    def with_more(self, keys: U64Array, nodes: Nodes) -> _NodeIndex:
        """Together with keys that are not there."""
        order = np.argsort(keys)
        place = np.searchsorted(self.keys, keys[order])
        return _NodeIndex(
            np.insert(self.keys, place, keys[order]), np.insert(self.nodes, place, nodes[order])
        )


class GrowingTree:
    """Nodes keep their numbers. Safe for several threads."""

    def __init__(self) -> None:
        self._key: TreeKey = (str(ULID()), 0)
        self._lock = Lock()
        nothing = Ragged(np.zeros(0, np.int32), np.zeros(1, np.int64))
        self._functions, _ = NamedPaths(nothing, pa.array([], pa.string())).tree()
        self._node_of_path = _NodeIndex(self._functions.path_hash, np.zeros(1, np.int32))
        self._node_of_stack = _NodeIndex(np.zeros(0, np.uint64), np.zeros(0, np.int32))

    @property
    def size_bytes(self) -> int:
        """About what is held in memory."""
        tree = self._functions
        columns = (tree.parent, tree.symbol, tree.depth, tree.names, tree.first, tree.path_hash)
        held = sum(int(column.nbytes) for column in columns)
        return held + self._node_of_path.size_bytes + self._node_of_stack.size_bytes

    def nodes_of(self, stacks: IntArray, paths_of: Callable[[IntArray], NamedPaths]) -> Nodes:
        """The node that each of some distinct stacks ends at; `stacks` are rows among those of the generation.

        `paths_of` gives the paths of the stacks at some places; it is asked about those that have not come before.
        """
        keys = stacks.astype(np.uint64)
        with self._lock:
            nodes = self._node_of_stack.find(keys)
            new = np.flatnonzero(nodes < 0)
            if len(new):
                nodes[new] = self._grow(paths_of(new))
                self._node_of_stack = self._node_of_stack.with_more(keys[new], nodes[new])
            return nodes

    def part(self, node_of_stack: Nodes) -> PartTree:
        """The tree as it is now, for a part whose stacks end at these nodes."""
        return PartTree(self._key, self._functions, node_of_stack)

    def _grow(self, more: NamedPaths) -> Nodes:
        """Add the nodes of some paths that are not there; returns the node that each path ends at."""
        tree, ends = more.tree()
        nodes = self._node_of_path.find(tree.path_hash)
        new = np.flatnonzero(nodes < 0)
        nodes[new] = len(self._functions) + np.arange(len(new))
        index = self._node_of_path.with_more(tree.path_hash[new], nodes[new])
        self._functions, self._node_of_path = _extended(self._functions, tree, nodes, new), index
        return nodes[ends]


def _extended(known: FunctionTree, more: FunctionTree, nodes: Nodes, new: IntArray) -> FunctionTree:
    """A tree with the `new` nodes of another at its end; `nodes` says where each of the other's nodes is then."""
    found = pc.fill_null(pc.index_in(more.names, value_set=known.names), -1).to_numpy()
    brought = found < 0
    symbols = np.where(brought, len(known.names) + np.cumsum(brought) - 1, found)
    symbol_of_new = np.append(symbols, -1).astype(np.int32)[more.symbol[new]]
    return FunctionTree(
        parent=np.append(known.parent, nodes[more.parent[new]]),
        symbol=np.append(known.symbol, symbol_of_new),
        depth=np.append(known.depth, more.depth[new]),
        names=pa.concat_arrays([known.names, more.names.filter(pa.array(brought))]),
        first=np.append(known.first, more.first[new]),
        path_hash=np.append(known.path_hash, more.path_hash[new]),
    )


class GrowingTrees:
    """The trees of one generation, by service and name of what was measured. Safe for several threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._trees: dict[tuple[str, str], GrowingTree] = {}

    @property
    def size_bytes(self) -> int:
        """About what is held in memory."""
        with self._lock:
            trees = list(self._trees.values())
        return sum(tree.size_bytes for tree in trees)

    def of(self, service_name: str, name: str) -> GrowingTree:
        """The tree of one kind of part, made on first use."""
        with self._lock:
            return self._trees.setdefault((service_name, name), GrowingTree())
