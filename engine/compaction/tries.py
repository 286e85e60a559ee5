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

IntArray = npt.NDArray[np.int64]
U64Array = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class MergedTries:
    """One trie in pre-order, siblings by location; where the stacks of each input end in it; each node's path hash."""

    trie: Trie
    node_of_stack: Sequence[IntArray]
    path_hash: U64Array


def merge_tries(ulids: Sequence[str], stacks: Sequence[PartStacks], location_ids: U64Array) -> MergedTries:
    """Merge tries whose symbols are rows of `location_ids`; each is of the block with the ULID at its place.

    Raises `CorruptBlock` when two paths have one hash, or a stack has not the hash of its path.
    """
    hashes = [path_hashes(one.trie, location_ids) for one in stacks]
    for ulid, one, hash_of_node in zip(ulids, stacks, hashes, strict=True):
        if (hash_of_node[one.node_of_stack] != one.stack_id).any():
            raise CorruptBlock(f"block {ulid}: stack_id is not that of the locations")
    number, leaders = number_hashes(np.concatenate(hashes))
    bounds = offsets_of(np.array([len(one.trie) for one in stacks]))
    numbers = np.split(number, bounds[1:-1])
    parent = np.concatenate([of[one.trie.parent] for of, one in zip(numbers, stacks, strict=True)])
    symbol, depth = (
        np.concatenate([getattr(one.trie, name) for one in stacks]) for name in ("symbol", "depth")
    )
    same = (parent == parent[leaders][number]) & (symbol == symbol[leaders][number])
    if not same.all():
        raise CorruptBlock(f"blocks {', '.join(ulids)}: two stacks have one hash")
    trie, position = merge_order(parent[leaders], symbol[leaders], depth[leaders])
    path_hash = np.empty(len(trie), np.uint64)
    path_hash[position] = np.concatenate(hashes)[leaders]
    ends = [position[of][one.node_of_stack] for of, one in zip(numbers, stacks, strict=True)]
    return MergedTries(trie, ends, path_hash)


def pruned(trie: Trie, used: npt.NDArray[np.bool_]) -> tuple[Trie, IntArray]:
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


def with_symbols(stacks: PartStacks, locations: IntArray) -> PartStacks:
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
