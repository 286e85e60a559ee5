"""Stacks of a decoded batch: the chained hash of their locations, root first, and each distinct one's list."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from ...schema import profile
from ...schema.errors import CorruptBlock
from .columns import Column, IntArray, U64Array, chain, first_seen, refuse
from .symbols import Symbols


@dataclass(frozen=True)
class Stacks:
    """The stack id of every sample, and the distinct stacks, leaf first."""

    ids: U64Array
    table: pa.Table


def read_stacks(samples: Column, symbols: Symbols, max_depth: int) -> Stacks:
    """Stack ids of all samples. `max_depth` cuts leaf-side frames (0: no bound)."""
    frames = Column.nested(samples.values.field("location_id"))
    lengths = frames.lengths
    references = frames.values.to_numpy().astype(np.uint64)
    sample_owner = samples.owner
    owner = np.repeat(sample_owner, lengths)
    rows = symbols.location_ids.rows(references, owner)
    refuse(rows < 0, owner, "sample.location_id points at no location")
    ends = frames.offsets[1:]
    if max_depth:
        lengths = np.minimum(lengths, max_depth)
    hashes = symbols.location_hash[rows]
    ids = chain(hashes, ends - 1, lengths, -1)
    leaders = first_seen(ids)
    _require_same(ids, leaders, hashes, (ends - lengths, lengths))
    offsets = np.zeros(len(leaders) + 1, np.int64)
    np.cumsum(lengths[leaders], out=offsets[1:])
    items = np.arange(offsets[-1]) + np.repeat((ends - lengths)[leaders] - offsets[:-1], lengths[leaders])
    lists = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(hashes[items], pa.uint64()))
    return Stacks(ids, pa.table([ids[leaders], lists], schema=profile.STACKS))


def _require_same(ids: U64Array, leaders: IntArray, hashes: U64Array, spans: tuple[IntArray, IntArray]) -> None:
    """Every stack equals the first of its id: same length, same locations. Raises `CorruptBlock`."""
    starts, lengths = spans
    order = np.argsort(ids[leaders])
    leader = leaders[order][np.searchsorted(ids[leaders][order], ids)]
    wrong = lengths != lengths[leader]
    others = np.flatnonzero((leader != np.arange(len(ids))) & ~wrong)
    if len(others):
        n = lengths[others]
        offsets = np.zeros(len(others) + 1, np.int64)
        np.cumsum(n, out=offsets[1:])
        step = np.arange(offsets[-1]) - np.repeat(offsets[:-1], n)
        mine = hashes[np.repeat(starts[others], n) + step]
        theirs = hashes[np.repeat(starts[leader[others]], n) + step]
        differs = mine != theirs
        if differs.any():
            wrong[others[np.searchsorted(offsets, np.flatnonzero(differs)[0], side="right") - 1]] = True
    if wrong.any():
        raise CorruptBlock(f"hash collision: two stacks have the hash {int(ids[np.flatnonzero(wrong)[0]]):#x}")
