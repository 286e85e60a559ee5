"""Labels of samples: kept as label sets, or split into series labels, span ids and trace ids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ...schema import identity, profile
from ...schema.labels import without_empty
from .columns import BoolArray, Column, IntArray, U64Array, distinct, gather, list_array
from .strings import Strings

LabelPairs = tuple[tuple[str, str], ...]

_SPAN_NAMES = ("span_id", "profile_id")
_TRACE_NAMES = ("trace_id",)


@dataclass(frozen=True)
class Group:
    """Samples of one profile that go into the same series; `labels` come from the samples."""

    profile: int
    labels: LabelPairs = ()


@dataclass(frozen=True)
class SampleLabels:
    """What labels say of each sample: `group` is its place in `groups`; 0 is no label set and no span.

    `trace` is a number into `trace_ids`, of which the first is null.
    """

    group: IntArray
    groups: Sequence[Group]
    labelset_id: U64Array
    labelsets: pa.Table
    span_id: U64Array
    trace: IntArray
    trace_ids: pa.Array

    @property
    def keys(self) -> list[npt.NDArray[np.uint64]]:
        """Columns that tell samples of one stack and one group apart."""
        columns = (self.labelset_id, self.span_id, self.trace.view(np.uint64))
        return [column for column in columns if column.any()]


@dataclass(frozen=True)
class LabelRows:
    """The labels of all samples, per sample; keys, texts and units are numbers of strings."""

    column: Column
    key: IntArray
    text: IntArray
    number: npt.NDArray[np.int64]
    unit: IntArray


def read_labels(samples: Column, strings: Strings, max_labels: int) -> LabelRows:
    """The labels of all samples, at most `max_labels` each (0: any number). Raises `BadProfiles`."""
    column = samples.nested("label")
    if max_labels:
        most = int(column.lengths.max(initial=0))
        samples.refuse_rows(column.lengths > max_labels, f"a sample has {most} labels; limit {max_labels}")
    lengths = np.diff(column.offsets[samples.offsets])
    key, text, unit = (
        strings.resolve(column.numbers(name), lengths, f"sample.label.{name}")
        for name in ("key", "str", "num_unit")
    )
    return LabelRows(column, key, text, column.numbers("num"), unit)


def no_traces(count: int) -> tuple[IntArray, pa.Array]:
    """`SampleLabels.trace` and `trace_ids` when no sample has one."""
    return np.zeros(count, np.int64), pa.nulls(1, pa.binary(16))


def keep_labels(samples: Column, rows: LabelRows, strings: Strings) -> SampleLabels:
    """Verbatim: every label stays with its sample, order aside, also those that name spans and traces; one group a
    profile.
    """
    count = len(rows.column.lengths)
    textual = rows.text != strings.empty
    ids = np.zeros(count, np.uint64)
    labelsets = profile.LABELSETS.empty_table()
    if len(rows.key):
        texts = strings.hash
        each = identity.combine(
            texts[rows.key], texts[rows.text], rows.number.view(np.uint64), texts[rows.unit]
        )
        ids = _sums(each, rows.column)
        labelsets = _labelset_table(ids, rows, strings)
    groups = [Group(number) for number in range(len(samples.lengths))]
    return SampleLabels(samples.owner, groups, ids, labelsets, *_spans_and_traces(rows, textual, strings))


def _sums(each: U64Array, column: Column) -> U64Array:
    """A hash of each sample's labels that does not depend on their order; 0 where there are none."""
    running = np.zeros(len(each) + 1, np.uint64)
    np.cumsum(each, out=running[1:])
    sums = running[column.offsets[1:]] - running[column.offsets[:-1]]
    hashes = identity.combine(sums, column.lengths.view(np.uint64))
    hashes[column.lengths == 0] = 0
    return hashes


def _labelset_table(ids: U64Array, rows: LabelRows, strings: Strings) -> pa.Table:
    leaders = distinct(ids).rows
    leaders = leaders[ids[leaders] != 0]
    items, offsets = gather(rows.column.offsets[leaders], rows.column.lengths[leaders])
    fields = {
        "key": strings.texts(rows.key[items]),
        "str": strings.texts(rows.text[items]),
        "num": pa.array(rows.number[items]),
        "unit": strings.texts(rows.unit[items]),
    }
    structs = pa.StructArray.from_arrays(list(fields.values()), list(fields))
    owner = pa.array(np.repeat(np.arange(len(leaders)), np.diff(offsets)))
    keys = [("owner", "ascending"), *((name, "ascending") for name in fields)]
    order = pc.sort_indices(pa.table({"owner": owner, **fields}), sort_keys=keys)
    return pa.table([ids[leaders], list_array(offsets, structs.take(order))], schema=profile.LABELSETS)


