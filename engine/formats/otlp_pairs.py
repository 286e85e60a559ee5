"""Which entries of a table that many profiles share each of them uses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from .otlp_tables import IntArray


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
        encoded = pa.array(owner * entries + entry).dictionary_encode()
        found = encoded.dictionary.to_numpy()
        order = np.argsort(found)
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order))
        owner_of, entry_of = np.divmod(found[order], max(entries, 1))
        offsets = np.searchsorted(owner_of, np.arange(profiles + 1))
        return cls(owner_of, entry_of, offsets, rank[encoded.indices.to_numpy()])

    @property
    def places(self) -> IntArray:
        """The place, from 0, of what each item of the input means among the pairs of its profile."""
        place: IntArray = (np.arange(len(self.owner)) - self.offsets[self.owner])[self.code]
        return place
