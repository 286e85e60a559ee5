"""Arrow cells as Python, JSON and text."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from flameduck.engine.cells import json_rows, python_rows, python_tuples, text_cell

NS = 1_704_067_200_123_456_789


@pytest.mark.parametrize(
    ("values", "kind", "as_json"),
    [
        ([2**63 - 1, None], pa.int64(), [2**63 - 1, None]),
        ([2**64 - 1], pa.uint64(), [2**64 - 1]),
        ([Decimal(10**37)], pa.decimal128(38, 0), [10**37]),
        ([Decimal("1.50")], pa.decimal128(10, 2), [1.5]),
        ([float("nan"), float("inf"), 1.5], pa.float64(), [None, None, 1.5]),
        ([b"\xaa\x00"], pa.binary(), ["aa00"]),
        ([NS], pa.timestamp("ns"), ["2024-01-01T00:00:00.123456789"]),
        ([NS, None], pa.timestamp("ns", "UTC"), ["2024-01-01T00:00:00.123456789Z", None]),
        ([NS // 1000], pa.timestamp("us", "UTC"), ["2024-01-01T00:00:00.123456Z"]),
        ([date(2024, 1, 1)], pa.date32(), ["2024-01-01"]),
        ([[("a", "b")], None], pa.map_(pa.string(), pa.string()), [{"a": "b"}, None]),
        ([[(1, NS)]], pa.map_(pa.int64(), pa.timestamp("ns")), [{"1": "2024-01-01T00:00:00.123456789"}]),
        ([[Decimal(3)], None], pa.list_(pa.decimal128(38, 0)), [[3], None]),
        ([{"a": NS}], pa.struct([("a", pa.timestamp("ns"))]), [{"a": "2024-01-01T00:00:00.123456789"}]),
        (["x"], pa.dictionary(pa.int8(), pa.string()), ["x"]),
        ([True], pa.bool_(), [True]),
    ],
    ids=lambda value: str(value)[:30],
)
def test_json_rows(values: list[Any], kind: pa.DataType, as_json: list[Any]) -> None:
    rows = json_rows(pa.table({"c": pa.array(values, kind)}))
    assert [json.loads(json.dumps(row))["c"] for row in rows] == as_json


def test_uuids_are_texts() -> None:
    ids = pa.ExtensionArray.from_storage(pa.uuid(), pa.array([bytes(range(16))], pa.binary(16)))
    assert json_rows(pa.table({"c": ids})) == [{"c": "00010203-0405-0607-0809-0a0b0c0d0e0f"}]


def test_python_rows_keep_python_types() -> None:
    table = pa.table(
        {
            "sum": pa.array([Decimal(7)], pa.decimal128(38, 0)),
            "time": pa.array([NS], pa.timestamp("ns", "UTC")),
            "blob": pa.array([b"x"]),
            "labels": pa.array([[("a", "b")]], pa.map_(pa.string(), pa.string())),
        }
    )
    time = datetime(2024, 1, 1, 0, 0, 0, 123456, UTC)
    assert python_rows(table) == [{"sum": 7, "time": time, "blob": b"x", "labels": {"a": "b"}}]
    assert python_tuples(table) == [(7, time, b"x", {"a": "b"})]


def test_rows_of_an_empty_table() -> None:
    assert json_rows(pa.table({"a": pa.array([], pa.int64())})) == []


@pytest.mark.parametrize(
    ("value", "text"), [(None, ""), ("a b", "a b"), (3, "3"), ([1, "a"], '[1, "a"]'), ({"k": 1}, '{"k": 1}')]
)
def test_text_cell(value: Any, text: str) -> None:
    assert text_cell(value) == text
