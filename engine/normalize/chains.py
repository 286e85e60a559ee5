"""Chained hashes of many lists at once: the identity of stacks, and of the lines of a location."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...schema import identity
from .columns import IntArray, U64Array

CHUNK_LISTS = 65_536
"""Lists hashed together: enough to pay for the calls of each step, few enough for the caches."""


@dataclass(frozen=True)
class Chains:
    """Lists of references to hashed symbols: item `i` stands for `symbol_hash[references[i] + base[list]]`.

    List `l` is read backwards, from item `ends[l] - 1`, for `lengths[l]` items.
    """

    references: IntArray
    base: IntArray
    symbol_hash: U64Array
    ends: IntArray
    lengths: IntArray

    def hashes(self) -> U64Array:
        """`identity.extend_paths` over each list, from `identity.ROOT_PATH`."""
        out = np.full(len(self.lengths), identity.ROOT_PATH, np.uint64)
        for start in range(0, len(out), CHUNK_LISTS):
            chunk = slice(start, start + CHUNK_LISTS)
            self._hash_chunk(chunk, out[chunk])
        return out

    def _hash_chunk(self, chunk: slice, out: U64Array) -> None:
        """One item of every list at a time, the longest lists first, so that all work is on whole arrays."""
        lengths = self.lengths[chunk]
        order = np.argsort(-lengths, kind="stable")
        at, base = self.ends[chunk][order], self.base[chunk][order]
        longer = len(lengths) - np.cumsum(np.bincount(lengths))
        hashes = out[order]
        rows, symbols = np.empty(len(order), np.int64), np.empty(len(order), np.uint64)
        for active in longer[:-1].tolist():
            at[:active] -= 1
            np.take(self.references, at[:active], out=rows[:active], mode="clip")
            rows[:active] += base[:active]
            np.take(self.symbol_hash, rows[:active], out=symbols[:active], mode="clip")
            identity.extend_paths(hashes[:active], symbols[:active])
        out[order] = hashes
