"""What a canary of Pyroscope's checks: it pushes one profile and asks for it in every way; and what Grafana expects."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import (
    ExportProfilesServiceRequest,
)

from flameduck.schema.proto import profile_pb2, querier_pb2, querier_profile_pb2

from ...running_server import RunningServer, running_server

QUERIER = "querier.v1.QuerierService"
PROFILE_TYPE = "deadmans_switch:made_up:profilos:made_up:profilos"
SELECTOR = '{service_name="canary", job="canary-exporter"}'
SPAN = "00000bac2a5ab0c7"
RENDER_QUERY = f'{PROFILE_TYPE}{{service_name="canary",job="canary-exporter"}}'
STORED_LABELS = {
    "__name__",
    "__period_type__",
    "__period_unit__",
    "__profile_type__",
    "__service_name__",
    "__type__",
    "__unit__",
    "service_name",
}


class Canary:
    """A server that has one profile of this moment, and questions about that millisecond."""

    def __init__(self, server: RunningServer) -> None:
        self.server = server
        self.at_ns = time.time_ns()
        self.at_ms = self.at_ns // 10**6
        labels = {
            "service_name": "canary",
            "job": "canary-exporter",
            "instance": "here",
            "__name__": "deadmans_switch",
        }
        series = {
            "labels": [{"name": name, "value": value} for name, value in labels.items()],
            "samples": [{"rawProfile": base64.b64encode(made_profile(self.at_ns)).decode(), "ID": "one"}],
        }
        server.answer("push.v1.PusherService/Push", {"series": [series]})

    @property
    def range(self) -> dict[str, Any]:
        """Begins exactly at the profile's millisecond."""
        return {"start": self.at_ms, "end": self.at_ms + 1000}

    @property
    def typed(self) -> dict[str, Any]:
        """The range, the type and the selector."""
        return {"profileTypeID": PROFILE_TYPE, "labelSelector": SELECTOR, **self.range}

    def ask(self, method: str, **more: Any) -> dict[str, Any]:
        """The answer to a typed question."""
        return self.server.answer(f"{QUERIER}/{method}", {**self.typed, **more})


def made_profile(time_ns: int) -> bytes:
    """func1 called by func2: 10; func1 alone, in a span: 20."""
    texts = ["", "made_up", "profilos", "func1", "func2", "profile_id", SPAN]
    profile = profile_pb2.Profile(
        time_nanos=time_ns, period=1, string_table=[text.encode() for text in texts]
    )
    profile.sample_type.add(type=1, unit=2)
    profile.period_type.type, profile.period_type.unit = 1, 2
    for number, name in ((1, 3), (2, 4)):
        profile.function.add(id=number, name=name)
        profile.location.add(id=number, mapping_id=1).line.add(function_id=number)
    profile.mapping.add(id=1, has_functions=True)
    profile.sample.add(location_id=[1, 2], value=[10])
    profile.sample.add(location_id=[1], value=[20]).label.add(key=5, str=6)
    data: bytes = profile.SerializeToString()
    return data


@pytest.fixture(scope="module")
def canary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Canary]:
    with running_server(tmp_path_factory.mktemp("canary") / "store") as server:
        yield Canary(server)


def shape(graph: dict[str, Any]) -> tuple[int, int]:
    """How many names and rows a flame graph has."""
    return len(graph["names"]), len(graph["levels"])


def test_merged_profile(canary: Canary) -> None:
    body = querier_pb2.SelectMergeProfileRequest(
        profile_typeID=PROFILE_TYPE, label_selector=SELECTOR, start=canary.at_ms, end=canary.at_ms + 1000
    )
    reply = canary.server.http.post(
        f"/{QUERIER}/SelectMergeProfile",
        content=body.SerializeToString(),
        headers={"content-type": "application/proto"},
    )
    # The bytes of the profile itself, which front ends save as a file.
    profile = querier_profile_pb2.Profile.FromString(reply.content)
    names = {
        location.id: profile.string_table[
            next(f.name for f in profile.function if f.id == location.line[0].function_id)
        ]
        for location in profile.location
    }
    found = {tuple(names[one] for one in sample.location_id): list(sample.value) for sample in profile.sample}
    assert found == {("func1", "func2"): [10], ("func1",): [20]}


