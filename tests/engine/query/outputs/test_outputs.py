"""Every output format, read back by what reads it, holds what the stacks hold."""

from __future__ import annotations

import importlib.metadata
import io
import json
import os
import re
import shutil
import sys
from collections import Counter
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from flameduck.engine.embedded import FilesDatabase, open_embedded, open_files
from flameduck.engine.query import outputs
from flameduck.engine.query.export import Export
from flameduck.engine.query.outputs import svg
from flameduck.engine.settings import Settings
from flameduck.schema.errors import RequestError
from flameduck.schema.profile import Upload
from flameduck.schema.request import (
    Exported,
    ExportRequest,
    Flamegraph,
    FlamegraphRequest,
    FrameFilter,
    PprofOptions,
    Selection,
    SqlRequest,
    TreeQuery,
)
from tests.golden.pprof_meaning import read_pprof

from ..stacks import Stack, folded, opened, top_of

STACKS: Counter[Stack] = Counter(
    {
        ("main", "work", "read"): 3,
        ("main", "work", "work"): 5,
        ("main", 'quo"te\\'): 7,
        ("main", "<b>"): 2,
        ("ünï", "semi colon"): 11,
    }
)


@pytest.fixture
def database() -> FilesDatabase:
    return opened(STACKS)


def export(database: FilesDatabase, name: str, **options: Any) -> bytes:
    answer = database.ask(ExportRequest(TreeQuery(**options), name))
    assert isinstance(answer, Exported)
    return answer.data


def test_folded_is_what_came_in(database: FilesDatabase) -> None:
    lines = export(database, "folded").decode().splitlines()
    assert sorted(lines) == sorted(folded(STACKS).decode().splitlines())


def test_json_is_the_flame_graph(database: FilesDatabase) -> None:
    graph = database.ask(FlamegraphRequest(TreeQuery(), 0))
    assert isinstance(graph, Flamegraph)
    written = json.loads(export(database, "json"))
    assert written == {
        "names": list(graph.names),
        "levels": [list(level) for level in graph.levels],
        "total": graph.total,
        "max_self": graph.max_self,
    }


def test_speedscope_samples_add_up(database: FilesDatabase) -> None:
    document = json.loads(export(database, "speedscope"))
    frames = [frame["name"] for frame in document["shared"]["frames"]]
    (profile,) = document["profiles"]
    read: Counter[Stack] = Counter()
    for sample, weight in zip(profile["samples"], profile["weights"], strict=True):
        read[tuple(frames[index] for index in sample)] += weight
    assert read == STACKS
    assert profile["endValue"] == sum(STACKS.values())


def test_dot_has_every_function_and_call(database: FilesDatabase) -> None:
    text = export(database, "dot").decode()
    nodes = dict(re.findall(r'^  N(\d+) \[label="((?:[^"\\]|\\.)*)"', text, re.MULTILINE))
    names = {
        number: label.split("\\n")[0].replace('\\"', '"').replace("\\\\", "\\")
        for number, label in nodes.items()
    }
    assert set(names.values()) == set(top_of(STACKS))
    edges = re.findall(r'N(\d+) -> N(\d+) \[label=" (\d+)"', text)
    calls = {(names[caller], names[callee]): int(value) for caller, callee, value in edges}
    assert calls == {
        ("main", "work"): 8,
        ("work", "read"): 3,
        ("work", "work"): 5,
        ("main", 'quo"te\\'): 7,
        ("main", "<b>"): 2,
        ("ünï", "semi colon"): 11,
    }


