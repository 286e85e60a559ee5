"""Both recordings of Pyroscope, sent line by line to a fresh server of ours, and every answer compared."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import httpx
import pytest

from ..running_server import RunningServer, running_server
from .exchanges import Bars, Json, answered_bars, recorded_stacks
from .replay import Line, answered_series, dot_graph, paths, read_lines, send, tree_paths

EXACT_NODES = 100_000
DEFAULT_NODES = 8192
OURS: Mapping[str, tuple[int, str]] = {
    "push junk profile": (400, "invalid_argument"),
    "push empty profile": (400, "invalid_argument"),
    "edge bad profile id": (400, "invalid_argument"),
    "edge span bad": (400, "invalid_argument"),
    "ingest jfr": (200, ""),
    "ingest too old pprof": (200, ""),
}
"""Status and code of ours where they differ on purpose; no code: there is no error."""


@dataclass(frozen=True)
class Exchange:
    """A line, our answer to it, and the server, for what is asked besides."""

    line: Line
    reply: httpx.Response
    server: RunningServer

    @property
    def ours(self) -> Json:
        """Our answer."""
        document: Json = self.reply.json()
        return document

    @property
    def theirs(self) -> Json:
        """The recorded answer."""
        document: Json = self.line.recorded["json"]
        return document


@pytest.mark.parametrize("recording", ["pyroscope-v2-push", "pyroscope-v2"])
def test_replay(
    recording: str, tmp_path: Path, shared: Callable[[str], Path], subtests: pytest.Subtests
) -> None:
    shared(f"golden/{recording}.jsonl.gz")
    defaults = tmp_path / "limits.toml"
    defaults.touch()
    with running_server(tmp_path / "store", "--limits-file", str(defaults)) as server:
        for line in read_lines(f"golden/{recording}.jsonl.gz"):
            reply = send(server.http, line)
            with subtests.test(line.name, kind=line.kind):
                compare(Exchange(line, reply, server))


def compare(exchange: Exchange) -> None:
    """Our answer means what the recorded one does, or is the one we want."""
    status, code = OURS.get(exchange.line.name, (exchange.line.recorded["status"], ""))
    assert exchange.reply.status_code == status, exchange.reply.text[:300]
    code = code or exchange.line.recorded.get("json", {}).get("code", "")
    if status >= 400 and exchange.line.recorded.get("content_type") == "application/json":
        assert exchange.ours["code"] == code
        assert exchange.ours["message"]
        return
    if exchange.line.name in OURS or status >= 400:
        return
    if exchange.line.kind in COMPARED:
        COMPARED[exchange.line.kind](exchange)
    elif "json" in exchange.line.recorded:
        assert exchange.ours == exchange.theirs
    else:
        assert exchange.reply.text == exchange.line.recorded.get("text", "")


def compare_graph(exchange: Exchange) -> None:
    formats = {
        "flamegraph": _compare_flamegraph,
        "tree": _compare_tree,
        "dot": _compare_dot,
        "pprof": _compare_pprof,
    }
    (kind,) = exchange.theirs
    formats[kind](exchange)


def _compare_flamegraph(exchange: Exchange) -> None:
    whole = exchange.line.kind == "Diff"
    ours, theirs = exchange.ours["flamegraph"], exchange.theirs["flamegraph"]
    asked = [exchange.line.body, exchange.line.body.get("left", {}), exchange.line.body.get("right", {})]
    nodes = max(int(body.get("maxNodes") or body.get("max_nodes") or 0) for body in asked)
    for name in ("leftTicks", "rightTicks"):
        assert int(ours.get(name, 0)) == int(theirs.get(name, 0))
    _compare_bars(exchange, (ours, theirs), nodes, 7 if whole else 4)


def _compare_bars(exchange: Exchange, graphs: tuple[Json, Json], nodes: int, width: int) -> None:
    ours, theirs = (answered_bars(graph, width) for graph in graphs)
    nameless = unnamed(ours)
    assert int(graphs[0].get("total", 0)) == int(graphs[1].get("total", 0)) + nameless
    if nodes >= EXACT_NODES and not nameless:
        assert [sorted(row) for row in ours] == [sorted(row) for row in theirs]
        assert graphs[0].get("maxSelf") == graphs[1].get("maxSelf")
        return
    mine, others = paths(ours), paths(theirs)
    for path in mine.keys() & others.keys():
        if len(path) > 1 and path[-1] != "other":
            # Pyroscope cuts each part before it merges them: then its bars lack what a part had cut off.
            assert all(a >= b for a, b in zip(mine[path], others[path], strict=True)), path
    if width == 4 and "start" in exchange.line.body:
        _keeps_the_largest(exchange, ours, nodes or DEFAULT_NODES)


def _keeps_the_largest(exchange: Exchange, ours: Bars, nodes: int) -> None:
    method = f"querier.v1.QuerierService/{exchange.line.kind}"
    body = {name: value for name, value in exchange.line.body.items() if name != "max_nodes"}
    whole = exchange.server.answer(method, {**body, "maxNodes": 1_048_576})["flamegraph"]
    whole_bars = answered_bars(whole, 4)
    every, mine = paths(whole_bars), paths(ours)
    assert all(every[path] == found for path, found in mine.items() if path[-1] != "other")
    kept = [bar[1] for row in ours[1:] for bar in row if bar[3] != "other"]
    largest = sorted((bar[1] for row in whole_bars[1:] for bar in row), reverse=True)
    assert sorted(kept, reverse=True)[:nodes] == largest[:nodes]


def unnamed(rows: Bars) -> int:
    """The total of stacks that have no name at all, which Pyroscope drops: bars right below the root."""
    return sum(
        cast(int, bar[1])
        for row in rows[1:2]
        for bar in row
        if str(bar[-1]) == "<unknown>" or str(bar[-1])[:1] == "["
    )


def _compare_tree(exchange: Exchange) -> None:
    assert int(exchange.line.body["maxNodes"]) >= EXACT_NODES
    ours, theirs = (tree_paths(base64.b64decode(one["tree"])) for one in (exchange.ours, exchange.theirs))
    assert ours == theirs


def _compare_dot(exchange: Exchange) -> None:
    assert int(exchange.line.body["maxNodes"]) >= EXACT_NODES
    assert dot_graph(exchange.ours["dot"]) == dot_graph(exchange.theirs["dot"])


def _compare_pprof(exchange: Exchange) -> None:
    _compare_profiles(exchange, exchange.ours["pprof"]["profile"], exchange.theirs["pprof"]["profile"])


def compare_merged(exchange: Exchange) -> None:
    _compare_profiles(exchange, exchange.ours, exchange.theirs)


def _compare_profiles(exchange: Exchange, ours: Json, theirs: Json) -> None:
    mine, others = recorded_stacks(ours), recorded_stacks(theirs)
    nodes = int(exchange.line.body.get("maxNodes") or 0)
    if not nodes or nodes >= EXACT_NODES:
        assert mine == others
    else:
        # Pyroscope cuts each part before it merges them: whole stacks that both show are equal.
        assert mine.total() == others.total()
        cut = {stack for stack in mine | others if stack and stack[0][0][0] == "other"}
        both = (mine.keys() & others.keys()) - cut
        assert both
        assert {stack: mine[stack] for stack in both} == {stack: others[stack] for stack in both}
        assert set(mine) & cut
    for name in ("period", "timeNanos"):
        assert ours.get(name) == theirs.get(name)


def compare_render(exchange: Exchange) -> None:
    if "text" in exchange.line.recorded:
        _compare_rendered_dot(exchange.reply.text, exchange.line.recorded["text"])
        return
    ours, theirs = dict(exchange.ours), dict(exchange.theirs)
    mine, others = (_as_graph(one.pop("flamebearer")) for one in (ours, theirs))
    assert ours == theirs
    nodes = int(httpx.QueryParams(exchange.line.sent["path"].partition("?")[2]).get("max-nodes", 0))
    _compare_bars(exchange, (mine, others), nodes, 7 if "diff" in exchange.line.kind else 4)


def _as_graph(shown: Json) -> Json:
    return {
        "names": shown["names"],
        "levels": [{"values": level} for level in shown["levels"]],
        "total": shown["numTicks"],
        "maxSelf": str(shown["maxSelf"]),
    }


def _compare_rendered_dot(ours: str, theirs: str) -> None:
    """Both are made of a cut pprof, Pyroscope's of several cut ones: what stands for the rest crowds lines out."""
    mine, others = dot_graph(ours), dot_graph(theirs)
    assert mine[0].total() == others[0].total()
    both = mine[0].keys() & others[0].keys()
    assert len(both) >= 0.75 * len(others[0])
    shown, recorded = (
        {edge[2:]: edge[0] for edge in edges if both.issuperset(edge[2:]) and "..." not in edge[1]}
        for _, edges in (mine, others)
    )
    assert shown == recorded


