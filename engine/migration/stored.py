"""What a store holds from a source already: the truth about how far a migration came, whatever became of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

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


@dataclass
class StoredSlices:
    """The slices of each series and profile type, with their totals."""

    _slices: dict[tuple[Labels, str], dict[Slice, int]] = field(default_factory=dict)
    _ends_ms: dict[str, set[int]] = field(default_factory=dict)

    def add(self, labels: Labels, profile_type: str, one: Slice, total: int) -> None:
        """Remember one stored profile."""
        self._slices.setdefault((labels, profile_type), {})[one] = total
        self._ends_ms.setdefault(profile_type, set()).update((one.start_ms, one.end_ms))

    def ends_ms(self, profile_type: str) -> set[int]:
        """Where slices of a type begin and end: between two of these a series is stored whole or not at all."""
        return self._ends_ms.get(profile_type, set())

    def find(self, labels: Labels, profile_type: str, one: Slice) -> tuple[Slice, int] | None:
        """The stored slice that holds this one, and its total; None when it is not stored."""
        known = self._slices.get((labels, profile_type), {})
        if one in known:
            return one, known[one]
        return next(((slice_, total) for slice_, total in known.items() if slice_.covers(one)), None)


def read_stored(database: Database, mark: str, whole: Slice) -> StoredSlices:
    """What is stored with comments that begin with `mark`, of slices that overlap with `whole`."""
    bounds = {"start_ns": whole.start_ms * NS_PER_MS, "end_ns": whole.end_ms * NS_PER_MS}
    rows = database.sql(SqlRequest(_SQL, {"mark": mark, **bounds}))
    stored = StoredSlices()
    for row in rows.to_pylist():
        half_ns = row["duration_ns"] // 2
        ends_ms = ((row["ts"] - half_ns) // NS_PER_MS, (row["ts"] + half_ns) // NS_PER_MS)
        stored.add(own_labels(row["labels"]), row["profile_type"], Slice(*ends_ms), row["total"])
    return stored