def split_labels(samples: Column, rows: LabelRows, strings: Strings) -> SampleLabels:
    """Pyroscope's way: string labels make series, span and trace ids stay with the sample, numbers are dropped."""
    count = len(rows.column.lengths)
    textual = rows.text != strings.empty
    of_request = _keys_named(_SPAN_NAMES + _TRACE_NAMES, rows, strings)
    group, groups = _split_groups(samples, rows, textual & ~of_request, strings)
    no_labelset = np.zeros(count, np.uint64)
    no_sets = profile.LABELSETS.empty_table()
    return SampleLabels(group, groups, no_labelset, no_sets, *_spans_and_traces(rows, textual, strings))


def _spans_and_traces(
    rows: LabelRows, textual: BoolArray, strings: Strings
) -> tuple[U64Array, IntArray, pa.Array]:
    """The span of each sample, its trace as a number, and the trace ids.

    Of several that labels name the greatest counts: a label set is stored without an order that could decide.
    """
    is_span, is_trace = (_keys_named(names, rows, strings) & textual for names in (_SPAN_NAMES, _TRACE_NAMES))
    count = len(rows.column.lengths)
    span_id = np.zeros(count, np.uint64)
    trace, trace_ids = no_traces(count)
    if is_span.any():
        np.maximum.at(span_id, rows.column.owner[is_span], _spans(rows.text[is_span], strings))
    if is_trace.any():
        trace, trace_ids = _traces(rows, rows.column.owner, is_trace, strings)
    return span_id, trace, trace_ids


def _keys_named(names: Sequence[str], rows: LabelRows, strings: Strings) -> BoolArray:
    """The label rows with one of these keys."""
    if not len(rows.key):
        return np.zeros(0, np.bool_)
    wanted = pc.is_in(strings.text, value_set=pa.array(names)).to_numpy(zero_copy_only=False)
    found: BoolArray = wanted[rows.key]
    return found


def _spans(text: IntArray, strings: Strings) -> U64Array:
    """The span id in each text; each distinct text is parsed once."""
    known = distinct(text)
    spans = [parse_span_id(found) for found in strings.texts(text[known.rows]).to_pylist()]
    each: U64Array = np.array(spans, np.uint64)[known.code]
    return each


def _traces(
    rows: LabelRows, sample: IntArray, is_trace: BoolArray, strings: Strings
) -> tuple[IntArray, pa.Array]:
    trace, _ = no_traces(len(rows.column.lengths))
    text = rows.text[is_trace]
    known = distinct(text)
    parsed = [parse_trace_id(found) for found in strings.texts(text[known.rows]).to_pylist()]
    ids = [None, *sorted({value for value in parsed if value is not None})]
    number_of = {value: number for number, value in enumerate(ids)}
    numbers = np.array([number_of[value] for value in parsed], np.int64)
    np.maximum.at(trace, sample[is_trace], numbers[known.code])
    return trace, pa.array(ids, pa.binary(16))


def _split_groups(
    samples: Column, rows: LabelRows, chosen: BoolArray, strings: Strings
) -> tuple[IntArray, Sequence[Group]]:
    """The distinct (profile, labels) of samples; every profile has a group without labels first."""
    groups = [Group(number) for number in range(len(samples.lengths))]
    if not chosen.any():
        return samples.owner, groups
    chosen_rows = np.flatnonzero(chosen)
    each = identity.combine(strings.hash[rows.key[chosen_rows]], strings.hash[rows.text[chosen_rows]])
    sums = np.zeros(len(rows.column.lengths), np.uint64)
    labelled = rows.column.owner[chosen_rows]
    np.add.at(sums, labelled, each)
    labelled = np.unique(labelled)
    known = distinct(identity.combine(sums[labelled], samples.owner[labelled].view(np.uint64)))
    group = samples.owner.copy()
    group[labelled] = len(groups) + known.code
    for sample in labelled[known.rows].tolist():
        first, stop = rows.column.offsets[sample], rows.column.offsets[sample + 1]
        own = np.arange(first, stop)[chosen[first:stop]]
        pairs = zip(
            strings.texts(rows.key[own]).to_pylist(), strings.texts(rows.text[own]).to_pylist(), strict=True
        )
        labels = without_empty(dict(pairs))
        groups.append(Group(int(samples.owner[sample]), tuple(labels.items())))
    return group, groups


def parse_span_id(text: str) -> int:
    """16 hex digits as little-endian bytes; anything else is no span, 0."""
    try:
        return int.from_bytes(bytes.fromhex(text), "little") if len(text) == 16 else 0
    except ValueError:
        return 0


def parse_trace_id(text: str) -> bytes | None:
    """32 hex digits as bytes; anything else is no trace."""
    try:
        return bytes.fromhex(text) if len(text) == 32 else None
    except ValueError:
        return None
