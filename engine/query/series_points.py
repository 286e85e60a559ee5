"""The points of a series as sums that merge: over the profiles of this process, or of pieces that workers read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from .executed import Elsewhere, Piece
from .snapshot import Resolved, Snapshot
from .weights import Profiles, profiles_of

IntArray = npt.NDArray[np.int64]
Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Buckets:
    """Which point a profile is in: `by` labels, and the tick at the end of its step.

    Ticks are counted from `first_tick`, which may be None: then from 1970, and the first is known when all profiles are.
    """

    first_tick: int | None
    step_ns: int
    by: tuple[str, ...]

    def ticks(self, ts: IntArray) -> IntArray:
        """The number of the tick of each time. One counts in the bucket of its millisecond, as on the wire."""
        moment = ts - ts % 1_000_000
        ticks: IntArray = -(((self.first_tick or 0) - moment) // self.step_ns)
        return ticks if self.first_tick is None else np.maximum(ticks, 0)


@dataclass(frozen=True)
class PointSums:
    """Distinct (group, tick), ascending within a group: the sum of the profiles' totals, and their number.

    `earliest_ts` is that of the first profile; None: there is none.
    """

    groups: Sequence[Labels]
    group: IntArray
    tick: IntArray
    total: IntArray
    profiles: IntArray
    earliest_ts: int | None


@dataclass(frozen=True)
class PointsPiece:
    """Points to be made of a piece."""

    piece: Piece
    buckets: Buckets


def sums_of(snapshot: Snapshot, profiles: Profiles, buckets: Buckets) -> tuple[PointSums, IntArray]:
    """The points of some profiles, and which point each is in."""
    groups, group = _groups(snapshot, profiles, buckets.by)
    tick = buckets.ticks(profiles.rows.ts)
    group, tick, point = _numbered(group, tick)
    total = np.zeros(len(group), np.int64)
    np.add.at(total, point, profiles.rows.total)
    earliest = int(profiles.rows.ts.min()) if len(profiles) else None
    counts = np.bincount(point, minlength=len(group))
    return PointSums(groups, group, tick, total, counts, earliest), point


def sums_elsewhere(
    snapshot: Snapshot, elsewhere: Elsewhere, resolved: Resolved, buckets: Buckets
) -> PointSums:
    """The points of a plan's profiles, read by workers."""
    pieces = elsewhere.pieces(snapshot.blocks, resolved.plan, resolved.weights)
    return merge_sums(elsewhere.results(sums_of_piece, (PointsPiece(piece, buckets) for piece in pieces)))


def sums_of_piece(asked: PointsPiece) -> PointSums:
    """The points of a piece: what a worker does."""
    piece = asked.piece
    snapshot = piece.snapshot()
    profiles = profiles_of(snapshot, Resolved(piece.plan, piece.weights))
    return sums_of(snapshot, profiles, asked.buckets)[0]


def merge_sums(pieces: Iterable[PointSums]) -> PointSums:
    """The points of all. Sums and numbers of profiles add up."""
    numbers: dict[Labels, int] = {}
    columns: list[tuple[IntArray, ...]] = [(np.zeros(0, np.int64),) * 4]
    earliest: list[int] = []
    for piece in pieces:
        known = np.array([numbers.setdefault(labels, len(numbers)) for labels in piece.groups], np.int64)
        columns.append((known[piece.group], piece.tick, piece.total, piece.profiles))
        earliest += [] if piece.earliest_ts is None else [piece.earliest_ts]
    group, tick, total, profiles = (np.concatenate(column) for column in zip(*columns, strict=True))
    group, tick, point = _numbered(group, tick)
    sums = np.zeros((2, len(group)), np.int64)
    np.add.at(sums[0], point, total)
    np.add.at(sums[1], point, profiles)
    return PointSums(list(numbers), group, tick, sums[0], sums[1], min(earliest, default=None))


def shifted(sums: PointSums, ticks: int) -> PointSums:
    """The same with ticks counted from another: what would be before it belongs to it."""
    moved = np.maximum(sums.tick - ticks, 0)
    return merge_sums(
        [PointSums(sums.groups, sums.group, moved, sums.total, sums.profiles, sums.earliest_ts)]
    )


def _numbered(group: IntArray, tick: IntArray) -> tuple[IntArray, IntArray, IntArray]:
    """Distinct (group, tick), ascending, and which of them each is."""
    first = int(tick.min()) if len(tick) else 0
    ticks = int(tick.max(initial=first)) - first + 1
    encoded = pa.array(group * ticks + (tick - first)).dictionary_encode()
    key = encoded.dictionary.to_numpy()
    order = np.argsort(key)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return key[order] // ticks, key[order] % ticks + first, rank[encoded.indices.to_numpy()]


def _groups(snapshot: Snapshot, profiles: Profiles, by: Sequence[str]) -> tuple[list[Labels], IntArray]:
    """The label sets to group by, and the group of each profile; a label that a series lacks is left out."""
    numbers: dict[Labels, int] = {}
    group = np.zeros(len(profiles), np.int64)
    for number, ulid in enumerate(profiles.ulids):
        here = np.flatnonzero(profiles.block == number)
        index = snapshot.blocks[ulid].index
        series = np.unique(profiles.rows.series[here])
        columns = [index.label(name).take(pa.array(series)).to_pylist() for name in by]
        codes = np.zeros(len(index.series_id), np.int64)
        for row in range(len(series)):
            labels = tuple(
                (name, column[row]) for name, column in zip(by, columns, strict=True) if column[row]
            )
            codes[series[row]] = numbers.setdefault(labels, len(numbers))
        group[here] = codes[profiles.rows.series[here]]
    return list(numbers), group
