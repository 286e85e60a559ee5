"""Rows of bars from a call tree, single and for two sides.

The encoding is that of Pyroscope's API: row 0 is one bar named "total"; a bar's x is stored as the distance
from the end of the bar before it; a node's own time lies at its left edge, then its children in byte order of
their names, then one bar "other" for what was cut away. Pure functions; no per-node Python.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ...schema.request import Flamegraph, FlamegraphDiff
from ..trie import order_by_depth
from .calltree import CallTree

IntArray = npt.NDArray[np.int64]

_TOTAL, _OTHER = -2, -1


@dataclass(frozen=True)
class _Bars:
    """Display order: `source` is a node, or -1 for an "other" bar under `under`."""

    source: IntArray
    under: IntArray
    depth: IntArray


def flamegraph(tree: CallTree) -> Flamegraph:
    """The levels of a call tree that may lack its small nodes."""
    bars, values = _lay_out(tree, [("self", "total")])
    x, total, own = values[0]
    names, numbers = _names(tree, bars)
    levels = _levels(bars.depth, [(x, total)], np.stack([x, total, own, numbers], axis=1), (0,))
    return Flamegraph(names, levels, int(total[0]), int(own.max(initial=0)))


def flamegraph_diff(tree: CallTree) -> FlamegraphDiff:
    """The levels of two aligned call trees, as `calltree.join_nodes` makes them."""
    bars, values = _lay_out(tree, [("left_self", "left_total"), ("right_self", "right_total")])
    (left_x, left_total, left_own), (right_x, right_total, right_own) = values
    names, numbers = _names(tree, bars)
    table = np.stack([left_x, left_total, left_own, right_x, right_total, right_own, numbers], axis=1)
    levels = _levels(bars.depth, [(left_x, left_total), (right_x, right_total)], table, (0, 3))
    return FlamegraphDiff(
        names,
        levels,
        int(left_total[0] + right_total[0]),
        int(max(left_own.max(initial=0), right_own.max(initial=0))),
        int(left_total[0]),
        int(right_total[0]),
    )


def _lay_out(
    tree: CallTree, sides: Sequence[tuple[str, str]]
) -> tuple[_Bars, list[tuple[IntArray, IntArray, IntArray]]]:
    """Bars in display order, and x, total and self of each for each side."""
    trie = tree.trie
    missing = [_missing(tree, own, total) for own, total in sides]
    holders = np.flatnonzero(np.logical_or.reduce([m > 0 for m in missing]))
    nodes = np.arange(len(trie))
    # An "other" bar sorts after its holder's last descendant; of several that end there, the deepest comes first.
    radix = np.int64(int(trie.depth.max(initial=0)) + 3)
    ends = (holders + trie.size[holders] - 1) * radix + (radix - 1 - trie.depth[holders])
    order = np.argsort(np.concatenate([nodes * radix, ends]), kind="stable")
    bars = _Bars(
        np.concatenate([nodes, np.full(len(holders), -1)])[order],
        np.concatenate([nodes, holders])[order],
        np.concatenate([trie.depth, trie.depth[holders] + 1])[order],
    )
    laid_out = []
    for (own_name, total_name), cut in zip(sides, missing, strict=True):
        own = np.concatenate([tree.values[own_name], cut[holders]])[order]
        total = np.concatenate([tree.values[total_name], cut[holders]])[order]
        laid_out.append((np.cumsum(own) - own, total, own))
    return bars, laid_out


def _missing(tree: CallTree, own: str, total: str) -> IntArray:
    """What each node's total holds beyond its own value and its children's totals: the mass that was cut."""
    children = np.zeros(len(tree.trie), np.int64)
    np.add.at(children, tree.trie.parent[1:], tree.values[total][1:])
    return tree.values[total] - tree.values[own] - children


def _names(tree: CallTree, bars: _Bars) -> tuple[list[str], IntArray]:
    """Distinct names with "total" first, and the index of each bar's name."""
    symbol = np.where(bars.source < 0, _OTHER, tree.trie.symbol[bars.source])
    symbol[0] = _TOTAL
    used, numbers = np.unique(symbol, return_inverse=True)
    special = {_TOTAL: "total", _OTHER: "other"}
    real = tree.names.take(pa.array(used[used >= 0])).to_pylist()
    return [special[s] for s in used.tolist() if s < 0] + real, numbers


def _levels(
    depth: IntArray, sides: Sequence[tuple[IntArray, IntArray]], table: IntArray, x_columns: Sequence[int]
) -> list[list[int]]:
    """The table's rows by depth, with the x columns turned into distances."""
    order = order_by_depth(depth)
    depth = depth[order]
    table = table[order]
    same_row = depth[1:] == depth[:-1]
    for column, (x, total) in zip(x_columns, sides, strict=True):
        ends = (x + total)[order][:-1]
        table[1:, column] -= np.where(same_row, ends, 0)
    bounds = np.searchsorted(depth, np.arange(int(depth[-1]) + 2))
    return [table[a:b].ravel().tolist() for a, b in pairwise(bounds)]