def test_series(canary: Canary) -> None:
    reply = canary.server.answer(
        f"{QUERIER}/Series",
        {**canary.range, "matchers": [SELECTOR], "labelNames": ["service_name", "__profile_type__"]},
    )
    assert reply["labelsSet"] == [
        {
            "labels": [
                {"name": "service_name", "value": "canary"},
                {"name": "__profile_type__", "value": PROFILE_TYPE},
            ]
        }
    ] or reply["labelsSet"] == [
        {
            "labels": [
                {"name": "__profile_type__", "value": PROFILE_TYPE},
                {"name": "service_name", "value": "canary"},
            ]
        }
    ]


def test_label_names_and_values(canary: Canary) -> None:
    names = canary.server.answer(f"{QUERIER}/LabelNames", {**canary.range, "matchers": [SELECTOR]})["names"]
    assert set(names) == STORED_LABELS | {"job", "instance"}
    values = canary.server.answer(f"{QUERIER}/LabelValues", {**canary.range, "name": "service_name"})
    assert values["names"] == ["canary"]


def test_points(canary: Canary) -> None:
    (series,) = canary.ask("SelectSeries", step=1000, groupBy=["service_name"])["series"]
    assert len(series["points"]) == 1
    assert len(series["labels"]) == 1


def test_stacktraces(canary: Canary) -> None:
    assert shape(canary.ask("SelectMergeStacktraces")["flamegraph"]) == (3, 3)


def test_span_profile(canary: Canary) -> None:
    graph = canary.ask("SelectMergeSpanProfile", spanSelector=[SPAN])["flamegraph"]
    assert shape(graph) == (2, 2)
    assert graph["total"] == "20"


def test_exemplars_lead_to_their_profile(canary: Canary) -> None:
    (series,) = canary.ask("SelectSeries", step=5, exemplarType="EXEMPLAR_TYPE_INDIVIDUAL", groupBy=["job"])[
        "series"
    ]
    (exemplar,) = series["points"][0]["exemplars"]
    assert exemplar["value"] == "30"
    assert exemplar["timestamp"] == str(canary.at_ms)
    assert {label["name"] for label in exemplar["labels"]} == STORED_LABELS | {"instance"}
    chosen = canary.ask("SelectMergeStacktraces", profileIdSelector=[exemplar["profileId"]])["flamegraph"]
    assert shape(chosen) == (3, 3)
    other = exemplar["profileId"][:-4] + "ffff"
    assert shape(canary.ask("SelectMergeStacktraces", profileIdSelector=[other])["flamegraph"]) == (1, 1)


def test_heatmap_of_spans(canary: Canary) -> None:
    asked = {"step": 1000, "queryType": "HEATMAP_QUERY_TYPE_SPAN", "exemplarType": "EXEMPLAR_TYPE_SPAN"}
    (series,) = canary.ask("SelectHeatmap", **asked)["series"]
    (slot,) = series["slots"]
    assert sum(slot["counts"]) == 1
    (exemplar,) = slot["exemplars"]
    assert exemplar["spanId"] == SPAN
    assert exemplar["value"] == "20"
    single = {
        **asked,
        "queryType": "HEATMAP_QUERY_TYPE_INDIVIDUAL",
        "exemplarType": "EXEMPLAR_TYPE_INDIVIDUAL",
    }
    (series,) = canary.ask("SelectHeatmap", **single)["series"]
    assert [exemplar["value"] for exemplar in series["slots"][0]["exemplars"]] == ["30"]


