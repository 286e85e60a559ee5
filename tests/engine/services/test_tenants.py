"""Every route of the server: what it needs, and that two tenants do not see each other through it."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from flameduck.engine.services.http.app import make_app, paths_of
from flameduck.engine.services.http.gate import scope_of
from flameduck.engine.services.server import Server
from flameduck.engine.settings import ServerSettings, Settings
from tests.running_server import TYPE, running_server

TENANTS = ("one", "two")
TIME_S = 1_750_000_000
RANGE = {"start": (TIME_S - 10_000) * 1000, "end": (TIME_S + 10_000) * 1000}
FROM, UNTIL = str(TIME_S - 10_000), str(TIME_S + 10_000)
TREE = {"profileTypeID": TYPE, "labelSelector": "{}", **RANGE}
QUERIER = "/querier.v1.QuerierService"
ADHOC = "/adhocprofiles.v1.AdHocProfileService"
SETTINGS = "/settings.v1.SettingsService"
ASKED = {"kind": "LabelValuesRequest", "request": {"selection": {}, "name": "service_name"}}


@dataclass(frozen=True)
class Route:
    """How a route is called. One that `shows` data must show the tenant's own."""

    scope: str
    method: str = "POST"
    body: Mapping[str, Any] | None = None
    params: Mapping[str, str] = field(default_factory=dict)
    shows: bool = False


def read(body: Mapping[str, Any], shows: bool = True) -> Route:
    return Route("read", body=body, shows=shows)


def page(scope: str, shows: bool = False, **params: str) -> Route:
    return Route(scope, "GET", params=params, shows=shows)


ROUTES = {
    "/ready": page(""),
    "/metrics": page("admin"),
    "/flush": Route("admin"),
    "/api/v1/status/buildinfo": page("read"),
    "/api/v1/status/config": page("admin"),
    "/api/v1/status/config/diff": page("admin"),
    "/api/v1/status/config/default": page("admin"),
    "/api/v1/status/jobs": page("admin"),
    "/api/v1/jobs": page("read"),
    "/api/v1/jobs/compact": Route("write"),
    "/pyroscope/render": page("read", True, query=TYPE + "{}", **{"from": FROM, "until": UNTIL}),
    "/pyroscope/render-diff": page(
        "read",
        True,
        leftQuery=TYPE + "{}",
        rightQuery=TYPE + "{}",
        leftFrom=FROM,
        rightFrom=FROM,
        leftUntil=UNTIL,
        rightUntil=UNTIL,
    ),
    "/pyroscope/label-values": page("read", label="__name__"),
    "/api/v1/profiles": page("read", True),
    "/api/v1/export": page("read", True, format="folded", type=TYPE),
    "/api/v1/openapi.json": page("read"),
    "/api/v1/docs": page("read"),
    "/api/v1/ask": read(ASKED),
    "/api/v1/sql": read({"query": "SELECT DISTINCT service_name FROM profiles"}),
    "/api/v1/ingest": Route("write"),
    "/api/v1/delete": Route("admin", body={"selector": '{service_name="none"}'}),
    "/api/v1/deletions": page("read"),
    "/ingest": Route("write", params={"name": "x", "from": "1"}),
    "/pyroscope/ingest": Route("write", params={"name": "x", "from": "1"}),
    "/v1development/profiles": Route("write"),
    "/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export": Route("write", body={}),
    "/push.v1.PusherService/Push": Route("write", body={}),
    f"{QUERIER}/ProfileTypes": read(RANGE, shows=False),
    f"{QUERIER}/LabelValues": read({"name": "service_name", **RANGE}),
    f"{QUERIER}/LabelNames": read(RANGE, shows=False),
    f"{QUERIER}/Series": read({"labelNames": ["service_name"], **RANGE}),
    f"{QUERIER}/SelectMergeStacktraces": read(TREE),
    f"{QUERIER}/SelectMergeSpanProfile": read({**TREE, "spanSelector": ["00f067aa0ba902b7"]}, shows=False),
    f"{QUERIER}/SelectMergeProfile": read(TREE),
    f"{QUERIER}/SelectSeries": read({**TREE, "groupBy": ["service_name"], "step": 15}),
    f"{QUERIER}/SelectHeatmap": read(
        {**TREE, "step": 15, "queryType": "HEATMAP_QUERY_TYPE_INDIVIDUAL"}, shows=False
    ),
    f"{QUERIER}/Diff": read({"left": TREE, "right": TREE}),
    f"{QUERIER}/GetProfileStats": read({}, shows=False),
    f"{QUERIER}/AnalyzeQuery": read({"query": "{}", **RANGE}, shows=False),
    "/capabilities.v1.FeatureFlagsService/GetFeatureFlags": read({}, shows=False),
    "/version.v1.Version/Version": read({}, shows=False),
    f"{SETTINGS}/Get": read({}),
    f"{SETTINGS}/Set": Route("write", body={"setting": {"name": "a"}}),
    f"{SETTINGS}/Delete": Route("write", body={"name": "a"}),
    f"{ADHOC}/Upload": Route("write", body={"name": "x", "profile": ""}),
    f"{ADHOC}/List": read({}),
    f"{ADHOC}/Get": read({"id": "{adhoc}"}),
    f"{ADHOC}/Diff": read({"leftId": "{adhoc}", "rightId": "{adhoc}"}),
}


