"""The location tries of one part of several blocks merged into one: nodes are the same where their paths are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ...schema.errors import CorruptBlock
from ..query.opened import PartStacks
from ..query.overlay import number_hashes
from ..trie import NumberArray, Trie, levels_of, merge_order, offsets_of, path_hashes

U64Array = npt.NDArray[np.uint64]

FOLD_NODES = 1_000_000
"""Nodes of several tries, or as many as there are in all before, that are merged at a time."""


@dataclass(frozen=True)
class MergedTries:
    """One trie in pre-order, siblings by location; where the stacks of each input end in it; each node's path hash."""

    trie: Trie
    node_of_stack: Sequence[NumberArray]
    path_hash: U64Array


@dataclass(frozen=True)
class _Nodes:
    """Nodes of one trie in any order, the root first: `parent` is where that is among them."""

    path_hash: U64Array
    parent: NumberArray
    symbol: NumberArray
    depth: NumberArray

    def __len__(self) -> int:
        return len(self.parent)


class TrieMerge:
    """Takes one trie after the other, over symbols that are rows of `location_ids`.

    Memory holds the nodes that are distinct, as many again that are not merged yet, and where stacks end.
    """

    def __init__(self, location_ids: U64Array) -> None:
        self._location_ids = location_ids
        self._ulids: list[str] = []
        self._nodes: _Nodes | None = None
        self._waiting: list[_Nodes] = []
        self._ends: list[NumberArray] = []

    def add(self, ulid: str, stacks: PartStacks) -> None:
        """Take the trie of a block. Raises `CorruptBlock` when two paths have one hash, or a stack another."""
        path_hash = path_hashes(stacks.trie, self._location_ids)
        if (path_hash[stacks.node_of_stack] != stacks.stack_id).any():
            raise CorruptBlock(f"block {ulid}: stack_id is not that of the locations")
        trie = stacks.trie
        self._ulids.append(ulid)
        self._waiting.append(_Nodes(path_hash, trie.parent, trie.symbol, trie.depth))
        self._ends.append(stacks.node_of_stack)
        known = 0 if self._nodes is None else len(self._nodes)
        if sum(map(len, self._waiting)) >= max(FOLD_NODES, known):
            self._fold()

    def _fold(self) -> None:
        """Merge what waits into what is known, whose nodes keep their places."""
        known = [] if self._nodes is None else [self._nodes]
        every = [*known, *self._waiting]
        number, leaders = number_hashes(np.concatenate([nodes.path_hash for nodes in every]))
        numbers = np.split(number, offsets_of(np.array([len(nodes) for nodes in every]))[1:-1])
        parent = np.concatenate([of[nodes.parent] for of, nodes in zip(numbers, every, strict=True)])
        path_hash, symbol, depth = (
            np.concatenate([getattr(nodes, name) for nodes in every])
            for name in ("path_hash", "symbol", "depth")
        )
        same = (parent == parent[leaders][number]) & (symbol == symbol[leaders][number])
        if not same.all():
            raise CorruptBlock(f"blocks {', '.join(self._ulids)}: two stacks have one hash")
        self._nodes = _Nodes(*(column[leaders] for column in (path_hash, parent, symbol, depth)))
        first = len(self._ends) - len(self._waiting)
        for of, source in zip(numbers[len(known) :], range(first, len(self._ends)), strict=True):
            self._ends[source] = of[self._ends[source]]
        self._waiting = []

    def finish(self) -> MergedTries:
        """All that was taken, at least one."""
        if self._waiting:
            self._fold()
        assert self._nodes is not None
        nodes = self._nodes
        trie, position = merge_order(nodes.parent, nodes.symbol, nodes.depth)
        path_hash = np.empty(len(trie), np.uint64)
        path_hash[position] = nodes.path_hash
        return MergedTries(trie, [position[end] for end in self._ends], path_hash)


def pruned(trie: Trie, used: npt.NDArray[np.bool_]) -> tuple[Trie, NumberArray]:
    """The nodes that are or lead to `used` ones, and the root; and where each node is then, -1 for those left out."""
    keep = used.copy()
    keep[0] = True
    for level in reversed(list(levels_of(trie.depth))):
        keep[trie.parent[level[keep[level]]]] = True
    place = np.where(keep, np.cumsum(keep) - 1, -1)
    kept = np.flatnonzero(keep)
    before = offsets_of(keep.astype(np.int64))
    size = before[kept + trie.size[kept]] - before[kept]
    return Trie(place[trie.parent[kept]], trie.symbol[kept], size, trie.depth[kept]), place


def with_symbols(stacks: PartStacks, locations: NumberArray) -> PartStacks:
    """The same over other numbers of locations."""
    symbol: NumberArray = np.append(locations, -1)[stacks.trie.symbol]
    return replace(stacks, trie=replace(stacks.trie, symbol=symbol))


def only_used(stacks: PartStacks, used: npt.NDArray[np.bool_]) -> PartStacks:
    """The same over the nodes of the used stacks alone; the others become a used one, and there are none if none is."""
    if not used.any():
        used = np.zeros(0, np.bool_)
    keep = np.zeros(len(stacks.trie), np.bool_)
    keep[stacks.node_of_stack[: len(used)][used]] = True
    trie, place = pruned(stacks.trie, keep)
    stack = np.where(used, np.arange(len(used)), np.argmax(used) if len(used) else 0)
    node_of_stack: NumberArray = place[stacks.node_of_stack[stack]].astype(np.int32)
    return PartStacks(trie, node_of_stack, stacks.stack_id[stack])
