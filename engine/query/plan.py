"""Which rows of which blocks a question needs: values only, no I/O.

A plan is made of block ULIDs, part numbers and runs of series, so that it can be sent to another process. The
same profile may be in several blocks (a retry, a replica): one owner is chosen for each, the other copies are
excluded by their row ranges.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]
U64Array = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class PartScan:
    """Series to read in one part, as half-open runs of series numbers."""

    part: int
    series_runs: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class BlockScan:
    """What to read in one block. `timed` says that its rows must be compared with the plan's range."""

    ulid: str
    parts: tuple[PartScan, ...]
    timed: bool

    @property
    def series(self) -> IntArray:
        """The series numbers of all parts, ascending."""
        runs = [np.arange(first, last) for part in self.parts for first, last in part.series_runs]
        return np.concatenate(runs) if runs else np.zeros(0, np.int64)


@dataclass(frozen=True)
class Picked:
    """Only the samples of some spans, or of some traces: `column` of the samples is one of the ids."""

    column: Literal["span_id", "trace_id"]
    span_ids: tuple[int, ...] = ()
    trace_ids: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class Plan:
    """What to read for one question, of one catalog version; the range is `[start_ns, end_ns)`.

    `picked` leaves out all samples but some.
    """

    profile_type: str
    start_ns: int | None
    end_ns: int | None
    scans: tuple[BlockScan, ...]
    catalog_version: int = 0
    picked: Picked | None = None


@dataclass(frozen=True)
class SeriesSpan:
    """Series chosen in one block, and the times of their first and last profiles."""

    ulid: str
    series_id: U64Array
    min_ts: IntArray
    max_ts: IntArray


@dataclass(frozen=True)
class ProfileKeys:
    """The identity of some profiles of one block: dedup key, and position among the block's profiles."""

    ulid: str
    series_id: U64Array
    ts: IntArray
    id_high: U64Array
    id_low: U64Array
    row: IntArray


def scan_of(ulid: str, part: IntArray, series: IntArray, timed: bool) -> BlockScan:
    """The scan of some series (ascending); `part` is the part of each."""
    parts = [PartScan(int(number), runs_of(series[part == number])) for number in np.unique(part)]
    return BlockScan(ulid, tuple(parts), timed)


def runs_of(numbers: IntArray) -> tuple[tuple[int, int], ...]:
    """Ascending numbers as half-open runs."""
    if not len(numbers):
        return ()
    breaks = np.flatnonzero(np.diff(numbers) != 1)
    first = np.append(numbers[0], numbers[breaks + 1])
    last = np.append(numbers[breaks], numbers[-1]) + 1
    return tuple(zip(first.tolist(), last.tolist(), strict=True))


def overlapping_series(spans: Sequence[SeriesSpan]) -> U64Array:
    """Series that are in more than one block with times that overlap: only these can hold copies."""
    if len(spans) < 2:
        return np.zeros(0, np.uint64)
    series = np.concatenate([span.series_id for span in spans])
    start = np.concatenate([span.min_ts for span in spans])
    end = np.concatenate([span.max_ts for span in spans])
    order = np.lexsort((start, series))
    series, start, end = series[order], start[order], end[order]
    same = series[1:] == series[:-1]
    # The running latest end within a series: a later span that starts before it overlaps some earlier one.
    latest = end.copy()
    for i in np.flatnonzero(same):
        latest[i + 1] = max(latest[i], latest[i + 1])
    return np.unique(series[1:][same & (start[1:] <= latest[:-1])])


def copies(keys: Sequence[ProfileKeys]) -> Mapping[str, IntArray]:
    """Rows, by block, of profiles that an earlier block in `keys` has as well."""
    if not keys:
        return {}
    block = np.repeat(np.arange(len(keys)), [len(k.row) for k in keys])
    columns = [
        np.concatenate([getattr(k, name) for k in keys]) for name in ("id_low", "id_high", "ts", "series_id")
    ]
    order = np.lexsort((block, *columns))
    again = np.zeros(len(order), np.bool_)
    equal = np.logical_and.reduce([c[order][1:] == c[order][:-1] for c in columns])
    again[order[1:]] = equal
    rows = np.concatenate([k.row for k in keys])
    return {k.ulid: rows[again & (block == i)] for i, k in enumerate(keys) if (again & (block == i)).any()}
