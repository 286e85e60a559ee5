"""pprof to Arrow with google protobuf alone: slower than ptars, but it refuses what ptars dies of.

Reading a message attribute by attribute makes a Python object of each. Instead the message is parsed a second
time under a schema that merges all samples into one (`profile_columns.proto`), whose columns numpy reads whole.
Only the lengths of lists come from an ordinary parse. A writer that leaves out zeros makes a column short; that
column alone is then read by attribute.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from google.protobuf.message import DecodeError

from ...schema import profile
from ...schema.errors import CorruptProfile
from ...schema.proto import profile_columns_pb2, profile_pb2
from .wire import find_fault


def parse(raw: bytes) -> profile_pb2.Profile:
    """A profile as a protobuf message. Raises `CorruptProfile` that says where it breaks, as far as can be told."""
    try:
        message: profile_pb2.Profile = profile_pb2.Profile.FromString(raw)
        return message
    except DecodeError:
        raise CorruptProfile(find_fault(raw)) from None


def decode(raw: bytes) -> pa.RecordBatch:
    """One profile as a batch of one row, schema `profile.DECODED`. Raises `CorruptProfile`."""
    message = parse(raw)
    columns = profile_columns_pb2.Profile.FromString(raw)
    lists = {
        "sample": _samples(message, columns.sample),
        "mapping": _structs(message.mapping, columns.mapping, _kind("mapping"), {}),
        "location": _locations(message, columns.location),
        "function": _structs(message.function, columns.function, _kind("function"), {}),
        "string_table": pa.array(message.string_table, pa.binary()),
        "comment": pa.array(message.comment, pa.int64()),
        "sample_type": pa.array([_value_type(kind) for kind in message.sample_type], _kind("sample_type")),
    }
    arrays = []
    for field in profile.DECODED:
        if field.name in lists:
            offsets = pa.array([0, len(lists[field.name])], pa.int32())
            arrays.append(pa.ListArray.from_arrays(offsets, lists[field.name], type=field.type))
        elif field.name == "period_type":
            present = message.HasField("period_type")
            arrays.append(pa.array([_value_type(message.period_type) if present else None], field.type))
        else:
            arrays.append(pa.array([getattr(message, field.name)], field.type))
    return pa.RecordBatch.from_arrays(arrays, schema=profile.DECODED)


def _kind(name: str) -> pa.DataType:
    return profile.DECODED.field(name).type.value_type


def _value_type(message: profile_pb2.ValueType) -> dict[str, int]:
    return {"type": message.type, "unit": message.unit}


def _samples(message: profile_pb2.Profile, merged: Any) -> pa.Array:
    samples = list(message.sample)
    labels = [sample.label for sample in samples]
    label_kind = _kind("sample").field("label").type.value_type
    flat_labels = [label for found in labels for label in found] if merged.HasField("label") else []
    lists = {
        "location_id": _list(
            map(len, (sample.location_id for sample in samples)), _column(merged.location_id)
        ),
        "value": _list(map(len, (sample.value for sample in samples)), _column(merged.value)),
        "label": _list(map(len, labels), _structs(flat_labels, merged.label, label_kind, {})),
    }
    return _structs(samples, merged, _kind("sample"), lists)


def _locations(message: profile_pb2.Profile, merged: Any) -> pa.Array:
    locations = list(message.location)
    lines = [location.line for location in locations]
    line_kind = _kind("location").field("line").type.value_type
    flat = _structs([line for found in lines for line in found], merged.line, line_kind, {})
    return _structs(locations, merged, _kind("location"), {"line": _list(map(len, lines), flat)})


def _list(lengths: Iterable[int], values: pa.Array) -> pa.ListArray:
    offsets = np.cumsum([0, *lengths])
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values)


def _column(merged: Any) -> pa.Array:
    """A repeated scalar as an array."""
    return pa.array(np.asarray(merged))


def _structs(
    messages: Sequence[Any], merged: Any, kind: pa.StructType, lists: dict[str, pa.Array]
) -> pa.Array:
    """Messages as structs; `lists` are the fields that are no scalars."""
    arrays = [
        lists[field.name] if field.name in lists else _scalars(messages, merged, field) for field in kind
    ]
    return pa.StructArray.from_arrays(arrays, fields=list(kind))


def _scalars(messages: Sequence[Any], merged: Any, field: pa.Field) -> pa.Array:
    """A scalar field of all messages: the merged column if it is whole, else each message's own."""
    values: npt.NDArray[Any] = np.asarray(getattr(merged, field.name))
    if len(values) == 0:
        values = np.zeros(len(messages), field.type.to_pandas_dtype())
    elif len(values) != len(messages):
        each = (getattr(message, field.name) for message in messages)
        values = np.fromiter(each, field.type.to_pandas_dtype(), len(messages))
    return pa.array(values, field.type)
