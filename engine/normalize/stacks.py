"""Stacks of a batch by content: the chained hash of their locations, root first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from ...schema import profile
from .chains import Chains
from .columns import BoolArray, Column, Distinct, IntArray, U64Array, distinct_apart, gather, list_array
from .functions import require_same
from .ids import References
from .locations import Locations

MAX_DEPTH = 32_768
"""Locations in one stack; a limit on work, since a chain goes step by step."""


@dataclass(frozen=True)
class Stacks:
    """The stack id of every sample. `broken` marks samples whose stack refers to what is not there."""

    hash: U64Array
    known: Distinct
    frames: Column
    lengths: IntArray
    found: References
    base: IntArray
    locations: Locations
    broken: BoolArray | None

    def table(self, used: IntArray) -> tuple[pa.Table, IntArray]:
        """The stacks of the `used` samples, leaf first, each once; and the rows of their locations."""
        rows = self.known.firsts(used)
        lengths = self.lengths[rows]
        items, offsets = gather(self.frames.offsets[1:][rows] - lengths, lengths)
        locations = self.found.values[items]
        base = self.base[rows]
        # Mostly all are of one profile.
        locations += base[0] if len(base) and (base == base[0]).all() else np.repeat(base, lengths)
        lists = list_array(offsets, pa.array(self.locations.hash[locations]))
        return pa.table([self.hash[rows], lists], schema=profile.STACKS), locations


def read_stacks(
    samples: Column, locations: Locations, keep_depth: int, lenient: bool, owners: IntArray
) -> Stacks:
    """The stacks of all samples; `owners` says whose each profile is. Raises `BadProfiles`.

    `keep_depth` cuts deeper stacks at the leaf (0: none); `lenient` marks a sample that refers to nothing instead
    of refusing its profile.
    """
    frames = samples.nested("location_id")
    bounds = frames.offsets[samples.offsets]
    found = locations.ids.find(frames.numbers(), bounds)
    broken = None
    if found.bad is not None or locations.broken is not None:
        broken = _broken_samples(frames, found, np.diff(bounds), locations)
        if not lenient:
            samples.refuse_rows(broken, "sample.location_id points at no location")
    lengths = np.minimum(frames.lengths, keep_depth) if keep_depth else frames.lengths
    samples.refuse_rows(lengths > MAX_DEPTH, f"a sample has more than {MAX_DEPTH} locations")
    base = samples.spread(found.base)
    # One more symbol, for references to nothing when there are no locations at all.
    symbols = np.append(locations.hash, np.uint64(0))
    hashes = Chains(found.values, base, symbols, frames.offsets[1:], lengths).hashes()
    known = distinct_apart(hashes, samples, owners)
    # Comparing every frame would double the work; blocks compare whole stacks when they merge batches.
    require_same(known, samples, [lengths], "stacks")
    return Stacks(hashes, known, frames, lengths, found, base, locations, broken)


def _broken_samples(
    frames: Column, found: References, references: IntArray, locations: Locations
) -> BoolArray:
    """The samples with a frame that is not there, or at a location that is broken itself."""
    bad = np.zeros(len(found.values), np.bool_) if found.bad is None else found.bad.copy()
    if locations.broken is not None:
        bad |= np.append(locations.broken, True)[found.rows(references)]
    broken = np.zeros(len(frames.lengths), np.bool_)
    broken[frames.owner[bad]] = True
    return broken
