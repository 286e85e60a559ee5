"""Normalised batches in, the dense tables of one block out.

Batches are keyed by content hash, so adding is appending, and one pass at the end numbers everything: series
in part order, stacks by how often a part uses them, functions by name. See `schema/tables.py` for the result.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ...schema import profile
from ...schema.profile import NormalisedBatch
from ...schema.times import FIRST_NS, LAST_NS
from .layout import BlockOrigin, BlockTables, Collection, lay_out
from .numbering import Lookup
from .sample_columns import SampleColumns
from .stack_lookup import StackLookup

IntArray = npt.NDArray[np.int64]

_LOCATION_ID_BYTES = 8
NODE_BYTES = 96
"""What a node takes while tries are built, with what the allocator does not give back; 45 stay in the tables."""


class CollectedSymbols:
    """What batches refer to, each thing once: series, stacks, locations, functions, mappings, label sets."""

    def __init__(self) -> None:
        self._known = {
            name: StackLookup() if name == "stacks" else Lookup(schema, schema.names[0])
            for name, schema in _SYMBOLS.items()
        }

    @property
    def stacks(self) -> Lookup:
        """The stacks."""
        return self._known["stacks"]

    @property
    def series(self) -> Lookup:
        """The series."""
        return self._known["series"]

    @property
    def size_bytes(self) -> int:
        """About what is held in memory."""
        return sum(known.size_bytes for known in self._known.values())

    def add(self, batch: NormalisedBatch) -> None:
        """Take a batch's symbols. Raises `CorruptBlock` when two things have one hash."""
        for name, known in self._known.items():
            known.add(getattr(batch, name))

    def add_unknown(self, batch: NormalisedBatch) -> None:
        """Take the symbols of a batch that `without_known` gave, with nothing added since."""
        for name, known in self._known.items():
            known.add_unknown(getattr(batch, name))

    def without_known(self, batch: NormalisedBatch) -> NormalisedBatch:
        """The batch without symbols that are here. Raises `CorruptBlock` when two things have one hash."""
        return replace(
            batch, **{name: known.unknown(getattr(batch, name)) for name, known in self._known.items()}
        )

    def tables(self) -> Mapping[str, pa.Table]:
        """Everything kept, in order of arrival."""
        return {name: known.table().combine_chunks() for name, known in self._known.items()}


class BlockBuilder:
    """Collects batches for one block. Not thread-safe.

    Symbols that an earlier batch brought are dropped on arrival, after their content was compared. Several builders
    may share them.
    """

    def __init__(self, symbols: CollectedSymbols | None = None) -> None:
        self._profiles: list[pa.Table] = []
        self._profile_bytes = 0
        self._samples = SampleColumns()
        self._attempts: list[IntArray] = []
        self._attempt = 0
        self._min_ts, self._max_ts = LAST_NS, FIRST_NS
        self._symbols = CollectedSymbols() if symbols is None else symbols
        self.profiles = 0

    @property
    def samples(self) -> int:
        """Samples so far, copies included."""
        return len(self._samples)

    @property
    def size_bytes(self) -> int:
        """About what the collected batches hold in memory."""
        return self._profile_bytes + self._samples.size_bytes + self._symbols.size_bytes

    @property
    def build_bytes(self) -> int:
        """What `build` takes on top at most, when no two stacks share a caller: a node for every frame."""
        return self._symbols.stacks.size_bytes // _LOCATION_ID_BYTES * NODE_BYTES

    def add(self, batch: NormalisedBatch, continues: bool = False) -> None:
        """Take a batch; `continues` says that its profiles are more of those in the batch before.

        Raises `CorruptBlock` when two different things have one hash.
        """
        # What may raise comes first: a batch that cannot be taken leaves no profile behind.
        self._symbols.add(batch)
        self._add_rows(batch, continues)

    def add_lean(self, batch: NormalisedBatch) -> None:
        """Take a batch without the symbols that were known, with nothing added since they were taken away.

        Raises `CorruptBlock` when something that is referred to is missing.
        """
        self._symbols.add_unknown(batch)
        self._add_rows(batch, continues=False)

    def _add_rows(self, batch: NormalisedBatch, continues: bool) -> None:
        self._samples.add(batch, self._symbols.stacks.rows_of)
        self._attempt += 0 if continues else 1
        self._append(batch.profiles, np.full(len(batch.profiles), self._attempt, np.int64))

    def _append(self, profiles: pa.Table, attempts: IntArray) -> None:
        self._profiles.append(profiles)
        self._profile_bytes += int(profiles.nbytes)
        self._attempts.append(attempts)
        self.profiles += len(profiles)
        ts = profiles.column("ts").to_numpy()
        self._min_ts = min(self._min_ts, int(ts.min(initial=LAST_NS)))
        self._max_ts = max(self._max_ts, int(ts.max(initial=FIRST_NS)))

    def touches(self, start_ns: int | None, end_ns: int | None) -> bool:
        """Whether profiles in `[start_ns, end_ns)` may have been added; `None` is open."""
        return (end_ns is None or self._min_ts < end_ns) and (start_ns is None or self._max_ts >= start_ns)

    def collected(self, symbols: Mapping[str, pa.Table] | None = None) -> Collection:
        """Everything that was added so far; the builder may go on. `symbols` are its own, where others add to them."""
        return Collection(
            pa.concat_tables([profile.PROFILES.empty_table(), *self._profiles]).combine_chunks(),
            np.concatenate([np.zeros(0, np.int64), *self._attempts]),
            self._samples.joined(),
            self._symbols.tables() if symbols is None else symbols,
        )

    def outline(self) -> Collection:
        """The profiles and series alone, as if no profile had samples: enough for an index."""
        profiles = pa.concat_tables([profile.PROFILES.empty_table(), *self._profiles]).combine_chunks()
        at = profiles.schema.get_field_index("n")
        nothing = pa.array(np.zeros(len(profiles)), profiles.schema.field(at).type)
        return Collection(
            profiles.set_column(at, profiles.schema.field(at), nothing),
            np.concatenate([np.zeros(0, np.int64), *self._attempts]),
            SampleColumns().joined(),
            {name: schema.empty_table() for name, schema in _SYMBOLS.items()}
            | {"series": self._symbols.series.table()},
        )

    def add_collection(self, other: Collection) -> None:
        """Take everything that a builder with the same symbols collected."""
        self._samples.add_collected(other.samples)
        self._append(other.profiles, other.attempts + self._attempt)
        self._attempt += int(other.attempts.max(initial=0))

    def build(self, origin: BlockOrigin) -> BlockTables:
        """Number, sort and lay out everything that was added; the builder is empty afterwards."""
        # Decoding a large profile leaves the pool with much that building cannot use.
        pa.default_memory_pool().release_unused()
        laid_out = lay_out(self._taken(), origin)
        return laid_out.finish()

    def _taken(self) -> Collection:
        collection = self.collected()
        self._profiles, self._attempts, self._samples = [], [], SampleColumns()
        self._profile_bytes = 0
        return collection


_SYMBOLS = {
    "series": profile.SERIES,
    "stacks": profile.STACKS,
    "locations": profile.LOCATIONS,
    "functions": profile.FUNCTIONS,
    "mappings": profile.MAPPINGS,
    "labelsets": profile.LABELSETS,
}
