"""The Python API: what can be opened, what can be asked, and how answers show themselves."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from uuid import uuid4

import pytest

import flameduck
from flameduck.engine.connection import Connection, open_comparison
from flameduck.engine.keywords import SideKeywords, both_sides, selection, to_time_ns, tree_query
from flameduck.engine.opening import is_store
from flameduck.engine.results import format_of_path
from flameduck.schema.errors import InputError, InvalidTime, RequestError, Unavailable
from flameduck.schema.profile import Upload
from flameduck.schema.request import FrameFilter, Selection, TreeQuery

TIME_NS = 1_750_000_000 * 10**9
BEFORE = "main;work;inner 300\nmain;work 200\nmain;idle 500\n"
AFTER = "main;work;inner 300\nmain;work 100\nmain;fresh 50\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`profiles/before.folded` and `profiles/after.folded`; the working directory is above."""
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "before.folded").write_text(BEFORE)
    (tmp_path / "profiles" / "after.folded").write_text(AFTER)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def total(connection: Connection, selector: str = "{}") -> int:
    return connection.flamegraph(selector).total


def test_a_file_some_files_a_directory_and_bytes(folder: Path) -> None:
    before, after = "profiles/before.folded", folder / "profiles" / "after.folded"
    opened = [
        flameduck.open(before),
        flameduck.open(before, after),
        flameduck.open("profiles"),
        flameduck.open("profiles/*.folded"),
        flameduck.open(BEFORE.encode()),
        flameduck.open(Upload(AFTER.encode(), {}, time_ns=1)),
    ]
    assert [total(connection) for connection in opened] == [1000, 1450, 1450, 1450, 1000, 450]


def test_files_carry_their_names(folder: Path) -> None:
    with flameduck.open("profiles") as db:
        assert db.label_values("file") == ["profiles/after.folded", "profiles/before.folded"]
        assert total(db, '{file="profiles/after.folded"}') == 450


@pytest.mark.parametrize(
    ("where", "store"),
    [
        ("profiles", False),
        ("profiles/before.folded", False),
        ("gone.pb.gz", False),
        ("profiles/*", False),
        ("-", False),
        ("new", True),
        ("empty", True),
        ("used", True),
        ("memory://x", True),
        ("s3://bucket/profiles", True),
        ("s3://bucket/cpu.pb.gz", False),
        ("http://localhost:4040", True),
    ],
)
def test_what_a_path_means(folder: Path, where: str, store: bool) -> None:
    Path("empty").mkdir()
    Path("used/anonymous/catalog").mkdir(parents=True)
    Path("used/anonymous/catalog/1.json").write_text("{}")
    assert is_store(where) is store


def test_a_store_is_made_filled_and_opened_again(folder: Path) -> None:
    with flameduck.open("store", tenant="acme") as db:
        report = db.ingest("profiles", labels={"service_name": "shop"})
        assert (report.new, report.known, report.refused) == (2, 0, ())
        assert db.ingest(Path("profiles/before.folded"), labels={"service_name": "shop"}).known == 1
    with flameduck.open(folder / "store", tenant="acme") as db:
        assert total(db, '{service_name="shop"}') == 1450
        assert len(db.blocks()) >= 1
    with flameduck.open("store") as db:
        assert db.profile_types() == []


def test_ingest_takes_a_mixture_and_says_what_it_refused(folder: Path) -> None:
    with flameduck.open(f"memory://{uuid4()}") as db:
        mixture: list[str | bytes] = [
            "profiles/before.folded",
            AFTER.encode(),
            "gone.folded",
            b"\x00not a profile",
        ]
        report = db.ingest(mixture, time=datetime(2026, 1, 1, tzinfo=UTC), name="wall")
        assert report.new == 2
        assert sorted(refused.origin for refused in report.refused) == ["<bytes>", "gone.folded"]
        assert [kind.split(":")[0] for kind in db.profile_types()] == ["wall"]


def test_files_cannot_be_ingested_into(folder: Path) -> None:
    with flameduck.open("profiles") as db, pytest.raises(RequestError, match="not a store"):
        db.ingest("profiles")


