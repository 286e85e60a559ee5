"""The tables of a batch put together: of all profiles, or for each owner of some what is its own and nothing else.

Locations that differ in their addresses or in the build they are of may have one id, and the first one of a batch
stands for all. Several owners' must not stand for each other: what an owner gets is taken from its own rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ...schema.profile import NormalisedBatch
from .columns import IntArray
from .functions import Functions
from .stacks import Stacks
from .strings import Strings


@dataclass(frozen=True)
class Assembly:
    """What a batch is made of. `samples` follow the rows of `profiles`; `used` are the decoded samples behind them."""

    series: pa.Table
    profiles: pa.Table
    samples: pa.Table
    mappings: pa.Table
    labelsets: pa.Table
    used: IntArray
    stacks: Stacks
    functions: Functions
    strings: Strings

    def batch(self) -> NormalisedBatch:
        """Everything as one batch."""
        stacks, location_rows = self.stacks.table(self.used)
        locations, function_rows = self.stacks.locations.table(location_rows)
        return NormalisedBatch(
            series=self.series,
            profiles=self.profiles,
            samples=self.samples,
            stacks=stacks,
            locations=locations,
            functions=self.functions.table(function_rows, self.strings),
            mappings=self.mappings,
            labelsets=self.labelsets,
        )

    def by_owner(self, of_row: IntArray, of_sample: IntArray) -> Iterator[tuple[int, NormalisedBatch]]:
        """A batch for each owner, given that of each row of `profiles` and of each decoded sample.

        Stacks and locations must have been told apart by owner.
        """
        of_stored = np.repeat(of_row, self.profiles.column("n").to_numpy())
        of_used = of_sample[self.used]
        for owner in np.unique(of_row).tolist():
            own = replace(
                self,
                profiles=self.profiles.take(pa.array(np.flatnonzero(of_row == owner))),
                samples=self.samples.take(pa.array(np.flatnonzero(of_stored == owner))),
                used=self.used[of_used == owner],
            )
            yield owner, _without_unused(own.batch())


def _without_unused(batch: NormalisedBatch) -> NormalisedBatch:
    """The batch without series, mappings and label sets that nothing in it refers to."""
    listed = batch.profiles.column("mappings").combine_chunks().flatten()
    mappings = pa.concat_arrays([listed, batch.locations.column("mapping_id").combine_chunks()])
    return replace(
        batch,
        series=_only(batch.series, batch.profiles.column("series_id").combine_chunks()),
        mappings=_only(batch.mappings, mappings),
        labelsets=_only(batch.labelsets, batch.samples.column("labelset_id").combine_chunks()),
    )


def _only(table: pa.Table, keys: pa.Array) -> pa.Table:
    """The rows whose first column is among the keys."""
    return table.filter(pc.is_in(table.column(0), value_set=keys)) if len(table) else table