def compare_series(exchange: Exchange) -> None:
    assert answered_series(exchange.ours) == answered_series(exchange.theirs)


def compare_names(exchange: Exchange) -> None:
    assert exchange.ours.get("names") == exchange.theirs.get("names")


def compare_sets(exchange: Exchange) -> None:
    ours, theirs = (
        sorted(
            tuple((label["name"], label["value"]) for label in one.get("labels", ()))
            for one in document.get("labelsSet", ())
        )
        for document in (exchange.ours, exchange.theirs)
    )
    assert ours == theirs


def compare_profile_types(exchange: Exchange) -> None:
    if exchange.line.name == "ProfileTypes no range":
        # Without a range it is the last hour's, in which nothing was profiled.
        assert exchange.ours == {}
        return
    assert exchange.ours == exchange.theirs


def compare_stats(exchange: Exchange) -> None:
    """Pyroscope's times are those of when its index was written."""
    assert exchange.ours["dataIngested"]
    assert int(exchange.ours["oldestProfileTime"]) == int(exchange.theirs["oldestProfileTime"])
    assert int(exchange.ours["newestProfileTime"]) >= int(exchange.theirs["newestProfileTime"])


def compare_build_info(exchange: Exchange) -> None:
    assert exchange.ours["status"] == "success"
    assert exchange.ours["data"].keys() == exchange.theirs["data"].keys()


