"""Samples in stored form: one row for each sample and type, equal ones summed, zeros left out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from ...schema import identity, profile
from ...schema.profile import no_trace_ids
from .columns import Column, IntArray, U64Array, distinct, refuse_each
from .header import Headers
from .profile_rows import ProfileRows
from .sample_labels import SampleLabels
from .stacks import Stacks

_SAFE_SUM = 2.0**62
"""Below this, sums of floats and of integers agree that nothing overflows."""


@dataclass(frozen=True)
class Samples:
    """The samples in the order of the profiles' rows: `n` and `total` of each row, and which samples are left."""

    table: pa.Table
    n: IntArray
    total: IntArray
    used: IntArray


@dataclass(frozen=True)
class SampleParts:
    """What is known of the samples of a batch, each in its own file."""

    column: Column
    stacks: Stacks
    labels: SampleLabels
    rows: ProfileRows
    headers: Headers


def read_samples(parts: SampleParts, pushed: bool) -> Samples:
    """The samples of a batch. With `pushed`, those with a negative value or a broken stack are left out.

    Raises `BadProfiles`.
    """
    values = parts.column.nested("value")
    flat = values.numbers()
    types = parts.column.spread(parts.headers.type_counts)
    parts.column.refuse_rows(
        values.lengths != types, "a sample has another number of values than sample_type has types"
    )
    _refuse_overflow(values, flat, parts.column)
    chosen = _chosen(parts, values, pushed)
    merge = _Merge.of(parts, chosen)
    owners, numbers, rows = [], [], []
    for type_no in range(int(types.max(initial=0))):
        column = merge.sums(flat, values.offsets[:-1], types, type_no)
        has = np.flatnonzero(column)
        owners.append(merge.leaders[has])
        numbers.append(column[has])
        rows.append(
            parts.rows.rows_of_type(type_no)[parts.rows.group[parts.labels.group[merge.leaders[has]]]]
        )
    return _assemble(parts, _joined(owners), _joined(numbers), _joined(rows))


def _joined(pieces: list[IntArray]) -> IntArray:
    return np.concatenate(pieces) if pieces else np.zeros(0, np.int64)


def _chosen(parts: SampleParts, values: Column, pushed: bool) -> IntArray:
    """The samples that count."""
    count = len(values.lengths)
    if not pushed:
        return np.arange(count)
    keep = np.ones(count, np.bool_)
    negative = values.numbers() < 0
    if negative.any():
        keep[values.owner[negative]] = False
    if parts.stacks.broken is not None:
        keep &= ~parts.stacks.broken
    return np.flatnonzero(keep)


def _refuse_overflow(values: Column, flat: IntArray, samples: Column) -> None:
    """The values of a type must add up to 64 bits, in any order; else the profile is refused."""
    sizes = np.abs(flat.astype(np.float64))
    if sizes.sum() < _SAFE_SUM:
        return
    running = np.append(0.0, np.cumsum(sizes))
    bounds = values.offsets[samples.offsets]
    for number in np.flatnonzero(running[bounds[1:]] - running[bounds[:-1]] >= _SAFE_SUM).tolist():
        own = flat[bounds[number] : bounds[number + 1]].reshape(int(samples.lengths[number]), -1)
        for column in own.T.tolist():
            if sum(v for v in column if v > 0) >= 2**63 or sum(v for v in column if v < 0) < -(2**63):
                refuse_each(np.array([number]), "sample.value: the sum does not fit 64 bits")


@dataclass(frozen=True)
class _Merge:
    """Which samples are equal. `leaders` are the first of each kind; without `order` all samples differ."""

    leaders: IntArray
    order: IntArray | None = None
    starts: IntArray | None = None

    @classmethod
    def of(cls, parts: SampleParts, chosen: IntArray) -> _Merge:
        group = parts.rows.group[parts.labels.group[chosen]]
        keys = [parts.stacks.hash[chosen], group.view(np.uint64)]
        keys += [column[chosen] for column in parts.labels.keys]
        known = distinct(identity.combine(*keys))
        if len(known.rows) == len(chosen):
            order = _by_group(group)
            return cls(chosen if order is None else chosen[order])
        order = np.argsort(known.code, kind="stable")
        starts = np.searchsorted(known.code[order], np.arange(len(known.rows)))
        by_group = _by_group(group[known.rows])
        if by_group is None:
            return cls(chosen[known.rows], chosen[order], starts)
        return cls._regrouped(chosen, known.code, known.rows, by_group)

    @classmethod
    def _regrouped(cls, chosen: IntArray, code: IntArray, rows: IntArray, by_group: IntArray) -> _Merge:
        """As above, with the kinds in the order of their groups."""
        rank = np.empty(len(by_group), np.int64)
        rank[by_group] = np.arange(len(by_group))
        ranked = rank[code]
        order = np.argsort(ranked, kind="stable")
        starts = np.searchsorted(ranked[order], np.arange(len(rank)))
        return cls(chosen[rows[by_group]], chosen[order], starts)

    def sums(self, flat: IntArray, first: IntArray, types: IntArray, type_no: int) -> IntArray:
        """The values of one type, of each leader with what equals it; 0 for samples that lack the type."""
        samples = self.leaders if self.order is None else self.order
        has = types[samples] > type_no
        values = np.zeros(len(samples), np.int64)
        values[has] = flat[first[samples[has]] + type_no]
        if self.starts is None:
            return values
        summed: IntArray = np.add.reduceat(values, self.starts) if len(values) else values
        return summed


def _by_group(group: IntArray) -> IntArray | None:
    """An order that brings groups together; None where they are already."""
    if (group[1:] >= group[:-1]).all():
        return None
    return np.argsort(group, kind="stable")


def _assemble(parts: SampleParts, used: IntArray, values: IntArray, rows: IntArray) -> Samples:
    labels = parts.labels
    count = len(parts.rows.series_id)
    n = np.bincount(rows, minlength=count)
    total = np.zeros(count, np.int64)
    filled = np.flatnonzero(n)
    if len(filled):
        starts = np.cumsum(n) - n
        total[filled] = np.add.reduceat(values, starts[filled])
    columns = [
        pa.array(parts.stacks.hash[used]),
        pa.array(values),
        pa.array(_optional(labels.labelset_id, used)),
        pa.array(_optional(labels.span_id, used)),
        labels.trace_ids.take(pa.array(labels.trace[used]))
        if len(labels.trace_ids) > 1
        else no_trace_ids(len(used)),
    ]
    return Samples(pa.table(columns, schema=profile.SAMPLES), n, total, used)


def _optional(column: U64Array, used: IntArray) -> U64Array:
    """Its values; where there are none, zeros that cost no memory."""
    return column[used] if column.any() else np.zeros(len(used), np.uint64)