@dataclass(frozen=True)
class World:
    """A server with two tenants, each with a profile, a setting and an ad-hoc profile that carry its name."""

    client: httpx.Client
    adhoc: dict[str, str]

    def call(self, path: str, token: str = "", tenant: str = "", adhoc_of: str = "one") -> httpx.Response:
        route = ROUTES[path]
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        headers |= {"X-Scope-OrgID": tenant} if tenant else {}
        text = json.dumps(route.body).replace("{adhoc}", self.adhoc[adhoc_of])
        body = None if route.body is None else json.loads(text)
        return self.client.request(route.method, path, json=body, params=dict(route.params), headers=headers)


def entry(name: str, tenants: list[str], scopes: list[str]) -> str:
    """A token whose text is its name."""
    digest = hashlib.sha256(name.encode()).hexdigest()
    return (
        f'[[tokens]]\nname = "{name}"\nsha256 = "{digest}"\n'
        f"tenants = {json.dumps(tenants)}\nscopes = {json.dumps(scopes)}\n"
    )


def fill(client: httpx.Client, tenant: str) -> str:
    """Store what gives the tenant away; the id of its ad-hoc profile."""
    headers = {"Authorization": f"Bearer {tenant}-write"}
    folded = f"secret_{tenant};work 100\n".encode()
    parts = [
        (
            "upload",
            (
                "u",
                json.dumps(
                    {
                        "labels": {"service_name": f"service-{tenant}", "__name__": "process_cpu"},
                        "origin": "x",
                        "time_ns": TIME_S * 10**9,
                        "input_format": "folded",
                    }
                ).encode(),
            ),
        ),
        ("data", ("d", folded)),
    ]
    name = f"app-{tenant}.cpu{{service_name=service-{tenant}}}"
    reply = client.post(
        "/ingest",
        params={
            "name": name,
            "from": str(TIME_S),
            "until": str(TIME_S + 10),
            "units": "samples",
            "format": "folded",
        },
        content=folded,
        headers=headers,
    )
    assert reply.status_code == 200, reply.text
    reply = client.post("/api/v1/ingest", files=parts, headers=headers)
    assert reply.status_code == 200, reply.text
    body = {"setting": {"name": "colour", "value": f"secret_{tenant}"}}
    assert client.post(f"{SETTINGS}/Set", json=body, headers=headers).status_code == 200
    upload = {"name": f"secret_{tenant}.folded", "profile": base64.b64encode(folded).decode()}
    reply = client.post(f"{ADHOC}/Upload", json=upload, headers=headers)
    assert reply.status_code == 200, reply.text
    return str(reply.json()["id"])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("tenants")
    file = folder / "access.toml"
    entries = [
        entry(f"{tenant}-{scope}", [tenant], [scope])
        for tenant in TENANTS
        for scope in ("write", "read", "admin")
    ]
    entries += [entry(f"all-{scope}", ["*"], [scope]) for scope in ("write", "read", "admin")]
    file.write_text("".join(entries))
    with running_server(folder / "store", "--multitenancy", "--access-file", str(file)) as server:
        adhoc = {tenant: fill(server.http, tenant) for tenant in TENANTS}
        yield World(server.http, adhoc)


def test_every_route_is_in_the_table(tmp_path: Path) -> None:
    """A new route needs a row: how it is called, the scope that it needs, and what it shows."""
    server = Server(str(tmp_path), Settings(), ServerSettings())
    paths = paths_of(make_app(server, Settings(), ServerSettings(), "http://x").routes)
    server.stop()
    assert sorted(paths) == sorted(ROUTES)
    assert {path: scope_of(path) for path in ROUTES} == {path: route.scope for path, route in ROUTES.items()}


CLOSED = [path for path, route in ROUTES.items() if route.scope]
DELETE = "/api/v1/delete"
SERVER_WIDE = [path for path, route in ROUTES.items() if route.scope == "admin" and path != DELETE]
READING = [path for path, route in ROUTES.items() if route.scope == "read"]


