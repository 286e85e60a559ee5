"""The cells of an Arrow table as Python values, as JSON values and as text.

Integers stay exact, also where DuckDB widens a sum to a 38-digit decimal. Maps become dicts. Times with
nanoseconds are ISO texts in JSON; as Python values they lose what `datetime` cannot hold.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa

Row = dict[str, Any]
_Convert = Callable[[Any], Any]
_Moment = Callable[[int, str | None], Any]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NS_OF_UNIT = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}


def python_rows(table: pa.Table) -> list[Row]:
    """Rows as dicts of Python values."""
    return _rows(table, _python_value, _python_time)


def python_tuples(table: pa.Table) -> list[tuple[Any, ...]]:
    """Rows as tuples of Python values."""
    return list(zip(*_columns(table, _python_value, _python_time), strict=True))


def json_rows(table: pa.Table) -> list[Row]:
    """Rows as dicts that `json.dumps` takes: bytes as hex, times as ISO texts, NaN and infinities as null."""
    return _rows(table, json_value, _iso_time)


def text_cell(value: Any) -> str:
    """A cell for people: null is empty, containers are JSON."""
    value = json_value(value)
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def json_value(value: Any) -> Any:
    """What `json.dumps` takes for a Python value of a cell."""
    converted = value
    match value:
        case None | bool() | int() | str():
            pass
        case float():
            converted = value if math.isfinite(value) else None
        case Decimal():
            converted = json_value(float(value)) if value.as_tuple().exponent else int(value)
        case bytes():
            converted = value.hex()
        case dict():
            converted = {str(json_value(key)): json_value(item) for key, item in value.items()}
        case list():
            converted = [json_value(item) for item in value]
        case datetime() | date() | time():
            converted = value.isoformat()
        case _:
            converted = str(value)
    return converted


def _python_value(value: Any) -> Any:
    return int(value) if isinstance(value, Decimal) and not value.as_tuple().exponent else value


def _rows(table: pa.Table, scalar: _Convert, moment: _Moment) -> list[Row]:
    columns = _columns(table, scalar, moment)
    return [dict(zip(table.column_names, row, strict=True)) for row in zip(*columns, strict=True)]


def _columns(table: pa.Table, scalar: _Convert, moment: _Moment) -> list[list[Any]]:
    columns = []
    for column in table.columns:
        convert = _converter(column.type, scalar, moment)
        columns.append([convert(value) for value in column.cast(_without_times(column.type)).to_pylist()])
    return columns


def _without_times(kind: pa.DataType) -> pa.DataType:
    """The type with every timestamp, at any depth, as an integer: Arrow refuses nanoseconds in `datetime`."""
    if pa.types.is_timestamp(kind):
        return pa.int64()
    if pa.types.is_map(kind):
        return pa.map_(_without_times(kind.key_type), _without_times(kind.item_type))
    if pa.types.is_list(kind):
        return pa.list_(kind.value_field.with_type(_without_times(kind.value_type)))
    if pa.types.is_struct(kind):
        return pa.struct([member.with_type(_without_times(member.type)) for member in kind])
    return kind


def _converter(kind: pa.DataType, scalar: _Convert, moment: _Moment) -> _Convert:
    """How a value of this Arrow type, its times as integers, is converted; null stays null."""
    if pa.types.is_timestamp(kind):
        scale = _NS_OF_UNIT[kind.unit]
        return lambda value: None if value is None else moment(value * scale, kind.tz)
    if pa.types.is_map(kind):
        key, item = (_converter(part, scalar, moment) for part in (kind.key_type, kind.item_type))
        return lambda value: None if value is None else {_map_key(key(k)): item(v) for k, v in value}
    if pa.types.is_list(kind):
        element = _converter(kind.value_type, scalar, moment)
        return lambda value: None if value is None else [element(v) for v in value]
    if pa.types.is_struct(kind):
        members = {member.name: _converter(member.type, scalar, moment) for member in kind}
        return lambda value: None if value is None else {name: members[name](v) for name, v in value.items()}
    return scalar


def _map_key(key: Any) -> Any:
    """A key that a dict takes."""
    return text_cell(key) if isinstance(key, (dict, list)) else key


def _python_time(time_ns: int, zone: str | None) -> datetime:
    whole = _EPOCH + timedelta(microseconds=time_ns // 1000)
    return whole if zone else whole.replace(tzinfo=None)


def _iso_time(time_ns: int, zone: str | None) -> str:
    from ..schema.times import format_time_ns

    return format_time_ns(time_ns) if zone else format_time_ns(time_ns).removesuffix("Z")
