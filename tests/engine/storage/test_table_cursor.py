"""Files that are read forwards: every row as it is stored, decoded once."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flameduck.engine.storage import table_cursor
from flameduck.engine.storage.table_cursor import TableCursor

ROWS = 100
TABLE = pa.table({"number": range(ROWS), "square": [n * n for n in range(ROWS)], "other": [""] * ROWS})


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("cursor") / "table.parquet"
    pq.write_table(TABLE, path, row_group_size=30)
    return str(path)


@given(
    bounds=st.lists(st.integers(0, ROWS), min_size=2, max_size=12), batch_rows=st.sampled_from([1, 7, 1000])
)
def test_ranges_in_order_and_out_of_it(path: str, bounds: list[int], batch_rows: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(table_cursor, "BATCH_ROWS", batch_rows)
        cursor = TableCursor(path, ["number", "square"])
        for ordered in (sorted(bounds), bounds):
            for first, last in pairwise(ordered):
                if first < last:
                    expected = TABLE.select(["number", "square"]).slice(first, last - first)
                    assert cursor.read(first, last).equals(expected)


def test_forwards_no_row_is_decoded_twice(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[int] = []
    plain = pq.ParquetFile.iter_batches

    def counted(*args: Any, **kwargs: Any) -> Iterator[pa.RecordBatch]:
        for batch in plain(*args, **kwargs):
            decoded.extend(batch.column(0).to_pylist())
            yield batch

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", counted)
    monkeypatch.setattr(table_cursor, "BATCH_ROWS", 7)
    cursor = TableCursor(path, ["number"])
    for first in range(0, 40, 5):
        cursor.read(first, first + 5)
    assert decoded == sorted(set(decoded))
    # Of a row group that nobody asks for no row is decoded at all.
    cursor.read(95, 100)
    assert decoded == sorted(set(decoded))
    assert not set(decoded) & set(range(60, 90))


def test_what_is_not_there_is_told(path: str) -> None:
    with pytest.raises(pa.ArrowInvalid, match="has 100 rows, and 101 were asked for"):
        TableCursor(path, ["number"]).read(90, 101)
