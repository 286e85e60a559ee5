"""A call tree of plain names as a profile: what formats that write a tree of stacks come to.

A node is a frame below the frame that called it. Nodes are kept as arrays of numbers, a few bytes each, and only a
piece of the stacks is ever written out at once: written out in full, the stacks of a deep tree are its size squared.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from ...schema.errors import CorruptProfile, LimitExceeded
from ..trie import offsets_of
from .app_names import Meaning
from .profile_columns import IntArray
from .stack_batch import StackProfile

MAX_DEPTH = 32_768
"""Frames of one stack: no more are taken when profiles are normalised."""

PIECE_FRAMES = 4_000_000
"""Frames of the stacks that are written out at once."""

FREE_FRAMES = 10_000_000
FRAMES_PER_BYTE = 16
"""So many frames the stacks may have in all, and so many more for each byte of the input.

A chain of nodes that all have a value needs the square of its length; no program has such stacks.
"""

ROOT = 0
_MAX_VALUE = 2**63 - 1


class StackTree:
    """The nodes of a tree, each with the value of the stack that ends in it; node 0 is the root, which is no frame."""

    def __init__(self) -> None:
        self._names: dict[bytes, int] = {}
        self._parent = array("q", [ROOT])
        self._name = array("q", [0])
        self._depth = array("q", [0])
        self._ends = array("q")
        self._values = array("q")
        self._total = 0

    def child(self, parent: int, name: bytes) -> int:
        """A new node. Raises `LimitExceeded` when it is too deep."""
        depth = self._depth[parent] + 1
        if depth > MAX_DEPTH:
            raise LimitExceeded(f"a stack has more than {MAX_DEPTH} frames")
        self._parent.append(parent)
        self._name.append(self._names.setdefault(name, len(self._names)))
        self._depth.append(depth)
        return len(self._parent) - 1

    def add_stack(self, end: int, value: int) -> None:
        """Give the stack that ends in a node a value. Raises `CorruptProfile` when all do not add up in 64 bits."""
        self._total += value
        if self._total > _MAX_VALUE:
            raise CorruptProfile("the sum of the values does not fit 64 bits")
        self._ends.append(end)
        self._values.append(value)

    def pieces(self, meaning: Meaning, input_bytes: int) -> Iterator[StackProfile]:
        """The stacks, some at a time; at least one piece. Raises `LimitExceeded` when they are too much.

        `input_bytes` is the size of what the tree was read from.
        """
        ends, values = _numbers(self._ends), meaning.values(_numbers(self._values))
        depths = _numbers(self._depth)[ends]
        total, limit = int(depths.sum()), FREE_FRAMES + FRAMES_PER_BYTE * input_bytes
        if total > limit:
            raise LimitExceeded(
                f"the stacks have {total} frames in all; limit {limit} for {input_bytes} bytes"
            )
        names = pa.array(self._names, pa.binary())
        # The same frames again and again: a piece ends where the running sum passes the next multiple.
        cuts = np.flatnonzero(np.diff(np.cumsum(depths) // PIECE_FRAMES)) + 1
        for rows in np.split(np.arange(len(ends)), cuts):
            frames, offsets = self._write_out(ends[rows], depths[rows])
            used, frames = np.unique(frames, return_inverse=True)
            yield StackProfile(meaning.header, names.take(pa.array(used)), frames, offsets, values[rows])

    def _write_out(self, ends: IntArray, depths: IntArray) -> tuple[IntArray, IntArray]:
        """The names of the frames of some stacks, leaf first, and where each stack begins."""
        parent, name = _numbers(self._parent), _numbers(self._name)
        offsets = offsets_of(depths)
        frames = np.zeros(int(offsets[-1]), np.int64)
        # The deepest first, so that those that are not at the root yet are always the first few.
        order = np.argsort(-depths, kind="stable")
        node, place, left = ends[order], offsets[:-1][order], -depths[order]
        for step in range(int(depths.max(initial=0))):
            active = int(np.searchsorted(left, -step))
            node, place = node[:active], place[:active]
            frames[place + step] = name[node]
            node = parent[node]
        return frames, offsets


def _numbers(kept: array[int]) -> IntArray:
    return np.frombuffer(kept, np.int64) if kept else np.zeros(0, np.int64)
