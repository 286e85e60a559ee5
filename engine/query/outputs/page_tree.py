"""The bars of a flame graph as a call tree in pre-order, as the page reads it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ....schema.errors import RequestError
from ....schema.request import Flamegraph, FlamegraphDiff

OTHER = "other"


@dataclass
class PageTree:
    """Depth and name number of each node, and its self values, a list a side; all in pre-order."""

    names: list[str]
    depth: list[int] = field(default_factory=list)
    name: list[int] = field(default_factory=list)
    self_values: list[list[int]] = field(default_factory=list)


@dataclass
class _Bar:
    """One bar: where each side starts and ends, and where the next child is expected."""

    name: int
    own: tuple[int, ...]
    ends: tuple[int, ...]
    next_child: tuple[int, ...]
    children: list[_Bar] = field(default_factory=list)


def page_tree(answer: Flamegraph | FlamegraphDiff) -> PageTree:
    """The tree of an answer. Raises `RequestError` when its levels do not fit together."""
    sides = 2 if isinstance(answer, FlamegraphDiff) else 1
    rows = [_bars(level, sides) for level in answer.levels]
    for above, below in zip(rows, rows[1:], strict=False):
        _attach(above, below)
    names = list(answer.names)
    tree = PageTree(names, self_values=[[] for _ in range(sides)])
    waiting = [(rows[0][0][1], 0)]
    while waiting:
        bar, depth = waiting.pop()
        tree.depth.append(depth)
        tree.name.append(bar.name)
        for values, own in zip(tree.self_values, bar.own, strict=True):
            values.append(own)
        waiting += [(child, depth + 1) for child in reversed(bar.children + _unexplained(bar, names))]
    return tree


def _bars(level: Sequence[int], sides: int) -> list[tuple[tuple[int, ...], _Bar]]:
    """A row's bars with their start on each side; stored starts count from the end of the bar before."""
    width = 3 * sides + 1
    position = [0] * sides
    bars = []
    for at in range(0, len(level), width):
        start = tuple(position[s] + level[at + 3 * s] for s in range(sides))
        ends = tuple(start[s] + level[at + 3 * s + 1] for s in range(sides))
        own = tuple(level[at + 3 * s + 2] for s in range(sides))
        first_child = tuple(start[s] + own[s] for s in range(sides))
        bars.append((start, _Bar(level[at + width - 1], own, ends, first_child)))
        position = list(ends)
    return bars


def _attach(above: list[tuple[tuple[int, ...], _Bar]], below: list[tuple[tuple[int, ...], _Bar]]) -> None:
    """Give each bar of a row to its parent in the row above.

    A parent's children follow each other without a gap from the end of its own value. Starts alone do not tell
    the parent of a bar without width, or after negative values; the first that fits takes it.
    """
    current = 0
    for start, bar in below:
        found = current
        while found < len(above) and not _fits(above[found][1], start, bar):
            found += 1
        if found == len(above):
            # Negative values can make a parent look full before its last child.
            if above[current][1].next_child != start:
                raise RequestError("the levels of a flame graph do not fit together")
            found = current
        current = found
        parent = above[current][1]
        parent.children.append(bar)
        parent.next_child = bar.ends


def _fits(parent: _Bar, start: tuple[int, ...], bar: _Bar) -> bool:
    full = parent.next_child == parent.ends
    return parent.next_child == start and (not full or start == bar.ends)


def _unexplained(bar: _Bar, names: list[str]) -> list[_Bar]:
    """A bar for what neither own value nor children account for: negative mass that was cut away."""
    rest = tuple(end - at for end, at in zip(bar.ends, bar.next_child, strict=True))
    if not any(rest):
        return []
    if OTHER not in names:
        names.append(OTHER)
    return [_Bar(names.index(OTHER), rest, rest, rest)]
