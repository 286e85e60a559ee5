"""One decoded batch to content-keyed tables, all in passes over whole columns.

Profiles that contradict themselves are taken out, with the reason, and the rest is done again without them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ...schema import identity, profile
from ...schema.labels import METRIC_NAME, SERVICE_NAME
from ...schema.profile import RULES, NormalisedBatch, Rules
from .columns import BadProfiles, Column, IntArray, refuse
from .context import DEFAULT_LIMITS, ProfileContext, PushLimits
from .sample_labels import SampleLabels, kept_labels, read_labels, split_labels
from .series import UNKNOWN_SERVICE, SeriesTable, ValueType, base_labels, label_fault, metric_name, series_of
from .stacks import Stacks, read_stacks
from .symbols import Strings, read_symbols


@dataclass(frozen=True)
class Normalised:
    """The good profiles as one batch; why others were refused, by their number in the input; warnings."""

    batch: NormalisedBatch
    refused: dict[int, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def normalise(
    decoded: pa.RecordBatch,
    contexts: Sequence[ProfileContext],
    rules: Rules,
    limits: PushLimits = DEFAULT_LIMITS,
) -> Normalised:
    """Normalise one row of `decoded` (schema `profile.DECODED`) for each context.

    `limits` count under the pyroscope rules only. Raises `CorruptBlock` on a hash collision.
    """
    numbers = np.arange(decoded.num_rows)
    refused: dict[int, str] = {}
    while len(numbers):
        try:
            batch, warnings = _normalise(decoded, [contexts[n] for n in numbers], rules, limits)
            return Normalised(batch, refused, warnings)
        except BadProfiles as bad:
            refused |= {int(numbers[n]): reason for n, reason in bad.reasons.items()}
            keep = np.setdiff1d(np.arange(len(numbers)), list(bad.reasons))
            decoded, numbers = decoded.take(pa.array(keep)), numbers[keep]
    return Normalised(NormalisedBatch(), refused)


@dataclass(frozen=True)
class _Header:
    """What a profile says once: strings are texts here."""

    sample_types: list[list[ValueType]]
    period_types: list[ValueType]
    texts: dict[str, list[str]]
    comments: list[list[str]]
    ts: IntArray


def _normalise(
    decoded: pa.RecordBatch, contexts: Sequence[ProfileContext], rules: Rules, limits: PushLimits
) -> tuple[NormalisedBatch, tuple[str, ...]]:
    pushed = rules == "pyroscope"
    strings = Strings(decoded, limits.max_string_bytes if pushed else 0)
    if pushed and len(strings.replaced):
        raise BadProfiles({int(n): "string_table has invalid UTF-8" for n in strings.replaced})
    header = _read_header(decoded, strings, contexts)
    services = [context.labels.get(SERVICE_NAME) or UNKNOWN_SERVICE for context in contexts]
    symbols = read_symbols(decoded, strings, identity.hash_texts(pa.array(services, pa.string())), fix_go=pushed)
    samples = Column.of(decoded, "sample")
    if pushed and limits.max_samples:
        over = samples.lengths > limits.max_samples
        refuse(over, np.arange(len(over)), f"profile has more than {limits.max_samples} samples")
    stacks = read_stacks(samples, symbols, limits.max_stack_depth if pushed else 0)
    label_rows = read_labels(samples, strings, limits.max_sample_labels if pushed else 0)
    labels = (split_labels if pushed else kept_labels)(samples, label_rows, strings)
    rows = _series_rows(header, contexts, labels, rules, limits)
    values = _sample_values(samples, header, stacks, labels, rows, pushed)
    profiles, kept_samples = _profile_table(decoded, contexts, header, rows, values, (symbols.mapping_hash, rules))
    batch = NormalisedBatch(
        rows.series.table(), profiles, kept_samples, stacks.table, symbols.locations,
        symbols.functions, symbols.mappings, labels.labelsets,
    )
    replaced = tuple(f"{contexts[n].origin}: invalid UTF-8 in strings was replaced" for n in strings.replaced.tolist())
    return _used_only(batch), replaced + rows.warnings


def _read_header(decoded: pa.RecordBatch, strings: Strings, contexts: Sequence[ProfileContext]) -> _Header:
    column = Column.of(decoded, "sample_type")
    numbers = np.arange(len(contexts))
    refuse(column.lengths == 0, numbers, "sample_type is empty: there are no values")
    texts = strings.text
    codes = [strings.codes(column.field(name), column.owner, f"sample_type.{name}") for name in ("type", "unit")]
    flat = list(zip(*(texts.take(pa.array(code)).to_pylist() for code in codes), strict=True))
    sample_types = [flat[a:b] for a, b in zip(column.offsets[:-1], column.offsets[1:], strict=True)]
    twice = {n: f"sample_type {_twice(kinds)} is there twice" for n, kinds in enumerate(sample_types) if _twice(kinds)}
    if twice:
        raise BadProfiles(twice)
    period = decoded.column("period_type")
    period_codes = [
        strings.codes(period.field(name).fill_null(0).to_numpy(), numbers, f"period_type.{name}") for name in ("type", "unit")
    ]
    absent = period.is_null().to_numpy(zero_copy_only=False)
    period_codes = [np.where(absent, strings.codes(numbers * 0, numbers, "period_type"), code) for code in period_codes]
    period_types = list(zip(*(texts.take(pa.array(code)).to_pylist() for code in period_codes), strict=True))
    singles = {
        name: texts.take(pa.array(strings.codes(decoded.column(name).to_numpy(), numbers, name))).to_pylist()
        for name in ("default_sample_type", "drop_frames", "keep_frames", "doc_url")
    }
    comments = Column.of(decoded, "comment")
    comment_codes = strings.codes(comments.values.to_numpy(), comments.owner, "comment")
    spoken = texts.take(pa.array(comment_codes)).to_pylist()
    per_profile = [spoken[a:b] for a, b in zip(comments.offsets[:-1], comments.offsets[1:], strict=True)]
    own_ts = decoded.column("time_nanos").to_numpy()
    ts = np.where(own_ts > 0, own_ts, np.array([context.time_ns for context in contexts], np.int64))
    refuse(ts <= 0, numbers, "time_nanos is not set, and no other time was given")
    return _Header(sample_types, period_types, singles, per_profile, ts)


def _twice(kinds: Sequence[ValueType]) -> str:
    return next((f"{kind[0]}/{kind[1]}" for kind in kinds if kinds.count(kind) > 1), "")


@dataclass(frozen=True)
class _SeriesRows:
    """One row for each (group of samples, sample type): the rows of the profiles table before empty ones go."""

    series: SeriesTable
    series_id: npt.NDArray[np.uint64]
    profile: IntArray
    type_no: IntArray
    first_of_group: IntArray
    warnings: tuple[str, ...]


def _series_rows(
    header: _Header, contexts: Sequence[ProfileContext], labels: SampleLabels, rules: Rules, limits: PushLimits
) -> _SeriesRows:
    table = SeriesTable()
    warnings: dict[str, None] = {}
    faults: dict[int, str] = {}
    ids: list[int] = []
    profiles: list[int] = []
    types: list[int] = []
    first: list[int] = []
    for number, extra in labels.groups:
        context = contexts[number]
        name = context.name or context.labels.get(METRIC_NAME, "")
        if not name:
            name, warning = metric_name(header.sample_types[number], rules)
            if warning:
                warnings[f"{context.origin}: {warning}"] = None
        # A label of the series wins over one of its samples.
        merged = dict(extra) | base_labels(context.labels, name)
        stored = tuple(sorted(merged.items()))
        fault = label_fault(stored, limits) if rules == "pyroscope" else ""
        if fault:
            faults.setdefault(number, fault)
        first.append(len(ids))
        for type_no, value_type in enumerate(header.sample_types[number]):
            if rules == "pyroscope" and "-" in value_type[0]:
                faults.setdefault(number, f"sample type {value_type[0]!r} contains -")
            ids.append(table.add(series_of(stored, value_type, header.period_types[number])))
            profiles.append(number)
            types.append(type_no)
    if faults:
        raise BadProfiles(faults)
    arrays = [np.array(column, np.int64) for column in (profiles, types, first)]
    return _SeriesRows(table, np.array(ids, np.uint64), *arrays, tuple(warnings))


@dataclass(frozen=True)
class _Values:
    """Samples in long form, by row of `_SeriesRows`: sorted by it, equal ones summed, no zeros."""

    row: IntArray
    stack_id: npt.NDArray[np.uint64]
    value: IntArray
    sample: IntArray
    table: pa.Table


def _sample_values(
    samples: Column, header: _Header, stacks: Stacks, labels: SampleLabels, rows: _SeriesRows, pushed: bool
) -> _Values:
    values = Column.nested(samples.values.field("value"))
    flat = values.values.to_numpy()
    type_counts = np.array([len(kinds) for kinds in header.sample_types])
    refuse(
        values.lengths != np.repeat(type_counts, samples.lengths), samples.owner, "sample.value count is not that of sample_type"
    )
    sample = values.owner
    keep = flat != 0
    if pushed:
        negative = np.unique(sample[flat < 0])
        keep &= ~np.isin(sample, negative)
    sample, value = sample[keep], flat[keep]
    type_no = (np.arange(len(flat)) - np.repeat(values.offsets[:-1], values.lengths))[keep]
    row = rows.first_of_group[labels.group[sample]] + type_no
    order, first = _equal_runs(row, sample, stacks, labels)
    sums = np.add.reduceat(value[order], first) if len(first) else value[:0]
    lead = order[first][sums != 0]
    sums = sums[sums != 0]
    chosen = sample[lead]
    table = pa.table(
        [
            stacks.ids[chosen],
            sums,
            labels.labelset_id[chosen],
            labels.span_id[chosen],
            labels.trace_id.take(pa.array(chosen)),
        ],
        schema=profile.SAMPLES,
    )
    return _Values(row[lead], stacks.ids[chosen], sums, chosen, table)


def _equal_runs(row: IntArray, sample: IntArray, stacks: Stacks, labels: SampleLabels) -> tuple[IntArray, IntArray]:
    """An order in which equal samples of one row are neighbours, rows ascending; and where each run starts."""
    key = stacks.ids[sample].copy()
    if labels.labelset_id.any():
        key ^= labels.labelset_id[sample] * np.uint64(3)
    if labels.span_id.any() or labels.trace_id.null_count < len(labels.trace_id):
        traces = labels.trace_id.dictionary_encode(null_encoding="encode").indices.to_numpy().astype(np.uint64)
        key = identity.combine(key, labels.span_id[sample], traces[sample])
    order = np.lexsort((key, row))
    new = np.append(True, (row[order][1:] != row[order][:-1]) | (key[order][1:] != key[order][:-1]))[: len(order)]
    return order, np.flatnonzero(new)


def _profile_table(
    decoded: pa.RecordBatch,
    contexts: Sequence[ProfileContext],
    header: _Header,
    rows: _SeriesRows,
    values: _Values,
    marks: tuple[npt.NDArray[np.uint64], Rules],
) -> tuple[pa.Table, pa.Table]:
    """The profiles table and its samples; under the pyroscope rules rows without samples are not written."""
    mapping_hash, rules = marks
    n = np.bincount(values.row, minlength=len(rows.profile))
    total = np.zeros(len(rows.profile), np.int64)
    np.add.at(total, values.row, values.value)
    at = rows.profile
    mapping = Column.of(decoded, "mapping")
    lists = pa.ListArray.from_arrays(pa.array(mapping.offsets, pa.int32()), pa.array(mapping_hash, pa.uint64()))
    upload_ids = [pa.array([getattr(c, name) for c in contexts], pa.binary(16)) for name in ("profile_id", "upload_id")]
    texts = [pa.array(header.texts[name], pa.string()) for name in ("default_sample_type", "drop_frames", "keep_frames")]
    per_profile = {
        "ts": pa.array(header.ts),
        "profile_id": upload_ids[0],
        "upload_id": upload_ids[1],
        "rules": pa.array(np.full(len(contexts), RULES.index(rules)), pa.uint8()),
        "period": decoded.column("period"),
        "duration_ns": decoded.column("duration_nanos"),
        "default_sample_type": texts[0],
        "drop_frames": texts[1],
        "keep_frames": texts[2],
        "comments": pa.array(header.comments, pa.list_(pa.string())),
        "doc_url": pa.array(header.texts["doc_url"], pa.string()),
        "mappings": lists,
    }
    columns = {name: column.take(pa.array(at)) for name, column in per_profile.items()}
    columns |= {
        "series_id": pa.array(rows.series_id, pa.uint64()),
        "n": pa.array(n, pa.uint32()),
        "total": pa.array(total),
        "type_no": pa.array(rows.type_no, pa.uint16()),
    }
    table = pa.table(columns).select(profile.PROFILES.names).cast(profile.PROFILES)
    return (table.filter(pa.array(n > 0)) if rules == "pyroscope" else table), values.table


def _used_only(batch: NormalisedBatch) -> NormalisedBatch:
    """The batch without series and stacks that no profile or sample refers to."""
    stacks, series = batch.stacks, batch.series
    used_stacks = pa.compute.is_in(stacks.column("stack_id"), value_set=batch.samples.column("stack_id").combine_chunks())
    used_series = pa.compute.is_in(series.column("series_id"), value_set=batch.profiles.column("series_id").combine_chunks())
    return replace(batch, stacks=stacks.filter(used_stacks), series=series.filter(used_series))
