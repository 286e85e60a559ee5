"""DuckDB and Arrow read the files of every kind of store, whole, in pieces and from many threads, and add up."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flameduck.engine.database import DatabaseLimits, DuckDB, Query, connect
from flameduck.engine.storage.cache import BlockFiles, block_locator
from flameduck.engine.storage.disk_cache import DiskCache
from flameduck.engine.storage.objects import Objects

ROWS = 400_000
FILES = 3
PATHS = [f"acme/blocks/{number}/samples.parquet" for number in range(FILES)]
TOTALS = Query(
    "totals",
    """
    SELECT stack, sum(value)::BIGINT AS total, count(*) AS samples
    FROM read_parquet($files)
    GROUP BY stack
    ORDER BY stack
    """,
)


def samples(number: int) -> pa.Table:
    random = np.random.default_rng(number)
    return pa.table({"stack": random.integers(0, 50, ROWS), "value": random.integers(-(2**40), 2**40, ROWS)})


@pytest.fixture(scope="module")
def tables() -> list[pa.Table]:
    return [samples(number) for number in range(FILES)]


@pytest.fixture(scope="module")
def expected(tables: list[pa.Table]) -> pa.Table:
    """The totals, by numpy."""
    joined = pa.concat_tables(tables)
    stacks, values = joined.column("stack").to_numpy(), joined.column("value").to_numpy()
    totals = [int(values[stacks == stack].sum()) for stack in range(50)]
    return pa.table({"stack": list(range(50)), "total": totals, "samples": np.bincount(stacks, minlength=50)})


@pytest.fixture
def stored(objects: Objects, tables: list[pa.Table]) -> Objects:
    """The store with a file of several row groups and about 3 MB for each table."""
    for path, table in zip(PATHS, tables, strict=True):
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, row_group_size=50_000, compression="zstd")
        objects.write(path, sink.getvalue().to_pybytes())
    return objects


@pytest.fixture(params=[2, 8])
def database(request: pytest.FixtureRequest) -> Iterator[DuckDB]:
    with connect(DatabaseLimits(threads=request.param)) as opened:
        yield opened


def totals(database: DuckDB, files: list[str]) -> pa.Table:
    with database.session() as session:
        return session.arrow(TOTALS, {"files": files})


def test_whole_files(stored: Objects, database: DuckDB, tmp_path: Path, expected: pa.Table) -> None:
    files = BlockFiles(stored, DiskCache(tmp_path / "cache", 1 << 30))
    for _ in range(20):
        local = files.paths(PATHS)
        assert all(Path(path).is_file() for path in local)
        assert totals(database, local).equals(expected)
    assert local == [files.locate(path) for path in PATHS]


def test_files_in_pieces(stored: Objects, database: DuckDB, tmp_path: Path, expected: pa.Table) -> None:
    files = BlockFiles(stored, DiskCache(tmp_path / "cache", 1 << 30), whole_bytes=0)
    database.register_filesystem(files.filesystem())
    named = files.paths(PATHS)
    is_local = stored.local_path(PATHS[0]) is not None
    assert is_local or named == [f"flameduck://{path}" for path in PATHS]
    for _ in range(20):
        assert totals(database, named).equals(expected)


def test_pieces_that_do_not_fit(
    stored: Objects, database: DuckDB, tmp_path: Path, expected: pa.Table
) -> None:
    """A cache much smaller than what is read slows reading down, no more."""
    files = BlockFiles(stored, DiskCache(tmp_path / "cache", 3 << 20))
    database.register_filesystem(files.filesystem())
    for _ in range(3):
        assert totals(database, files.paths(PATHS)).equals(expected)
    assert sum(file.stat().st_size for file in (tmp_path / "cache").rglob("*.*")) <= 3 << 20


def test_several_queries_at_once(stored: Objects, tmp_path: Path, expected: pa.Table) -> None:
    files = BlockFiles(stored, DiskCache(tmp_path / "cache", 1 << 30), whole_bytes=0)
    with connect(DatabaseLimits(threads=8)) as database, ThreadPoolExecutor(4) as threads:
        database.register_filesystem(files.filesystem())
        answers = list(threads.map(lambda _: totals(database, files.paths(PATHS)), range(8)))
    assert all(answer.equals(expected) for answer in answers)


def test_arrow_reads_a_file_in_pieces(stored: Objects, tmp_path: Path, tables: list[pa.Table]) -> None:
    files = BlockFiles(stored, DiskCache(tmp_path / "cache", 1 << 30))
    with files.open(PATHS[1]) as file:
        assert pq.ParquetFile(file).read_row_group(3).equals(tables[1].slice(150_000, 50_000))


def test_a_file_is_fetched_once(stored: Objects, tmp_path: Path) -> None:
    located = block_locator(stored, tmp_path / "cache", 1 << 30)(PATHS[0])
    assert Path(located).read_bytes() == stored.read(PATHS[0])
    if stored.local_path(PATHS[0]) is None:
        stored.delete(PATHS[0])
        assert block_locator(stored, tmp_path / "cache", 1 << 30)(PATHS[0]) == located
