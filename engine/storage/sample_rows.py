"""The `profiles` and `samples` tables of a block: copies dropped, rows sorted, stacks numbered by use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ...schema.profile import CARRIED
from ..trie import offsets_of
from .numbering import first_rows, flat_array
from .sample_columns import Collected

IntArray = npt.NDArray[np.int64]
U64Array = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class SeriesFacts:
    """What the index says of the profiles of each series; times are null where it has none."""

    min_ts: pa.Array
    max_ts: pa.Array
    profiles: IntArray
    samples: IntArray

    @classmethod
    def of(cls, count: int, series: IntArray, ts: IntArray, n: IntArray) -> SeriesFacts:
        """Of profiles that are sorted by series and time; `n` samples each."""
        bounds = np.searchsorted(series, np.arange(count + 1))
        empty = bounds[1:] == bounds[:-1]
        last_row = max(len(ts) - 1, 0)
        padded = ts if len(ts) else np.zeros(1, np.int64)
        return cls(
            min_ts=pa.array(padded[np.minimum(bounds[:-1], last_row)], mask=empty),
            max_ts=pa.array(padded[np.clip(bounds[1:] - 1, 0, last_row)], mask=empty),
            profiles=np.diff(bounds),
            samples=np.diff(offsets_of(n)[bounds]),
        )


@dataclass(frozen=True)
class SampleRows:
    """The two tables without the `block` column, and what index and metadata need of them.

    `samples` lacks what the profile of a sample says too. `part_stacks` holds, for each part, the rows of its stacks in
    the order of their numbers; `part_samples` how many samples it has.
    """

    profiles: pa.Table
    samples: pa.Table
    part_stacks: Sequence[IntArray]
    part_samples: Sequence[int]
    profile_part: IntArray
    series_part: IntArray
    series: SeriesFacts


@dataclass(frozen=True)
class _Placed:
    """Profiles in stored order: `rows` are input rows; several input rows may be one stored profile."""

    rows: IntArray
    number: IntArray
    leaders: IntArray
    series: IntArray
    ts: IntArray


def arrange_samples(
    profiles: pa.Table, attempts: IntArray, samples: Collected, series: pa.Table, labelsets: pa.Table
) -> SampleRows:
    """Sort by part, series, time, profile, stack; a profile that comes again under another attempt is a copy.

    `series` carries `series_id` and `part` in stored order; `attempts` tells, for each row of `profiles`, which
    adding brought it: rows of one key and one attempt are one profile in pieces. Works part by part, which
    bounds memory.
    """
    part_of_series = series.column("part").to_numpy().astype(np.int64)
    placed = _place(
        profiles, attempts, first_rows(series.column("series_id"), profiles.column("series_id"), strict=True)
    )
    n = profiles.column("n").to_numpy().astype(np.int64)
    part_of_row = part_of_series[placed.series[placed.number]]
    bounds = np.searchsorted(part_of_row, np.arange(int(part_of_series.max(initial=-1)) + 2))
    parts = [
        _arrange_part(samples, _Span.of(n, placed, first, last), labelsets)
        for first, last in pairwise(bounds)
    ]
    counts = np.zeros(len(placed.leaders), np.int64)
    sums = np.zeros(len(placed.leaders), np.int64)
    for part in parts:
        counts += np.bincount(part.owner, minlength=len(counts))
        np.add.at(sums, part.owner, part.value)
    return SampleRows(
        profiles=_profile_table(
            profiles, placed, part_of_series, _Counts(offsets_of(counts)[:-1], counts, sums)
        ),
        samples=_sample_table(parts),
        part_stacks=[part.stacks for part in parts],
        part_samples=[len(part.value) for part in parts],
        profile_part=part_of_series[placed.series],
        series_part=part_of_series,
        series=SeriesFacts.of(len(part_of_series), placed.series, placed.ts, counts),
    )


@dataclass(frozen=True)
class _Span:
    """The collected rows of some placed profiles, in their order, and the profile of each."""

    take: IntArray
    owner: IntArray

    @classmethod
    def of(cls, n: IntArray, placed: _Placed, first: int, last: int) -> _Span:
        rows = placed.rows[first:last]
        lengths = n[rows]
        offsets = offsets_of(lengths)
        starts = offsets_of(n)[rows]
        take = np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], lengths)
        return cls(take, np.repeat(placed.number[first:last], lengths))


@dataclass(frozen=True)
class _Part:
    """The samples of one part, sorted; `stacks` are rows of the stacks table in the order of their numbers."""

    owner: npt.NDArray[np.uint32]
    stack: npt.NDArray[np.uint32]
    value: IntArray
    extras: dict[str, pa.Array]
    stacks: IntArray


def _arrange_part(samples: Collected, span: _Span, labelsets: pa.Table) -> _Part:
    stack, stacks = _number_stacks(samples.stack_row[span.take])
    extras = _extras(samples, span.take, labelsets)
    owner, stack, value, extras = sorted_rows(span.owner, stack, samples.value[span.take], extras)
    return _Part(owner.astype(np.uint32), stack.astype(np.uint32), value, extras, stacks)


def _number_stacks(rows: npt.NDArray[np.uint32]) -> tuple[IntArray, IntArray]:
    """Dense stack numbers, the most used first; and the row of each number."""
    encoded = pa.array(rows).dictionary_encode()
    seen = encoded.indices.to_numpy()
    distinct = encoded.dictionary.to_numpy().astype(np.int64)
    by_use = np.argsort(-np.bincount(seen, minlength=len(distinct)), kind="stable")
    rank = np.empty(len(distinct), np.int64)
    rank[by_use] = np.arange(len(distinct))
    return rank[seen], distinct[by_use]


def _sample_table(parts: Sequence[_Part]) -> pa.Table:
    """The columns in one chunk a part, so that none is copied to be joined."""
    columns = {
        "stack": pa.chunked_array([part.stack for part in parts], pa.uint32()),
        "value": pa.chunked_array([part.value for part in parts], pa.int64()),
    }
    for name in parts[0].extras if parts else ():
        columns[name] = pa.chunked_array([part.extras[name] for part in parts])
    return pa.table(columns)


@dataclass(frozen=True)
class _Counts:
    start: IntArray
    n: IntArray
    total: IntArray


def _place(profiles: pa.Table, attempts: IntArray, series: IntArray) -> _Placed:
    ts = profiles.column("ts").to_numpy()
    high, low = id_words(profiles.column("profile_id"))
    order = np.lexsort((attempts, low, high, ts, series))
    keys = [column[order] for column in (series, ts, high, low)]
    new = np.append(True, np.logical_or.reduce([k[1:] != k[:-1] for k in keys]))[: len(order)]
    number = np.cumsum(new) - 1
    leaders = order[new]
    same_attempt = attempts[order] == attempts[leaders][number] if len(order) else np.zeros(0, np.bool_)
    return _Placed(order[same_attempt], number[same_attempt], leaders, series[leaders], ts[leaders])


def id_words(ids: pa.ChunkedArray | pa.Array) -> tuple[U64Array, U64Array]:
    """High and low 64 bits of 16-byte ids, which sort as the bytes do."""
    flat = flat_array(ids)
    words = np.frombuffer(flat.buffers()[1] or b"", ">u8")[2 * flat.offset : 2 * (flat.offset + len(flat))]
    return words[0::2].astype(np.uint64), words[1::2].astype(np.uint64)


def _extras(samples: Collected, take: IntArray, labelsets: pa.Table) -> dict[str, pa.Array]:
    """The nullable columns that any sample of the block fills, in stored form, for some rows."""
    extras: dict[str, pa.Array] = {}
    if samples.labelset_id is not None:
        rows = first_rows(labelsets.column("labelset_id"), pa.array(samples.labelset_id[take]))
        extras["labelset"] = pa.array(np.maximum(rows, 0).astype(np.uint32), mask=rows < 0)
    if samples.span_id is not None:
        span_id = samples.span_id[take]
        extras["span_id"] = pa.array(span_id, mask=span_id == 0)
    if samples.trace_id is not None:
        extras["trace_id"] = samples.trace_id.take(pa.array(take))
    return extras


def sorted_rows(
    owner: IntArray, stack: IntArray, value: IntArray, extras: dict[str, pa.Array]
) -> tuple[IntArray, IntArray, IntArray, dict[str, pa.Array]]:
    """Order by (profile, stack, extras); rows equal in all of them are summed, and zero sums left out."""
    key = owner << 32 | stack
    codes = [_codes(column) for column in extras.values()]
    # Rows of one key become one, so that their order among themselves is nothing to sort for.
    order = np.lexsort([*reversed(codes), key]) if codes else np.argsort(key)
    key, value = key[order], value[order]
    codes = [code[order] for code in codes]
    new = np.append(True, np.logical_or.reduce([k[1:] != k[:-1] for k in (key, *codes)]))[: len(key)]
    if not new.all():
        first = np.flatnonzero(new)
        sums = np.add.reduceat(value, first)
        keep = sums != 0
        key, value, order = key[first][keep], sums[keep], order[first][keep]
    taken = {name: column.take(pa.array(order)) for name, column in extras.items()}
    return key >> 32, key & 0xFFFFFFFF, value, taken


def _codes(column: pa.Array) -> IntArray:
    """Small integers that are equal where the values are."""
    encoded = column.dictionary_encode(null_encoding="encode")
    codes: IntArray = encoded.indices.to_numpy().astype(np.int64)
    return codes


def _profile_table(
    profiles: pa.Table, placed: _Placed, part_of_series: IntArray, counts: _Counts
) -> pa.Table:
    leaders = profiles.take(pa.array(placed.leaders))
    upload = leaders.column("upload_id").combine_chunks()
    same = pa.compute.equal(upload, leaders.column("profile_id").combine_chunks())
    numbered = {
        "part": pa.array(part_of_series[placed.series], pa.uint32()),
        "series": pa.array(placed.series, pa.uint32()),
        "ts": pa.array(placed.ts, pa.int64()),
        "profile_id": _as_uuid(leaders.column("profile_id").combine_chunks()),
        "upload_id": _as_uuid(pa.compute.if_else(same, pa.scalar(None, upload.type), upload)),
        "start": pa.array(counts.start, pa.uint64()),
        "n": pa.array(counts.n, pa.uint32()),
        "total": pa.array(counts.total, pa.int64()),
    }
    return pa.table(numbered | {name: leaders.column(name) for name in CARRIED})


def _as_uuid(ids: pa.Array) -> pa.Array:
    return pa.ExtensionArray.from_storage(pa.uuid(), ids)
