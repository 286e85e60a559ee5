"""What Pyroscope answered about a pushed OTLP request, answered by the library."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flameduck.engine.embedded import StoreDatabase, open_embedded
from flameduck.engine.settings import Settings
from flameduck.schema.profile import Upload
from flameduck.schema.request import (
    Flamegraph,
    FlamegraphRequest,
    Rows,
    SeriesLabelsRequest,
    SeriesRequest,
)

from .exchanges import MS, answered_bars, bars, selection, tree

RECORDING = "golden/pyroscope-v2.jsonl.gz"


@pytest.fixture(scope="module")
def lines(shared: Callable[[str], Path]) -> list[dict[str, Any]]:
    with gzip.open(shared(RECORDING), "rt") as recording:
        return [json.loads(line) for line in recording]


@pytest.fixture(scope="module")
def pushed(tmp_path_factory: pytest.TempPathFactory, lines: list[dict[str, Any]]) -> StoreDatabase:
    database = open_embedded(str(tmp_path_factory.mktemp("otlp")), "anonymous", Settings())
    bodies = [line["request"]["b64"] for line in lines if line["name"] == "otlp ebpf protobuf"]
    assert len(bodies) == 1
    report = database.ingest([Upload(base64.b64decode(bodies[0]), {}, rules="pyroscope")])
    assert not report.refused
    return database


def test_flame_graphs(pushed: StoreDatabase, lines: list[dict[str, Any]]) -> None:
    asked = [line for line in lines if line["name"].startswith("otlp names ")]
    assert len(asked) == 5
    for line in asked:
        expected = line["response"]["json"]["flamegraph"]
        body = line["request"]["json"]
        if not expected.get("total"):
            known = pushed.ask(
                SeriesLabelsRequest(selection(body | {"profileTypeID": ""}), ("__profile_type__",))
            )
            assert isinstance(known, Rows)
            types = [dict(row["labels"])["__profile_type__"] for row in known.table.to_pylist()]
            assert body["profileTypeID"] not in types
            continue
        graph = pushed.ask(FlamegraphRequest(tree(body), int(body["maxNodes"])))
        assert isinstance(graph, Flamegraph)
        ours, theirs = bars(graph.names, graph.levels, 4), answered_bars(expected, 4)
        assert graph.total == int(expected["total"])
        assert [sorted(row) for row in ours] == [sorted(row) for row in theirs]


def test_series(pushed: StoreDatabase, lines: list[dict[str, Any]]) -> None:
    (line,) = [
        line
        for line in lines
        if line["name"].startswith("otlp series ") and line["response"]["json"].get("series")
    ]
    body = line["request"]["json"]
    answer = pushed.ask(SeriesRequest(selection(body), int(body["step"] * 1000) * MS, tuple(body["groupBy"])))
    assert isinstance(answer, Rows)
    ours = [(dict(row["labels"]), row["ts"] // MS, row["value"]) for row in answer.table.to_pylist()]
    theirs = [
        (
            {label["name"]: label["value"] for label in series["labels"]},
            int(point["timestamp"]),
            point["value"],
        )
        for series in line["response"]["json"]["series"]
        for point in series["points"]
    ]
    assert ours == theirs


def test_labels(pushed: StoreDatabase, lines: list[dict[str, Any]]) -> None:
    """Dotted names are hidden from clients that did not ask for them."""
    (line,) = [line for line in lines if line["name"] == "Series []"]
    theirs = {
        tuple((label["name"], label["value"]) for label in one["labels"])
        for one in line["response"]["json"]["labelsSet"]
    }
    answer = pushed.ask(SeriesLabelsRequest(selection(line["request"]["json"])))
    assert isinstance(answer, Rows)
    ours = {
        tuple((name, value) for name, value in row["labels"] if "." not in name)
        for row in answer.table.to_pylist()
    }
    assert ours == {labels for labels in theirs if ("__otel__", "true") in labels}