def test_what_cannot_be_opened(folder: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.pb\.gz: No such file"):
        flameduck.open("gone.pb.gz")


def test_a_server_that_is_not_there() -> None:
    with (
        flameduck.open("http://localhost:1") as db,
        pytest.raises(Unavailable, match="http://localhost:1: "),
    ):
        db.profile_types()


def test_every_question(folder: Path) -> None:
    with flameduck.open("profiles/before.folded") as db:
        (kind,) = db.profile_types()
        assert db.top(limit=1).fetchall() == [("idle", 500, 500)]
        assert [row["function"] for row in db.tree().to_dicts()][-4:] == ["main", "idle", "work", "inner"]
        assert db.callers("inner").total == 300
        assert db.callees("work", type=kind).total == 500
        assert db.lines("work").columns == ["function", "filename", "line", "self", "total"]
        assert [row[2] for row in db.series(start=0, step="1h") if row[2]] == [1000.0]
        assert db.profiles().to_dicts()[0]["total"] == 1000
        assert "file" in db.label_names()
        assert db.series_labels(names=["file"]) == [{"file": "profiles/before.folded"}]
        assert db.flamegraph(focus="inner").total == 300
        assert db.flamegraph(hide="work", granularity="function").total == 1000
        assert db.export(format="folded").splitlines() == [
            b"main;idle 500",
            b"main;work 200",
            b"main;work;inner 300",
        ]


def test_comparisons(folder: Path) -> None:
    with flameduck.open("profiles") as db:
        before = '{file=~".*before.folded"}'
        after: SideKeywords = {"selector": '{file=~".*after.folded"}'}
        changes = {row["function"]: row["delta"] for row in db.diff_top(before, after).to_dicts()}
        assert changes == {"main": -550, "idle": -500, "work": -100, "fresh": 50, "inner": 0}
        graph = db.diff(before, after)
        assert {len(level) % 7 for level in graph.levels} == {0}
    with open_comparison("profiles/before.folded", "profiles/after.folded") as db:
        assert [total(db, f'{{side="{side}"}}') for side in ("before", "after")] == [1000, 450]


def test_a_sql_answer_in_every_shape(folder: Path) -> None:
    with flameduck.open("profiles/before.folded") as db:
        answer = db.sql(
            "SELECT count(*) AS samples, sum(value) AS total FROM samples WHERE value > $least", least=200
        )
        assert answer.fetchall() == [(2, 800)]
        assert list(answer) == [(2, 800)]
        assert answer.to_dicts() == [{"samples": 2, "total": 800}]
        assert answer.arrow().num_rows == 1
        assert answer.pl().row(0) == (2, 800)
        assert repr(answer).splitlines() == ["samples  total", "      2    800"]
        assert "<td" in answer._repr_html_()


def test_long_answers_are_cut_when_shown(folder: Path) -> None:
    with flameduck.open("profiles/before.folded") as db:
        shown = repr(db.sql("SELECT range AS n FROM range(50)"))
    assert shown.splitlines()[-1] == "... 30 more of 50 rows"


def test_a_flame_graph_shows_and_saves_itself(folder: Path) -> None:
    with flameduck.open("profiles/before.folded") as db:
        graph = db.flamegraph()
        assert graph.to_html().lstrip().lower().startswith("<!doctype html>")
        assert graph._repr_html_().startswith("<iframe srcdoc=")
        assert (graph.max_self, graph.names[0], len(graph.levels)) == (500, "total", 4)
        for name in ("g.html", "g.json", "g.folded", "g.pb.gz", "g.speedscope.json", "g.dot"):
            graph.save(name)
            assert Path(name).stat().st_size > 0
        for sandwich in (db.callers("inner"), db.diff("{}", "{}")):
            assert "inner" in sandwich.to_html()


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("a.pb.gz", "pprof"),
        ("a.b.html", "html"),
        ("x.speedscope.json", "speedscope"),
        ("x.json", "json"),
        ("default.pgo", "go-pgo"),
        ("calls.svg", "svg"),
    ],
)
def test_format_of_path(path: str, name: str) -> None:
    assert format_of_path(path) == name


def test_an_unknown_suffix_is_refused() -> None:
    with pytest.raises(RequestError, match="names no output format"):
        format_of_path("profile.xyz")


@pytest.mark.parametrize(
    ("moment", "time_ns"),
    [
        (None, None),
        (TIME_NS, TIME_NS),
        ("2025-06-15T15:06:40Z", TIME_NS),
        ("1750000000", TIME_NS),
        (datetime(2025, 6, 15, 15, 6, 40), TIME_NS),
        (datetime(2025, 6, 15, 17, 6, 40, 5, timezone(timedelta(hours=2))), TIME_NS + 5000),
    ],
)
def test_times(moment: int | str | datetime | None, time_ns: int | None) -> None:
    assert to_time_ns(moment) == time_ns


def test_a_bad_time_is_refused() -> None:
    with pytest.raises(InvalidTime):
        to_time_ns("yesterday")


def test_keywords_become_requests() -> None:
    assert selection("{}", {"type": "cpu", "start": 1, "end": 2}) == Selection("{}", "cpu", 1, 2)
    assert tree_query("{}", {"aggregate": "avg", "show": "a", "call_site": ["main"]}) == TreeQuery(
        Selection("{}"), aggregate="avg", filter=FrameFilter(show="a"), call_site=("main",)
    )
    left, right = both_sides('{v="1"}', {"selector": '{v="2"}', "type": "wall"}, {"type": "cpu", "limit": 3})
    assert (left.selection, right.selection) == (Selection('{v="1"}', "cpu"), Selection('{v="2"}', "wall"))


def test_a_misspelt_keyword_is_not_ignored() -> None:
    with pytest.raises(RequestError, match="unknown keyword: typ"):
        tree_query("{}", {"typ": "cpu"})  # type: ignore[typeddict-unknown-key]


def test_importing_the_package_imports_nothing_heavy() -> None:
    script = (
        "import sys, flameduck; print(sorted({'duckdb', 'pyarrow', 'numpy', 'click'} & set(sys.modules)))"
    )
    assert subprocess.check_output([sys.executable, "-c", script], text=True) == "[]\n"
