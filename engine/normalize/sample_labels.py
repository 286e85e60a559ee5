"""Labels of samples: kept as label sets, or split into series labels, span ids and trace ids."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ...schema import identity, profile
from .columns import Column, IntArray, U64Array, first_seen, refuse
from .symbols import Strings

SPAN_ID, TRACE_ID, PROFILE_ID = "span_id", "trace_id", "profile_id"


@dataclass(frozen=True)
class SampleLabels:
    """One entry a sample. `group` numbers `groups`: series labels that come from samples, by profile.

    `labelset_id` 0 and `span_id` 0 mean none; `trace_id` is null where there is none.
    """

    group: IntArray
    groups: list[tuple[int, tuple[tuple[str, str], ...]]]
    labelset_id: U64Array
    labelsets: pa.Table
    span_id: U64Array
    trace_id: pa.Array


@dataclass(frozen=True)
class _LabelRows:
    """Flat labels of a batch: string numbers, numbers, and the sample that each belongs to."""

    sample: IntArray
    key: IntArray
    text: IntArray
    number: npt.NDArray[np.int64]
    unit: IntArray

    def take(self, rows: IntArray | npt.NDArray[np.bool_]) -> _LabelRows:
        return _LabelRows(self.sample[rows], self.key[rows], self.text[rows], self.number[rows], self.unit[rows])


def read_labels(samples: Column, strings: Strings, max_labels: int) -> _LabelRows:
    """The labels of all samples; `max_labels` bounds them for each sample (0: no bound)."""
    column = Column.nested(samples.values.field("label"))
    sample = column.owner
    owner = samples.owner[sample] if len(sample) else sample
    if max_labels:
        refuse(column.lengths > max_labels, samples.owner, f"a sample has more than {max_labels} labels")
    codes = [strings.codes(column.field(name), owner, f"sample.label.{name}") for name in ("key", "str", "num_unit")]
    return _LabelRows(sample, codes[0], codes[1], column.field("num").astype(np.int64), codes[2])


def kept_labels(samples: Column, rows: _LabelRows, strings: Strings) -> SampleLabels:
    """Verbatim: every label of a sample stays with it, order aside; one group a profile."""
    count = len(samples.values)
    profiles = len(samples.offsets) - 1
    ids = np.zeros(count, np.uint64)
    labelsets = profile.LABELSETS.empty_table()
    if len(rows.sample):
        hashes = strings.hash
        each = identity.combine(hashes[rows.key], hashes[rows.text], rows.number.astype(np.uint64), hashes[rows.unit])
        np.add.at(ids, rows.sample, each)
        labelled = np.unique(rows.sample)
        ids[labelled] = identity.mix(ids[labelled])
        leaders = labelled[first_seen(ids[labelled])]
        labelsets = _labelset_table(leaders, ids, rows, strings)
    groups: list[tuple[int, tuple[tuple[str, str], ...]]] = [(number, ()) for number in range(profiles)]
    no_trace = pa.nulls(count, pa.binary(16))
    return SampleLabels(samples.owner, groups, ids, labelsets, np.zeros(count, np.uint64), no_trace)


def _labelset_table(leaders: IntArray, ids: U64Array, rows: _LabelRows, strings: Strings) -> pa.Table:
    chosen = rows.take(np.isin(rows.sample, leaders))
    texts = [strings.text.take(pa.array(code)).to_pylist() for code in (chosen.key, chosen.text, chosen.unit)]
    lists: dict[int, list[tuple[str, str, int, str]]] = {}
    for sample, key, text, number, unit in zip(
        chosen.sample.tolist(), *texts[:2], chosen.number.tolist(), texts[2], strict=True
    ):
        lists.setdefault(sample, []).append((key, text, number, unit))
    names = ("key", "str", "num", "unit")
    labels = [[dict(zip(names, row, strict=True)) for row in sorted(lists[sample])] for sample in leaders.tolist()]
    return pa.table([ids[leaders], pa.array(labels, profile.LABELSETS.field("labels").type)], schema=profile.LABELSETS)


def split_labels(samples: Column, rows: _LabelRows, strings: Strings) -> SampleLabels:
    """Pyroscope's way: string labels make series, span and trace ids stay with the sample, numbers are dropped."""
    count = len(samples.values)
    texts = strings.text.to_pylist()
    empty = np.array([not text for text in texts])
    rows = rows.take(~empty[rows.text]) if len(rows.sample) else rows
    key_names = {code: texts[code] for code in np.unique(rows.key).tolist()}
    kinds = {code: SPAN_ID if name == PROFILE_ID else name for code, name in key_names.items()}
    own = np.isin(rows.key, [code for code, name in kinds.items() if name in (SPAN_ID, TRACE_ID)])
    span_id = np.zeros(count, np.uint64)
    trace: list[bytes | None] = [None] * count
    for sample, key, text in zip(rows.sample[own].tolist(), rows.key[own].tolist(), rows.text[own].tolist(), strict=True):
        if kinds[key] == SPAN_ID:
            span_id[sample] = parse_span_id(texts[text])
        else:
            trace[sample] = parse_trace_id(texts[text])
    group, groups = _group_samples(samples, rows.take(~own), texts)
    no_labelset = np.zeros(count, np.uint64)
    trace_id = pa.array(trace, pa.binary(16))
    return SampleLabels(group, groups, no_labelset, profile.LABELSETS.empty_table(), span_id, trace_id)


def _group_samples(
    samples: Column, rows: _LabelRows, texts: list[str]
) -> tuple[IntArray, list[tuple[int, tuple[tuple[str, str], ...]]]]:
    """Number the distinct (profile, labels) of samples."""
    lists: dict[int, list[tuple[str, str]]] = {}
    for sample, key, text in zip(rows.sample.tolist(), rows.key.tolist(), rows.text.tolist(), strict=True):
        lists.setdefault(sample, []).append((texts[key], texts[text]))
    owner = samples.owner
    numbers: dict[tuple[int, tuple[tuple[str, str], ...]], int] = {
        (number, ()): number for number in range(len(samples.offsets) - 1)
    }
    group = owner.copy()
    for sample, labels in lists.items():
        key_of_group = (int(owner[sample]), tuple(sorted(dict(labels).items())))
        group[sample] = numbers.setdefault(key_of_group, len(numbers))
    return group, list(numbers)


def parse_span_id(text: str) -> int:
    """16 hex digits as little-endian bytes; anything else is no span."""
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
