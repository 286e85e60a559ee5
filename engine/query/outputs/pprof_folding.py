"""Stacks cut at the functions that matter less, and those of one call site, as Pyroscope's merged pprof has them.

Frames are told apart by the path of function names above them, not by lines.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

Frames = Mapping[int, Sequence[str]]
"""The functions of each location, the caller before what was inlined into it."""

OTHER = -1
"""The location that stands for what was cut off."""


@dataclass
class _Node:
    """One path of function names."""

    total: int = 0
    callees: dict[str, _Node] = field(default_factory=dict)


def folder(
    stacks: Iterable[tuple[Sequence[int], int]], frames: Frames, max_nodes: int
) -> Callable[[Sequence[int]], tuple[int, ...]]:
    """A function that cuts a stack (locations, leaf first) to the `max_nodes` largest paths of all `stacks`.

    Paths as large as the smallest of these stay too. A location stays if all its functions do; those nearer to the
    leaf become `OTHER`.
    """
    root = _Node()
    for locations, value in stacks:
        node = root
        for location in reversed(locations):
            for name in frames[location]:
                node = node.callees.setdefault(name, _Node())
                node.total += value
    totals = [node.total for node in _below(root)]
    least = heapq.nlargest(max_nodes, totals)[-1] if len(totals) > max_nodes else min(totals, default=0)

    def folded(locations: Sequence[int]) -> tuple[int, ...]:
        node, kept = root, len(locations)
        for location in reversed(locations):
            for name in frames[location]:
                node = node.callees[name]
                if node.total < least:
                    return (OTHER, *locations[kept:])
            kept -= 1
        return tuple(locations)

    return folded


def starts_with(locations: Sequence[int], frames: Frames, call_site: Sequence[str]) -> bool:
    """Whether a stack's functions, from the root, begin with those of the call site."""
    names = (name for location in reversed(locations) for name in frames[location])
    return all(next(names, None) == wanted for wanted in call_site)


def _below(root: _Node) -> Iterator[_Node]:
    waiting = list(root.callees.values())
    while waiting:
        node = waiting.pop()
        yield node
        waiting += node.callees.values()