@pytest.mark.parametrize("path", CLOSED)
def test_a_route_needs_its_scope(world: World, path: str) -> None:
    scope = ROUTES[path].scope
    for token in ("", "wrong", "one-", "ONE-READ"):
        reply = world.call(path, token, "one")
        assert (reply.status_code, reply.json()["code"]) == (401, "unauthenticated")
        assert "WWW-Authenticate" in reply.headers
    for other in {"write", "read", "admin"} - {scope}:
        reply = world.call(path, f"all-{other}", "one")
        assert (reply.status_code, reply.json()["code"]) == (403, "permission_denied")
    assert world.call(path, f"all-{scope}", "one").status_code not in (401, 403, 404, 405, 500)


@pytest.mark.parametrize("path", CLOSED)
def test_a_token_of_another_tenant_is_refused(world: World, path: str) -> None:
    scope = ROUTES[path].scope
    for tenant in ("one", "ONE", "one/../two", "_head", "..", "", "two,one", "anonymous", "*"):
        if tenant in ("", "two"):
            continue
        reply = world.call(path, f"two-{scope}", tenant)
        assert reply.status_code == 403, (tenant, reply.text)
        assert "secret_one" not in reply.text


@pytest.mark.parametrize("path", SERVER_WIDE)
def test_the_whole_server_is_for_admins_of_all_tenants(world: World, path: str) -> None:
    assert world.call(path, "one-admin", "one").status_code == 403
    assert world.call(path, "all-admin", "one").status_code in (200, 204)


def test_a_tenant_deletes_its_own_alone(world: World) -> None:
    assert world.call(DELETE, "one-admin", "one").status_code == 200
    assert world.call(DELETE, "one-admin", "two").status_code == 403
    for other in ("read", "write"):
        assert world.call(DELETE, f"one-{other}", "one").status_code == 403
    everything = {"selector": "{}", "everything": True}
    for tenant in TENANTS:
        reply = world.client.post(
            DELETE, json=everything, headers={"Authorization": f"Bearer {tenant}-admin"}
        )
        assert sum(one["profiles"] for one in reply.json()["touched"]) == 2


@pytest.mark.parametrize("path", READING)
def test_two_tenants_do_not_see_each_other(world: World, path: str) -> None:
    """Before and after the flush; also when one asks for an id of the other's."""
    for tenant, other in (TENANTS, TENANTS[::-1]):
        own = world.call(path, f"{tenant}-read", adhoc_of=tenant)
        assert own.status_code == 200, own.text
        shown = _text(own)
        assert f"secret_{other}" not in shown
        assert f"service-{other}" not in shown
        if ROUTES[path].shows:
            assert f"secret_{tenant}" in shown or f"service-{tenant}" in shown
        if path in (f"{ADHOC}/Get", f"{ADHOC}/Diff"):
            assert world.call(path, f"{tenant}-read", adhoc_of=other).status_code == 404


def test_the_tenants_stay_apart_in_blocks(world: World) -> None:
    assert world.call("/flush", "all-admin", "one").status_code == 204
    for path in READING:
        test_two_tenants_do_not_see_each_other(world, path)


def test_no_route_answers_other_origins(world: World) -> None:
    """CORS is off: no header of it, and no answer to a preflight."""
    for path, route in ROUTES.items():
        token = f"all-{route.scope}"
        asked = {"Origin": "https://evil.example", "Authorization": f"Bearer {token}", "X-Scope-OrgID": "one"}
        before = {**asked, "Access-Control-Request-Method": "POST"}
        for reply in (
            world.client.request(route.method, path, headers=asked),
            world.client.options(path, headers=before),
        ):
            assert [name for name in reply.headers if name.lower().startswith("access-control")] == []


def test_requests_have_ids_and_are_counted(world: World) -> None:
    given = world.client.get("/ready", headers={"X-Request-Id": "abc-1"})
    assert given.headers["X-Request-Id"] == "abc-1"
    made = world.client.get("/ready", headers={"X-Request-Id": "no good, this"}).headers["X-Request-Id"]
    assert len(made) == 26
    world.client.get("/nothing/here", headers={"Authorization": "Bearer all-read", "X-Scope-OrgID": "one"})
    metrics = world.call("/metrics", "all-admin", "one").text
    assert 'flameduck_http_requests_total{route="/ready",status="200"}' in metrics
    assert 'flameduck_http_requests_total{route="other",status="404"}' in metrics
    assert "/nothing/here" not in metrics


def _text(reply: httpx.Response) -> str:
    """What a reply shows, whatever it is packed in."""
    raw = reply.content
    return (gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw).decode(errors="replace")
