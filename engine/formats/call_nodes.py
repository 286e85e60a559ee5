"""Stacks out of call trees: nodes that name their parents, as columns.

What a tree says in few bytes may be stacks without end, so their frames are counted before they are written out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...schema.errors import CorruptProfile, LimitExceeded
from ..trie import Ragged, offsets_of

IntArray = npt.NDArray[np.int64]

MAX_FRAMES = 100_000_000
"""Of all stacks of one profile together."""
PIECE_FRAMES = 4_000_000
"""Stacks are written out so many frames at a time."""


@dataclass(frozen=True)
class CallNodes:
    """A forest: `parent` is the row of each node's parent, -1 for none; `location` what stands for it in stacks."""

    parent: IntArray
    location: IntArray

    def depths(self) -> IntArray:
        """Nodes on the way to a root, itself among them. Raises `CorruptProfile` for a circle."""
        count = len(self.parent)
        above = np.append(self.parent, -1)
        depth = np.append(np.ones(count, np.int64), 0)
        # Each round doubles the way that has been gone; ways of more steps than there are nodes go in circles.
        for _ in range(count.bit_length() + 1):
            if (above < 0).all():
                return depth[:-1]
            depth += np.where(above < 0, 0, depth[above])
            above = np.where(above < 0, -1, above[above])
        raise CorruptProfile("a node of the call tree is among its own ancestors")


def stack_pieces(nodes: CallNodes, ends: IntArray) -> Iterator[tuple[slice, Ragged]]:
    """The stacks (locations, leaf first) that end at the nodes `ends`, which part of `ends` at a time.

    Raises `CorruptProfile` for a tree that is none, `LimitExceeded` for more than `MAX_FRAMES` frames.
    """
    depth = nodes.depths()
    sizes = depth[ends]
    total = int(sizes.sum())
    if total > MAX_FRAMES:
        raise LimitExceeded(f"the stacks of the call tree hold {total} frames; limit {MAX_FRAMES}")
    running = offsets_of(sizes)
    start = 0
    while start < len(ends):
        stop = int(np.searchsorted(running, running[start] + PIECE_FRAMES, side="right")) - 1
        part = slice(start, max(stop, start + 1))
        yield part, _stacks(nodes, ends[part], sizes[part])
        start = part.stop


def _stacks(nodes: CallNodes, ends: IntArray, sizes: IntArray) -> Ragged:
    offsets = offsets_of(sizes)
    values = np.empty(int(offsets[-1]), np.int64)
    at, slot = ends, offsets[:-1].copy()
    while len(at):
        values[slot] = nodes.location[at]
        at, slot = nodes.parent[at], slot + 1
        inside = at >= 0
        at, slot = at[inside], slot[inside]
    return Ragged(values, offsets)


class GrowingTree:
    """A call tree that grows as calls are seen, with one value a node; node 0 is the root, which is no call."""

    def __init__(self) -> None:
        self.parent: list[int] = [-1]
        self.frame: list[int] = [-1]
        self.own: list[int] = [0]
        self._known: dict[tuple[int, int], int] = {}

    def child(self, node: int, frame: int) -> int:
        """The node of a call of `frame` out of `node`."""
        key = (node, frame)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = len(self.parent)
            self.parent.append(node)
            self.frame.append(frame)
            self.own.append(0)
        return found

    def columns(self, locations: IntArray | None = None) -> tuple[CallNodes, IntArray, IntArray]:
        """The nodes, those with a value, and their values; frames become `locations` of theirs, if there are any.

        Raises `CorruptProfile` for a value that does not fit 64 bits.
        """
        parent = np.array(self.parent, np.int64)
        parent[parent == 0] = -1
        frame = np.array(self.frame, np.int64)
        try:
            own = np.array(self.own, np.int64)
        except OverflowError:
            raise CorruptProfile(f"sample.value {max(self.own, key=abs)} does not fit 64 bits") from None
        own[0] = 0
        location = frame if locations is None else np.append(locations, 0)[frame]
        ends = np.flatnonzero(own)
        return CallNodes(parent, location), ends, own[ends]
