"""OTLP profiles in protobuf, as tables.

Protobuf parses the message first, and refuses what is malformed. What it then writes again holds known fields
alone, nothing nested deep and everything in its canonical form, and so is fit for ptars (docs/decisions/0009),
which makes columns of it.

Source of the field numbers: opentelemetry-proto, `profiles/v1development`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet

from ...schema.errors import CorruptProfile
from ...schema.proto import otlp_profiles_pb2 as otlp
from ..trie import Ragged
from .otlp_slices import Slice, cut_request
from .otlp_strings import Budget, StringTable
from .otlp_tables import (
    MAX_ATTRIBUTE_DEPTH,
    OLD_REVISION,
    Attributes,
    AttributeTable,
    Dictionary,
    FunctionTable,
    LocationTable,
    MappingTable,
    Piece,
    Plain,
    ProfileHead,
    SampleTable,
    TypeIndices,
    Values,
    first_of_each,
)
from .wire import LEN, find_fault

IntArray = npt.NDArray[np.int64]


class Message:
    """A request in protobuf: its dictionary, if it has one, and its profiles a piece at a time."""

    def __init__(self, raw: bytes, budget: Budget) -> None:
        """Raises `CorruptProfile`, and `LimitExceeded` for what means too much."""
        self._cut = cut_request(raw)
        self.has_resources = self._cut.has_resources
        self.dictionary: Dictionary | None = None
        self._strings = StringTable(pa.array([], pa.binary()), budget)
        if self._cut.dictionary:
            tables = _tables(self._cut.dictionary)
            self._strings = StringTable(tables["string_table"], budget)
            self.dictionary = _dictionary(tables, self._strings)

    def pieces(self) -> Iterator[Piece]:
        """All profiles, in order. Raises `CorruptProfile`."""
        first = 0
        for one in self._cut.slices:
            piece = _piece(one, self._strings, first)
            yield piece
            first += len(piece.heads) - one.goes_on


def parse(kind: Any, raw: bytes) -> Any:
    """A message of a kind. Raises `CorruptProfile` that says where it breaks, as far as can be told."""
    try:
        return kind.FromString(raw)
    except DecodeError:
        raise CorruptProfile(find_fault(raw)) from None


@cache
def _handler(kind: Any) -> Any:
    from ptars import HandlerPool

    return HandlerPool([otlp.DESCRIPTOR]).get_for_message(kind.DESCRIPTOR)


def _columns(kind: Any, message: Any) -> pa.StructArray:
    """A parsed message as a row, without what is unknown."""
    message.DiscardUnknownFields()
    batch = _handler(kind).list_to_record_batch([message.SerializeToString()])
    return pa.StructArray.from_arrays(batch.columns, batch.schema.names)


def _numbers(struct: pa.StructArray, name: str) -> IntArray:
    """A field of all rows; unsigned numbers become the bits of signed ones."""
    values: npt.NDArray[Any] = struct.field(name).to_numpy(zero_copy_only=False)
    return values.view(np.int64) if values.dtype == np.uint64 else values.astype(np.int64)


def _lists(struct: pa.StructArray, name: str) -> Ragged:
    """A repeated number of all rows."""
    lists = struct.field(name)
    values: npt.NDArray[Any] = lists.values.to_numpy(zero_copy_only=False)
    return Ragged(values.astype(np.int64), lists.offsets.to_numpy().astype(np.int64))


def _tables(parts: Sequence[bytes]) -> dict[str, pa.Array]:
    """The tables of a dictionary, whose fields are spread over `parts`."""
    rows = [_columns(otlp.ProfilesDictionary, parse(otlp.ProfilesDictionary, part)) for part in parts]
    return {
        one.name: pa.concat_arrays([part.field(one.name).values for part in rows]) for one in rows[0].type
    }


def _dictionary(tables: Mapping[str, pa.Array], strings: StringTable) -> Dictionary:
    functions, mappings = tables["function_table"], tables["mapping_table"]
    links = tables["link_table"]
    return Dictionary(
        strings=strings.values,
        functions=FunctionTable(
            *(
                _numbers(functions, name)
                for name in ("name_strindex", "system_name_strindex", "filename_strindex", "start_line")
            )
        ),
        locations=_locations(tables["location_table"]),
        stacks=_lists(tables["stack_table"], "location_indices"),
        mappings=MappingTable(
            _numbers(mappings, "memory_start"),
            _numbers(mappings, "memory_limit"),
            _numbers(mappings, "file_offset"),
            _numbers(mappings, "filename_strindex"),
            _lists(mappings, "attribute_indices"),
        ),
        attributes=_attributes(tables["attribute_table"], strings),
        links=list(zip(*(links.field(name).to_pylist() for name in ("trace_id", "span_id")), strict=True)),
    )


def _locations(table: pa.StructArray) -> LocationTable:
    lines = table.field("lines")
    return LocationTable(
        _numbers(table, "mapping_index"),
        _numbers(table, "address"),
        _lists(table, "attribute_indices"),
        lines.offsets.to_numpy().astype(np.int64),
        *(_numbers(lines.values, name) for name in ("function_index", "line", "column")),
    )


def _attributes(table: pa.StructArray, strings: StringTable) -> AttributeTable:
    return AttributeTable(
        _numbers(table, "key_strindex"),
        _numbers(table, "unit_strindex"),
        _values(table.field("value"), strings),
    )


def _values(values: pa.StructArray, strings: StringTable) -> Values:
    """The values of a column of `AnyValue`."""
    text = values.field("string_value")
    index = values.field("string_value_strindex")
    if index.null_count < len(index):
        text = pc.coalesce(text, strings.take(index))
    number = values.field("int_value")
    others: dict[int, Plain] = {}
    for name in ("bool_value", "double_value", "array_value", "kvlist_value", "bytes_value"):
        column = values.field(name)
        for row in np.flatnonzero(column.is_valid().to_numpy(zero_copy_only=False)).tolist():
            others[row] = _nested(name, column[row].as_py(), strings)
    return Values(
        text,
        pc.fill_null(number, 0).to_numpy(zero_copy_only=False).astype(np.int64),
        number.is_valid().to_numpy(zero_copy_only=False),
        others,
    )


def _nested(name: str, value: Any, strings: StringTable, depth: int = 0) -> Plain:
    """A value of one of the fields of `AnyValue`. Raises `CorruptProfile`."""
    if depth > MAX_ATTRIBUTE_DEPTH:
        raise CorruptProfile(f"an attribute nests deeper than {MAX_ATTRIBUTE_DEPTH}")
    if name == "array_value":
        array = parse(otlp.ArrayValue, value)
        return [_plain(one, strings, depth + 1) for one in array.values]
    if name == "kvlist_value":
        pairs = parse(otlp.KeyValueList, value)
        return {_key(one, strings): _plain(one.value, strings, depth + 1) for one in pairs.values}
    if name == "string_value":
        return str(value, "utf-8", "replace")
    if name == "string_value_strindex":
        return strings.text(value)
    plain: Plain = value
    return plain


def _plain(value: Any, strings: StringTable, depth: int = 0) -> Plain:
    name = value.WhichOneof("value")
    return None if name is None else _nested(name, getattr(value, name), strings, depth)


def _key(pair: Any, strings: StringTable) -> str:
    return strings.text(pair.key_strindex) if pair.key_strindex else str(pair.key, "utf-8", "replace")


def _attributes_of(pairs: Sequence[Any], strings: StringTable) -> Attributes:
    return first_of_each([(_key(pair, strings), _plain(pair.value, strings)) for pair in pairs])


def _piece(one: Slice, strings: StringTable, first: int) -> Piece:
    message = parse(otlp.ProfilesData, one.body)
    heads = list(_heads(message, strings))
    columns = _columns(otlp.ProfilesData, message)
    for name in ("resource_profiles", "scope_profiles", "profiles"):
        columns = columns.field(name).values
    samples = columns.field("samples")
    owner = np.repeat(np.arange(len(heads)), np.diff(samples.offsets.to_numpy()))
    rows = samples.values
    times = np.diff(rows.field("timestamps_unix_nano").offsets.to_numpy()).astype(np.int64)
    table = SampleTable(
        owner,
        _numbers(rows, "stack_index"),
        _numbers(rows, "link_index"),
        _lists(rows, "attribute_indices"),
        _lists(rows, "values"),
        times,
    )
    return Piece(heads, table, first, one.continues)


def _heads(message: Any, strings: StringTable) -> Iterator[ProfileHead]:
    """What each profile says once. Raises `CorruptProfile`, also for profiles of other revisions."""
    for resource in message.resource_profiles:
        of_resource = _attributes_of(resource.resource.attributes, strings)
        for scope in resource.scope_profiles:
            of_scope = _attributes_of(scope.scope.attributes, strings)
            name, version = (
                str(text, "utf-8", "replace") for text in (scope.scope.name, scope.scope.version)
            )
            for profile in scope.profiles:
                _refuse_old(profile)
                yield ProfileHead(
                    of_resource,
                    of_scope,
                    name,
                    version,
                    _type_indices(profile, "sample_type"),
                    _type_indices(profile, "period_type"),
                    profile.period,
                    profile.time_unix_nano,
                    profile.duration_nano,
                    profile.profile_id,
                    list(profile.attribute_indices),
                )


def _type_indices(profile: Any, name: str) -> TypeIndices | None:
    if not profile.HasField(name):
        return None
    kind = getattr(profile, name)
    return kind.type_strindex, kind.unit_strindex


def _refuse_old(profile: Any) -> None:
    """The dictionary is older than today's numbers: field 3 was a list of locations and is a time of fixed size."""
    if not profile.time_unix_nano and any(
        one.field_number == 3 and one.wire_type == LEN for one in UnknownFieldSet(profile)
    ):
        raise CorruptProfile(OLD_REVISION)
