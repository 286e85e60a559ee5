"""Totals in time, and lists of single profiles: answers from the profiles tables, without touching samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ...schema.errors import RequestError
from ...schema.request import ProfilesRequest, Rows, SeriesRequest
from .exemplars import largest_of_points
from .snapshot import Resolved, Snapshot, resolve, resolve_all_types
from .weights import Profiles, profiles_of

IntArray = npt.NDArray[np.int64]
Labels = tuple[tuple[str, str], ...]

_MAP = pa.map_(pa.string(), pa.string())
_EXEMPLAR = pa.struct(
    [("ts", pa.int64()), ("profile_id", pa.string()), ("value", pa.int64()), ("labels", _MAP)]
)
_POINTS = pa.schema([("labels", _MAP), ("ts", pa.int64()), ("value", pa.float64())])


@dataclass(frozen=True)
class _Points:
    """Values by (group, tick number), and which point each profile is in."""

    group: IntArray
    tick: IntArray
    value: npt.NDArray[np.float64]
    of_profile: IntArray


def answer_series(snapshot: Snapshot, request: SeriesRequest) -> Rows:
    """Totals by step and labels."""
    if request.step_ns < 1_000_000:
        raise RequestError(f"step must be >= 1ms, got {request.step_ns} ns")
    if request.limit < 0:
        raise RequestError(f"limit must be 0 or more, got {request.limit}")
    selection, first_tick = request.selection, request.selection.start_ns
    if first_tick is not None:
        # The first bucket ends at the range's start, so it reaches one step back, its own start included.
        selection = replace(selection, start_ns=first_tick - request.step_ns)
    resolved = resolve(snapshot, selection)
    profiles = profiles_of(snapshot, resolved)
    if first_tick is None:
        earliest = int(profiles.rows.ts.min()) if len(profiles) else 0
        first_tick = -(-earliest // request.step_ns) * request.step_ns
    # A profile counts in the bucket of its millisecond, the resolution of ticks on the wire.
    moment = profiles.rows.ts - profiles.rows.ts % 1_000_000
    tick = np.maximum(-((first_tick - moment) // request.step_ns), 0)
    if request.selection.end_ns is not None:
        inside = first_tick + tick * request.step_ns < request.selection.end_ns
        profiles, tick = profiles.take(inside), tick[inside]
    groups, group = _groups(snapshot, profiles, request.by)
    points = _sums(group, tick, profiles.rows.total, request.aggregate == "avg")
    table, shown = _ranked(groups, points, first_tick, request)
    if request.exemplars:
        found = largest_of_points(snapshot, profiles, points.of_profile, request.by)
        table = table.append_column("exemplar", pa.array(found, _EXEMPLAR).take(pa.array(shown)))
    return Rows(table, resolved.plan.profile_type, resolved.notes)


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


def _sums(group: IntArray, tick: IntArray, total: IntArray, average: bool) -> _Points:
    ticks = int(tick.max(initial=0)) + 1
    encoded = pa.array(group * ticks + tick).dictionary_encode()
    point = encoded.indices.to_numpy()
    key = encoded.dictionary.to_numpy()
    value = np.zeros(len(key), np.int64)
    np.add.at(value, point, total)
    mean = value / np.bincount(point, minlength=len(key)) if average else value.astype(np.float64)
    return _Points(key // ticks, key % ticks, mean, point.astype(np.int64))


def _ranked(
    groups: Sequence[Labels], points: _Points, first_tick: int, request: SeriesRequest
) -> tuple[pa.Table, IntArray]:
    """Series by sum of values descending, then by labels; points ascending; and which points these are."""
    sums = np.bincount(points.group, weights=points.value, minlength=len(groups))
    ranking = sorted(range(len(groups)), key=lambda g: (-sums[g], groups[g]))
    chosen = ranking[: request.limit] if request.limit else ranking
    rank = np.full(len(groups), -1, np.int64)
    rank[chosen] = np.arange(len(chosen))
    kept = np.flatnonzero(rank[points.group] >= 0)
    shown = kept[np.lexsort((points.tick[kept], rank[points.group][kept]))]
    group, tick, value = (column[shown] for column in (points.group, points.tick, points.value))
    labels = pa.array([list(labels) for labels in groups], _MAP).take(pa.array(group))
    table = pa.table(
        {"labels": labels, "ts": first_tick + tick * request.step_ns, "value": value}, schema=_POINTS
    )
    return table, shown


def answer_profiles(snapshot: Snapshot, request: ProfilesRequest) -> Rows:
    """Single profiles, newest first."""
    resolved = resolve_all_types(snapshot, request.selection)
    profiles = profiles_of(snapshot, resolved)
    order = np.argsort(-profiles.rows.ts, kind="stable")
    if request.limit > 0:
        order = order[: request.limit]
    tables = [
        _described(snapshot, resolved, profiles.take(order), number) for number in range(len(profiles.ulids))
    ]
    if not tables:
        return Rows(_PROFILES.empty_table())
    table = pa.concat_tables(tables)
    return Rows(
        table.sort_by([("ts", "descending"), ("profile_id", "ascending")]), resolved.plan.profile_type
    )


_PROFILES = pa.schema(
    [
        ("profile_id", pa.string()),
        ("ts", pa.int64()),
        ("profile_type", pa.string()),
        ("service_name", pa.string()),
        ("labels", _MAP),
        ("samples", pa.int64()),
        ("total", pa.int64()),
        ("duration_ns", pa.int64()),
    ]
)


def _described(snapshot: Snapshot, resolved: Resolved, profiles: Profiles, number: int) -> pa.Table:
    """The profiles of one block with their labels."""
    mine = profiles.take(profiles.block == number)
    block = snapshot.blocks[profiles.ulids[number]]
    index = block.index.table.take(pa.array(mine.rows.series))
    stored = block.block.table("profiles", ["profile_id", "duration_ns"]).take(pa.array(mine.rows.row))
    ids = [str(value) for value in stored.column("profile_id").to_pylist()]
    return pa.table(
        {
            "profile_id": pa.array(ids, pa.string()),
            "ts": mine.rows.ts,
            "profile_type": index.column("profile_type"),
            "service_name": index.column("service_name"),
            "labels": index.column("labels"),
            "samples": mine.rows.n,
            "total": mine.rows.total,
            "duration_ns": stored.column("duration_ns"),
        },
        schema=_PROFILES,
    )
