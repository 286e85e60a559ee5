"""Ad-hoc profiles, settings, flags, version, pages about the server, and our own routes, over HTTP."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pytest

from flameduck.engine.services.http.openapi import openapi_document
from flameduck.engine.services.server import Server
from flameduck.engine.settings import ServerSettings, Settings
from flameduck.schema.proto import profile_pb2

from ...running_server import RunningServer, running_server

ADHOC = "adhocprofiles.v1.AdHocProfileService"
SETTINGS = "settings.v1.SettingsService"
CPU = "process_cpu:cpu:nanoseconds:cpu:nanoseconds"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, fixtures: Path) -> Iterator[RunningServer]:
    """A server with one CPU profile of Go."""
    with running_server(tmp_path_factory.mktemp("small") / "store", "--flush-age-s", "3600") as running:
        raw = base64.b64encode((fixtures / "go-cpu.pb.gz").read_bytes()).decode()
        labels = [
            {"name": "__name__", "value": "process_cpu"},
            {"name": "service_name", "value": "checkout"},
        ]
        series = {"labels": labels, "samples": [{"rawProfile": raw}]}
        running.answer("push.v1.PusherService/Push", {"series": [series]})
        yield running


def upload(server: RunningServer, path: Path, **more: Any) -> dict[str, Any]:
    """Upload a file to look at."""
    body = {"name": path.name, "profile": base64.b64encode(path.read_bytes()).decode(), **more}
    return server.answer(f"{ADHOC}/Upload", body)


def test_adhoc_profiles(server: RunningServer, fixtures: Path) -> None:
    first = upload(server, fixtures / "go-heap.pb.gz")
    assert first["profileTypes"] == ["alloc_objects", "alloc_space", "inuse_objects", "inuse_space"]
    assert first["profileType"] == "alloc_objects"
    again = server.answer(f"{ADHOC}/Get", {"id": first["id"], "profileType": "inuse_space", "maxNodes": "5"})
    shown = json.loads(again["flamebearerProfile"])
    assert again["profileType"] == "inuse_space"
    assert shown["metadata"]["units"] == "bytes"
    assert shown["flamebearer"]["numTicks"] > 0
    assert shown["timeline"] is None
    folded = upload(server, fixtures / "python-cpu.folded")
    listed = server.answer(f"{ADHOC}/List", {})["profiles"]
    assert [one["id"] for one in listed[:2]] == [folded["id"], first["id"]]


def test_adhoc_diff(server: RunningServer, fixtures: Path) -> None:
    left, right = (upload(server, fixtures / name) for name in ("go-cpu.pb.gz", "go-cpu-v2.pb.gz"))
    asked = {"leftId": left["id"], "rightId": right["id"], "profileType": "cpu"}
    both = server.answer(f"{ADHOC}/Diff", asked)
    shown = json.loads(both["flamebearerProfile"])
    assert both["profileTypes"] == ["samples", "cpu"]
    sides = [
        json.loads(
            server.answer(f"{ADHOC}/Get", {"id": one["id"], "profileType": "cpu"})["flamebearerProfile"]
        )
        for one in (left, right)
    ]
    ticks = [side["flamebearer"]["numTicks"] for side in sides]
    assert [shown["leftTicks"], shown["rightTicks"]] == ticks
    assert shown["metadata"]["format"] == "double"
    heap = upload(server, fixtures / "go-heap.pb.gz")
    reply = server.rpc(f"{ADHOC}/Diff", {"leftId": left["id"], "rightId": heap["id"]})
    assert (reply.status_code, reply.json()["code"]) == (400, "invalid_argument")
    assert "no common profile types" in reply.json()["message"]


@pytest.mark.parametrize(
    ("method", "body", "status", "says"),
    [
        ("Upload", {"name": "x", "profile": "?"}, 400, "base64"),
        ("Upload", {"name": "", "profile": ""}, 400, "name is required"),
        ("Upload", {"name": "x", "profile": base64.b64encode(b"\x00\x01nothing").decode()}, 400, "x"),
        ("Get", {"id": "../../catalog"}, 400, "id '../../catalog'"),
        ("Get", {"id": "01M8F5BTVBTJ1M2F9SBBKGS7WY-x"}, 404, "not found"),
        ("Diff", {"leftId": "a", "rightId": "b"}, 400, "id 'a'"),
    ],
)
def test_adhoc_refuses(
    server: RunningServer, method: str, body: dict[str, Any], status: int, says: str
) -> None:
    reply = server.rpc(f"{ADHOC}/{method}", body)
    assert reply.status_code == status, reply.text
    assert says in reply.json()["message"]


def test_adhoc_of_an_unknown_type_names_the_known(server: RunningServer, fixtures: Path) -> None:
    kept = upload(server, fixtures / "go-cpu.pb.gz")
    reply = server.rpc(f"{ADHOC}/Get", {"id": kept["id"], "profileType": "heap"})
    assert reply.status_code == 400
    assert "samples, cpu" in reply.json()["message"]


def test_adhoc_size_is_limited(server: RunningServer) -> None:
    too_much = base64.b64encode(bytes((64 << 20) + 1)).decode()
    reply = server.rpc(f"{ADHOC}/Upload", {"name": "x", "profile": too_much})
    assert reply.status_code == 400
    assert "limit 67108864" in reply.json()["message"]


def test_settings(server: RunningServer) -> None:
    for name, value in (("b", "2"), ("a", "1")):
        server.answer(f"{SETTINGS}/Set", {"setting": {"name": name, "value": value, "modifiedAt": "1000"}})
    found = server.answer(f"{SETTINGS}/Get", {})["settings"]
    assert [(one["name"], one["value"]) for one in found] == [("a", "1"), ("b", "2")]
    older = {"setting": {"name": "a", "value": "0", "modifiedAt": "999"}}
    reply = server.rpc(f"{SETTINGS}/Set", older)
    assert (reply.status_code, reply.json()["code"]) == (409, "already_exists")
    kept = server.answer(f"{SETTINGS}/Set", {"setting": {"name": "a", "value": "now"}})["setting"]
    assert int(kept["modifiedAt"]) > 1_700_000_000_000
    server.answer(f"{SETTINGS}/Delete", {"name": "b"})
    assert [one["name"] for one in server.answer(f"{SETTINGS}/Get", {})["settings"]] == ["a"]
    long = {"setting": {"name": "a", "value": "x" * (1 << 20)}}
    for method, body in (("Set", {"setting": {"value": "x"}}), ("Set", long), ("Delete", {})):
        assert server.rpc(f"{SETTINGS}/{method}", body).status_code == 400


def test_version_and_pages(server: RunningServer) -> None:
    assert int(server.answer("version.v1.Version/Version", {})["QuerierAPI"]) >= 1
    pages = {
        name: server.http.get(f"/api/v1/status/{name}")
        for name in ("config", "config/diff", "config/default")
    }
    assert all(page.headers["content-type"].startswith("text/plain") for page in pages.values())
    assert "flush_age_s: 3600" in pages["config/diff"].text
    assert "flush_age_s: 60" in pages["config/default"].text
    assert len(pages["config/diff"].text) < len(pages["config"].text)


def test_profiles(server: RunningServer) -> None:
    asked = {"query": '{service_name="checkout"}', "type": "cpu"}
    rows = server.http.get("/api/v1/profiles", params=asked).json()
    assert {row["profile_type"] for row in rows} == {CPU}
    assert {row["labels"]["service_name"] for row in rows} == {"checkout"}
    totals = [row["total"] for row in rows]
    # The samples' labels split the profile, which stays one by its id.
    assert len({row["profile_id"] for row in rows}) == 1
    start_ms = min(row["ts"] for row in rows) // 10**6
    typed = {"profileTypeID": CPU, "labelSelector": "{}", "start": start_ms, "end": start_ms + 1000}
    whole = server.answer("querier.v1.QuerierService/SelectMergeStacktraces", typed)["flamegraph"]
    assert sum(totals) == int(whole["total"])
    csv = server.http.get("/api/v1/profiles", params={**asked, "format": "csv"})
    assert csv.headers["content-type"].startswith("text/csv")
    assert pyarrow.csv.read_csv(io.BytesIO(csv.content)).column("total").to_pylist() == totals
    arrow = server.http.get("/api/v1/profiles", params={**asked, "format": "arrow"})
    assert pa.ipc.open_stream(arrow.content).read_all().column("total").to_pylist() == totals


@pytest.mark.parametrize(
    ("name", "starts"),
    [("pprof", b"\x1f\x8b"), ("folded", b""), ("speedscope", b"{"), ("dot", b"digraph"), ("html", b"<!")],
)
def test_export(server: RunningServer, name: str, starts: bytes) -> None:
    reply = server.http.get("/api/v1/export", params={"type": "cpu", "format": name})
    assert reply.status_code == 200, reply.text
    assert reply.content.startswith(starts)
    assert len(reply.content) > 100
    if name == "pprof":
        import gzip

        assert profile_pb2.Profile.FromString(gzip.decompress(reply.content)).sample


def test_sql(server: RunningServer) -> None:
    asked = {
        "query": "SELECT count(DISTINCT profile_id) AS n FROM profiles WHERE service_name = $who",
        "parameters": {"who": "checkout"},
    }
    assert server.http.post("/api/v1/sql", json=asked).json() == [{"n": 1}]
    csv = server.http.post("/api/v1/sql", json={**asked, "format": "csv"})
    assert csv.text.split() == ['"n"', "1"]


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/api/v1/profiles?query=nonsense{", "selector"),
        ("/api/v1/profiles?limit=-1", "limit"),
        ("/api/v1/profiles?format=xml", "xml"),
        ("/api/v1/profiles?from=yesterdayish", "yesterdayish"),
        ("/api/v1/export", "format is required"),
        ("/api/v1/export?format=xyz", "xyz"),
        ("/api/v1/export?format=pprof&max_nodes=many", "max_nodes"),
    ],
)
def test_get_errors(server: RunningServer, path: str, says: str) -> None:
    reply = server.http.get(path)
    assert (reply.status_code, reply.json()["code"]) == (400, "invalid_argument"), reply.text
    assert says in reply.json()["message"]


@pytest.mark.parametrize(
    ("path", "body", "says"),
    [
        ("/api/v1/sql", b"{", "body"),
        ("/api/v1/sql", b'{"query": 5}', "query"),
        ("/api/v1/sql", b'{"query": "SELECT nope FROM profiles"}', "nope"),
        ("/api/v1/sql", b'{"query": "SELECT 1", "format": "xml"}', "xml"),
        ("/api/v1/ask", b"[]", "request"),
        ("/api/v1/ask", b'{"kind": "Nope", "request": {}}', "Nope"),
        ("/api/v1/ask", b'{"kind": "TopRequest", "request": {"tree": {}, "limit": "many"}}', "limit"),
        ("/api/v1/ingest", b"x", "expected parts"),
    ],
)
def test_post_errors(server: RunningServer, path: str, body: bytes, says: str) -> None:
    reply = server.http.post(path, content=body)
    assert (reply.status_code, reply.json()["code"]) == (400, "invalid_argument"), reply.text
    assert says.lower() in reply.json()["message"].lower()


def test_ask(server: RunningServer) -> None:
    tree = {"selection": {"profile_type": CPU}}
    reply = server.http.post(
        "/api/v1/ask", json={"kind": "TopRequest", "request": {"tree": tree, "limit": 3}}
    )
    assert reply.headers["flameduck-kind"] == "Rows"
    assert len(pa.ipc.open_stream(reply.content).read_all()) == 3


def test_openapi(server: RunningServer) -> None:
    document = server.http.get("/api/v1/openapi.json").json()
    assert document == json.loads(json.dumps(openapi_document()))
    assert document["openapi"] == "3.1.0"
    ids = [one["operationId"] for methods in document["paths"].values() for one in methods.values()]
    assert len(ids) == len(set(ids))
    for path, methods in document["paths"].items():
        (method,) = methods
        wrong = {"get": "DELETE", "post": "GET"}[method]
        assert server.http.request(wrong, path).status_code == 405, path


def test_openapi_has_every_route_of_ours(tmp_path: Path) -> None:
    from flameduck.engine.services.http.app import make_app

    settings = ServerSettings()
    server = Server(str(tmp_path), Settings(), settings)
    app = make_app(server, Settings(), settings, "")
    server.stop()
    ours = {path for route in app.routes if (path := getattr(route, "path", "")).startswith("/api/v1/")}
    assert ours <= openapi_document()["paths"].keys()


def test_docs_page_loads_nothing(server: RunningServer) -> None:
    page = server.http.get("/api/v1/docs")
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    assert not re.search(r"(src|href)=|https?://|<script", page.text)
    for path in openapi_document()["paths"]:
        assert path in page.text
