"""Which profiles a store has already: a rerun of an ingest adds nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ...schema.profile import NormalisedBatch
from ..query.opened import OpenBlock
from ..storage.sample_rows import id_words

BoolArray = npt.NDArray[np.bool_]
_KEY = np.dtype([("low", "<u8"), ("high", "<u8"), ("series", "<u8"), ("ts", "<i8")])


class KnownProfiles:
    """The dedup keys (series, time, profile id) of some blocks. Blocks are read when times first touch them."""

    def __init__(self, blocks: Iterable[OpenBlock]) -> None:
        self._unread = list(blocks)
        self._keys = np.zeros(0, _KEY)

    def add(self, block: OpenBlock) -> None:
        """A block that was written since."""
        self._unread.append(block)

    def contains(self, profiles: pa.Table) -> BoolArray:
        """Which rows of a `profiles` table of a normalised batch are known."""
        if not len(profiles):
            return np.zeros(0, np.bool_)
        ts = profiles.column("ts").to_numpy()
        self._read(int(ts.min()), int(ts.max()))
        wanted = _keys(profiles.column("series_id").to_numpy(), ts, *id_words(profiles.column("profile_id")))
        slot = np.searchsorted(self._keys["low"], wanted["low"])
        known = np.zeros(len(wanted), np.bool_)
        for row in np.flatnonzero(slot < len(self._keys)):
            at = int(slot[row])
            while at < len(self._keys) and self._keys["low"][at] == wanted["low"][row]:
                if self._keys[at] == wanted[row]:
                    known[row] = True
                    break
                at += 1
        return known

    def _read(self, first_ts: int, last_ts: int) -> None:
        near = [b for b in self._unread if b.meta.min_ts <= last_ts and b.meta.max_ts >= first_ts]
        if not near:
            return
        self._unread = [b for b in self._unread if b not in near]
        pieces = [self._keys]
        for block in near:
            rows = block.profiles(np.arange(len(block.index.series_id)), None, None)
            pieces.append(_keys(block.index.series_id[rows.series], rows.ts, rows.id_high, rows.id_low))
        joined = np.concatenate(pieces)
        self._keys = joined[np.argsort(joined["low"], kind="stable")]


def _keys(
    series: npt.NDArray[np.uint64],
    ts: npt.NDArray[np.int64],
    high: npt.NDArray[np.uint64],
    low: npt.NDArray[np.uint64],
) -> npt.NDArray[np.void]:
    keys = np.empty(len(ts), _KEY)
    keys["low"], keys["high"], keys["series"], keys["ts"] = low, high, series, ts
    return keys


def without_profiles(batch: NormalisedBatch, dropped: BoolArray) -> NormalisedBatch:
    """The batch without some rows of `profiles`, and their samples."""
    if not dropped.any():
        return batch
    keep = pa.array(~dropped)
    samples = pa.array(np.repeat(~dropped, batch.profiles.column("n").to_numpy()))
    return replace(batch, profiles=batch.profiles.filter(keep), samples=batch.samples.filter(samples))
