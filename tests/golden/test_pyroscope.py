"""Every answer of Pyroscope to the recorded pushes that the library can give, given by the library."""

from __future__ import annotations

import gzip
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flameduck.engine.embedded import StoreDatabase, open_embedded
from flameduck.engine.settings import Settings
from flameduck.schema.proto import profile_pb2
from flameduck.schema.request import (
    DEFAULT_MAX_NODES,
    DiffRequest,
    Exported,
    ExportRequest,
    Flamegraph,
    FlamegraphDiff,
    FlamegraphRequest,
    LabelNamesRequest,
    LabelValuesRequest,
    PprofOptions,
    ProfileTypesRequest,
    Request,
    Rows,
    SeriesLabelsRequest,
    SeriesRequest,
)

from .exchanges import (
    MS,
    Exchange,
    answered_bars,
    bars,
    exported_stacks,
    read_exchanges,
    recorded_stacks,
    selection,
    tree,
    uploads,
)

RECORDING = "golden/pyroscope-v2-push.jsonl.gz"
EXACT_NODES = 100_000
_PATH = Path(__file__).resolve().parents[3] / "shared" / RECORDING
EXCHANGES = list(read_exchanges(_PATH)) if _PATH.exists() else []


@pytest.fixture(scope="module")
def pushed(tmp_path_factory: pytest.TempPathFactory, shared: Callable[[str], Path]) -> StoreDatabase:
    """A store with all pushes of the recording."""
    shared(RECORDING)
    database = open_embedded(str(tmp_path_factory.mktemp("golden")), "anonymous", Settings())
    for exchange in EXCHANGES:
        if exchange.method == "Push":
            report = database.ingest(uploads(exchange, shared, time.time_ns()))
            assert bool(report.refused) == (exchange.status != 200), (exchange.name, report.refused)
    return database


def rows(database: StoreDatabase, request: Request) -> list[dict[str, Any]]:
    answer = database.ask(request)
    assert isinstance(answer, Rows)
    listed: list[dict[str, Any]] = answer.table.to_pylist()
    return listed


def of(method: str) -> list[Any]:
    """The exchanges of one method as parameters, or one that skips."""
    found = [pytest.param(e, id=e.name) for e in EXCHANGES if e.method == method]
    return found or [
        pytest.param(None, marks=pytest.mark.skip(f"../shared/{RECORDING} is not beside this checkout"))
    ]


@pytest.mark.parametrize("exchange", of("SelectMergeStacktraces"))
def test_flamegraph(pushed: StoreDatabase, exchange: Exchange) -> None:
    max_nodes = int(exchange.body.get("maxNodes") or DEFAULT_MAX_NODES)
    graph = pushed.ask(FlamegraphRequest(tree(exchange.body), max_nodes))
    assert isinstance(graph, Flamegraph)
    expected = exchange.answer["flamegraph"]
    assert graph.total == int(expected.get("total", 0))
    ours, theirs = bars(graph.names, graph.levels, 4), answered_bars(expected, 4)
    if max_nodes >= EXACT_NODES:
        assert [sorted(row) for row in ours] == [sorted(row) for row in theirs]
        assert graph.max_self == int(expected.get("maxSelf", 0))
        return
    # Pyroscope truncates partial trees: bars that both show are equal, and ours are the largest.
    whole = pushed.ask(FlamegraphRequest(tree(exchange.body), 0))
    assert isinstance(whole, Flamegraph)
    totals = sorted((bar[1] for row in bars(whole.names, whole.levels, 4)[1:] for bar in row), reverse=True)
    kept = sorted((bar[1] for row in ours[1:] for bar in row if bar[3] != "other"), reverse=True)
    assert kept[:max_nodes] == totals[:max_nodes]


