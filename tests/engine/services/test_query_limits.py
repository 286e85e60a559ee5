"""What the limits of a tenant do to questions."""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Iterator
from dataclasses import replace

import httpx
import pytest

from flameduck.engine.services.http.query_limits import (
    NOTHING_NS,
    checked_range_ns,
    dot_nodes,
    max_nodes,
)
from flameduck.engine.services.limits import DEFAULTS
from flameduck.schema.errors import RequestError
from flameduck.schema.proto import profile_pb2
from tests.engine.services.writing import PUSH, QUERIER, any_range, raw, small_pprof
from tests.running_server import TYPE, RunningServer, running_server

HOUR_MS = 3_600_000
HOUR_NS = 3600 * 10**9
DAY_MS = 24 * HOUR_MS
NOW_NS = 1_000_000 * HOUR_NS
WEEK = replace(DEFAULTS, max_query_lookback="7d", max_query_length="1d")


def hours(start_h: int, end_h: int) -> tuple[int, int]:
    """A range in hours from now, as it is asked for."""
    return NOW_NS // 10**6 + start_h * HOUR_MS, NOW_NS // 10**6 + end_h * HOUR_MS


def test_an_old_begin_is_moved_before_the_length_counts() -> None:
    start_ns, end_ns = checked_range_ns(*hours(-7 * 24 - 50, -7 * 24 + 20), WEEK, NOW_NS)
    assert start_ns == NOW_NS - 7 * 24 * HOUR_NS
    assert end_ns == NOW_NS - (7 * 24 - 20) * HOUR_NS + 1


def test_what_is_all_too_old_is_an_empty_range() -> None:
    for asked in (hours(-400, -300), hours(-10_000, -9_999)):
        assert checked_range_ns(*asked, WEEK, NOW_NS) == NOTHING_NS


def test_a_long_range_is_refused_with_its_length() -> None:
    said = "the query time range exceeds the limit (max_query_length, actual: 2d, limit: 1d)"
    with pytest.raises(RequestError, match=re.escape(said)):
        checked_range_ns(*hours(-48, 0), WEEK, NOW_NS)
    assert checked_range_ns(*hours(-24, 0), WEEK, NOW_NS) == (NOW_NS - 24 * HOUR_NS, NOW_NS + 1)


