"""What a store holds from a source already: the truth about how far a migration came, whatever became of it."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from ...schema.request import Database, SqlRequest
from .querier import Labels
from .slices import NS_PER_MS, Slice

COMPUTED = frozenset(
    {"__period_type__", "__period_unit__", "__profile_type__", "__service_name__", "__type__", "__unit__"}
)
"""Labels that follow from the others and from the profile type, on both sides."""

_SQL = """
SELECT labels, profile_type, ts, duration_ns, total
FROM profiles
WHERE len(comments) > 0
    AND starts_with(comments[1], $mark)
    AND ts - duration_ns // 2 < $end_ns
    AND ts + duration_ns // 2 > $start_ns
"""


def own_labels(labels: Iterable[tuple[str, str]]) -> Labels:
    """The labels that a series was given."""
    return frozenset(pair for pair in labels if pair[0] not in COMPUTED)


@dataclass(frozen=True)
class StoredSlice:
    """One stored profile: its series and type, the slice it stands for, and the sum of its values."""

    labels: Labels
    profile_type: str
    slice: Slice
    total: int


class StoredSlices:
    """The slices of each series and profile type. Those of one do not overlap."""

    def __init__(self, stored: Iterable[StoredSlice] = ()) -> None:
        self._series: dict[tuple[Labels, str], list[StoredSlice]] = defaultdict(list)
        ends_ms: dict[str, set[int]] = defaultdict(set)
        for one in sorted(stored, key=lambda one: one.slice):
            self._series[one.labels, one.profile_type].append(one)
            ends_ms[one.profile_type] |= {one.slice.start_ms, one.slice.end_ms}
        self._ends_ms = {profile_type: sorted(times) for profile_type, times in ends_ms.items()}

    def cut(self, whole: Slice, profile_type: str) -> list[Slice]:
        """A slice cut so that any series of a type is stored of a piece of it whole or not at all."""
        ends_ms = self._ends_ms.get(profile_type, [])
        first, last = bisect_right(ends_ms, whole.start_ms), bisect_left(ends_ms, whole.end_ms)
        return [Slice(*ends) for ends in pairwise([whole.start_ms, *ends_ms[first:last], whole.end_ms])]

    def find(self, labels: Labels, profile_type: str, one: Slice) -> StoredSlice | None:
        """What is stored of a series that covers a slice."""
        known = self._series.get((labels, profile_type), [])
        place = bisect_right(known, one.start_ms, key=lambda stored: stored.slice.start_ms)
        return known[place - 1] if place and known[place - 1].slice.covers(one) else None


def read_stored(database: Database, mark: str, whole: Slice) -> StoredSlices:
    """What is stored with comments that begin with `mark`, of slices that overlap with `whole`."""
    bounds = {"start_ns": whole.start_ms * NS_PER_MS, "end_ns": whole.end_ms * NS_PER_MS}
    rows = database.sql(SqlRequest(_SQL, {"mark": mark, **bounds}))
    return StoredSlices(map(_stored_slice, rows.to_pylist()))


def _stored_slice(row: Mapping[str, Any]) -> StoredSlice:
    half_ns = row["duration_ns"] // 2
    covered = Slice((row["ts"] - half_ns) // NS_PER_MS, (row["ts"] + half_ns) // NS_PER_MS)
    return StoredSlice(own_labels(row["labels"]), row["profile_type"], covered, row["total"])
