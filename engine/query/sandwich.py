"""Callers and callees of one function: all its occurrences merged, itself at the root."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ...schema.identity import hash_texts
from ...schema.partial import NODES
from ..trie import Trie, first_occurrences, path_hashes, totals, unify
from .calltree import CallTree

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
    return _node_table(merged, tree.names, own)


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
    return _node_table(merged, tree.names, own)


def _node_table(trie: Trie, names: pa.Array, own: IntArray) -> pa.Table:
    hashes = path_hashes(trie, hash_texts(names))
    parent_hash = hashes[trie.parent]
    parent_hash[0] = 0
    with_root = pa.concat_arrays([names, pa.array([""])])
    symbol = np.where(trie.symbol < 0, len(names), trie.symbol)
    return pa.table(
        {
            "path_hash": hashes,
            "parent_hash": parent_hash,
            "name": pa.DictionaryArray.from_arrays(pa.array(symbol, pa.int32()), with_root),
            "depth": pa.array(trie.depth, pa.uint32()),
            "first": first_occurrences(trie),
            "self": own,
            "total": totals(own, trie.size),
        },
        schema=NODES,
    )
