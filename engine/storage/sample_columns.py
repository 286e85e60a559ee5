"""The samples of a block while it is collected: as few bytes a row as they need."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ...schema.profile import NormalisedBatch

IntArray = npt.NDArray[np.int64]
U64Array = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Collected:
    """All samples in order of arrival. `stack_row` is a row of the collected stacks.

    The last three are None when no sample has such a thing; else 0, or null, is a sample without.
    """

    stack_row: npt.NDArray[np.uint32]
    value: IntArray
    labelset_id: U64Array | None
    span_id: U64Array | None
    trace_id: pa.Array | None

    def columns(self) -> list[Any]:
        """Those that are there; each has `nbytes`."""
        every = (self.stack_row, self.value, self.labelset_id, self.span_id, self.trace_id)
        return [column for column in every if column is not None]


class SampleColumns:
    """Appends the samples of batches, twelve bytes each when they carry neither labels nor spans."""

    def __init__(self) -> None:
        self._stack_rows: list[npt.NDArray[np.uint32]] = []
        self._values: list[IntArray] = []
        self._labelsets: list[U64Array | None] = []
        self._spans: list[U64Array | None] = []
        self._traces: list[pa.Array | None] = []
        self._length = 0
        self.size_bytes = 0

    def __len__(self) -> int:
        return self._length

    def add(self, batch: NormalisedBatch, find: Callable[[U64Array], IntArray]) -> None:
        """Take a batch. `find` says where the stacks of its samples are among the collected ones."""
        samples = batch.samples
        placed = find(samples.column("stack_id").to_numpy())
        labelset, span = (samples.column(name).to_numpy() for name in ("labelset_id", "span_id"))
        trace = samples.column("trace_id").combine_chunks()
        self.add_collected(
            Collected(
                placed.astype(np.uint32),
                samples.column("value").to_numpy().copy(),
                labelset.copy() if labelset.any() else None,
                span.copy() if span.any() else None,
                trace if trace.null_count < len(trace) else None,
            )
        )

    def add_collected(self, more: Collected) -> None:
        """Take samples of the same stacks."""
        self._stack_rows.append(more.stack_row)
        self._values.append(more.value)
        self._labelsets.append(more.labelset_id)
        self._spans.append(more.span_id)
        self._traces.append(more.trace_id)
        self._length += len(more.value)
        self.size_bytes += sum(int(column.nbytes) for column in more.columns())

    def joined(self) -> Collected:
        """Everything, joined."""
        lengths = [len(values) for values in self._values]
        nothing = [np.zeros(0, np.int64)]
        return Collected(
            np.concatenate([np.zeros(0, np.uint32), *self._stack_rows]),
            np.concatenate(nothing + self._values),
            _joined(self._labelsets, lengths),
            _joined(self._spans, lengths),
            _joined_traces(self._traces, lengths),
        )


def _joined(columns: list[U64Array | None], lengths: list[int]) -> U64Array | None:
    if all(column is None for column in columns):
        return None
    return np.concatenate(
        [
            np.zeros(n, np.uint64) if column is None else column
            for column, n in zip(columns, lengths, strict=True)
        ]
    )


def _joined_traces(columns: list[pa.Array | None], lengths: list[int]) -> pa.Array | None:
    if all(column is None for column in columns):
        return None
    kind = pa.binary(16)
    return pa.concat_arrays(
        [pa.nulls(n, kind) if column is None else column for column, n in zip(columns, lengths, strict=True)]
    )
