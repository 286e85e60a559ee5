"""What a merge takes of a block: all of it, or what the tombstones that concern it leave."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...schema.catalog import CatalogState
from ..query.opened import OpenBlock
from ..query.visible import hidden_rows, without_hidden

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class MergeInput:
    """A block, what is visible of it, None: nothing, and the rows that each tombstone hides and none before it did."""

    block: OpenBlock
    visible: OpenBlock | None
    hidden: dict[str, IntArray]

    @classmethod
    def of(cls, block: OpenBlock, state: CatalogState) -> MergeInput:
        """As it is at a version of the catalog in which it is live."""
        tombstones = state.in_force(state.blocks[block.ulid].applied)
        hidden: dict[str, IntArray] = {}
        seen = np.zeros(0, np.int64)
        for one in tombstones:
            new = np.setdiff1d(hidden_rows(block, [one]), seen)
            if len(new):
                hidden[one.id] = new
                seen = np.union1d(seen, new)
        return cls(block, without_hidden(block, tombstones), hidden)