@pytest.mark.parametrize(
    ("method", "more"),
    [
        ("SelectHeatmap", {"step": 15}),
        ("SelectHeatmap", {"step": 15, "queryType": 1, "exemplarType": 3}),
        ("SelectHeatmap", {"step": 15, "queryType": 2, "exemplarType": 2}),
        ("SelectHeatmap", {"step": 0.0001, "queryType": 1}),
        ("SelectHeatmap", {"step": 15, "queryType": 1, "limit": -1}),
        ("SelectSeries", {"step": 15, "exemplarType": "EXEMPLAR_TYPE_SPAN"}),
        ("SelectMergeStacktraces", {"profileIdSelector": ["zzz"]}),
        ("SelectMergeStacktraces", {"spanSelector": ["12"]}),
        ("SelectMergeStacktraces", {"traceIdSelector": ["12"]}),
        ("SelectMergeStacktraces", {"spanSelector": [SPAN], "traceIdSelector": [SPAN * 2]}),
        ("SelectMergeProfile", {"profileIdSelector": ["zzz"]}),
        ("SelectMergeSpanProfile", {"spanSelector": ["zzzzzzzzzzzzzzzz"]}),
    ],
)
def test_malformed_questions(canary: Canary, method: str, more: dict[str, Any]) -> None:
    reply = canary.server.rpc(f"{QUERIER}/{method}", {**canary.typed, **more})
    assert (reply.status_code, reply.json()["code"]) == (400, "invalid_argument")


def test_call_site(canary: Canary) -> None:
    """Stacks that begin with the call site, in every answer that is made of stacks."""
    for callers, total in (
        (["func2"], "10"),
        (["func2", "func1"], "10"),
        (["func1"], "20"),
        (["nope"], None),
    ):
        site = {"stackTraceSelector": {"callSite": [{"name": name} for name in callers]}}
        graph = canary.ask("SelectMergeStacktraces", **site)["flamegraph"]
        assert graph.get("total") == total
        merged = canary.ask("SelectMergeProfile", **site).get("sample", [])
        assert [sample["value"] for sample in merged] == ([[total]] if total else [])
        inside = canary.ask("SelectMergeStacktraces", format="PROFILE_FORMAT_PPROF", **site)
        assert len(inside["pprof"]["profile"].get("sample", [])) == (1 if total else 0)


def test_render(canary: Canary) -> None:
    span = {"from": str(canary.at_ms), "until": str(canary.at_ms + 1000)}
    reply = canary.server.http.get("/pyroscope/render", params={"query": RENDER_QUERY, **span})
    assert shape(reply.json()["flamebearer"]) == (3, 3)
    sides = {
        f"{side}{name}": value
        for side in ("left", "right")
        for name, value in (("Query", RENDER_QUERY), ("From", span["from"]), ("Until", span["until"]))
    }
    both = canary.server.http.get("/pyroscope/render-diff", params=sides).json()
    assert shape(both["flamebearer"]) == (3, 3)
    assert (both["leftTicks"], both["rightTicks"]) == (30, 30)


def test_stats(canary: Canary) -> None:
    stats = canary.server.answer(f"{QUERIER}/GetProfileStats", {})
    assert stats["dataIngested"] is True
    assert int(stats["newestProfileTime"]) >= canary.at_ms


@pytest.mark.parametrize("content_type", ["application/json", "application/x-protobuf"])
def test_otlp(canary: Canary, content_type: str) -> None:
    message = otlp_request(canary.at_ns)
    body: bytes = message.SerializeToString()
    if content_type == "application/json":
        from google.protobuf import json_format

        body = json_format.MessageToJson(message).encode()
    reply = canary.server.http.post(
        "/v1development/profiles", content=body, headers={"content-type": content_type}
    )
    assert reply.status_code == 200, reply.text
    kinds = canary.server.answer(f"{QUERIER}/ProfileTypes", canary.range)["profileTypes"]
    assert "otlp_test:otlp_test:count:otlp_test:samples" in [kind["ID"] for kind in kinds]


