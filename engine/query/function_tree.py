"""Call trees of functions as arrays, ready for sums."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ...schema.identity import hash_texts
from ..trie import NumberArray, Trie, first_occurrences, path_hashes

U64Array = npt.NDArray[np.uint64]

TreeKey = tuple[str, int]
"""A block's ULID and a part's number; or what is as distinct."""


@dataclass(frozen=True)
class FunctionTree:
    """Nodes, the root first and each after its parent. `symbol` numbers `names`, and is -1 at the root.

    `first` tells which nodes have no ancestor of the same function; `path_hash` is the content hash of a node's path,
    which no two nodes of a tree share.
    """

    parent: NumberArray
    symbol: NumberArray
    depth: NumberArray
    names: pa.Array
    first: npt.NDArray[np.bool_]
    path_hash: U64Array

    @classmethod
    def of(cls, trie: Trie, names: pa.Array, first: npt.NDArray[np.bool_] | None = None) -> FunctionTree:
        """A trie over the numbers of `names`; `first`, where it is known."""
        if first is None:
            first = first_occurrences(trie)
        hashes = path_hashes(trie, hash_texts(names))
        return cls(trie.parent, trie.symbol, trie.depth, names, first, hashes)

    def __len__(self) -> int:
        return len(self.parent)


@dataclass(frozen=True)
class PartTree:
    """The tree of one part, and the node that each of its stacks ends at.

    Of two trees with one key, the one with fewer nodes is the beginning of the other.
    """

    key: TreeKey
    functions: FunctionTree
    node_of_stack: NumberArray
