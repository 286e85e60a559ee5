"""SQL of strangers: what they try comes to nothing, and costs no more than it may."""

from __future__ import annotations

import io
import json
import os
import re
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pytest

from flameduck.engine.database import AnswerLimits, DuckDB, Query
from flameduck.engine.database_face import FaceContents, prepare_face
from flameduck.engine.embedded import open_embedded
from flameduck.engine.query.sql_face import face_contents
from flameduck.engine.services.sql_runner import WAITING, SqlRunner, _Sandbox
from flameduck.engine.services.sql_sandbox import Place, SqlBounds, SqlJob, open_database
from flameduck.engine.services.table_formats import table_bytes
from flameduck.engine.settings import Settings
from flameduck.schema.errors import FlameduckError, InvalidSql, Overloaded
from flameduck.schema.profile import Upload
from flameduck.schema.request import SqlRequest
from tests.engine.services.sql_attempts import FILE_ATTEMPTS, MORE_RESOURCE_ATTEMPTS, RESOURCE_ATTEMPTS

EVERYTHING = "query"
"""A word after which a statement may read every table."""
BOUNDS = SqlBounds(200 << 20, seconds=4, rows=10_000, answer_bytes=1_000_000, temp_bytes=50 << 20)


@dataclass(frozen=True)
class World:
    """A store of two tenants, and a DuckDB that is confined to what tenant `one` may see."""

    opened: DuckDB
    contents: FaceContents
    names: dict[str, str]

    def answer(self, text: str) -> str:
        """The answer of a statement as JSON."""
        with self.opened.session() as session:
            prepare_face(session, self.contents)
            table = session.answer(Query("sql", text), limits=AnswerLimits(10_000, 10_000_000))
            return table_bytes(table, "json").decode()


def ingest(store: Path, tenant: str) -> Path:
    """A tenant with one block, whose words give it away; the file of its profiles."""
    database = open_embedded(str(store), tenant, Settings())
    folded = f"secret_{tenant};work 100\n".encode()
    database.ingest([Upload(folded, {"service_name": f"service-{tenant}"}, time_ns=10**18)])
    database.close()
    return next(store.glob(f"{tenant}/blocks/*/profiles.parquet"))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("sandbox")
    store, spill = folder / "store", folder / "spill"
    own, other = ingest(store, "one"), ingest(store, "two")
    link = own.parent / "link.parquet"
    link.symlink_to(other)
    names = {"own": own, "other": other, "store": store, "link": link, "never": folder / "never"}
    database = open_embedded(str(store), "one", Settings())
    contents = face_contents(database._snapshot(None, None), EVERYTHING)
    with open_database(Place(SqlBounds(), str(spill))) as opened:
        opened.confine(SqlJob(SqlRequest(""), contents, "json").paths)
        yield World(opened, contents, {name: str(path) for name, path in names.items()})
    database.close()


def test_there_are_many_attempts() -> None:
    assert len(FILE_ATTEMPTS) + len(RESOURCE_ATTEMPTS) + len(MORE_RESOURCE_ATTEMPTS) >= 100


@pytest.mark.parametrize("text", FILE_ATTEMPTS, ids=lambda text: repr(text[:60]))
def test_an_attempt_comes_to_nothing(world: World, text: str) -> None:
    expected = FILE_ATTEMPTS[text]
    filled = text
    for name, path in world.names.items():
        filled = filled.replace(f"{{{name}}}", path)
    before = Path(world.names["own"]).read_bytes()
    begun = time.monotonic()
    try:
        shown, reason = world.answer(filled), ""
    except FlameduckError as error:
        shown, reason = "", str(error)
    assert re.search(expected, reason), reason or shown[:500]
    assert time.monotonic() - begun < 10
    for secret in (
        "secret_two",
        "service-two",
        "/two/",
        "root:",
        os.path.expanduser("~/"),
        os.environ["PATH"],
    ):
        assert secret not in shown
        # What was typed may come back.
        assert secret not in reason or secret in filled
    assert Path(world.names["own"]).read_bytes() == before
    assert not Path(world.names["never"]).exists()


def test_what_a_tenant_may_see(world: World) -> None:
    assert json.loads(world.answer("SELECT DISTINCT tenant FROM blocks")) == [{"tenant": "one"}]
    assert json.loads(world.answer("SELECT total FROM profiles")) == [{"total": 100}]
    assert "secret_one" in world.answer("SELECT name FROM functions")


@pytest.fixture(scope="module")
def runner() -> Iterator[SqlRunner]:
    made = SqlRunner(BOUNDS, concurrency=2)
    yield made
    made.close()


def job(text: str, name: str = "json") -> SqlJob:
    return SqlJob(SqlRequest(text), FaceContents(), name)


def run(runner: SqlRunner, text: str, name: str = "json") -> bytes:
    return runner.submit(lambda: job(text, name)).result()


@pytest.mark.parametrize(
    "text",
    [*RESOURCE_ATTEMPTS, *(pytest.param(one, marks=pytest.mark.nightly) for one in MORE_RESOURCE_ATTEMPTS)],
)
def test_an_expensive_statement_is_stopped(runner: SqlRunner, text: str) -> None:
    expected = (RESOURCE_ATTEMPTS | MORE_RESOURCE_ATTEMPTS)[text]
    begun = time.monotonic()
    with pytest.raises(InvalidSql, match=expected):
        run(runner, text)
    # Starting a process may take long where the machine is busy.
    assert time.monotonic() - begun < BOUNDS.seconds + 30


