"""A profile that comes in pieces: each piece without the symbols that an earlier one brought."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ...schema.profile import NormalisedBatch

U64Array = npt.NDArray[np.uint64]

_SYMBOLS = ("stacks", "locations", "functions", "mappings", "labelsets")
"""Tables whose first column is the key."""


class Pieces:
    """The keys that went by. Pieces of one profile share most symbols, which would fill memory again and again."""

    def __init__(self) -> None:
        self._known: dict[str, U64Array] = {name: np.zeros(0, np.uint64) for name in _SYMBOLS}

    def add(self, batch: NormalisedBatch) -> NormalisedBatch:
        """The next piece, without the rows that are known."""
        new: dict[str, pa.Table] = {}
        for name in _SYMBOLS:
            table: pa.Table = getattr(batch, name)
            keys: U64Array = table.column(0).to_numpy()
            known = self._known[name]
            place = np.searchsorted(known, keys)
            is_new = np.append(known, np.uint64(0))[place] != keys
            is_new |= place == len(known)
            new[name] = table if is_new.all() else table.filter(pa.array(is_new))
            self._known[name] = np.sort(np.concatenate([known, keys[is_new]]))
        return replace(batch, **new)
