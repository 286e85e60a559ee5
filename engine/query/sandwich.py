"""Callers and callees of one function: all its occurrences merged, itself at the root."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ..trie import unify
from .calltree import CallTree
from .function_tree import FunctionTree
from .overlay import partial_of

IntArray = npt.NDArray[np.int64]


def callees_of(tree: CallTree, symbol: int) -> pa.Table:
    """What the function calls: the subtrees of its outermost occurrences, merged. Schema `NODES`."""
    trie = tree.trie
    roots = np.flatnonzero((trie.symbol == symbol) & tree.first)
    inside = np.zeros(len(trie) + 1, np.int64)
    np.add.at(inside, roots, 1)
    np.add.at(inside, roots + trie.size[roots], -1)
    nodes = np.flatnonzero(np.cumsum(inside[:-1]) > 0)
    position = np.full(len(trie), -1, np.int64)
    position[nodes] = np.arange(len(nodes))
    root_of = roots[np.searchsorted(roots, nodes, side="right") - 1]
    depth = trie.depth[nodes] - trie.depth[root_of]
    # The function itself is the one node below a root of its own.
    parent = np.where(depth == 0, -1, position[trie.parent[nodes]])
    merged, place = unify(parent, trie.symbol[nodes], depth, len(tree.names))
    own = np.zeros(len(merged), np.int64)
    np.add.at(own, place, tree.values["self"][nodes])
    return partial_of(FunctionTree.of(merged, tree.names), own).nodes


def callers_of(tree: CallTree, symbol: int) -> pa.Table:
    """Who calls the function: paths from its outermost occurrences up to the roots, merged. Schema `NODES`."""
    trie = tree.trie
    occurrences = np.flatnonzero((trie.symbol == symbol) & tree.first)
    weight = tree.values["total"][occurrences]
    parents: list[IntArray] = []
    symbols: list[IntArray] = []
    depths: list[IntArray] = []
    values: list[IntArray] = []
    at = occurrences
    last = np.full(len(at), -1, np.int64)
    made = 0
    for depth in range(int(trie.depth.max(initial=0))):
        above = trie.parent[at]
        ends = trie.depth[at] == 1
        parents.append(last)
        symbols.append(trie.symbol[at])
        depths.append(np.full(len(at), depth))
        values.append(np.where(ends, weight, 0))
        numbers = made + np.arange(len(at))
        made += len(at)
        at, last, weight = above[~ends], numbers[~ends], weight[~ends]
        if not len(at):
            break
    merged, place = unify(
        np.concatenate(parents), np.concatenate(symbols), np.concatenate(depths), len(tree.names)
    )
    own = np.zeros(len(merged), np.int64)
    np.add.at(own, place, np.concatenate(values))
    return partial_of(FunctionTree.of(merged, tree.names), own).nodes
