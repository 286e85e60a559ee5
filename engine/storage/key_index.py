"""Where each 64-bit key is: open addressing in arrays, many keys at once.

A search in sorted keys misses the cache at every halving; here a key is found in one or two looks, and taking new ones
does not move the others.
"""

from __future__ import annotations

import secrets

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]
U64Array = npt.NDArray[np.uint64]

_LEAST_BITS = 6
_FREE = -1


class KeyIndex:
    """Distinct keys, each with a number from 0 to 2**31 - 1.

    Places depend on a secret, because clients choose what is hashed.
    """

    def __init__(self) -> None:
        self._secret = np.uint64(secrets.randbits(64) | 1)
        self._used = 0
        self._make(_LEAST_BITS)

    def __len__(self) -> int:
        return self._used

    @property
    def size_bytes(self) -> int:
        """What is held in memory."""
        return int(self._keys.nbytes + self._numbers.nbytes)

    def find(self, keys: U64Array) -> IntArray:
        """The number of each key; -1 where it is not there."""
        found = np.full(len(keys), _FREE, np.int64)
        place = self._first_place(keys)
        left = np.arange(len(keys))
        while len(left):
            numbers = self._numbers[place]
            same = self._keys[place] == keys
            hit = same & (numbers != _FREE)
            found[left[hit]] = numbers[hit]
            on = ~same & (numbers != _FREE)
            left, keys, place = left[on], keys[on], (place[on] + 1) & self._mask
        return found

    def add(self, keys: U64Array, numbers: IntArray) -> None:
        """Take distinct keys that are not there yet, with distinct numbers."""
        self._used += len(keys)
        if 2 * self._used > len(self._keys):
            old = self._numbers != _FREE
            keys = np.concatenate([self._keys[old], keys])
            numbers = np.concatenate([self._numbers[old], numbers])
            self._make((3 * self._used).bit_length())
        place = self._first_place(keys)
        while len(keys):
            free = self._numbers[place] == _FREE
            # Of several that want one place the last one written has it.
            self._numbers[place[free]] = numbers[free]
            has_it = free & (self._numbers[place] == numbers)
            self._keys[place[has_it]] = keys[has_it]
            on = ~has_it
            keys, numbers, place = keys[on], numbers[on], (place[on] + 1) & self._mask

    def _make(self, bits: int) -> None:
        self._shift = np.uint64(64 - bits)
        self._mask = (1 << bits) - 1
        self._keys = np.zeros(1 << bits, np.uint64)
        self._numbers = np.full(1 << bits, _FREE, np.int32)

    def _first_place(self, keys: U64Array) -> IntArray:
        return ((keys * self._secret) >> self._shift).astype(np.int64)
