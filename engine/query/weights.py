"""How single profiles count when values are not simply summed: averages, the newest, differences.

Summing 40 ticks of `inuse_space` is not memory. `avg` is the sum over series of its values divided by its
number of profiles, empty ones included; `last` the sum over series of its newest profile. `delta` turns
cumulative values into growth: each profile counts its difference to the one before it in its series, stack by
stack; a fall restarts at the new value; the first profile counts nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from ...schema.request import Aggregate
from .opened import ProfileRows
from .snapshot import Resolved, Snapshot
from .source import Weights
from .stack_totals import expand_ranges, split_by_part

IntArray = npt.NDArray[np.int64]
U64Array = npt.NDArray[np.uint64]


AVERAGE_SCALE = 1024
"""Averages are carried in this many parts of a unit until all blocks are added up."""


@dataclass(frozen=True)
class Profiles:
    """The profiles of a plan, copies left out, of all its blocks. `block` numbers `ulids`."""

    ulids: tuple[str, ...]
    block: IntArray
    series_id: U64Array
    rows: ProfileRows

    def __len__(self) -> int:
        return len(self.block)

    def take(self, chosen: IntArray | npt.NDArray[np.bool_]) -> Profiles:
        """A selection of the profiles."""
        return Profiles(self.ulids, self.block[chosen], self.series_id[chosen], self.rows.take(chosen))


def profiles_of(snapshot: Snapshot, resolved: Resolved) -> Profiles:
    """Every profile that a question counts, in block order."""
    plan = resolved.plan
    found: list[ProfileRows] = []
    series_ids: list[U64Array] = []
    for scan in plan.scans:
        block = snapshot.blocks[scan.ulid]
        rows = block.profiles(scan.series, plan.start_ns, plan.end_ns)
        excluded = resolved.weights.excluded.get(scan.ulid)
        if excluded is not None:
            rows = rows.take(~np.isin(rows.row, excluded))
        found.append(rows)
        series_ids.append(block.index.series_id[rows.series])
    block_numbers = np.repeat(np.arange(len(found)), [len(rows) for rows in found]).astype(np.int64)
    columns: list[Any] = [_joined([getattr(rows, f.name) for rows in found]) for f in fields(ProfileRows)]
    joined = ProfileRows(*columns)
    ulids = tuple(scan.ulid for scan in plan.scans)
    return Profiles(ulids, block_numbers, np.concatenate(series_ids or [np.zeros(0, np.uint64)]), joined)


def _joined(columns: list[IntArray]) -> IntArray:
    return np.concatenate(columns) if columns else np.zeros(0, np.int64)


def weighted(snapshot: Snapshot, resolved: Resolved, aggregate: Aggregate) -> Weights:
    """The weights of an aggregate; for `sum` those of `resolved`."""
    if aggregate == "sum":
        return resolved.weights
    profiles = profiles_of(snapshot, resolved)
    if aggregate == "avg":
        _, series, counts = np.unique(profiles.series_id, return_inverse=True, return_counts=True)
        return by_block(profiles, AVERAGE_SCALE / counts[series], AVERAGE_SCALE)
    newest = profiles.take(newest_of_series(profiles))
    return by_block(newest, np.ones(len(newest)))


def newest_of_series(profiles: Profiles) -> IntArray:
    """The position of each series' newest profile."""
    order = np.lexsort((profiles.rows.id_low, profiles.rows.id_high, profiles.rows.ts, profiles.series_id))
    last = np.append(profiles.series_id[order][1:] != profiles.series_id[order][:-1], True)[: len(order)]
    newest: IntArray = order[last]
    return newest


def by_block(profiles: Profiles, weight: npt.NDArray[np.float64], scale: int = 1) -> Weights:
    """Weights in the form a source takes."""
    chosen: Mapping[str, tuple[IntArray, npt.NDArray[np.float64]]] = {
        ulid: (profiles.rows.row[profiles.block == number], weight[profiles.block == number])
        for number, ulid in enumerate(profiles.ulids)
    }
    return Weights(weighted=chosen, scale=scale)


def deltas(snapshot: Snapshot, resolved: Resolved) -> Weights:
    """Growth of cumulative values from profile to profile of each series."""
    profiles = profiles_of(snapshot, resolved)
    order = np.lexsort((profiles.rows.id_low, profiles.rows.id_high, profiles.rows.ts, profiles.series_id))
    ordered = profiles.take(order)
    starts_series = np.append(True, ordered.series_id[1:] != ordered.series_id[:-1])[: len(ordered)]
    samples = _samples_of(snapshot, ordered)
    key = np.lexsort((samples.profile, samples.stack_id, ordered.series_id[samples.profile]))
    profile, stack_id, value = samples.profile[key], samples.stack_id[key], samples.value[key]
    follows = np.append(False, (stack_id[1:] == stack_id[:-1]) & (profile[1:] == profile[:-1] + 1))[
        : len(key)
    ]
    follows &= ~starts_series[profile]
    before = np.where(follows, np.append(0, value[:-1])[: len(key)], 0)
    growth = np.where(value >= before, value - before, value)
    growth[starts_series[profile]] = 0
    sums = np.empty(len(key), np.int64)
    sums[key] = growth
    given = {}
    for number, ulid in enumerate(ordered.ulids):
        here = ordered.block[samples.profile] == number
        given[ulid] = split_by_part(samples.part[here], samples.stack[here], sums[here])
    return Weights(given=given)


@dataclass(frozen=True)
class _Samples:
    """Sample rows; `profile` is the position in the profiles they were read for."""

    profile: IntArray
    part: IntArray
    stack: IntArray
    stack_id: U64Array
    value: IntArray


def _samples_of(snapshot: Snapshot, profiles: Profiles) -> _Samples:
    """The samples of some profiles, with stacks known across blocks."""
    pieces: list[_Samples] = []
    for number, ulid in enumerate(profiles.ulids):
        here = np.flatnonzero(profiles.block == number)
        rows, owner = expand_ranges(profiles.rows.start[here], profiles.rows.n[here])
        if not len(rows):
            continue
        block = snapshot.blocks[ulid]
        low, high = int(rows.min()), int(rows.max()) + 1
        table = block.block.table("samples", ["part", "stack", "value"], (low, high)).take(rows - low)
        part, stack, value = (
            table.column(name).to_numpy().astype(np.int64) for name in ("part", "stack", "value")
        )
        stack_id = np.empty(len(rows), np.uint64)
        for one in np.unique(part):
            stack_id[part == one] = block.stacks(int(one)).stack_id[stack[part == one]]
        pieces.append(_Samples(here[owner], part, stack, stack_id, value))
    columns: list[Any] = [_joined([getattr(piece, f.name) for piece in pieces]) for f in fields(_Samples)]
    return _Samples(*columns)
