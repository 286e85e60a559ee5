"""An ordered call tree from the unordered nodes of a Partial, whole or cut to its largest nodes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ...schema.identity import ROOT_PATH
from ...schema.partial import NODES
from ..trie import Trie, merge_order, totals

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class CallTree:
    """Nodes in pre-order, siblings in byte order of their names; `trie.symbol` numbers `names`.

    `values` has one row a column of the table it was made from, in pre-order too.
    """

    trie: Trie
    names: pa.Array
    values: dict[str, IntArray]
    first: BoolArray


def largest_nodes(nodes: pa.Table, weight: IntArray, max_nodes: int) -> pa.Table:
    """The root and the `max_nodes` nodes of largest weight, ties included, and their ancestors; 0 keeps all."""
    inner = nodes.column("depth").to_numpy() > 0
    if max_nodes <= 0 or np.count_nonzero(inner & (weight != 0)) <= max_nodes:
        return nodes
    smallest = np.partition(weight[inner], -max_nodes)[-max_nodes]
    keep = ~inner | (weight >= smallest)
    return nodes.filter(pa.array(_with_ancestors(nodes, keep) if (weight < 0).any() else keep))


def _with_ancestors(nodes: pa.Table, keep: BoolArray) -> BoolArray:
    """`keep` closed under parents, which negative values can break."""
    parents = nodes.column("parent_hash").to_numpy()
    paths = nodes.column("path_hash").to_numpy()
    while True:
        closed = keep | np.isin(paths, parents[keep])
        if (closed == keep).all():
            return keep
        keep = closed


def order_nodes(nodes: pa.Table, columns: tuple[str, ...] = ("self", "total")) -> CallTree:
    """The tree of a node table of schema `NODES` (or with other value columns), which is closed under parents."""
    if not len(nodes):
        nodes = empty_root(columns)
    names = nodes.column("name").combine_chunks()
    used, symbol = np.unique(names.indices.to_numpy(), return_inverse=True)
    distinct = names.dictionary.take(pa.array(used))
    order = pc.sort_indices(distinct)
    rank = np.empty(len(order), np.int64)
    rank[order.to_numpy()] = np.arange(len(order))
    paths = nodes.column("path_hash").to_numpy()
    by_path = np.argsort(paths)
    parent = by_path[np.searchsorted(paths[by_path], nodes.column("parent_hash").to_numpy()) % len(paths)]
    depth = nodes.column("depth").to_numpy().astype(np.int64)
    parent[depth == 0] = np.flatnonzero(depth == 0)
    trie, position = merge_order(parent, rank[symbol], depth)
    values = {name: _placed(nodes.column(name).to_numpy(), position) for name in columns}
    first = _placed(nodes.column("first").to_numpy(), position)
    return CallTree(trie, distinct.take(order), values, first)


def _placed(column: npt.NDArray[Any], position: IntArray) -> npt.NDArray[Any]:
    out = np.empty_like(column)
    out[position] = column
    return out


def empty_root(columns: tuple[str, ...] = ("self", "total")) -> pa.Table:
    """A table with nothing but the root, all values 0."""
    root = {
        "path_hash": [int(ROOT_PATH)],
        "parent_hash": [0],
        "name": pa.DictionaryArray.from_arrays(pa.array([0], pa.int32()), pa.array([""])),
        "depth": [0],
        "first": [True],
    }
    fields = [NODES.field(name) for name in root] + [pa.field(name, pa.int64()) for name in columns]
    return pa.table(root | {name: [0] for name in columns}, schema=pa.schema(fields))


def join_nodes(left: pa.Table, right: pa.Table) -> pa.Table:
    """Two trees by path: columns `left_self, left_total, right_self, right_total`, 0 where a side lacks a node."""
    keys = np.concatenate([left.column("path_hash").to_numpy(), right.column("path_hash").to_numpy()])
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    both = pa.concat_tables([left, right]).unify_dictionaries().combine_chunks()
    joined = both.take(pa.array(first)).select(["path_hash", "parent_hash", "name", "depth", "first"])
    sides = (("left", left, inverse[: len(left)]), ("right", right, inverse[len(left) :]))
    for side, table, rows in sides:
        for name in ("self", "total"):
            values = np.zeros(len(first), np.int64)
            values[rows] = table.column(name).to_numpy()
            joined = joined.append_column(f"{side}_{name}", pa.array(values))
    return joined


def rescaled(nodes: pa.Table, own_name: str, total_name: str, factor: float) -> pa.Table:
    """Values times `factor`, rounded where they are made, so that totals still are sums of selfs."""
    if not len(nodes):
        return nodes
    own = pa.array(np.rint(nodes.column(own_name).to_numpy() * factor).astype(np.int64))
    scaled = nodes.set_column(nodes.column_names.index(own_name), own_name, own)
    tree = order_nodes(scaled.append_column("row", pa.array(np.arange(len(nodes)))), (own_name, "row"))
    total = np.empty(len(nodes), np.int64)
    total[tree.values["row"]] = totals(tree.values[own_name], tree.trie.size)
    return scaled.set_column(nodes.column_names.index(total_name), total_name, pa.array(total))
