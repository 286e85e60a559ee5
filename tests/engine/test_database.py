"""The door to DuckDB: answers, refusals, and errors that say what to do."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest

from flameduck.engine.database import (
    AnswerLimits,
    DatabaseLimits,
    DuckDB,
    Query,
    Session,
    _errors_of,
    connect,
    query_file,
)
from flameduck.schema.errors import InvalidSql, StorageError, Unavailable


def sql(text: str) -> Query:
    return Query("sql", text)


@pytest.fixture(scope="module")
def database() -> Iterator[DuckDB]:
    with connect(DatabaseLimits(threads=2, memory_bytes=500_000_000)) as opened:
        yield opened


@pytest.fixture
def session(database: DuckDB) -> Iterator[Session]:
    with database.session() as opened:
        yield opened


def test_only_the_named_parameters_are_bound(session: Session) -> None:
    answer = session.arrow(sql("SELECT $n::BIGINT + 1 AS n"), {"n": 41, "unused": 0})
    assert answer.to_pydict() == {"n": [42]}


def test_tables_are_there_for_one_query(session: Session) -> None:
    tables = {"given": pa.table({"a": [1, 2]})}
    assert session.arrow(sql("SELECT sum(a) AS a FROM given"), {}, tables).to_pydict() == {"a": [3]}
    with pytest.raises(InvalidSql, match="given does not exist"):
        session.arrow(sql("FROM given"))


def test_variables_of_the_caller_are_not_tables(session: Session) -> None:
    hidden = pa.table({"a": [1]})
    assert len(hidden) == 1
    with pytest.raises(InvalidSql, match="hidden does not exist"):
        session.answer(sql("FROM hidden"))


@pytest.mark.parametrize(
    ("text", "kind", "values"),
    [
        ("SELECT sum(a) AS v FROM range(4) AS t(a)", pa.int64(), [6]),
        ("SELECT -sum(9007199254740993) AS v FROM range(1)", pa.int64(), [-9007199254740993]),
        ("SELECT sum(9223372036854775807) AS v FROM range(2)", pa.decimal128(38, 0), [Decimal(2**64 - 2)]),
        ("SELECT 1.5::DECIMAL(38, 1) AS v", pa.decimal128(38, 1), [Decimal("1.5")]),
        ("SELECT sum(a) AS v FROM range(0) AS t(a)", pa.int64(), [None]),
    ],
)
def test_sums_are_bigint_where_they_fit(
    session: Session, text: str, kind: pa.DataType, values: list[object]
) -> None:
    answer = session.answer(sql(text))
    assert answer.schema.field("v").type == kind
    assert answer.column("v").to_pylist() == values


@pytest.mark.parametrize(
    "text",
    [
        "WITH a AS (SELECT 1 AS b) FROM a",
        "FROM range(3)",
        "VALUES (1)",
        "DESCRIBE SELECT 1",
        "EXPLAIN SELECT 1",
        "-- why\n/* is it */ EXPLAIN SELECT 1",
        "PIVOT (FROM range(2) AS t(a)) ON a USING sum(a)",
        "SELECT 1; -- done",
    ],
)
def test_queries_of_users_are_answered(session: Session, text: str) -> None:
    assert session.answer(sql(text)).num_columns > 0


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "expected one statement, found 0"),
        ("SELECT 1; SELECT 2", "expected one statement, found 2"),
        ("SELEC 1", 'syntax error at or near "SELEC"'),
        ("CREATE TABLE t (a INTEGER)", "only queries are allowed here, not CREATE"),
        ("COPY (SELECT 1) TO '/tmp/never.csv'", "only queries are allowed here, not COPY"),
        ("SET threads = 1", "only queries are allowed here, not SET"),
        ("ATTACH '/tmp/never.db'", "only queries are allowed here, not ATTACH"),
        ("WITH a AS (INSERT INTO kept VALUES (1) RETURNING *) FROM a", "read-only mode"),
        ("FROM nowhere", "nowhere does not exist"),
        ("SELECT $missing", "missing"),
        ("SELECT 'x'::INTEGER", "Could not convert string 'x'"),
        ("SELECT 9223372036854775807 + a FROM range(2) AS t(a)", "Overflow"),
    ],
)
def test_what_is_no_query_is_refused(session: Session, text: str, reason: str) -> None:
    session.run(sql("CREATE TABLE IF NOT EXISTS kept (a INTEGER)"))
    with pytest.raises(InvalidSql) as raised:
        session.answer(sql(text))
    assert reason in str(raised.value)
    assert str(raised.value).startswith("sql: ")
    assert session.answer(sql("FROM kept")).num_rows == 0


def test_a_parameter_that_the_query_does_not_name_is_refused(session: Session) -> None:
    with pytest.raises(InvalidSql, match=r"the query has no parameter \$b, \$c"):
        session.answer(sql("SELECT $a"), {"a": 1, "b": 2, "c": 3})


def test_a_session_goes_on_after_an_error(session: Session) -> None:
    with pytest.raises(InvalidSql):
        session.answer(sql("SELECT error('stop')"))
    assert session.answer(sql("SELECT 1 AS a")).to_pydict() == {"a": [1]}


def test_a_missing_file_is_an_error_of_storage(session: Session, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="No files found"):
        session.answer(sql("FROM read_parquet($path)"), {"path": str(tmp_path / "no.parquet")})


def test_sessions_keep_their_variables_to_themselves(database: DuckDB) -> None:
    with database.session() as one, database.session() as other:
        one.run(sql("SET VARIABLE a = $a"), {"a": 1})
        assert one.answer(sql("SELECT getvariable('a') AS a")).to_pydict() == {"a": [1]}
        assert other.answer(sql("SELECT getvariable('a') AS a")).column("a").to_pylist() == [None]


def test_definitions_are_run_once_and_seen_by_all(database: DuckDB) -> None:
    script = Query("once.sql", "CREATE TABLE once AS SELECT 1 AS a; CREATE VIEW twice AS FROM once")
    with database.session() as one, database.session() as other:
        one.run_once(script)
        other.run_once(script)
        assert other.answer(sql("FROM twice")).to_pydict() == {"a": [1]}


def test_interrupt_stops_a_query_of_another_thread(session: Session) -> None:
    timer = threading.Timer(0.2, session.interrupt)
    timer.start()
    with pytest.raises(Unavailable, match="Interrupted"):
        session.answer(sql("SELECT count(*) FROM range(10000000000) AS a(x) WHERE hash(x) = 1"))
    timer.join()


def test_memory_is_limited(tmp_path: Path) -> None:
    limits = DatabaseLimits(threads=1, memory_bytes=20_000_000, temp_directory=str(tmp_path))
    with connect(limits) as opened, opened.session() as session:
        session.run(sql("SET max_temp_directory_size = '1MB'"))
        with pytest.raises(Unavailable):
            session.answer(sql("SELECT list(x) FROM range(100000000) AS t(x)"))


def test_confined_to_some_files(tmp_path: Path) -> None:
    allowed, other = tmp_path / "allowed.csv", tmp_path / "other.csv"
    for path in (allowed, other):
        path.write_text("a\n1\n")
    with connect(DatabaseLimits(threads=1)) as opened, opened.session() as session:
        opened.confine([str(allowed)])
        assert session.answer(sql(f"FROM '{allowed}'")).to_pydict() == {"a": [1]}
        with pytest.raises(InvalidSql, match="file system operations are disabled"):
            session.answer(sql(f"FROM '{other}'"))
        with pytest.raises(InvalidSql, match="locked"):
            session.run(sql("SET GLOBAL enable_external_access = true"))


@pytest.mark.parametrize(
    "text",
    [
        "EXPLAIN ANALYZE COPY (SELECT 1) TO '{file}'",
        "EXPLAIN (ANALYZE, FORMAT json) COPY (SELECT 1) TO '{file}'",
        "/* EXPLAIN */ EXPLAIN ANALYZE COPY (SELECT 1) TO '{file}'",
        "EXPLAIN COPY (SELECT 1) TO '{file}'",
        "EXPLAIN ANALYZE CREATE TABLE t AS SELECT 1",
        "COPY (PIVOT (SELECT 1 AS a, 2 AS b) ON a USING sum(b)) TO '{file}'",
        "EXPLAIN ANALYZE COPY (PIVOT (SELECT 1 AS a, 2 AS b) ON a USING sum(b)) TO '{file}'",
        "CREATE TABLE t AS PIVOT (SELECT 1 AS a, 2 AS b) ON a USING sum(b)",
    ],
)
def test_what_only_looks_like_a_query(session: Session, tmp_path: Path, text: str) -> None:
    file = tmp_path / "never.csv"
    with pytest.raises(InvalidSql, match="only queries are allowed here"):
        session.answer(sql(text.format(file=file)))
    assert not file.exists()


@pytest.mark.parametrize(
    "text",
    [
        "EXPLAIN SELECT 1",
        "-- why\n/* is it */ EXPLAIN SELECT 1",
        "explain analyze select 1; ",
        "EXPLAIN (FORMAT json) SELECT 1 -- why",
        "EXPLAIN ANALYZE FROM (SELECT 1 AS a)",
        "PIVOT (SELECT 1 AS a, 2 AS b) ON a USING sum(b)",
        "WITH x AS (SELECT 1 AS a, 2 AS b) PIVOT x ON a USING sum(b);",
        "FROM (PIVOT (SELECT 1 AS a, 2 AS b) ON a USING sum(b)) -- all",
        "EXPLAIN ANALYZE PIVOT (SELECT 1 AS a, 2 AS b) ON a USING sum(b)",
        "SHOW TABLES",
    ],
)
def test_what_is_a_query(session: Session, text: str) -> None:
    session.answer(sql(text))


def test_answers_have_limits(session: Session) -> None:
    limits = AnswerLimits(rows=100_000, size_bytes=1_000_000)
    assert len(session.answer(sql("FROM range(100_000)"), limits=limits)) == 100_000
    with pytest.raises(InvalidSql, match="more than 100000 rows"):
        session.answer(sql("FROM range(1_000_000_000)"), limits=limits)
    with pytest.raises(InvalidSql, match="more than 1000000 bytes"):
        session.answer(sql("SELECT repeat('x', 1000) FROM range(50_000)"), limits=limits)
    assert session.answer(sql("SELECT 1 AS a"), limits=limits).to_pydict() == {"a": [1]}


LATE = {
    "SELECT (CASE WHEN range = 400_000 THEN 'x' ELSE '1' END)::INT FROM range(500_000)": "Could not convert string",
    "SELECT error('late') FROM range(500_000) WHERE range = 400_000": "late",
    "SELECT range * 25_000_000_000_000 FROM range(500_000)": "Overflow",
}


@pytest.mark.parametrize("limits", [None, AnswerLimits(1_000_000, 1 << 30)])
@pytest.mark.parametrize("text", LATE)
def test_an_error_in_the_middle_of_an_answer(
    session: Session, text: str, limits: AnswerLimits | None
) -> None:
    """When answers are bounded they are read as a stream, which tells errors in another way."""
    with pytest.raises(InvalidSql, match=rf"^sql: .*{LATE[text]}"):
        session.answer(sql(text), limits=limits)


@pytest.mark.parametrize(
    ("said", "raised"),
    [
        ("Out of Memory Error: failed to allocate", Unavailable),
        ("INTERRUPT Error: Interrupted!", Unavailable),
        ("IO Error: no such disk", StorageError),
        ("Mismatch Type Error: Type INT32 does not match", InvalidSql),
        ("[Errno 28] No space left on device", OSError),
    ],
)
def test_what_a_stream_says_of_an_error(said: str, raised: type[Exception]) -> None:
    with pytest.raises(raised), _errors_of("sql"):
        raise OSError(said)


def test_times_are_utc(session: Session) -> None:
    answer = session.answer(sql("SELECT (TIMESTAMPTZ '2026-01-01 00:00:00+02')::TIMESTAMP::VARCHAR AS t"))
    assert answer.to_pydict() == {"t": ["2025-12-31 22:00:00"]}


def test_query_files_are_read_once() -> None:
    query = query_file("flameduck.schema.sql", "views")
    assert query.name == "views.sql"
    assert "CREATE OR REPLACE VIEW samples" in query.text
    assert query_file("flameduck.schema.sql", "views") is query
