"""Stacks of plain names as a decoded batch: what formats without addresses, files and lines come to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ...schema import profile

IntArray = npt.NDArray[np.int64]
ValueType = tuple[str, str]


@dataclass(frozen=True)
class StackProfile:
    """One profile with one value a sample.

    `frames` are numbers into `names` (bytes), leaf first; those of sample `i` are `offsets[i]` to `offsets[i + 1]`.
    """

    names: pa.Array
    frames: IntArray
    offsets: IntArray
    values: IntArray
    value_type: ValueType
    period_type: ValueType = ("", "")
    period: int = 0

    def to_batch(self) -> pa.RecordBatch:
        """The profile as one row of schema `profile.DECODED`: a function and a location for each name."""
        texts = [b"", *(text.encode() for text in (*self.value_type, *self.period_type))]
        columns = {
            "sample_type": pa.array([{"type": 1, "unit": 2}], _kind("sample_type")),
            "sample": self._samples(),
            "location": self._locations(),
            "function": self._functions(first_text=len(texts)),
            "string_table": pa.concat_arrays([pa.array(texts, pa.binary()), self.names.cast(pa.binary())]),
        }
        plain: dict[str, object] = {"period": self.period}
        if self.period_type != ("", ""):
            plain["period_type"] = {"type": 3, "unit": 4}
        arrays = [_one_row(field, columns, plain) for field in profile.DECODED]
        return pa.RecordBatch.from_arrays(arrays, schema=profile.DECODED)

    def _samples(self) -> pa.Array:
        count = len(self.values)
        kind = _kind("sample")
        labels = pa.ListArray.from_arrays(
            pa.array(np.zeros(count + 1, np.int32)), pa.array([], kind.field("label").type.value_type)
        )
        references = pa.array(self.frames.view(np.uint64) + np.uint64(1))
        locations = pa.ListArray.from_arrays(pa.array(self.offsets, pa.int32()), references)
        return pa.StructArray.from_arrays(
            [locations, _singles(pa.array(self.values)), labels], fields=list(kind)
        )

    def _locations(self) -> pa.Array:
        kind = _kind("location")
        ids = np.arange(1, len(self.names) + 1, dtype=np.uint64)
        zeros = np.zeros(len(ids), np.uint64)
        line_kind = kind.field("line").type.value_type
        numbers = pa.array(zeros.view(np.int64))
        lines = pa.StructArray.from_arrays([pa.array(ids), numbers, numbers], fields=list(line_kind))
        unfolded = pa.array(np.zeros(len(ids), np.bool_))
        columns = [pa.array(ids), pa.array(zeros), pa.array(zeros), _singles(lines), unfolded]
        return pa.StructArray.from_arrays(columns, fields=list(kind))

    def _functions(self, first_text: int) -> pa.Array:
        ids = np.arange(1, len(self.names) + 1, dtype=np.uint64)
        texts = pa.array(ids.view(np.int64) + (first_text - 1))
        zeros = pa.array(np.zeros(len(ids), np.int64))
        return pa.StructArray.from_arrays(
            [pa.array(ids), texts, texts, zeros, zeros], fields=list(_kind("function"))
        )


def _kind(name: str) -> pa.DataType:
    return profile.DECODED.field(name).type.value_type


def _singles(values: pa.Array) -> pa.ListArray:
    """Each value as a list of its own."""
    return pa.ListArray.from_arrays(pa.array(np.arange(len(values) + 1), pa.int32()), values)


def _one_row(field: pa.Field, lists: dict[str, pa.Array], plain: dict[str, object]) -> pa.Array:
    """The column of one profile, empty unless something is known of it."""
    if field.name in lists:
        offsets = pa.array([0, len(lists[field.name])], pa.int32())
        return pa.ListArray.from_arrays(offsets, lists[field.name], type=field.type)
    if pa.types.is_list(field.type):
        return pa.array([[]], field.type)
    absent = None if pa.types.is_struct(field.type) else 0
    return pa.array([plain.get(field.name, absent)], field.type)
