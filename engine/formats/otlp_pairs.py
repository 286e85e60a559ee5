"""Which entries of a table that many profiles share each of them uses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from .otlp_tables import IntArray

_FEW = 1 << 20
"""Up to so many possible pairs a table of marks is faster than hashing."""


@dataclass(frozen=True)
class Pairs:
    """Distinct pairs (profile, entry) in the order of profiles.

    Those of profile `p` are `offsets[p]` to `offsets[p + 1]`; `code` says which pair each item of the input is.
    """

    owner: IntArray
    entry: IntArray
    offsets: IntArray
    code: IntArray

    @classmethod
    def of(cls, owner: IntArray, entry: IntArray, profiles: int, entries: int) -> Pairs:
        """The pairs of some items; entries of a profile come in the order of the table."""
        key = owner * entries + entry
        found, code = _marked(key, profiles * entries) if profiles * entries <= _FEW else _encoded(key)
        owner_of, entry_of = np.divmod(found, max(entries, 1))
        return cls(owner_of, entry_of, np.searchsorted(owner_of, np.arange(profiles + 1)), code)

    @property
    def places(self) -> IntArray:
        """The place, from 0, of what each item of the input means among the pairs of its profile."""
        place: IntArray = (np.arange(len(self.owner)) - self.offsets[self.owner])[self.code]
        return place


def _marked(key: IntArray, size: int) -> tuple[IntArray, IntArray]:
    """The distinct keys, ascending, and which of them each key is; by a table of all `size` keys there could be."""
    marks = np.zeros(size, np.bool_)
    marks[key] = True
    return np.flatnonzero(marks), (np.cumsum(marks) - 1)[key]


def _encoded(key: IntArray) -> tuple[IntArray, IntArray]:
    """The same by hashing."""
    encoded = pa.array(key).dictionary_encode()
    found = encoded.dictionary.to_numpy()
    order = np.argsort(found)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return found[order], rank[encoded.indices.to_numpy()]
