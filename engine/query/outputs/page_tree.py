"""The bars of a flame graph as a call tree in pre-order, as the page reads it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ....schema.errors import RequestError
from ....schema.request import Flamegraph, FlamegraphDiff

IntArray = npt.NDArray[np.int64]

OTHER = "other"


@dataclass(frozen=True)
class PageTree:
    """Depth and name number of each node, and its self values, a list a side; all in pre-order."""

    names: list[str]
    depth: list[int]
    name: list[int]
    self_values: list[list[int]]


@dataclass
class _Row:
    """The bars of one depth. `start`, `total` and `own` have a column a side; `parent` is a place in the row above."""

    name: IntArray
    start: IntArray
    total: IntArray
    own: IntArray
    parent: IntArray

    def take(self, order: IntArray) -> _Row:
        """The bars at these places."""
        return _Row(
            self.name[order], self.start[order], self.total[order], self.own[order], self.parent[order]
        )


def page_tree(answer: Flamegraph | FlamegraphDiff) -> PageTree:
    """The tree of an answer. Raises `RequestError` when its levels do not fit together."""
    sides = 2 if isinstance(answer, FlamegraphDiff) else 1
    rows = [_row(level, sides) for level in answer.levels]
    rows.append(_row((), sides))
    names = list(answer.names)
    for depth in range(1, len(rows)):
        rows[depth].parent = _parents(rows[depth - 1], rows[depth])
        rows[depth] = _with_unexplained(rows[depth - 1], rows[depth], names)
    position = _positions(rows)
    depth_of = np.repeat(np.arange(len(rows)), [len(row.name) for row in rows])
    order = np.argsort(position)
    own = np.concatenate([row.own for row in rows])[order]
    name = np.concatenate([row.name for row in rows])[order]
    return PageTree(names, depth_of[order].tolist(), name.tolist(), own.T.tolist())


def _row(level: Sequence[int], sides: int) -> _Row:
    """A level's bars; the starts in it count from the end of the bar before."""
    table = np.array(level, np.int64).reshape(-1, 3 * sides + 1)
    distance, total, own = (table[:, first : 3 * sides : 3] for first in range(3))
    start = np.cumsum(distance + total, axis=0) - total
    return _Row(table[:, -1], start, total, own, np.zeros(len(table), np.int64))


def _parents(above: _Row, below: _Row) -> IntArray:
    """The place in the row above of each bar's parent.

    A parent's children follow each other without a gap from the end of its own value. Starts alone do not tell
    the parent of a bar without width, or after negative values; the first that fits takes it.
    """
    free = (above.start + above.own).sum(axis=1).tolist()
    full = (above.start + above.total).sum(axis=1).tolist()
    starts = below.start.sum(axis=1).tolist()
    ends = (below.start + below.total).sum(axis=1).tolist()
    parents = []
    current = 0
    for start, end in zip(starts, ends, strict=True):
        found = current
        while found < len(free) and (free[found] != start or (full[found] == start and start != end)):
            found += 1
        if found == len(free):
            # Negative values can make a parent look full before its last child.
            if free[current] != start:
                raise RequestError("the levels of a flame graph do not fit together")
            found = current
        parents.append(found)
        free[found] = end
        current = found
    return np.array(parents, np.int64)


def _with_unexplained(above: _Row, below: _Row, names: list[str]) -> _Row:
    """The lower row, with a bar for what neither own value nor children explain: negative mass that was cut away."""
    rest = above.total - above.own
    np.subtract.at(rest, below.parent, below.total)
    holders = np.flatnonzero(rest.any(axis=1))
    if not len(holders):
        return below
    if OTHER not in names:
        names.append(OTHER)
    mass = rest[holders]
    # They have no children, so no bar starts where they do.
    added = _Row(np.full(len(holders), names.index(OTHER)), np.zeros_like(mass), mass, mass, holders)
    joined = _Row(*(np.concatenate([getattr(below, part), getattr(added, part)]) for part in vars(below)))
    return joined.take(np.argsort(joined.parent, kind="stable"))


def _positions(rows: list[_Row]) -> IntArray:
    """The place of each bar in pre-order, row by row: after its parent and all that lies under earlier siblings."""
    sizes = [np.ones(len(row.name), np.int64) for row in rows]
    for depth in range(len(rows) - 1, 0, -1):
        np.add.at(sizes[depth - 1], rows[depth].parent, sizes[depth])
    places = [np.zeros(len(rows[0].name), np.int64)]
    for row, size in zip(rows[1:], sizes[1:], strict=True):
        before = np.cumsum(size) - size
        first = np.searchsorted(row.parent, row.parent)
        places.append(places[-1][row.parent] + 1 + before - before[first])
    return np.concatenate(places)
