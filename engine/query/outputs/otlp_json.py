"""An OTLP message as JSON in OTLP's own way: camel case, 64-bit integers as texts, ids in hexadecimal.

Source: https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding
"""

from __future__ import annotations

from typing import Any

from ....schema.proto import otlp_profiles_pb2 as otlp

_IDS = frozenset(("trace_id", "span_id", "profile_id"))
_NESTED: dict[str, Any] = {"array_value": otlp.ArrayValue, "kvlist_value": otlp.KeyValueList}


def to_json(message: Any) -> dict[str, Any]:
    """A message of our schema; fields that say nothing are left out."""
    return {_camel(field.name): _value(field, value) for field, value in message.ListFields()}


def _value(field: Any, value: Any) -> Any:
    if field.is_repeated:
        return [_single(field, one) for one in value]
    return _single(field, value)


def _single(field: Any, value: Any) -> Any:
    if field.type == field.TYPE_MESSAGE:
        return to_json(value)
    if field.name in _NESTED:
        return to_json(_NESTED[field.name].FromString(value))
    if field.type == field.TYPE_BYTES:
        return value.hex() if field.name in _IDS else value.decode()
    if field.cpp_type in (field.CPPTYPE_INT64, field.CPPTYPE_UINT64):
        return str(value)
    return value


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(map(str.title, others))
