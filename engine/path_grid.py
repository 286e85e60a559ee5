"""Tries of few paths, all at once: paths are rows of a grid, sorted, and each shares its beginning with the one above.

Where `trie.py` goes level by level, which takes dozens of calls for each, this takes as many for all of them. The grid
has a cell for every place of the longest path in every path, so it is for tries that are small anyway.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

NumberArray = npt.NDArray[np.signedinteger[Any]]
Cells = npt.NDArray[np.int32]

MOST_CELLS = 1 << 20
"""Up to so many a grid is faster than levels, and holds some ten megabytes for a moment."""

_SHORT = 1 << 16


@dataclass(frozen=True)
class GridTrie:
    """The columns of a trie in pre-order, and the node at each place of each path: beyond its end, anything."""

    parent: Cells
    symbol: Cells
    size: Cells
    depth: Cells
    nodes: Cells

    def at(self, paths: NumberArray, places: NumberArray) -> Cells:
        """The nodes that so many symbols of some paths lead to; the root where it is none."""
        found: Cells = np.where(places > 0, self.nodes[paths, places - 1], 0)
        return found


def fits(paths: int, longest: int, symbol_count: int) -> bool:
    """Whether a grid is worth it."""
    return 0 < paths * longest <= MOST_CELLS and symbol_count <= np.iinfo(np.int32).max


def grid_trie(values: NumberArray, lengths: NumberArray, symbol_count: int) -> GridTrie:
    """The trie of root-first paths over symbols `0..symbol_count-1`; siblings are ordered by symbol.

    `values` are those of all paths end to end; there is a path at least.
    """
    grid = _grid(values, lengths)
    order = _lexical_order(grid, symbol_count)
    cells = grid[order]
    is_filled = cells >= 0
    is_new = is_filled & (np.arange(cells.shape[1]) >= _shared(cells)[:, None])
    number = np.cumsum(is_new.ravel(), dtype=np.int32).reshape(cells.shape)
    # A node holds for the paths below that share it: none of a later number is in its column before it ends.
    nodes = np.maximum.accumulate(np.where(is_new, number, 0), axis=0)
    path, place = np.nonzero(is_new)
    parent = np.where(place > 0, nodes[path, place - 1], 0)
    last_path = np.zeros(len(path) + 1, np.int64)
    # Of several values for one node the last one stays.
    last_path[nodes[is_filled]] = np.nonzero(is_filled)[0]
    last_path[0] = len(cells) - 1
    last_node = number[:, -1]
    size = last_node[last_path] - np.arange(len(path) + 1, dtype=np.int32) + 1
    nodes_by_path = np.empty_like(nodes)
    nodes_by_path[order] = nodes
    return GridTrie(
        parent=_with_root(parent, 0),
        symbol=_with_root(cells[is_new], -1),
        size=size.astype(np.int32),
        depth=_with_root(place + 1, 0),
        nodes=nodes_by_path,
    )


def _grid(values: NumberArray, lengths: NumberArray) -> Cells:
    """A path a row; -1 beyond its end."""
    grid = np.full((len(lengths), max(int(lengths.max()), 1)), -1, np.int32)
    grid[np.arange(grid.shape[1]) < lengths[:, None]] = values
    return grid


def _lexical_order(grid: Cells, symbol_count: int) -> npt.NDArray[np.int64]:
    """Paths by their symbols, one that another begins with before it: as texts of big-endian numbers."""
    kind = np.dtype(">u2" if symbol_count < _SHORT else ">u4")
    texts = (grid + 1).astype(kind).view(f"S{kind.itemsize * grid.shape[1]}").ravel()
    return np.argsort(texts, kind="stable")


def _shared(cells: Cells) -> npt.NDArray[np.int64]:
    """How many symbols each path has in common with the one above."""
    shared = np.zeros(len(cells), np.int64)
    differs = cells[1:] != cells[:-1]
    shared[1:] = np.where(differs.any(axis=1), differs.argmax(axis=1), cells.shape[1])
    return shared


def _with_root(column: npt.NDArray[Any], root: int) -> Cells:
    return np.append(np.int32(root), column.astype(np.int32))