def otlp_request(time_ns: int) -> ExportProfilesServiceRequest:
    """One profile of one sample."""
    request = ExportProfilesServiceRequest()
    tables = request.dictionary
    tables.string_table.extend(["", "otlp_test", "count", "samples", "func3", "service.name"])
    tables.mapping_table.add()
    tables.function_table.add()
    tables.function_table.add(name_strindex=4)
    tables.location_table.add()
    tables.location_table.add().lines.add(function_index=1)
    tables.stack_table.add()
    tables.stack_table.add(location_indices=[1])
    tables.link_table.add()
    tables.attribute_table.add()
    resource = request.resource_profiles.add()
    attribute = resource.resource.attributes.add(key="service.name")
    attribute.value.string_value = "canary"
    profile = resource.scope_profiles.add().profiles.add(time_unix_nano=time_ns, period=1)
    profile.sample_type.type_strindex, profile.sample_type.unit_strindex = 1, 2
    profile.period_type.type_strindex, profile.period_type.unit_strindex = 1, 3
    profile.samples.add(stack_index=1, values=[7])
    return request


def test_grafana_health_check(canary: Canary) -> None:
    """Grafana asks for the types of 1970, in protobuf, and takes anything but 200 for an ill server."""
    body = querier_pb2.ProfileTypesRequest(start=1000, end=4000).SerializeToString()
    reply = canary.server.http.post(
        f"/{QUERIER}/ProfileTypes", content=body, headers={"content-type": "application/proto"}
    )
    assert (reply.status_code, reply.content) == (200, b"")


def test_grafana_finds_no_data(canary: Canary) -> None:
    """It looks at the first four numbers of the first row, which must be there."""
    nothing = {**canary.typed, "labelSelector": '{service_name="nobody"}'}
    graph = canary.server.answer(f"{QUERIER}/SelectMergeStacktraces", nothing)["flamegraph"]
    assert graph == {"names": ["total"], "levels": [{"values": ["0", "0", "0", "0"]}]}
    for kind, field in (("TREE", "tree"), ("DOT", "dot")):
        asked = {**nothing, "format": f"PROFILE_FORMAT_{kind}"}
        assert field not in canary.server.answer(f"{QUERIER}/SelectMergeStacktraces", asked)
    asked = {**nothing, "format": "PROFILE_FORMAT_PPROF"}
    reply = canary.server.answer(f"{QUERIER}/SelectMergeStacktraces", asked)
    assert reply == {"pprof": {"profile": {}}}
    assert canary.server.answer(f"{QUERIER}/SelectMergeProfile", nothing) == {}
    assert canary.server.answer(f"{QUERIER}/SelectSeries", {**nothing, "step": 15}) == {}
    diff = canary.server.answer(f"{QUERIER}/Diff", {"left": nothing, "right": nothing})["flamegraph"]
    assert diff == {"names": ["total"], "levels": [{"values": ["0"] * 7}]}


def test_dotted_names_are_for_those_who_ask(canary: Canary) -> None:
    http = canary.server.http
    asked = {**canary.range, "matchers": []}
    plain = http.post(f"/{QUERIER}/LabelNames", json=asked).json()["names"]
    accept = {"accept": "*/*;allow-utf8-labelnames=true"}
    every = http.post(f"/{QUERIER}/LabelNames", json=asked, headers=accept).json()["names"]
    assert "service.name" not in plain
    assert set(every) >= set(plain)


@pytest.mark.parametrize("accept", ["text/html;", "*/*", "a/b, c/d;q=0.5", 'a/b;x="y, z"', ""])
def test_accept_headers(canary: Canary, accept: str) -> None:
    assert canary.server.http.get("/ready", headers={"accept": accept}).status_code == 200


@pytest.mark.parametrize("accept", ["a/b/c", "text/html; q", ";;", "a b", "a;b=" + "x" * 5000 + " y"])
def test_malformed_accept_headers(canary: Canary, accept: str) -> None:
    reply = canary.server.http.get("/ready", headers={"accept": accept})
    assert reply.status_code == 400
    assert reply.text.startswith("Invalid header format")


def test_foreign_headers_are_ignored(canary: Canary) -> None:
    headers = {"x-pyroscope-collect-diagnostics": "true", "x-scope-orgid": "somebody"}
    reply = canary.server.http.post(f"/{QUERIER}/SelectMergeStacktraces", json=canary.typed, headers=headers)
    assert isinstance(reply, httpx.Response)
    assert shape(reply.json()["flamegraph"]) == (3, 3)
