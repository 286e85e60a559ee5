"""Tables as bytes for clients: JSON, CSV or Arrow.

JSON is a list of objects: integers exact, bytes as hex, times as ISO texts, maps as objects, NaN and infinities as
null. CSV has the same texts where Arrow's own writer has none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType

import pyarrow as pa
import pyarrow.csv

from ...schema.errors import RequestError
from ...schema.request_json import ARROW_TYPE, table_to_arrow
from ..cells import json_rows, text_cell

MEDIA_TYPES: Mapping[str, str] = MappingProxyType(
    {"json": "application/json", "csv": "text/csv; charset=utf-8", "arrow": ARROW_TYPE}
)


def checked_format(name: str) -> str:
    """The name of a format. Raises `RequestError`."""
    if name not in MEDIA_TYPES:
        raise RequestError(f"format {name[:20]!r}: expected one of {', '.join(MEDIA_TYPES)}")
    return name


def table_bytes(table: pa.Table, name: str) -> bytes:
    """A table in one of `MEDIA_TYPES`."""
    if name == "arrow":
        return table_to_arrow(table)
    if name == "json":
        return json.dumps(json_rows(table), ensure_ascii=False).encode()
    sink = pa.BufferOutputStream()
    pyarrow.csv.write_csv(_flat(table), sink)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def _flat(table: pa.Table) -> pa.Table:
    """Columns that Arrow's CSV writer cannot take, as texts."""
    rows = None
    columns = []
    for place, column in enumerate(table.columns):
        if _is_plain(column.type):
            columns.append(column)
            continue
        if rows is None:
            # By place: a table may have several columns of one name.
            rows = json_rows(table.rename_columns([str(number) for number in range(table.num_columns)]))
        texts = [None if row[str(place)] is None else text_cell(row[str(place)]) for row in rows]
        columns.append(pa.chunked_array([pa.array(texts, pa.string())]))
    return pa.table(columns, names=table.column_names)


def _is_plain(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
    )