@pytest.mark.parametrize("exchange", of("Diff"))
def test_diff(pushed: StoreDatabase, exchange: Exchange) -> None:
    left, right = exchange.body["left"], exchange.body["right"]
    asked = max(int(side.get("maxNodes") or 0) for side in (left, right))
    graph = pushed.ask(DiffRequest(tree(left), tree(right), asked or DEFAULT_MAX_NODES))
    assert isinstance(graph, FlamegraphDiff)
    expected = exchange.answer["flamegraph"]
    for ours, theirs in (
        (graph.total, "total"),
        (graph.left_ticks, "leftTicks"),
        (graph.right_ticks, "rightTicks"),
    ):
        assert ours == int(expected.get(theirs, 0))
    if not asked or asked >= EXACT_NODES:
        assert [sorted(r) for r in bars(graph.names, graph.levels, 7)] == [
            sorted(r) for r in answered_bars(expected, 7)
        ]
        assert graph.max_self == int(expected.get("maxSelf", 0))


@pytest.mark.parametrize("exchange", of("SelectSeries"))
def test_series(pushed: StoreDatabase, exchange: Exchange) -> None:
    body = exchange.body
    # Pyroscope's v2 answers sums whatever aggregation is asked for.
    request = SeriesRequest(
        selection(body),
        int(float(body["step"]) * 1000) * MS,
        tuple(body.get("groupBy", ())),
        "sum",
        int(body.get("limit", 0)),
    )
    ours: dict[tuple[tuple[str, str], ...], list[tuple[int, float]]] = {}
    for row in rows(pushed, request):
        ours.setdefault(tuple(row["labels"]), []).append((row["ts"] // MS, row["value"]))
    theirs = {
        tuple((label["name"], label["value"]) for label in series.get("labels", ())): [
            (int(point["timestamp"]), float(point.get("value", 0))) for point in series["points"]
        ]
        for series in exchange.answer.get("series", ())
    }
    assert list(ours.items()) == list(theirs.items())


@pytest.mark.parametrize("exchange", of("Series"))
def test_series_labels(pushed: StoreDatabase, exchange: Exchange) -> None:
    request = SeriesLabelsRequest(selection(exchange.body), tuple(exchange.body.get("labelNames", ())))
    ours = {tuple(row["labels"]) for row in rows(pushed, request)}
    expected = exchange.answer.get("labelsSet", ())
    assert ours == {tuple((label["name"], label["value"]) for label in s.get("labels", ())) for s in expected}


@pytest.mark.parametrize("exchange", of("LabelNames"))
def test_label_names(pushed: StoreDatabase, exchange: Exchange) -> None:
    names = [row["name"] for row in rows(pushed, LabelNamesRequest(selection(exchange.body)))]
    # The wire hides dotted names from clients that did not ask for them.
    assert [name for name in names if "." not in str(name)] == exchange.answer.get("names", [])


@pytest.mark.parametrize("exchange", of("LabelValues"))
def test_label_values(pushed: StoreDatabase, exchange: Exchange) -> None:
    request = LabelValuesRequest(selection(exchange.body), exchange.body["name"])
    assert [row["value"] for row in rows(pushed, request)] == exchange.answer.get("names", [])


@pytest.mark.parametrize("exchange", of("ProfileTypes"))
def test_profile_types(pushed: StoreDatabase, exchange: Exchange) -> None:
    ours = [row["profile_type"] for row in rows(pushed, ProfileTypesRequest(selection(exchange.body)))]
    assert ours == [kind["ID"] for kind in exchange.answer.get("profileTypes", ())]


@pytest.mark.parametrize("exchange", of("SelectMergeProfile"))
def test_merged_pprof(pushed: StoreDatabase, exchange: Exchange) -> None:
    if exchange.body.get("maxNodes"):
        pytest.skip("a truncated pprof is the server's")
    go_pgo = exchange.body.get("stackTraceSelector", {}).get("goPgo")
    options = PprofOptions(rules="pyroscope")
    if go_pgo:
        options = PprofOptions(
            True, int(go_pgo.get("keepLocations", 0)), bool(go_pgo.get("aggregateCallees")), "pyroscope"
        )
    exported = pushed.ask(ExportRequest(tree(exchange.body), "pprof", options))
    assert isinstance(exported, Exported)
    message = profile_pb2.Profile.FromString(gzip.decompress(exported.data))
    assert exported_stacks(message) == recorded_stacks(exchange.answer)
    assert message.period == int(exchange.answer.get("period", 0))
    assert message.time_nanos == int(exchange.answer.get("timeNanos", 0))
