"""Each command over files and over a store, with the answers worked out by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
from click.testing import Result

from flameduck.cli.demo_server import missing_module

Run = Callable[..., Result]
CPU = "process_cpu:cpu:nanoseconds:cpu:nanoseconds"
TOP = [
    {"function": "idle", "self": 500, "total": 500},
    {"function": "inner", "self": 300, "total": 300},
    {"function": "work", "self": 200, "total": 500},
    {"function": "main", "self": 0, "total": 1000},
]


def test_top_of_a_file(run: Run, files: Path) -> None:
    assert json.loads(run("top", "before.pb.gz", "--format", "json").stdout) == TOP


def test_top_for_people(run: Run, files: Path) -> None:
    assert run("top", "before.pb.gz", "--limit", "2").stdout.splitlines() == [
        "  self  self %   total  total %  function",
        "500 ns   50.0%  500 ns    50.0%  idle",
        "300 ns   30.0%  300 ns    30.0%  inner",
    ]


def test_top_limit_0_is_everything(run: Run, tmp_path: Path) -> None:
    folded = "".join(f"main;f{number:02} {number + 1}\n" for number in range(30))
    (tmp_path / "many.folded").write_text(folded)
    many = str(tmp_path / "many.folded")
    assert len(json.loads(run("top", many, "-f", "json").stdout)) == 20
    assert len(json.loads(run("top", many, "-f", "json", "--limit", "0").stdout)) == 31


@pytest.mark.parametrize("name", ["json", "ndjson", "csv", "parquet", "arrow"])
def test_every_format_holds_the_same_rows(run: Run, files: Path, name: str) -> None:
    data = run("top", "before.pb.gz", "--format", name).stdout_bytes
    read: dict[str, Callable[[bytes], list[object]]] = {
        "json": json.loads,
        "ndjson": lambda data: [json.loads(line) for line in data.splitlines()],
        "csv": lambda data: pa_csv.read_csv(BytesIO(data)).to_pylist(),
        "parquet": lambda data: pq.read_table(BytesIO(data)).to_pylist(),
        "arrow": lambda data: pa.ipc.open_stream(data).read_all().to_pylist(),
    }
    assert read[name](data) == TOP


def test_output_names_a_file(run: Run, files: Path) -> None:
    assert run("top", "before.pb.gz", "-f", "csv", "-o", "top.csv").stdout == ""
    assert Path("top.csv").read_text().splitlines()[:2] == ["function,self,total", "idle,500,500"]


def test_several_files_are_added_up(run: Run, files: Path) -> None:
    rows = json.loads(run("top", "before.pb.gz", "after.pb.gz", "-f", "json").stdout)
    assert {row["function"]: row["total"] for row in rows}["main"] == 1450


@pytest.mark.parametrize(
    ("filters", "left"),
    [
        (["--focus", "inner"], {"inner": 300, "work": 300, "main": 300}),
        (["--ignore", "work"], {"idle": 500, "main": 500}),
        (["--hide", "work"], {"idle": 500, "inner": 300, "main": 1000}),
        (["--show", "work|inner"], {"inner": 300, "work": 500}),
    ],
)
def test_frame_filters(run: Run, files: Path, filters: list[str], left: dict[str, int]) -> None:
    rows = json.loads(run("top", "before.pb.gz", "-f", "json", *filters).stdout)
    assert {row["function"]: row["total"] for row in rows} == left


def test_granularity(run: Run, files: Path) -> None:
    rows = json.loads(run("top", "before.pb.gz", "-f", "json", "--granularity", "file").stdout)
    assert {row["function"] for row in rows} == {"idle.py", "inner.py", "work.py", "main.py"}


def test_flame_json_has_its_fixed_shape(run: Run, files: Path) -> None:
    graph = json.loads(run("flame", "before.pb.gz", "--format", "json", "--max-nodes", "0").stdout)
    assert set(graph) == {"names", "levels", "total", "max_self"}
    assert (graph["total"], graph["max_self"]) == (1000, 500)
    assert graph["levels"][0] == [0, 1000, 0, graph["names"].index("total")]
    assert [len(level) for level in graph["levels"]] == [4, 4, 8, 4]


def test_flame_as_text(run: Run, files: Path) -> None:
    title, total, main, third, inner = run("flame", "before.pb.gz", "--width", "60").stdout.splitlines()
    assert title == f"{CPU}  1.00 µs"
    assert total.startswith("│total 100.0%──")
    assert main.startswith("│main 100.0%──")
    assert {"idle 50.0%", "work 50.0%"} == {part.strip("─") for part in third.split("│") if part}
    assert inner.strip().startswith("│inner 30.0%")


def test_flame_as_a_page(run: Run, files: Path) -> None:
    assert run("flame", "before.pb.gz", "--html", "flame.html").stdout == ""
    page = Path("flame.html").read_text()
    assert page.lstrip().lower().startswith("<!doctype html>")
    assert "inner" in page


def test_an_empty_flame_graph_says_so(run: Run, files: Path) -> None:
    result = run("flame", "before.pb.gz", "--focus", "nowhere")
    assert result.stdout == ""
    assert "no samples match" in result.stderr


def test_tree(run: Run, files: Path) -> None:
    rows = json.loads(run("tree", "before.pb.gz", "-f", "json").stdout)
    assert [(row["depth"] - rows[0]["depth"], row["function"], row["self"], row["total"]) for row in rows][
        -4:
    ] == [
        (1, "main", 0, 1000),
        (2, "idle", 500, 500),
        (2, "work", 200, 500),
        (3, "inner", 300, 300),
    ]


def test_tree_for_people_hides_what_is_small(run: Run, files: Path) -> None:
    result = run("tree", "before.pb.gz", "--min-share", "40")
    assert "inner" not in result.stdout
    assert "1 nodes below 40% are left out" in result.stderr


def test_callers(run: Run, files: Path) -> None:
    graph = json.loads(run("callers", "inner", "before.pb.gz", "-f", "json").stdout)
    assert graph["total"] == 300
    assert [graph["names"][level[3]] for level in graph["levels"]][-3:] == ["inner", "work", "main"]


def test_callees(run: Run, files: Path) -> None:
    graph = json.loads(run("callees", "work", "before.pb.gz", "-f", "json").stdout)
    assert graph["total"] == 500
    assert [graph["names"][level[3]] for level in graph["levels"]][-2:] == ["work", "inner"]


@pytest.mark.parametrize("command", ["callers", "callees"])
def test_sandwich_as_a_page(run: Run, files: Path, command: str) -> None:
    run(command, "work", "before.pb.gz", "--html", "page.html")
    assert "work" in Path("page.html").read_text()


def test_list(run: Run, files: Path) -> None:
    rows = json.loads(run("list", "^w", "before.pb.gz", "-f", "json").stdout)
    assert rows == [{"function": "work", "filename": "work.py", "line": 10, "self": 200, "total": 500}]


def test_types(run: Run, files: Path) -> None:
    types = json.loads(run("types", "before.pb.gz", "heap1.pb.gz", "--format", "json").stdout)
    assert CPU in types
    assert [kind.split(":")[1] for kind in types] == ["alloc_space", "inuse_space", "cpu", "samples"]


def test_gauges_are_averaged_and_say_so(run: Run, files: Path) -> None:
    averaged = run("top", "heap1.pb.gz", "heap2.pb.gz", "-f", "json")
    assert json.loads(averaged.stdout)[0] == {"function": "keep", "self": 400, "total": 400}
    assert "gauge" in averaged.stderr


def test_gauges_of_one_series_are_averaged(run: Run, store: str) -> None:
    def keep(*words: str) -> int:
        rows = json.loads(run("top", "--type", "inuse_space", "-s", store, "-f", "json", *words).stdout)
        return int(rows[0]["total"])

    assert keep() == 200
    assert keep("--aggregate", "sum") == 400
    assert keep("--aggregate", "last") == 300
    assert keep("--delta") == 200


def test_diff_of_two_files(run: Run, files: Path) -> None:
    rows = json.loads(run("diff", "before.pb.gz", "after.pb.gz", "-f", "json").stdout)
    changes = {row["function"]: (row["left_total"], row["right_total"], row["delta"]) for row in rows}
    assert changes == {
        "main": (1000, 450, -550),
        "idle": (500, 0, -500),
        "work": (500, 400, -100),
        "fresh": (0, 50, 50),
        "inner": (300, 300, 0),
    }
    assert [abs(row["delta"]) for row in rows] == [550, 500, 100, 50, 0]


@pytest.mark.parametrize("words", [["--normalize"], ["--normalize", "share"], ["--normalize=share"]])
def test_diff_normalized_before_the_files(run: Run, files: Path, words: list[str]) -> None:
    rows = json.loads(run("diff", *words, "before.pb.gz", "after.pb.gz", "-f", "json").stdout)
    main = next(row for row in rows if row["function"] == "main")
    assert main["delta"] == pytest.approx(0)


def test_diff_as_a_page(run: Run, files: Path) -> None:
    run("diff", "before.pb.gz", "after.pb.gz", "--html", "diff.html")
    assert "fresh" in Path("diff.html").read_text()


def test_diff_of_two_selections(run: Run, store: str) -> None:
    words = ["-q", '{version="v1"}', "--vs-query", '{version="v2"}', "--type", "cpu", "--store", store]
    rows = json.loads(run("diff", *words, "-f", "json").stdout)
    assert {row["function"]: row["delta"] for row in rows}["main"] == -550


def test_diff_of_two_windows(run: Run, store: str) -> None:
    words = ["--from", "1750000000", "--to", "1750000010", "--vs-from", "1750000060", "--vs-to", "1750000070"]
    rows = json.loads(run("diff", *words, "--type", "cpu", "--store", store, "-f", "json").stdout)
    assert {row["function"]: row["delta"] for row in rows}["main"] == -550


def test_unequal_windows_are_warned_about(run: Run, store: str) -> None:
    result = run("diff", "--vs-query", '{version="v2"}', "--type", "cpu", "--store", store)
    assert "note: the windows differ: 20 s of profiles against 10 s" in result.stderr


def test_diff_needs_two_sides(run: Run, files: Path) -> None:
    assert "name two files" in run("diff", "before.pb.gz", code=2).stderr


def test_series(run: Run, store: str) -> None:
    words = ["--type", "cpu", "--by", "version", "--step", "1m", "--store", store, "-f", "json"]
    rows = json.loads(run("series", *words).stdout)
    assert [(row["labels"], row["value"]) for row in rows if row["value"]] == [
        ({"version": "v1"}, 1000.0),
        ({"version": "v2"}, 450.0),
    ]


def test_series_for_people(run: Run, store: str) -> None:
    lines = run("series", "--type", "cpu", "--by", "version", "--store", store).stdout.splitlines()
    assert lines[0].split() == ["labels", "points", "min", "mean", "cores", "max", "total", "graph"]
    assert [line.split()[0] for line in lines[1:]] == ["version=v1", "version=v2"]


def test_profiles(run: Run, store: str) -> None:
    rows = json.loads(run("profiles", "--type", "cpu", "--store", store, "-f", "json").stdout)
    assert [(row["service_name"], row["labels"]["version"], row["total"]) for row in rows] == [
        ("shop", "v2", 450),
        ("shop", "v1", 1000),
    ]


def test_profiles_for_people(run: Run, store: str) -> None:
    first = run("profiles", "--type", "cpu", "--store", store, "--limit", "1").stdout.splitlines()[1]
    assert first.split()[:3] == ["2025-06-15T15:07:40Z", CPU, "shop"]


def test_labels(run: Run, store: str) -> None:
    assert "version" in json.loads(run("labels", "--store", store, "-f", "json").stdout)
    assert json.loads(run("labels", "--name", "version", "--store", store, "-f", "json").stdout) == [
        "v1",
        "v2",
    ]
    sets = json.loads(
        run("labels", "--by", "version", "-q", '{version!=""}', "-s", store, "-f", "json").stdout
    )
    assert sorted(sets, key=str) == [{"version": "v1"}, {"version": "v2"}]
    assert "leave out" in run("labels", "--name", "x", "--sets", "--store", store, code=2).stderr


def test_a_store_with_several_types_lists_them(run: Run, store: str) -> None:
    complaint = run("top", "--store", store, code=2).stderr
    assert "inuse_space" in complaint
    assert CPU in complaint


def test_a_file_has_a_default_type(run: Run, files: Path) -> None:
    assert run("flame", "heap1.pb.gz").stdout.split(":")[1] == "inuse_space"


def test_export(run: Run, files: Path) -> None:
    folded = run("export", "before.pb.gz", "--format", "folded").stdout
    assert sorted(folded.split("\n")) == ["", "main;idle 500", "main;work 200", "main;work;inner 300"]
    run("export", "before.pb.gz", "--output", "again.pb.gz")
    assert json.loads(run("top", "again.pb.gz", "-f", "json").stdout) == TOP


@pytest.mark.parametrize(
    "name",
    [
        "speedscope",
        "cpuprofile",
        "dot",
        "arrow",
        "parquet",
        "csv",
        "json",
        "html",
        "pprof",
        "folded",
        "otlp",
        "otlp-json",
    ],
)
def test_every_export_format_writes_something(run: Run, files: Path, name: str) -> None:
    assert b"inner" in run("export", "before.pb.gz", "--format", name, "-o", "-").stdout_bytes or name in (
        "pprof",
        "parquet",
    )


def test_export_for_go_s_optimiser(run: Run, files: Path) -> None:
    """By option, by format and by suffix, the same bytes."""
    for arguments in (("--go-pgo", "-o", "a.pgo"), ("-f", "go-pgo", "-o", "b.bin"), ("-o", "c.pgo")):
        run("export", "before.pb.gz", "--keep-locations", "2", *arguments)
    first, second, third = (Path(name).read_bytes() for name in ("a.pgo", "b.bin", "c.pgo"))
    assert first == second == third
    assert json.loads(run("top", "c.pgo", "-f", "json").stdout) != []


def test_samples_of_a_span(run: Run) -> None:
    export = Path(__file__).resolve().parents[1] / "fixtures" / "export.otlp"
    words = ("top", str(export), "--type", "samples", "-f", "json")
    spans = ("--span-id", "00f067aa0ba902b7", "--span-id", "00f067aa0ba902b8")
    for picks, total in (((), 10), (spans[:2], 5), (spans, 8)):
        assert sum(row["self"] for row in json.loads(run(*words, *picks).stdout)) == total
    assert "expected 16 hexadecimal digits" in run(*words, "--span-id", "7", code=2).stderr


def test_export_needs_a_format(run: Run, files: Path) -> None:
    assert "name a format" in run("export", "before.pb.gz", code=2).stderr
    assert "its suffix" in run("export", "before.pb.gz", "-o", "x.unknown", code=2).stderr
    assert "expected one of" in run("export", "before.pb.gz", "-f", "nothing", code=2).stderr


def test_blocks(run: Run, store: str) -> None:
    blocks = json.loads(run("blocks", "list", "--store", store, "-f", "json").stdout)
    assert sum(block["profiles"] for block in blocks) > 0
    ulid = blocks[0]["ulid"]
    assert ulid in run("blocks", "show", ulid, "--store", store).stdout
    assert json.loads(run("blocks", "show", ulid, "--store", store, "-f", "json").stdout)["ulid"] == ulid
    assert [
        row["holds"] for row in json.loads(run("blocks", "verify", "-s", store, "-f", "json").stdout)
    ] == [True] * len(blocks)
    assert "0 blocks" in run("blocks", "show", "ZZ", "--store", store, code=1).stderr


def test_verify_finds_a_changed_byte(run: Run, store: str) -> None:
    samples = next(Path(store).rglob("samples.parquet"))
    data = bytearray(samples.read_bytes())
    data[len(data) // 2] ^= 1
    samples.write_bytes(bytes(data))
    verdicts = json.loads(run("blocks", "verify", "--store", store, "-f", "json", code=1).stdout)
    (bad,) = [verdict for verdict in verdicts if not verdict["holds"]]
    assert bad["problems"] == ["samples.parquet: checksum differs"]


def test_sql_over_files(run: Run, files: Path) -> None:
    rows = json.loads(
        run("sql", "SELECT sum(value) AS total FROM samples", "heap1.pb.gz", "-f", "json").stdout
    )
    assert rows == [{"total": 1000}]


def test_sql_from_a_pipe_a_file_and_with_parameters(run: Run, store: str) -> None:
    query = "SELECT $least::BIGINT AS least"
    expected = [{"least": 3}]
    words = ["--param", "least=3", "--store", store, "-f", "json"]
    Path("q.sql").write_text(query)
    assert json.loads(run("sql", query, *words).stdout) == expected
    assert json.loads(run("sql", *words, stdin=query).stdout) == expected
    assert json.loads(run("sql", "-", *words, stdin=query).stdout) == expected
    assert json.loads(run("sql", "--file", "q.sql", *words).stdout) == expected


def test_sql_json_is_exact(run: Run, files: Path) -> None:
    query = "SELECT 9007199254740993 AS n, sum(2::HUGEINT) AS s, '\\xAA'::BLOB AS b, MAP {'k': 1} AS m"
    rows = json.loads(run("sql", query, "before.pb.gz", "-f", "json").stdout)
    assert rows == [{"n": 9007199254740993, "s": 2, "b": "aa", "m": {"k": 1}}]


def test_schema(run: Run) -> None:
    text = run("schema", "samples", "top").stdout
    assert "stack_id UBIGINT" in text
    assert "profile_type VARCHAR := NULL" in text
    names = [relation["name"] for relation in json.loads(run("schema", "--format", "json").stdout)]
    assert {"samples", "profiles", "top", "flamegraph"} <= set(names)
    assert run("schema", "--format", "markdown").stdout.startswith("# SQL reference")
    assert "no view or macro nothing" in run("schema", "nothing", code=2).stderr


def test_version(run: Run) -> None:
    from flameduck import __version__

    versions = json.loads(run("version", "--format", "json").stdout)
    assert versions["flameduck"] == __version__
    assert "duckdb" in versions
    assert run("--version").stdout == f"flameduck {__version__}\n"


def test_demo(run: Run, tmp_path: Path) -> None:
    result = run("demo", "--output", str(tmp_path / "demo"))
    commands = [line.split()[2] for line in result.stdout.splitlines() if line.startswith("$ flameduck ")]
    # The server is shown where the SDK that the program pushes with is there, as after `make demo`.
    served = [] if missing_module() else ["serve", "top"]
    assert commands == [*["ingest"] * 4, "types", "top", "flame", "sql", "flame", "diff", *served]
    assert "main.price" in result.stdout
    assert "main.price" in (tmp_path / "demo" / "flame.html").read_text()


def test_demo_of_other_profiles(run: Run, files: Path) -> None:
    Path("some").mkdir()
    Path("before.pb.gz").rename("some/before.pb.gz")
    result = run("demo", "--data", "some", "--output", "out")
    assert "inner" in result.stdout
    assert Path("out/flame.html").is_file()
