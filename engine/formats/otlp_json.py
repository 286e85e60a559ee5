"""OTLP profiles in JSON, as tables.

Field names come in either spelling (`stackIndex`, `stack_index`), integers as numbers or as text, ids as OTLP has
them (hexadecimal) or as protobuf's own JSON does (base64).

Source: https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import TypeVar

import msgspec
import numpy as np
import pyarrow as pa
from msgspec import UNSET, Raw, Struct, UnsetType

from ...schema.errors import CorruptProfile
from ..trie import Ragged, offsets_of
from .json_document import PIECE_BYTES, array_pieces, decode_json
from .otlp_strings import Budget, StringTable
from .otlp_tables import (
    MAX_ATTRIBUTE_DEPTH,
    OLD_REVISION,
    Attributes,
    AttributeTable,
    Dictionary,
    FunctionTable,
    IntArray,
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

T = TypeVar("T")

_NO_ITEMS = Raw(b"[]")
_PIECE_PROFILES = 512
_PIECE_SAMPLES = 100_000


class _Camel(Struct, rename="camel"):
    pass


class _Value(_Camel):
    string_value: str | UnsetType = UNSET
    bool_value: bool | UnsetType = UNSET
    int_value: int | UnsetType = UNSET
    double_value: float | str | UnsetType = UNSET
    array_value: Raw | UnsetType = UNSET
    kvlist_value: Raw | UnsetType = UNSET
    bytes_value: str | UnsetType = UNSET
    string_value_strindex: int | UnsetType = UNSET


class _Array(_Camel):
    values: list[_Value] = []


class _KeyValue(_Camel):
    key: str = ""
    value: _Value | None = None
    key_strindex: int = 0


class _Map(_Camel):
    values: list[_KeyValue] = []


class _Attribute(_Camel):
    key_strindex: int = 0
    value: _Value | None = None
    unit_strindex: int = 0


class _Mapping(_Camel):
    memory_start: int = 0
    memory_limit: int = 0
    file_offset: int = 0
    filename_strindex: int = 0
    attribute_indices: list[int] = []


class _Line(_Camel):
    function_index: int = 0
    line: int = 0
    column: int = 0


class _Location(_Camel):
    mapping_index: int = 0
    address: int = 0
    lines: list[_Line] = []
    attribute_indices: list[int] = []


class _Function(_Camel):
    name_strindex: int = 0
    system_name_strindex: int = 0
    filename_strindex: int = 0
    start_line: int = 0


class _Link(_Camel):
    trace_id: str = ""
    span_id: str = ""


class _Stack(_Camel):
    location_indices: list[int] = []


class _Dictionary(_Camel):
    mapping_table: Raw = _NO_ITEMS
    location_table: Raw = _NO_ITEMS
    function_table: Raw = _NO_ITEMS
    link_table: Raw = _NO_ITEMS
    string_table: Raw = _NO_ITEMS
    attribute_table: Raw = _NO_ITEMS
    stack_table: Raw = _NO_ITEMS


class _Sample(_Camel):
    stack_index: int = 0
    attribute_indices: list[int] = []
    link_index: int = 0
    values: list[int] = []
    timestamps_unix_nano: list[int] = []


class _ValueType(_Camel):
    type_strindex: int = 0
    unit_strindex: int = 0


class _Profile(_Camel):
    sample_type: _ValueType | None = None
    samples: Raw = _NO_ITEMS
    time_unix_nano: int = 0
    duration_nano: int = 0
    period_type: _ValueType | None = None
    period: int = 0
    profile_id: str = ""
    attribute_indices: list[int] = []
    # Fields that older revisions had.
    location_indices: Raw | UnsetType = UNSET
    sample: Raw | UnsetType = UNSET


class _Scope(_Camel):
    name: str = ""
    version: str = ""
    attributes: list[_KeyValue] = []


class _ScopeProfiles(_Camel):
    scope: _Scope | None = None
    profiles: list[_Profile] = []


class _Resource(_Camel):
    attributes: list[_KeyValue] = []


class _ResourceProfiles(_Camel):
    resource: _Resource | None = None
    scope_profiles: list[_ScopeProfiles] = []


class _Request(_Camel):
    resource_profiles: list[_ResourceProfiles] = []
    dictionary: _Dictionary | None = None


def _snake_names() -> dict[bytes, bytes]:
    """Field names as protobuf spells them, and as JSON does."""
    kinds: list[type[_Camel]] = [_Camel, *_Camel.__subclasses__()]
    fields = [one for kind in kinds for one in msgspec.structs.fields(kind)]
    return {one.name.encode(): one.encode_name.encode() for one in fields if one.name != one.encode_name}


_SPELLINGS = _snake_names()
_SNAKE_MARKS = (b'_profiles"', b'_table"', b'_strindex"', b'_index"')
# What stands before a colon is a key: within a text its quotes would be escaped.
_SNAKE_KEY = re.compile(rb'"(' + b"|".join(_SPELLINGS) + rb')"(?=\s*:)')


class Document:
    """A request in JSON: its dictionary, if it has one, and its profiles a piece at a time."""

    def __init__(self, raw: bytes, budget: Budget) -> None:
        """Raises `CorruptProfile`, and `LimitExceeded` for what means too much."""
        if any(mark in raw for mark in _SNAKE_MARKS):
            raw = _SNAKE_KEY.sub(lambda found: b'"' + _SPELLINGS[found[1]] + b'"', raw)
        self._request = decode_json(raw, _Request, strict=False)
        self.has_resources = bool(self._request.resource_profiles)
        self._texts = StringTable(pa.array([], pa.binary()), budget)
        self.dictionary: Dictionary | None = None
        if self._request.dictionary is not None:
            strings = list(_all(self._request.dictionary.string_table, str, "stringTable"))
            self._texts = StringTable(pa.array(strings, pa.string()).cast(pa.binary()), budget)
            self.dictionary = _read_dictionary(self._request.dictionary, self._texts)

    def pieces(self) -> Iterator[Piece]:
        """All profiles, in order. Raises `CorruptProfile`."""
        held: list[tuple[ProfileHead, SampleTable]] = []
        number = samples = 0
        for head, raw in self._profiles():
            if len(memoryview(raw)) > PIECE_BYTES or len(held) == _PIECE_PROFILES or samples > _PIECE_SAMPLES:
                yield from _together(held, number - len(held))
                held, samples = [], 0
            for count, part in enumerate(array_pieces(raw)):
                table = _samples(_items(part, _Sample, "samples"))
                if len(memoryview(raw)) > PIECE_BYTES:
                    yield Piece([head], table, number, continues=count > 0)
                else:
                    held.append((head, table))
                    samples += len(table)
            number += 1
        yield from _together(held, number - len(held))

    def _profiles(self) -> Iterator[tuple[ProfileHead, Raw]]:
        texts = self._texts
        for resource in self._request.resource_profiles:
            of_resource = _attributes_of(resource.resource.attributes if resource.resource else [], texts)
            for one in resource.scope_profiles:
                scope = one.scope or _Scope()
                of_scope = _attributes_of(scope.attributes, texts)
                for profile in one.profiles:
                    if profile.location_indices is not UNSET or profile.sample is not UNSET:
                        raise CorruptProfile(OLD_REVISION)
                    head = ProfileHead(
                        of_resource,
                        of_scope,
                        scope.name,
                        scope.version,
                        _indices(profile.sample_type),
                        _indices(profile.period_type),
                        profile.period,
                        profile.time_unix_nano,
                        profile.duration_nano,
                        _id(profile.profile_id, 16, "profileId"),
                        profile.attribute_indices,
                    )
                    yield head, profile.samples


def _together(held: Sequence[tuple[ProfileHead, SampleTable]], first: int) -> Iterator[Piece]:
    """Small profiles in one piece."""
    if not held:
        return
    tables = [table for _, table in held]
    owner = np.repeat(np.arange(len(held)), [len(table) for table in tables])
    joined = SampleTable(
        owner,
        np.concatenate([table.stack for table in tables]),
        np.concatenate([table.link for table in tables]),
        _joined([table.attributes for table in tables]),
        _joined([table.values for table in tables]),
        np.concatenate([table.times for table in tables]),
    )
    yield Piece([head for head, _ in held], joined, first)


def _joined(lists: Sequence[Ragged]) -> Ragged:
    lengths = np.concatenate([one.lengths for one in lists])
    return Ragged(np.concatenate([one.values for one in lists]), offsets_of(lengths))


def _indices(kind: _ValueType | None) -> TypeIndices | None:
    return None if kind is None else (kind.type_strindex, kind.unit_strindex)


def _items(raw: Raw | bytes, kind: type[T], where: str) -> list[T]:
    """The items of an array. Raises `CorruptProfile`."""
    return decode_json(bytes(raw), list[kind], where, strict=False)  # type: ignore[valid-type]


def _all(raw: Raw, kind: type[T], where: str) -> Iterator[T]:
    """The items of an array, decoded in pieces. Raises `CorruptProfile`."""
    return chain.from_iterable(_items(piece, kind, where) for piece in array_pieces(raw))


def _samples(samples: Sequence[_Sample]) -> SampleTable:
    """The samples of one profile."""
    return SampleTable(
        np.zeros(len(samples), np.int64),
        _signed((one.stack_index for one in samples), "stackIndex"),
        _signed((one.link_index for one in samples), "linkIndex"),
        _lists([one.attribute_indices for one in samples], "attributeIndices"),
        _lists([one.values for one in samples], "values"),
        np.fromiter((len(one.timestamps_unix_nano) for one in samples), np.int64, len(samples)),
    )


def _signed(numbers: Iterable[int], field: str) -> IntArray:
    try:
        return np.fromiter(numbers, np.int64)
    except OverflowError:
        raise CorruptProfile(f"{field}: a number does not fit 64 bits") from None


def _unsigned(numbers: Iterable[int], field: str) -> IntArray:
    try:
        return np.fromiter(numbers, np.uint64).view(np.int64)
    except OverflowError:
        raise CorruptProfile(f"{field}: a number does not fit 64 bits") from None


def _lists(lists: Sequence[list[int]], field: str) -> Ragged:
    return Ragged(
        _signed(chain.from_iterable(lists), field),
        offsets_of(np.fromiter(map(len, lists), np.int64, len(lists))),
    )


def _id(text: str, size: int, field: str) -> bytes:
    """An id of `size` bytes in hexadecimal, or any bytes in base64. Raises `CorruptProfile`."""
    try:
        if len(text) == 2 * size:
            return bytes.fromhex(text)
        return base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        raise CorruptProfile(f"JSON: {field} {text[:64]!r} is no id of {size} bytes") from None


def _read_dictionary(tables: _Dictionary, texts: StringTable) -> Dictionary:
    """The dictionary. Raises `CorruptProfile`."""
    functions = list(_all(tables.function_table, _Function, "functionTable"))
    mappings = list(_all(tables.mapping_table, _Mapping, "mappingTable"))
    stacks = [one.location_indices for one in _all(tables.stack_table, _Stack, "stackTable")]
    links = _all(tables.link_table, _Link, "linkTable")
    return Dictionary(
        strings=texts.values,
        functions=FunctionTable(
            *(
                _signed((getattr(one, name) for one in functions), name)
                for name in ("name_strindex", "system_name_strindex", "filename_strindex", "start_line")
            )
        ),
        locations=_locations(list(_all(tables.location_table, _Location, "locationTable"))),
        stacks=_lists(stacks, "locationIndices"),
        mappings=MappingTable(
            _unsigned((one.memory_start for one in mappings), "memoryStart"),
            _unsigned((one.memory_limit for one in mappings), "memoryLimit"),
            _unsigned((one.file_offset for one in mappings), "fileOffset"),
            _signed((one.filename_strindex for one in mappings), "filenameStrindex"),
            _lists([one.attribute_indices for one in mappings], "attributeIndices"),
        ),
        attributes=_attributes(list(_all(tables.attribute_table, _Attribute, "attributeTable")), texts),
        links=[(_id(one.trace_id, 16, "traceId"), _id(one.span_id, 8, "spanId")) for one in links],
    )


def _locations(locations: Sequence[_Location]) -> LocationTable:
    lines = [line for one in locations for line in one.lines]
    return LocationTable(
        _signed((one.mapping_index for one in locations), "mappingIndex"),
        _unsigned((one.address for one in locations), "address"),
        _lists([one.attribute_indices for one in locations], "attributeIndices"),
        offsets_of(np.fromiter((len(one.lines) for one in locations), np.int64, len(locations))),
        *(
            _signed((getattr(line, name) for line in lines), name)
            for name in ("function_index", "line", "column")
        ),
    )


def _attributes(attributes: Sequence[_Attribute], texts: StringTable) -> AttributeTable:
    values = [_plain(one.value, texts) for one in attributes]
    is_number = [isinstance(value, int) and not isinstance(value, bool) for value in values]
    text = [value if isinstance(value, str) else None for value in values]
    others = {
        row: value
        for row, value in enumerate(values)
        if value is not None and not is_number[row] and not isinstance(value, str)
    }
    numbers = (
        value if number and isinstance(value, int) else 0
        for value, number in zip(values, is_number, strict=True)
    )
    return AttributeTable(
        _signed((one.key_strindex for one in attributes), "keyStrindex"),
        _signed((one.unit_strindex for one in attributes), "unitStrindex"),
        Values(
            pa.array(text, pa.string()).cast(pa.binary()),
            _signed(numbers, "intValue"),
            np.array(is_number, np.bool_),
            others,
        ),
    )


def _attributes_of(pairs: Sequence[_KeyValue], texts: StringTable) -> Attributes:
    return first_of_each([(_key(pair, texts), _plain(pair.value, texts)) for pair in pairs])


def _key(pair: _KeyValue, texts: StringTable) -> str:
    return texts.text(pair.key_strindex) if pair.key_strindex else pair.key


def _plain(value: _Value | None, texts: StringTable, depth: int = 0) -> Plain:
    """The value of an attribute; the first field that is there. Raises `CorruptProfile`."""
    if value is None:
        return None
    if depth > MAX_ATTRIBUTE_DEPTH:
        raise CorruptProfile(f"an attribute nests deeper than {MAX_ATTRIBUTE_DEPTH}")
    for plain in (value.string_value, value.bool_value, value.int_value):
        if plain is not UNSET:
            return plain
    if value.string_value_strindex is not UNSET:
        return texts.text(value.string_value_strindex)
    if value.double_value is not UNSET:
        return _double(value.double_value)
    if value.bytes_value is not UNSET:
        return _id(value.bytes_value, 0, "bytesValue")
    if value.array_value is not UNSET:
        array = decode_json(bytes(value.array_value), _Array, "arrayValue", strict=False)
        return [_plain(one, texts, depth + 1) for one in array.values]
    if value.kvlist_value is not UNSET:
        pairs = decode_json(bytes(value.kvlist_value), _Map, "kvlistValue", strict=False)
        return {_key(one, texts): _plain(one.value, texts, depth + 1) for one in pairs.values}
    return None


def _double(value: float | str) -> float:
    try:
        return float(value)
    except ValueError:
        raise CorruptProfile(f"JSON: doubleValue {value!r:.64} is no number") from None
