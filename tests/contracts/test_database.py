"""What a `Database` promises, over the engine in this process and over a server: one suite."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pytest

from flameduck.engine.client import ClientDatabase
from flameduck.engine.embedded import open_embedded
from flameduck.engine.settings import Settings
from flameduck.schema.errors import InvalidSql, RequestError
from flameduck.schema.explanation import Explanation
from flameduck.schema.profile import Upload
from flameduck.schema.request import (
    BlocksRequest,
    Database,
    DiffRequest,
    DiffTopRequest,
    ExplainRequest,
    Exported,
    ExportRequest,
    Flamegraph,
    FlamegraphDiff,
    FlamegraphRequest,
    IngestOptions,
    LabelNamesRequest,
    LabelValuesRequest,
    ProfilesRequest,
    ProfileTypesRequest,
    Rows,
    Selection,
    SeriesRequest,
    SqlRequest,
    TopRequest,
    TreeQuery,
)
from tests.engine.ingest.made_profiles import made_profile, made_total
from tests.running_server import TYPE, running_server

COUNT = 6
ALL = Selection("{}", TYPE)


def uploads(first: int, count: int) -> list[Upload]:
    return [
        Upload(made_profile(number), {"service_name": "made", "number": str(number)}, f"made {number}")
        for number in range(first, first + count)
    ]


@pytest.fixture(scope="module", params=["embedded", "client"])
def database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """A database with `COUNT` profiles: an embedded one, or that of a server."""
    store = tmp_path_factory.mktemp(request.param) / "store"
    if request.param == "embedded":
        opened: Database = open_embedded(str(store), "anonymous", Settings())
        assert opened.ingest(uploads(0, COUNT)).new == COUNT
        yield opened
        opened.close()
        return
    with running_server(store) as server:
        client = ClientDatabase(server.url, "anonymous")
        assert client.ingest(uploads(0, COUNT)).new == COUNT
        yield client
        client.close()


def total(database: Database, selector: str = "{}") -> int:
    graph = database.ask(FlamegraphRequest(TreeQuery(Selection(selector, TYPE))))
    assert isinstance(graph, Flamegraph)
    return graph.total


def test_totals(database: Database) -> None:
    assert total(database) == made_total(range(COUNT))
    assert total(database, '{number="3"}') == made_total([3])
    assert total(database, '{number="nothing"}') == 0


def test_each_kind_of_answer(database: Database) -> None:
    left, right = (TreeQuery(Selection(f'{{number="{number}"}}', TYPE)) for number in (1, 2))
    diff = database.ask(DiffRequest(left, right))
    assert isinstance(diff, FlamegraphDiff)
    assert (diff.left_ticks, diff.right_ticks) == (made_total([1]), made_total([2]))
    exported = database.ask(ExportRequest(TreeQuery(ALL), "folded"))
    assert isinstance(exported, Exported)
    counted = [int(line.rpartition(b" ")[2]) for line in exported.data.splitlines()]
    assert sum(counted) == made_total(range(COUNT))
    for request in (TopRequest(TreeQuery(ALL)), DiffTopRequest(left, right), SeriesRequest(ALL, 10**9)):
        answer = database.ask(request)
        assert isinstance(answer, Rows)
        assert answer.profile_type == TYPE
        assert len(answer.table)


def test_tables(database: Database) -> None:
    def column(request: LabelNamesRequest | LabelValuesRequest | ProfileTypesRequest) -> list[str]:
        answer = database.ask(request)
        assert isinstance(answer, Rows)
        return list(answer.table.column(0).to_pylist())

    assert column(LabelValuesRequest(Selection(), "number")) == [str(number) for number in range(COUNT)]
    assert {"service_name", "number"} <= set(column(LabelNamesRequest(Selection())))
    assert TYPE in column(ProfileTypesRequest(Selection()))
    profiles = database.ask(ProfilesRequest(ALL, 3))
    assert isinstance(profiles, Rows)
    assert len(profiles.table) == 3
    blocks = database.ask(BlocksRequest())
    assert isinstance(blocks, Rows)
    assert sum(blocks.table.column("profiles").to_pylist()) >= COUNT


def test_sql(database: Database) -> None:
    text = "SELECT labels['number'] AS number, total FROM profiles WHERE profile_type = $type ORDER BY number"
    found = database.sql(SqlRequest(text, {"type": TYPE}))
    assert found.schema.types == [pa.string(), pa.int64()]
    assert found.column("total").to_pylist() == [made_total([number]) for number in range(COUNT)]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("SELEC 1", "syntax error"),
        ("SELECT 1; SELECT 2", "expected one statement, found 2"),
        ("DROP VIEW profiles", "only queries are allowed"),
        ("SELECT * FROM nothing", "nothing does not exist"),
    ],
)
def test_sql_that_is_none(database: Database, text: str, reason: str) -> None:
    with pytest.raises(InvalidSql, match=reason):
        database.sql(SqlRequest(text))


@pytest.mark.parametrize("selector", ["{", '{a=~"("}', "{a}"])
def test_a_selector_that_is_none(database: Database, selector: str) -> None:
    with pytest.raises(RequestError):
        total(database, selector)


def test_an_ingest_says_what_was_refused(database: Database) -> None:
    seen: list[int] = []
    bad = Upload(b"\x1f\x8b no profile", {"service_name": "made"}, "bad")
    report = database.ingest([bad], IngestOptions(progress=seen.append))
    assert report.new == 0
    assert [one.origin for one in report.refused] == ["bad"]
    assert seen == [1]
    assert total(database) == made_total(range(COUNT))


def test_the_same_again_adds_nothing(database: Database) -> None:
    database.ingest(uploads(0, 2))
    assert total(database) == made_total(range(COUNT))


def test_a_question_is_explained_in_place_of_being_answered(database: Database) -> None:
    found = database.ask(ExplainRequest(TopRequest(TreeQuery(ALL), 3)))
    assert isinstance(found, Explanation)
    assert found.profile_type == TYPE
    assert sum(block.profiles for block in found.read) == COUNT
    assert sum(one.rows for block in found.read for one in block.tables if one.table == "samples") > 0
    with pytest.raises(RequestError, match="nothing that could be explained"):
        database.ask(ExplainRequest(BlocksRequest()))