def test_without_limits_any_range_may_be_asked_for() -> None:
    free = replace(DEFAULTS, max_query_length="0s")
    assert checked_range_ns(1, NOW_NS // 10**6, free, NOW_NS) == (10**6, NOW_NS + 1)


def test_nodes() -> None:
    few = replace(DEFAULTS, max_flamegraph_nodes_default=10, max_flamegraph_nodes_max=20)
    assert [max_nodes(asked, few) for asked in (0, 5, 20)] == [10, 5, 20]
    for wrong in (21, -1):
        for bounded in (max_nodes, dot_nodes):
            with pytest.raises(RequestError, match="20"):
                bounded(wrong, few)


def test_nodes_of_graphs_for_graphviz() -> None:
    few = replace(DEFAULTS, max_flamegraph_nodes_default=10, max_flamegraph_nodes_max=20)
    free = replace(DEFAULTS, max_flamegraph_nodes_default=0, max_flamegraph_nodes_max=0)
    assert [dot_nodes(asked, few) for asked in (0, 5, 20)] == [(20, 10), (20, 5), (20, 20)]
    assert [dot_nodes(asked, free) for asked in (0, 5, 2000)] == [(512, 100), (512, 5), (2000, 2000)]
    assert [dot_nodes(asked) for asked in (0, 600)] == [(512, 100), (600, 600)]


TABLES = """
[tenants.length]
max_query_length = "1d"
[tenants.lookback]
max_query_lookback = "7d"
[tenants.nodes]
max_flamegraph_nodes_default = 3
max_flamegraph_nodes_max = 5
[tenants.profiles]
max_flamegraph_nodes_max = 5
max_flamegraph_nodes_on_select_merge_profile = true
"""
TENANTS = ("free", "length", "lookback", "nodes", "profiles")
DEPTH = 20
AGES_DAYS = (0.1, 2, 10)


def stacks(time_ns: int) -> profile_pb2.Profile:
    """A stack of `DEPTH` frames, and one of each smaller depth, so that no two frames have one total."""
    profile = small_pprof(
        [(f"frame{number}", "app.py") for number in reversed(range(DEPTH))], time_ns, value=1
    )
    whole = list(profile.sample[0].location_id)
    for depth in range(1, DEPTH):
        profile.sample.add(location_id=whole[depth:], value=[1])
    return profile


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server whose tenants each have a profile of now, of two and of ten days ago."""
    folder = tmp_path_factory.mktemp("limits")
    now_ns = time.time_ns()
    samples = [
        {"rawProfile": base64.b64encode(raw(stacks(now_ns - round(days * 24 * HOUR_NS)))).decode()}
        for days in AGES_DAYS
    ]
    labels = [{"name": "__name__", "value": "process_cpu"}, {"name": "service_name", "value": "s"}]
    with running_server(folder / "store", "--multitenancy", *any_range(folder, TABLES)) as one:
        for tenant in TENANTS:
            one.answer(
                PUSH, {"series": [{"labels": labels, "samples": samples}]}, **{"x-scope-orgid": tenant}
            )
        yield one


def within(days: float) -> dict[str, int]:
    """The range of the last days."""
    now_ms = time.time_ns() // 10**6
    return {"start": now_ms - round(days * DAY_MS), "end": now_ms + 1000}


def rpc(server: RunningServer, tenant: str, method: str, days: float = 0.5, **body: object) -> httpx.Response:
    """One of Pyroscope's questions about the last days."""
    chosen = {"profileTypeID": TYPE, "labelSelector": "{}", **within(days), **body}
    if method == "Diff":
        chosen = {"left": chosen, "right": chosen}
    return server.rpc(f"{QUERIER}/{method}", chosen, **{"x-scope-orgid": tenant})


def page(server: RunningServer, tenant: str, days: float = 0.5, **more: object) -> httpx.Response:
    """A page about the last days; `page="render-diff"` for another."""
    name = more.pop("page", "render")
    asked = within(days)
    sides = ("left", "right") if name == "render-diff" else ("",)
    params = {"max-nodes": more.pop("nodes", ""), **more}
    for side in sides:
        for key, value in (("query", TYPE + "{}"), ("from", asked["start"]), ("until", asked["end"])):
            params[f"{side}{key.title()}" if side else key] = value
    shown = {key: str(value) for key, value in params.items()}
    return server.http.get(f"/pyroscope/{name}", params=shown, headers={"x-scope-orgid": tenant})


TREES = ("SelectMergeStacktraces", "SelectMergeProfile", "SelectMergeSpanProfile", "Diff")
LABELS = ("LabelNames", "LabelValues", "Series", "ProfileTypes")


def refusals(server: RunningServer, tenant: str, days: float) -> dict[str, httpx.Response]:
    """What every kind of question is answered with."""
    found = {method: rpc(server, tenant, method, days, step=15, name="x") for method in (*TREES, *LABELS)}
    found["SelectSeries"] = rpc(server, tenant, "SelectSeries", days, step=15)
    kind = "HEATMAP_QUERY_TYPE_INDIVIDUAL"
    found["SelectHeatmap"] = rpc(server, tenant, "SelectHeatmap", days, step=15, queryType=kind)
    for name in ("DOT", "PPROF", "TREE"):
        found[name] = rpc(server, tenant, "SelectMergeStacktraces", days, format=f"PROFILE_FORMAT_{name}")
    found |= {name: page(server, tenant, days, page=name) for name in ("render", "render-diff")}
    found["render dot"] = page(server, tenant, days, format="dot")
    return found


def test_every_route_refuses_a_range_that_is_too_long(server: RunningServer) -> None:
    for what, reply in refusals(server, "length", 3).items():
        assert (reply.status_code, reply.json()["code"]) == (400, "invalid_argument"), what
        assert "exceeds the limit (max_query_length, actual: 3d1s, limit: 1d)" in reply.json()["message"]
    for tenant, days in (("length", 0.9), ("free", 3)):
        for what, reply in refusals(server, tenant, days).items():
            assert reply.status_code == 200, (what, reply.text)


def test_a_heatmap_may_be_as_long_as_the_limit(server: RunningServer) -> None:
    asked = {"start": within(1)["end"] - DAY_MS, "end": within(1)["end"]}
    kind = "HEATMAP_QUERY_TYPE_INDIVIDUAL"
    reply = rpc(server, "length", "SelectHeatmap", 1, step=3600, queryType=kind, **asked)
    assert reply.status_code == 200, reply.text


def total_of(reply: httpx.Response) -> int:
    """The total of a flame graph."""
    assert reply.status_code == 200, reply.text
    found = reply.json()
    return int(found.get("flamegraph", {}).get("total", 0) or found.get("flamebearer", {}).get("numTicks", 0))


def test_what_lies_too_far_back_is_not_answered(server: RunningServer) -> None:
    for tenant, profiles in (("lookback", 2), ("free", 3)):
        assert total_of(rpc(server, tenant, "SelectMergeStacktraces", 20)) == DEPTH * profiles
        assert total_of(rpc(server, tenant, "Diff", 20)) == 2 * DEPTH * profiles
        shown = page(server, tenant, 20).json()
        assert shown["flamebearer"]["numTicks"] == DEPTH * profiles
        assert sum(shown["timeline"]["samples"]) == DEPTH * profiles
        assert total_of(page(server, tenant, 20, page="render-diff")) == 2 * DEPTH * profiles


def test_a_range_all_too_old_is_answered_as_empty(server: RunningServer) -> None:
    asked = {"start": within(20)["start"], "end": within(9)["start"]}
    for tenant, profiles in (("lookback", 0), ("free", 1)):
        assert total_of(rpc(server, tenant, "SelectMergeStacktraces", **asked)) == DEPTH * profiles
        found = rpc(server, tenant, "SelectSeries", step=HOUR_MS / 1000, **asked).json()
        assert len(found.get("series", [])) == profiles
        names = rpc(server, tenant, "LabelNames", **asked).json().get("names", [])
        assert bool(names) == bool(profiles)
        reply = page(server, tenant, **{"from": asked["start"], "until": asked["end"]})
        assert reply.status_code == 200, reply.text


def bars(reply: httpx.Response, size: int = 4) -> int:
    """The frames of a flame graph, without its root."""
    assert reply.status_code == 200, reply.text
    levels = (reply.json().get("flamegraph") or reply.json()["flamebearer"])["levels"]
    rows = [row["values"] if isinstance(row, dict) else row for row in levels]
    return sum(len(row) for row in rows) // size - 1


def test_nodes_have_a_default_and_a_limit(server: RunningServer) -> None:
    for asked, shown in ((0, 4), (5, 6)):
        assert bars(rpc(server, "nodes", "SelectMergeStacktraces", maxNodes=asked)) <= shown
        assert bars(page(server, "nodes", nodes=asked)) <= shown
        assert bars(page(server, "nodes", nodes=asked, page="render-diff"), 7) <= shown
    assert bars(page(server, "free")) == DEPTH
    for reply in (
        rpc(server, "nodes", "SelectMergeStacktraces", maxNodes=6),
        rpc(server, "nodes", "SelectMergeStacktraces", maxNodes=6, format="PROFILE_FORMAT_DOT"),
        page(server, "nodes", nodes=6),
        page(server, "nodes", nodes=6, format="dot"),
        page(server, "nodes", nodes=6, page="render-diff"),
    ):
        assert reply.status_code == 400
        assert reply.json()["message"] == "max flamegraph nodes limit 6 is greater than allowed 5"


def test_graphs_for_graphviz_are_small_as_well(server: RunningServer) -> None:
    def nodes(text: str) -> int:
        return len(re.findall(r"^N\d+ \[", text, re.MULTILINE))

    for asked, most in ((0, 3), (4, 4)):
        dot = rpc(server, "nodes", "SelectMergeStacktraces", maxNodes=asked, format="PROFILE_FORMAT_DOT")
        assert 1 <= nodes(dot.json()["dot"]) <= most
        assert 1 <= nodes(page(server, "nodes", nodes=asked, format="dot").text) <= most
    assert nodes(page(server, "free", format="dot").text) == DEPTH


def test_merged_profiles_are_limited_where_a_tenant_says_so(server: RunningServer) -> None:
    assert rpc(server, "nodes", "SelectMergeProfile", maxNodes=6).status_code == 200
    assert len(rpc(server, "nodes", "SelectMergeProfile").json()["location"]) == DEPTH
    refused = rpc(server, "profiles", "SelectMergeProfile", maxNodes=6)
    assert refused.json()["message"] == "max flamegraph nodes limit 6 is greater than allowed 5"
    assert len(rpc(server, "profiles", "SelectMergeProfile", maxNodes=5).json()["location"]) <= 6


def test_a_number_of_nodes_that_is_none(server: RunningServer) -> None:
    reply = page(server, "free", nodes="many")
    assert (reply.status_code, reply.json()["message"]) == (400, "max-nodes must be a number, got 'many'")


def test_the_range_is_looked_at_before_the_type_and_the_selector(server: RunningServer) -> None:
    wrong = {"profileTypeID": "none", "labelSelector": "{", "matchers": ["{"], "step": 0, "name": ""}
    for method in (*TREES, "LabelNames", "LabelValues", "Series", "SelectSeries", "SelectHeatmap"):
        for asked, said in (
            (within(3), "exceeds the limit (max_query_length"),
            ({"start": 0, "end": 0}, "missing time range in the query"),
            ({"start": 5, "end": 4}, "query start time is after end time"),
        ):
            reply = rpc(server, "length", method, 0.5, **wrong, **asked)
            assert reply.status_code == 400, method
            assert said in reply.json()["message"], method


def test_nodes_come_after_the_range_and_before_the_type_and_the_selector(server: RunningServer) -> None:
    many = {"maxNodes": 2_000_000}
    for method in ("SelectMergeStacktraces", "SelectMergeSpanProfile", "Diff"):
        message = rpc(server, "length", method, 3, profileTypeID="none", **many).json()["message"]
        assert "exceeds the limit (max_query_length" in message
        message = rpc(server, "length", method, profileTypeID="none", **many).json()["message"]
        assert "max flamegraph nodes limit 2000000" in message
        message = rpc(server, "length", method, profileTypeID="none", labelSelector="{").json()["message"]
        assert "profile-type selection must be of the form" in message
        message = rpc(server, "length", method, labelSelector="{").json()["message"]
        assert 'parsing label selector "{"' in message