def test_svg_is_what_graphviz_draws(
    database: FilesDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a program in place of graphviz: it is given the DOT, and what it says is passed on."""
    program = tmp_path / "dot"
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    program.write_text('#!/bin/sh\necho "<svg $*>"\ncat\n')
    program.chmod(0o755)
    assert export(database, "svg") == b"<svg -Tsvg>\n" + export(database, "dot")
    program.write_text("#!/bin/sh\necho 'syntax error in line 1\nand more' >&2\nexit 3\n")
    with pytest.raises(RequestError, match=r"^format 'svg': graphviz failed with 3: syntax error in line 1$"):
        export(database, "svg")
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    monkeypatch.setattr(svg, "MAX_S", 0.1)
    with pytest.raises(RequestError, match="graphviz took longer than"):
        export(database, "svg")


def test_svg_without_graphviz(
    database: FilesDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RequestError, match="needs the program dot of graphviz, which is not installed"):
        export(database, "svg")


@pytest.mark.skipif(shutil.which("dot") is None, reason="graphviz is not installed")
def test_svg_of_graphviz_has_every_function(database: FilesDatabase) -> None:
    root = ElementTree.fromstring(export(database, "svg"))
    titles = [element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert set(top_of(STACKS)) <= set(titles)


def test_go_pgo_is_the_pprof_for_go(fixtures: Path) -> None:
    database = open_files([Upload((fixtures / "go-cpu.pb.gz").read_bytes(), {}, "go-cpu.pb.gz")])
    answers = [
        database.ask(ExportRequest(TreeQuery(), name, PprofOptions(go_pgo=go_pgo, keep_locations=3)))
        for name, go_pgo in (("go-pgo", False), ("pprof", True), ("pprof", False))
    ]
    found = [one.data for one in answers if isinstance(one, Exported)]
    assert found[0] == found[1] != found[2]
    assert max(len(sample.location_id) for sample in read_pprof(found[0]).sample) == 3


def read_tables(database: FilesDatabase) -> dict[str, pa.Table]:
    return {
        "arrow": pa.ipc.open_stream(export(database, "arrow")).read_all(),
        "parquet": pq.read_table(io.BytesIO(export(database, "parquet"))),
        "csv": pa.csv.read_csv(io.BytesIO(export(database, "csv"))),
    }


@pytest.mark.parametrize("name", ["arrow", "parquet", "csv"])
def test_tables_hold_the_stacks(database: FilesDatabase, name: str) -> None:
    table = read_tables(database)[name]
    assert table.column_names == ["profile_type", "stack_id", "functions", "value"]
    functions = table.column("functions").to_pylist()
    stacks = [tuple(f.split(";")) if isinstance(f, str) else tuple(f) for f in functions]
    assert Counter(dict(zip(stacks, table.column("value").to_pylist(), strict=True))) == STACKS


def test_exact_formats_refuse_changed_frames(database: FilesDatabase) -> None:
    for name in ("pprof", "arrow", "parquet", "csv"):
        with pytest.raises(RequestError, match="exact stacks"):
            export(database, name, filter=FrameFilter(hide="work"))


def test_an_unknown_format_is_named_with_the_known_ones(database: FilesDatabase) -> None:
    with pytest.raises(RequestError, match=r"'png'.*pprof.*html"):
        export(database, "png")


def write_total(given: Export) -> bytes:
    """An output that another package might bring."""
    return str(int(given.tree.values["total"][0])).encode()


def write_nothing(given: Export) -> str:
    """An output that is none."""
    return f"{given.request.format}"


def write_never(given: Export) -> bytes:
    """An output that fails."""
    raise KeyError(given.request.format)


@pytest.fixture
def plug_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {
        "total": "write_total",
        "nothing": "write_nothing",
        "never": "write_never",
        "gone": "write_gone",
    }
    points = [EntryPoint(name, f"outside:{value}", outputs.ENTRY_POINTS) for name, value in values.items()]
    monkeypatch.setitem(sys.modules, "outside", sys.modules[__name__])
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: points)


@pytest.mark.usefixtures("plug_ins")
def test_another_package_adds_an_output(database: FilesDatabase) -> None:
    assert export(database, "total") == str(sum(STACKS.values())).encode()
    with pytest.raises(RequestError, match=r"'png': expected one of pprof, .*, total, nothing"):
        export(database, "png")


@pytest.mark.usefixtures("plug_ins")
@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("nothing", "an output is bytes, not str"),
        ("never", "KeyError: 'never'"),
        ("gone", "AttributeError: .*write_gone"),
    ],
)
def test_a_broken_output_is_its_packages_fault(database: FilesDatabase, name: str, fault: str) -> None:
    with pytest.raises(RequestError, match=f"plug-in '{name}' of the package outside: {fault}"):
        export(database, name)


def test_stack_ids_group_right_over_two_blocks_and_an_export(tmp_path: Path) -> None:
    store = open_embedded(str(tmp_path / "store"), "anonymous", Settings())
    for pod, time_ns in (("a", 1), ("b", 2)):
        report = store.ingest([Upload(folded(STACKS), {"service_name": "s", "pod": pod}, time_ns=time_ns)])
        assert report.new == 1
    assert len(store.blocks.live_blocks()) == 2
    answer = store.ask(ExportRequest(TreeQuery(Selection('{pod="a"}')), "parquet"))
    assert isinstance(answer, Exported)
    exported = tmp_path / "export.parquet"
    exported.write_bytes(answer.data)
    text = """
        WITH every AS (
            SELECT stack_id, value FROM samples
            UNION ALL SELECT stack_id, value FROM read_parquet($exported)
        )
        SELECT stack_id, sum(value)::BIGINT AS value FROM every GROUP BY stack_id
    """
    grouped = store.sql(SqlRequest(text, {"exported": str(exported)}))
    assert sorted(grouped.column("value").to_pylist()) == sorted(3 * value for value in STACKS.values())
