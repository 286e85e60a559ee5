"""The `profiles` and `samples` tables of a block: copies dropped, rows sorted, stacks numbered by use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ..trie import offsets_of
from .numbering import first_rows

IntArray = npt.NDArray[np.int64]
U64Array = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class SampleRows:
    """The two tables without the `block` column, and what index and metadata need of them.

    `part_stacks` holds, for each part, the stack ids in the order of their numbers.
    """

    profiles: pa.Table
    samples: pa.Table
    part_stacks: Sequence[U64Array]
    profile_part: IntArray
    sample_part: IntArray
    series_part: IntArray
    series_min_ts: pa.Array
    series_max_ts: pa.Array
    series_profiles: IntArray
    series_samples: IntArray


@dataclass(frozen=True)
class _Placed:
    """Profiles in stored order: `rows` are input rows; several input rows may be one stored profile."""

    rows: IntArray
    number: IntArray
    leaders: IntArray
    series: IntArray
    ts: IntArray


def arrange_samples(
    profiles: pa.Table, samples: pa.Table, attempts: IntArray, series: pa.Table, labelsets: pa.Table
) -> SampleRows:
    """Sort by part, series, time, profile, stack; a profile that comes again under another attempt is a copy.

    `series` carries `series_id` and `part` in stored order; `attempts` tells, for each row of `profiles`, which
    adding brought it: rows of one key and one attempt are one profile in pieces.
    """
    part_of_series = series.column("part").to_numpy().astype(np.int64)
    placed = _place(
        profiles, attempts, first_rows(series.column("series_id"), profiles.column("series_id"), strict=True)
    )
    take, owner = _sample_order(profiles, placed)
    ids = samples.column("stack_id").to_numpy()[take]
    part = part_of_series[placed.series[owner]]
    stack, part_stacks = _number_stacks(ids, part, int(part_of_series.max(initial=-1)) + 1)
    extras = _extras(samples, take, labelsets)
    rows = _sorted_rows(owner, stack, samples.column("value").to_numpy()[take], extras)
    owner, stack, value, extras = rows
    counts = np.bincount(owner, minlength=len(placed.leaders)).astype(np.int64)
    starts = offsets_of(counts)
    sums = np.zeros(len(placed.leaders), np.int64)
    np.add.at(sums, owner, value)
    series_of_profile = placed.series
    sample_series = series_of_profile[owner]
    table = pa.table(
        {
            "part": pa.array(part_of_series[sample_series], pa.uint32()),
            "series": pa.array(sample_series, pa.uint32()),
            "ts": pa.array(placed.ts[owner], pa.int64()),
            "stack": pa.array(stack, pa.uint32()),
            "value": pa.array(value, pa.int64()),
            **extras,
        }
    )
    stored = _profile_table(profiles, placed, part_of_series, _Counts(starts[:-1], counts, sums))
    return _with_series_facts(stored, table, placed, part_of_series, part_stacks, counts)


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


def id_words(ids: pa.ChunkedArray) -> tuple[U64Array, U64Array]:
    """High and low 64 bits of 16-byte ids, which sort as the bytes do."""
    flat = ids.combine_chunks()
    words = np.frombuffer(flat.buffers()[1] or b"", ">u8")[2 * flat.offset : 2 * (flat.offset + len(flat))]
    return words[0::2].astype(np.uint64), words[1::2].astype(np.uint64)


def _sample_order(profiles: pa.Table, placed: _Placed) -> tuple[IntArray, IntArray]:
    """Rows of `samples` in order of stored profile, and the profile of each."""
    n = profiles.column("n").to_numpy().astype(np.int64)
    starts = offsets_of(n)
    lengths = n[placed.rows]
    offsets = offsets_of(lengths)
    take = np.arange(offsets[-1]) + np.repeat(starts[placed.rows] - offsets[:-1], lengths)
    return take, np.repeat(placed.number, lengths)


def _number_stacks(ids: U64Array, part: IntArray, parts: int) -> tuple[IntArray, list[U64Array]]:
    """Dense stack numbers within each part, the most used first; and the ids by number."""
    numbers = np.empty(len(ids), np.int64)
    by_number: list[U64Array] = []
    bounds = np.searchsorted(part, np.arange(parts + 1))
    for start, stop in pairwise(bounds):
        encoded = pa.array(ids[start:stop]).dictionary_encode()
        seen = encoded.indices.to_numpy()
        distinct = encoded.dictionary.to_numpy()
        by_use = np.argsort(-np.bincount(seen, minlength=len(distinct)), kind="stable")
        rank = np.empty(len(distinct), np.int64)
        rank[by_use] = np.arange(len(distinct))
        numbers[start:stop] = rank[seen]
        by_number.append(distinct[by_use])
    return numbers, by_number


def _extras(samples: pa.Table, take: IntArray, labelsets: pa.Table) -> dict[str, pa.Array]:
    """The nullable columns that any sample fills, in stored form."""
    extras: dict[str, pa.Array] = {}
    labelset_ids = samples.column("labelset_id").to_numpy()
    if labelset_ids.any():
        rows = first_rows(labelsets.column("labelset_id"), pa.array(labelset_ids[take]))
        extras["labelset"] = (
            pa.array(rows, pa.uint32(), mask=rows < 0) if (rows < 0).any() else pa.array(rows, pa.uint32())
        )
    span_ids = samples.column("span_id").to_numpy()
    if span_ids.any():
        extras["span_id"] = pa.array(span_ids[take], mask=span_ids[take] == 0)
    if samples.column("trace_id").null_count < len(samples):
        extras["trace_id"] = samples.column("trace_id").take(pa.array(take)).combine_chunks()
    return extras


def _sorted_rows(
    owner: IntArray, stack: IntArray, value: IntArray, extras: dict[str, pa.Array]
) -> tuple[IntArray, IntArray, IntArray, dict[str, pa.Array]]:
    """Order by (profile, stack, extras); rows equal in all of them are summed, and zero sums left out."""
    key = owner << 32 | stack
    codes = [_codes(column) for column in extras.values()]
    order = np.lexsort([*reversed(codes), key]) if codes else np.argsort(key, kind="stable")
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
    carried = (
        "type_no",
        "rules",
        "period",
        "duration_ns",
        "default_sample_type",
        "drop_frames",
        "keep_frames",
        "comments",
        "doc_url",
        "mappings",
    )
    return pa.table(numbered | {name: leaders.column(name) for name in carried})


def _as_uuid(ids: pa.Array) -> pa.Array:
    return pa.ExtensionArray.from_storage(pa.uuid(), ids)


def _with_series_facts(
    profiles: pa.Table,
    samples: pa.Table,
    placed: _Placed,
    part_of_series: IntArray,
    part_stacks: Sequence[U64Array],
    counts: IntArray,
) -> SampleRows:
    series_count = len(part_of_series)
    bounds = np.searchsorted(placed.series, np.arange(series_count + 1))
    starts = offsets_of(counts)
    empty = bounds[1:] == bounds[:-1]
    last_row = max(len(placed.ts) - 1, 0)
    padded = placed.ts if len(placed.ts) else np.zeros(1, np.int64)
    return SampleRows(
        profiles=profiles,
        samples=samples,
        part_stacks=part_stacks,
        profile_part=part_of_series[placed.series],
        sample_part=part_of_series[placed.series].repeat(counts),
        series_part=part_of_series,
        series_min_ts=pa.array(padded[np.minimum(bounds[:-1], last_row)], mask=empty),
        series_max_ts=pa.array(padded[np.clip(bounds[1:] - 1, 0, last_row)], mask=empty),
        series_profiles=np.diff(bounds),
        series_samples=np.diff(starts[bounds]),
    )