def compare_flags(exchange: Exchange) -> None:
    ours, theirs = (
        [(flag["name"], flag.get("enabled")) for flag in document["featureFlags"]]
        for document in (exchange.ours, exchange.theirs)
    )
    assert ours == theirs
    assert all(flag["description"] for flag in exchange.ours["featureFlags"])


def compare_adhoc(exchange: Exchange) -> None:
    ours, theirs = exchange.ours, exchange.theirs
    for name in ("name", "profileType", "profileTypes"):
        assert ours[name] == theirs[name]
    mine, others = (json.loads(one["flamebearerProfile"]) for one in (ours, theirs))
    assert mine["metadata"] == others["metadata"]
    graphs = (_as_graph(mine["flamebearer"]), _as_graph(others["flamebearer"]))
    nodes = int(exchange.line.body.get("maxNodes") or DEFAULT_NODES)
    _compare_bars(exchange, graphs, nodes, 4)


COMPARED: Mapping[str, Callable[[Exchange], None]] = {
    "SelectMergeStacktraces": compare_graph,
    "SelectMergeSpanProfile": compare_graph,
    "Diff": compare_graph,
    "SelectMergeProfile": compare_merged,
    "/pyroscope/render": compare_render,
    "/pyroscope/render-diff": compare_render,
    "SelectSeries": compare_series,
    "LabelNames": compare_names,
    "LabelValues": compare_names,
    "Series": compare_sets,
    "ProfileTypes": compare_profile_types,
    "GetProfileStats": compare_stats,
    "/api/v1/status/buildinfo": compare_build_info,
    "/capabilities.v1.FeatureFlagsService/GetFeatureFlags": compare_flags,
    "/adhocprofiles.v1.AdHocProfileService/Upload": compare_adhoc,
}
