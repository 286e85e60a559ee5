"""Stacks of a Firefox profile: a table of nodes, each a frame below the node of its caller."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ...schema.errors import CorruptProfile, LimitExceeded
from .firefox_columns import NULL, refuse_outside
from .profile_columns import IntArray

MAX_DEPTH = 16_384
MAX_INLINED = 100
"""Frames that one address may stand for."""


@dataclass(frozen=True)
class InlineColumns:
    """What tells frames of one address: by frame, the library, the address, and how deep it is inlined."""

    lib: IntArray
    address: IntArray
    depth: IntArray


@dataclass(frozen=True)
class StackNodes:
    """The table: by node, the caller's node (-1: none) and the frame. Callers come first."""

    where: str
    prefix: IntArray
    frame: IntArray

    def __post_init__(self) -> None:
        """Raises `CorruptProfile` for a caller that does not come before its callee."""
        own = np.arange(len(self.prefix))
        wrong = np.flatnonzero((self.prefix < NULL) | (self.prefix >= own))
        if len(wrong):
            row = int(wrong[0])
            raise CorruptProfile(
                f"{self.where}.prefix[{row}] is {self.prefix[row]}: expected a row before it, or null"
            )

    def refuse_frames(self, count: int) -> None:
        """Raises `CorruptProfile` for a frame that is none of `count`."""
        if (self.frame == NULL).any():
            raise CorruptProfile(f"{self.where}.frame has a null")
        refuse_outside(self.frame, count, f"{self.where}.frame")


class Stacks:
    """The stacks of nodes as locations, leaf first.

    `location_of` gives the number of the location of frames, innermost first. Frames that were inlined into the one
    above them at the same address share its location.
    """

    def __init__(
        self, nodes: StackNodes, inlined: InlineColumns | None, location_of: Callable[[tuple[int, ...]], int]
    ) -> None:
        self.count = len(nodes.frame)
        location = np.zeros(int(nodes.frame.max(initial=-1)) + 1, np.int64)
        for frame in np.unique(nodes.frame).tolist():
            location[frame] = location_of((frame,))
        above, here = nodes.prefix.copy(), location[nodes.frame]
        if inlined is not None:
            _join_inlined(nodes, inlined, _Joined(above, here), location_of)
        # Views hand out Python integers, one at a time: lists would hold an object for every node.
        self._above, self._here = memoryview(above.data), memoryview(here.data)

    def stack(self, node: int) -> tuple[int, ...]:
        """The locations from a node to the root. Raises `LimitExceeded` for a stack that is too deep."""
        found = []
        above, here = self._above, self._here
        while node >= 0:
            found.append(here[node])
            node = above[node]
            if len(found) > MAX_DEPTH:
                raise LimitExceeded(f"a stack of more than {MAX_DEPTH} frames")
        return tuple(found)


@dataclass(frozen=True)
class _Joined:
    """By node, the node above its location, and the location; what is inlined is joined in place."""

    above: IntArray
    here: IntArray


def _join_inlined(
    nodes: StackNodes, inlined: InlineColumns, joined: _Joined, location_of: Callable[[tuple[int, ...]], int]
) -> None:
    lib, address, depth = (column[nodes.frame] for column in (inlined.lib, inlined.address, inlined.depth))
    callers = np.maximum(nodes.prefix, 0)
    continues = (nodes.prefix >= 0) & (address >= 0) & (depth > 0) & (depth <= MAX_INLINED)
    continues &= (address == address[callers]) & (lib == lib[callers]) & (depth == depth[callers] + 1)
    frames: dict[int, tuple[int, ...]] = {}
    for node in np.flatnonzero(continues).tolist():
        caller = int(nodes.prefix[node])
        outer = frames.get(caller) or (int(nodes.frame[caller]),)
        frames[node] = (int(nodes.frame[node]), *outer)
        joined.here[node] = location_of(frames[node])
        joined.above[node] = joined.above[caller]