def test_a_spare_process_answers_sooner(runner: SqlRunner) -> None:
    """Starting a process takes about a second; how much is saved is a ratio, not a time."""
    cold, warm = [], []
    for _ in range(2):
        begun = time.monotonic()
        ready = _Sandbox.ready(BOUNDS)
        cold.append(time.monotonic() - begun)
        ready.close()
        run(runner, "SELECT 1")
        assert runner._spare is not None
        runner._spare.result()
        begun = time.monotonic()
        assert json.loads(run(runner, "SELECT 42 AS a")) == [{"a": 42}]
        warm.append(time.monotonic() - begun)
    assert min(warm) < min(cold) / 2


def test_nothing_stays_of_a_statement(runner: SqlRunner) -> None:
    """Each has its own process and directory: nothing that one leaves can be seen by the next."""
    asked = "SELECT current_setting('temp_directory') AS d"
    assert len({run(runner, asked) for _ in range(2)}) == 2


def test_too_many_statements_are_refused_at_once() -> None:
    made = SqlRunner(BOUNDS, concurrency=1)
    goes_on = threading.Event()

    def never() -> SqlJob:
        assert goes_on.wait(60)
        raise InvalidSql("not to be run")

    waiting = [made.submit(never) for _ in range(WAITING + 1)]
    with pytest.raises(Overloaded, match=f"{WAITING} SQL statements wait"):
        made.submit(never)
    goes_on.set()
    for one in waiting:
        with pytest.raises(InvalidSql, match="not to be run"):
            one.result()
    made.close()


def test_closing_leaves_no_process_and_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runner: SqlRunner
) -> None:
    runner._behind.submit(int).result()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    made = SqlRunner(BOUNDS, concurrency=1)
    assert json.loads(run(made, "SELECT 1 AS a")) == [{"a": 1}]
    made.close()
    assert list(tmp_path.iterdir()) == []


ALL_TYPES = """SELECT
    170141183460469231731687303715884105727::HUGEINT AS huge,
    18446744073709551615::UBIGINT AS unsigned,
    (-9223372036854775808)::BIGINT AS least,
    12345.678::DECIMAL(18, 3) AS exact,
    '\\xDE\\xAD'::BLOB AS bytes,
    TIMESTAMP_NS '2026-01-02 03:04:05.123456789' AS nanoseconds,
    TIMESTAMPTZ '2026-01-02 03:04:05+00' AS zoned,
    DATE '2026-01-02' AS day, TIME '03:04:05' AS clock, INTERVAL 3 DAY AS span,
    'nan'::DOUBLE AS nan, true AS yes, NULL AS nothing,
    MAP {'a': 1, 'b': 2} AS pairs, {'x': [1, 2], 'y': 'z'} AS inner, [[1], []] AS nested,
    uuid '00000000-0000-0000-0000-000000000001' AS id, 'a"b,c\n' AS quoted, 'tall'::ENUM('tall', 'small') AS size"""


@pytest.fixture(scope="module")
def every_type(world: World) -> pa.Table:
    with world.opened.session() as session:
        return session.answer(Query("sql", ALL_TYPES), limits=AnswerLimits(10, 10_000))


def test_json_of_every_type(every_type: pa.Table) -> None:
    (row,) = json.loads(table_bytes(every_type, "json"))
    assert row == {
        "huge": 170141183460469231731687303715884105727,
        "unsigned": 18446744073709551615,
        "least": -9223372036854775808,
        "exact": 12345.678,
        "bytes": "dead",
        "nanoseconds": "2026-01-02T03:04:05.123456789",
        "zoned": "2026-01-02T03:04:05Z",
        "day": "2026-01-02",
        "clock": "03:04:05",
        "span": row["span"],
        "nan": None,
        "yes": True,
        "nothing": None,
        "pairs": {"a": 1, "b": 2},
        "inner": {"x": [1, 2], "y": "z"},
        "nested": [[1], []],
        "id": "00000000-0000-0000-0000-000000000001",
        "quoted": 'a"b,c\n',
        "size": "tall",
    }
    assert "3" in row["span"]


def test_csv_of_every_type(every_type: pa.Table) -> None:
    raw = table_bytes(every_type, "csv")
    options = pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(every_type.column_names, pa.string()))
    parse = pyarrow.csv.ParseOptions(newlines_in_values=True)
    (row,) = pyarrow.csv.read_csv(io.BytesIO(raw), parse_options=parse, convert_options=options).to_pylist()
    assert row["huge"] == "170141183460469231731687303715884105727"
    assert row["unsigned"] == "18446744073709551615"
    assert row["bytes"] == "dead"
    assert json.loads(row["pairs"]) == {"a": 1, "b": 2}
    assert row["nanoseconds"] == "2026-01-02T03:04:05.123456789"
    assert row["quoted"] == 'a"b,c\n'


def test_arrow_of_every_type(every_type: pa.Table) -> None:
    found = pa.ipc.open_stream(table_bytes(every_type, "arrow")).read_all()
    # NaN is not equal to itself.
    assert found.drop_columns(["nan"]).equals(every_type.drop_columns(["nan"]))
    assert found.schema == every_type.schema


@pytest.mark.parametrize("name", ["json", "csv", "arrow"])
def test_an_empty_answer_in_every_format(world: World, name: str) -> None:
    with world.opened.session() as session:
        table = session.answer(
            Query("sql", "SELECT 1 AS a, [1] AS b WHERE false"), limits=AnswerLimits(10, 10)
        )
    raw = table_bytes(table, name)
    assert {"json": b"[]", "csv": b'"a","b"\n'}.get(name, raw) == raw
