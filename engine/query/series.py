"""Totals in time, and lists of single profiles: answers from the profiles tables, without touching samples."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ...schema.errors import RequestError
from ...schema.request import ProfilesRequest, Rows, SeriesRequest
from .exemplars import largest_of_points
from .series_points import Buckets, PointSums, shifted, sums_elsewhere, sums_of
from .snapshot import Resolved, Snapshot, resolve, resolve_all_types
from .weights import Profiles, profiles_of

IntArray = npt.NDArray[np.int64]

_MAP = pa.map_(pa.string(), pa.string())
_EXEMPLAR = pa.struct(
    [("ts", pa.int64()), ("profile_id", pa.string()), ("value", pa.int64()), ("labels", _MAP)]
)
_POINTS = pa.schema([("labels", _MAP), ("ts", pa.int64()), ("value", pa.float64())])


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
    buckets = Buckets(first_tick, request.step_ns, request.by)
    if snapshot.elsewhere is not None and not request.exemplars:
        sums = sums_elsewhere(snapshot, snapshot.elsewhere, resolved, buckets)
        table = _ranked(*_from_first(sums, buckets), request)[0]
        return Rows(table, resolved.plan.profile_type, resolved.notes)
    profiles = profiles_of(snapshot, resolved)
    if first_tick is None:
        earliest = int(profiles.rows.ts.min()) if len(profiles) else 0
        buckets = replace(buckets, first_tick=_first_tick(earliest, request.step_ns))
    sums, point = sums_of(snapshot, profiles, buckets)
    table, shown = _ranked(sums, buckets.first_tick or 0, request)
    if request.exemplars:
        found = largest_of_points(snapshot, profiles, point, request.by)
        table = table.append_column("exemplar", pa.array(found, _EXEMPLAR).take(pa.array(shown)))
    return Rows(table, resolved.plan.profile_type, resolved.notes)


def _first_tick(earliest_ts: int, step_ns: int) -> int:
    """The first multiple of the step that is not before a time."""
    return -(-earliest_ts // step_ns) * step_ns


def _from_first(sums: PointSums, buckets: Buckets) -> tuple[PointSums, int]:
    """Sums with ticks counted from the first, and that."""
    if buckets.first_tick is not None:
        return sums, buckets.first_tick
    first_tick = _first_tick(sums.earliest_ts or 0, buckets.step_ns)
    return shifted(sums, first_tick // buckets.step_ns), first_tick


def _ranked(sums: PointSums, first_tick: int, request: SeriesRequest) -> tuple[pa.Table, IntArray]:
    """Series by sum of values descending, then by labels; points ascending; and which points these are."""
    groups = sums.groups
    values = sums.total / sums.profiles if request.aggregate == "avg" else sums.total.astype(np.float64)
    time = first_tick + sums.tick * request.step_ns
    end_ns = request.selection.end_ns
    inside = np.ones(len(time), np.bool_) if end_ns is None else time < end_ns
    whole = np.bincount(sums.group[inside], weights=values[inside], minlength=len(groups))
    there = np.bincount(sums.group[inside], minlength=len(groups)) > 0
    ranking = sorted(np.flatnonzero(there).tolist(), key=lambda g: (-whole[g], groups[g]))
    chosen = ranking[: request.limit] if request.limit else ranking
    rank = np.full(len(groups), -1, np.int64)
    rank[chosen] = np.arange(len(chosen))
    kept = np.flatnonzero(inside & (rank[sums.group] >= 0))
    shown = kept[np.lexsort((sums.tick[kept], rank[sums.group][kept]))]
    labels = pa.array([list(labels) for labels in groups], _MAP).take(pa.array(sums.group[shown]))
    table = pa.table({"labels": labels, "ts": time[shown], "value": values[shown]}, schema=_POINTS)
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
