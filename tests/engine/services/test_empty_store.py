"""What a server answers that nothing was ever pushed to: empty, in the shape that clients expect, and never an error."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from flameduck.schema.proto import querier_pb2, types_pb2
from tests.engine.ingest.made_profiles import START_NS, STEP_NS
from tests.engine.services.test_crash import PUSH, push_body
from tests.running_server import TYPE, RunningServer, running_server

QUERIER = "querier.v1.QuerierService"
RANGE = {"start": 1_750_000_000_000, "end": 1_750_000_060_000}
TREE = {"profileTypeID": TYPE, "labelSelector": "{}", **RANGE}
ROOT = {"names": ["total"], "levels": [{"values": ["0"] * 4}]}
FAST_NAMES = (
    ["__profile_type__", "service_name"],
    ["__name__", "__profile_type__", "__type__", "pyroscope_app", "service_name"],
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server whose store does not exist yet; it is asked for a tenant that nothing is pushed to."""
    with running_server(tmp_path_factory.mktemp("empty") / "store", "--multitenancy") as one:
        one.http.headers["x-scope-orgid"] = "nobody"
        yield one


@pytest.mark.parametrize(
    ("method", "body", "answer"),
    [
        ("ProfileTypes", {}, {}),
        ("ProfileTypes", RANGE, {}),
        # How Grafana looks whether the data source works.
        ("ProfileTypes", {"start": 1000, "end": 4000}, {}),
        ("LabelNames", RANGE, {}),
        ("LabelNames", {"matchers": ['{service_name="x"}'], **RANGE}, {}),
        ("LabelValues", {"name": "service_name", **RANGE}, {}),
        ("Series", RANGE, {}),
        ("Series", {"matchers": ['{a="b"}'], "labelNames": ["a"], **RANGE}, {}),
        *(("Series", {"labelNames": names, **RANGE}, {}) for names in FAST_NAMES),
        ("GetProfileStats", {}, {}),
        ("AnalyzeQuery", {"query": "{}", **RANGE}, {}),
        ("SelectMergeStacktraces", TREE, {"flamegraph": ROOT}),
        ("SelectMergeStacktraces", {"format": "PROFILE_FORMAT_TREE", **TREE}, {}),
        ("SelectMergeStacktraces", {"format": "PROFILE_FORMAT_DOT", **TREE}, {}),
        (
            "SelectMergeStacktraces",
            {"format": "PROFILE_FORMAT_PPROF", **TREE},
            {"pprof": {"profile": {}}},
        ),
        ("SelectMergeSpanProfile", {"spanSelector": ["0011223344556677"], **TREE}, {"flamegraph": ROOT}),
        ("SelectMergeProfile", TREE, {}),
        ("SelectSeries", {"step": 15, **TREE}, {}),
        ("SelectSeries", {"step": 15, "groupBy": ["service_name"], "limit": 3, **TREE}, {}),
        ("SelectHeatmap", {"step": 15, "queryType": "HEATMAP_QUERY_TYPE_INDIVIDUAL", **TREE}, {}),
        (
            "Diff",
            {"left": TREE, "right": TREE},
            {"flamegraph": {"names": ["total"], "levels": [{"values": ["0"] * 7}]}},
        ),
    ],
)
def test_every_question_has_an_empty_answer(
    server: RunningServer, method: str, body: dict[str, Any], answer: dict[str, Any]
) -> None:
    assert server.answer(f"{QUERIER}/{method}", body) == answer


@pytest.mark.parametrize(
    ("method", "body", "said"),
    [
        ("ProfileTypes", {"start": 1}, "missing time range in the query"),
        ("ProfileTypes", {"end": 1}, "missing time range in the query"),
        ("Series", {}, "missing time range in the query"),
        ("LabelNames", {}, "missing time range in the query"),
        ("Series", {"start": 2, "end": 1}, "query start time is after end time"),
        ("ProfileTypes", {"start": 2, "end": 1}, "query start time is after end time"),
        ("Series", {"matchers": ["{"], **RANGE}, "selector"),
        ("LabelValues", RANGE, "name is required"),
    ],
)
def test_what_is_wrong_is_found_without_data_as_well(
    server: RunningServer, method: str, body: dict[str, Any], said: str
) -> None:
    reply = server.rpc(f"{QUERIER}/{method}", body)
    assert (reply.status_code, reply.json()["code"]) == (400, "invalid_argument")
    assert said in reply.json()["message"]


def test_protobuf(server: RunningServer) -> None:
    headers = {"content-type": "application/proto"}
    for method, message in (
        ("GetProfileStats", types_pb2.GetProfileStatsRequest()),
        ("ProfileTypes", querier_pb2.ProfileTypesRequest()),
        ("Series", querier_pb2.SeriesRequest(start=RANGE["start"], end=RANGE["end"])),
    ):
        reply = server.http.post(f"/{QUERIER}/{method}", content=message.SerializeToString(), headers=headers)
        assert (reply.status_code, reply.content) == (200, b""), method


def test_pages(server: RunningServer) -> None:
    params = {"query": TYPE + "{}", "from": str(RANGE["start"]), "until": str(RANGE["end"])}
    shown = server.http.get("/pyroscope/render", params=params).json()
    assert shown["flamebearer"] == {"names": ["total"], "levels": [[0] * 4], "numTicks": 0, "maxSelf": 0}
    assert set(shown["timeline"]["samples"]) == {0}
    assert shown["groups"] is None
    dot = server.http.get("/pyroscope/render", params={"format": "dot", **params})
    assert (dot.status_code, dot.text) == (200, "")
    assert dot.headers["content-type"].startswith("text/plain")
    sides = {f"{side}{name.title()}": value for side in ("left", "right") for name, value in params.items()}
    both = server.http.get("/pyroscope/render-diff", params=sides).json()
    assert both["flamebearer"]["levels"] == [[0] * 7]
    assert (both["leftTicks"], both["rightTicks"]) == (0, 0)
    assert server.http.get("/pyroscope/label-values", params={"label": "__name__"}).json() == []


def test_statistics_with_the_first_profiles(server: RunningServer) -> None:
    """What is only in the head counts, and times are milliseconds, of profiles and not of pushes."""
    somebody = {"x-scope-orgid": "somebody"}
    assert server.answer(f"{QUERIER}/GetProfileStats", {}, **somebody) == {}
    for number in (3, 1):
        server.answer(PUSH, push_body(number), **somebody)
    first, last = ((START_NS + number * STEP_NS) // 10**6 for number in (1, 3))
    expected = {"dataIngested": True, "oldestProfileTime": str(first), "newestProfileTime": str(last)}
    assert server.answer(f"{QUERIER}/GetProfileStats", {}, **somebody) == expected
    assert server.http.post("/flush").status_code == 204
    assert server.answer(f"{QUERIER}/GetProfileStats", {}, **somebody) == expected
    assert server.answer(f"{QUERIER}/GetProfileStats", {}) == {}
