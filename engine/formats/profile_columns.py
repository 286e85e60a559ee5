"""One profile as columns, and these as a row of the decoded schema: what every reader but pprof's comes to.

Ids are places: location 1 is the first row of `LocationColumns`, function 1 the first of `FunctionColumns`,
mapping 1 the first of `MappingColumns`; 0 means none. Texts are numbers into `texts`, of which 0 is empty.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ...schema import profile

IntArray = npt.NDArray[np.int64]
ValueType = tuple[str, str]
"""A type and its unit."""

NO_ROWS = np.zeros(0, np.int64)
NO_LISTS = np.zeros(1, np.int64)


@dataclass(frozen=True)
class MappingColumns:
    """Files that were mapped; `filename` and `build_id` are texts."""

    filename: IntArray = field(default_factory=NO_ROWS.copy)
    build_id: IntArray = field(default_factory=NO_ROWS.copy)
    memory_start: IntArray = field(default_factory=NO_ROWS.copy)
    memory_limit: IntArray = field(default_factory=NO_ROWS.copy)
    file_offset: IntArray = field(default_factory=NO_ROWS.copy)


@dataclass(frozen=True)
class FunctionColumns:
    """Functions; `name`, `system_name` and `filename` are texts."""

    name: IntArray
    system_name: IntArray
    filename: IntArray
    start_line: IntArray


@dataclass(frozen=True)
class LocationColumns:
    """Locations; the lines of location `i`, innermost first, are `line_offsets[i]` to `line_offsets[i + 1]`.

    Addresses are the bits of unsigned numbers.
    """

    mapping: IntArray
    address: IntArray
    line_offsets: IntArray
    line_function: IntArray
    line: IntArray
    line_column: IntArray


@dataclass(frozen=True)
class LabelColumns:
    """Labels of samples: those of sample `i` are `offsets[i]` to `offsets[i + 1]`.

    `key`, `text` and `unit` are texts; a label has a text or a number.
    """

    offsets: IntArray
    key: IntArray
    text: IntArray
    number: IntArray
    unit: IntArray


@dataclass(frozen=True)
class SampleColumns:
    """Samples: the locations of sample `i`, leaf first, are `offsets[i]` to `offsets[i + 1]` of `location`.

    `values` has a row a sample and a column a sample type.
    """

    offsets: IntArray
    location: IntArray
    values: IntArray
    labels: LabelColumns | None = None


@dataclass(frozen=True)
class ProfileHeader:
    """What is said once about a profile. A time of 0 is not known."""

    sample_types: Sequence[ValueType]
    period_type: ValueType = ("", "")
    period: int = 0
    time_ns: int = 0
    duration_ns: int = 0
    comments: Sequence[str] = ()
    default_sample_type: str = ""


@dataclass(frozen=True)
class ProfileColumns:
    """One profile. `texts` are distinct bytes, the first of them empty."""

    header: ProfileHeader
    texts: pa.Array
    samples: SampleColumns
    locations: LocationColumns
    functions: FunctionColumns
    mappings: MappingColumns = field(default_factory=MappingColumns)

    def to_batch(self) -> pa.RecordBatch:
        """The profile as one row of schema `profile.DECODED`."""
        header = _Header(self.header, len(self.texts))
        lists = {
            "sample_type": header.sample_types,
            "sample": _samples(self.samples),
            "mapping": _mappings(self.mappings),
            "location": _locations(self.locations),
            "function": _functions(self.functions),
            "comment": header.comments,
            "string_table": pa.concat_arrays(
                [self.texts.cast(pa.binary()), pa.array(header.texts, pa.binary())]
            ),
        }
        arrays = [_one_row(one, lists, header.plain) for one in profile.DECODED]
        return pa.RecordBatch.from_arrays(arrays, schema=profile.DECODED)


class _Header:
    """The header with its own texts behind those of the profile."""

    def __init__(self, header: ProfileHeader, first_text: int) -> None:
        self.texts: list[bytes] = []
        self._first_text = first_text
        self.sample_types = pa.array(
            [self._value_type(one) for one in header.sample_types], kind_of("sample_type")
        )
        self.comments = pa.array([self._text(one) for one in header.comments], pa.int64())
        self.plain: dict[str, object] = {
            "time_nanos": header.time_ns,
            "duration_nanos": header.duration_ns,
            "period": header.period,
            "default_sample_type": self._text(header.default_sample_type),
        }
        if header.period_type != ("", ""):
            self.plain["period_type"] = self._value_type(header.period_type)

    def _text(self, text: str) -> int:
        if not text:
            return 0
        self.texts.append(text.encode())
        return self._first_text + len(self.texts) - 1

    def _value_type(self, kind: ValueType) -> dict[str, int]:
        return {"type": self._text(kind[0]), "unit": self._text(kind[1])}


def kind_of(name: str) -> pa.DataType:
    """The type of the items of a list in `profile.DECODED`."""
    return profile.DECODED.field(name).type.value_type


def _samples(samples: SampleColumns) -> pa.Array:
    count, types = samples.values.shape
    kind = kind_of("sample")
    locations = list_column(samples.offsets, pa.array(samples.location.view(np.uint64)))
    starts = np.arange(0, (count + 1) * types, types) if types else np.zeros(count + 1, np.int64)
    values = list_column(starts, pa.array(np.ascontiguousarray(samples.values).reshape(-1)))
    return pa.StructArray.from_arrays([locations, values, _labels(samples.labels, count)], fields=list(kind))


def _labels(labels: LabelColumns | None, count: int) -> pa.Array:
    kind = kind_of("sample").field("label").type.value_type
    if labels is None:
        return list_column(np.zeros(count + 1, np.int64), pa.array([], kind))
    columns = [pa.array(column) for column in (labels.key, labels.text, labels.number, labels.unit)]
    return list_column(labels.offsets, pa.StructArray.from_arrays(columns, fields=list(kind)))


def _mappings(mappings: MappingColumns) -> pa.Array:
    count = len(mappings.filename)
    known = {one.name: getattr(mappings, one.name) for one in fields(mappings)}
    known["id"] = np.arange(1, count + 1)
    return struct_column(kind_of("mapping"), known, count)


def _locations(locations: LocationColumns) -> pa.Array:
    kind = kind_of("location")
    line_kind = kind.field("line").type.value_type
    line_columns = {
        "function_id": locations.line_function,
        "line": locations.line,
        "column": locations.line_column,
    }
    lines = struct_column(line_kind, line_columns, len(locations.line))
    count = len(locations.mapping)
    known: dict[str, Any] = {
        "id": np.arange(1, count + 1),
        "mapping_id": locations.mapping,
        "address": locations.address,
        "line": list_column(locations.line_offsets, lines),
    }
    return struct_column(kind, known, count)


def _functions(functions: FunctionColumns) -> pa.Array:
    count = len(functions.name)
    known = {one.name: getattr(functions, one.name) for one in fields(functions)}
    known["id"] = np.arange(1, count + 1)
    return struct_column(kind_of("function"), known, count)


def struct_column(kind: pa.DataType, known: Mapping[str, Any], count: int) -> pa.Array:
    """Structs of a kind; fields that are not known are 0 or false."""
    columns = []
    for one in kind:
        values = known.get(one.name)
        if values is None:
            values = np.zeros(count, np.bool_ if pa.types.is_boolean(one.type) else np.int64)
        if isinstance(values, np.ndarray):
            values = pa.array(values.view(np.uint64) if one.type == pa.uint64() else values, one.type)
        columns.append(values)
    return pa.StructArray.from_arrays(columns, fields=list(kind))


def list_column(offsets: IntArray, values: pa.Array) -> pa.ListArray:
    """Lists: the items of list `i` are `offsets[i]` to `offsets[i + 1]` of `values`."""
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values)


def _one_row(one: pa.Field, lists: Mapping[str, pa.Array], plain: Mapping[str, object]) -> pa.Array:
    """The column of one profile, empty unless something is known of it."""
    if one.name in lists:
        return pa.ListArray.from_arrays(
            pa.array([0, len(lists[one.name])], pa.int32()), lists[one.name], type=one.type
        )
    absent = None if pa.types.is_struct(one.type) else 0
    return pa.array([plain.get(one.name, absent)], one.type)
