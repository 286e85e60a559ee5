"""push.v1: what clients push, in both encodings, and what they are told about what cannot be stored."""

from __future__ import annotations

import base64
import gzip
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import httpx
import pytest

from flameduck.schema.proto import push_pb2
from tests.engine.services.writing import PUSH, any_range, labels, metric, names, raw, small_pprof
from tests.running_server import RunningServer, running_server

PROTO = "application/proto"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("push")
    options = ("--multitenancy", "--body-limit-bytes", "3000000", *any_range(folder))
    with running_server(folder / "store", *options) as one:
        one.http.headers["x-scope-orgid"] = "acme"
        yield one


def series(
    service: str, *raws: bytes, ids: Sequence[str] = (), also: Mapping[str, str] | None = None
) -> push_pb2.RawProfileSeries:
    """A series of a push."""
    said = {"__name__": "process_cpu", "service_name": service, **(also or {})}
    made = push_pb2.RawProfileSeries()
    for name, value in said.items():
        made.labels.add(name=name, value=value)
    for number, data in enumerate(raws):
        made.samples.add(raw_profile=data, ID=ids[number] if ids else "")
    return made


def push(
    server: RunningServer, *listed: push_pb2.RawProfileSeries, zipped: bool = False, tenant: str = "acme"
) -> httpx.Response:
    body = push_pb2.PushRequest(series=listed).SerializeToString()
    sent = {"content-type": PROTO, "x-scope-orgid": tenant}
    if zipped:
        body, sent["content-encoding"] = gzip.compress(body), "gzip"
    return server.http.post(f"/{PUSH}", content=body, headers=sent)


def push_json(server: RunningServer, document: object) -> httpx.Response:
    text = document if isinstance(document, str) else json.dumps(document)
    return server.http.post(f"/{PUSH}", content=text, headers={"content-type": "application/json"})


def json_series(service: str, raw_profile: object) -> dict[str, Any]:
    said = [{"name": "__name__", "value": "process_cpu"}, {"name": "service_name", "value": service}]
    return {"labels": said, "samples": [{"rawProfile": raw_profile}]}


def refused(reply: httpx.Response, status: int = 400, code: str = "invalid_argument") -> str:
    assert (reply.status_code, reply.json()["code"]) == (status, code), reply.text
    message: str = reply.json()["message"]
    assert "\n" not in message
    return message


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("profile_zipped", [False, True])
def test_protobuf(server: RunningServer, zipped: bool, profile_zipped: bool) -> None:
    service = f"proto-{zipped}-{profile_zipped}"
    reply = push(server, series(service, raw(small_pprof(), profile_zipped)), zipped=zipped)
    assert (reply.status_code, reply.content) == (200, b"")
    assert names(server, f'{{service_name="{service}"}}') == {"total": 7, "main": 7, "work": 7}


@pytest.mark.parametrize("name", ["rawProfile", "raw_profile"])
@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=utf-8"])
def test_json(server: RunningServer, name: str, kind: str) -> None:
    service = f"json-{name}-{len(kind)}"
    one = json_series(service, "")
    one["samples"] = [{name: base64.b64encode(raw(small_pprof())).decode(), "unknown": {"field": 1}}]
    reply = server.http.post(
        f"/{PUSH}", content=json.dumps({"series": [one]}), headers={"content-type": kind}
    )
    assert (reply.status_code, reply.json()) == (200, {})
    assert names(server, f'{{service_name="{service}"}}')["total"] == 7


def test_a_capture_of_the_python_sdk(server: RunningServer, shared: Callable[[str], Any]) -> None:
    head = json.loads(shared("data/captures/python-sdk-push.json").read_text())
    body = shared("data/captures/python-sdk-push.bin").read_bytes()
    sent = {name: head["headers"][name] for name in ("user-agent", "content-type", "content-encoding")}
    reply = server.http.post(head["path"], content=body, headers=sent)
    assert (reply.status_code, reply.content) == (200, b"")
    request = push_pb2.PushRequest.FromString(gzip.decompress(body))
    (service,) = {one.value for one in request.series[0].labels if one.name == "service_name"}
    found = labels(server, f'{{service_name="{service}"}}')
    assert {each["otel.scope.name"] for each in found} == {"com.grafana.pyroscope/python"}


def test_a_series_without_a_service_has_an_unknown_one(server: RunningServer) -> None:
    assert push(server, series("", raw(small_pprof()), also={"only": "here"})).status_code == 200
    (found,) = labels(server, '{only="here"}')
    assert found["service_name"] == "unknown_service"


def test_bad_series_are_named_and_good_ones_stored(server: RunningServer) -> None:
    nameless = series("half", raw(small_pprof(value=1)))
    del nameless.labels[0]
    dashed = small_pprof(kind=("in-use", "bytes"))
    reply = push(
        server,
        series("half", raw(small_pprof(value=10))),
        nameless,
        series("half", raw(small_pprof(value=100)), b"junk", raw(small_pprof(value=1000))),
        series("half", raw(dashed)),
    )
    text = refused(reply)
    assert "series 1: invalid labels '{service_name=\"half\"}' with error: invalid metric name" in text
    assert "series 2 sample 1: malformed pprof" in text
    assert "series 3: sample type 'in-use' contains -" in text
    assert text.endswith("3 of 6 profiles were stored")
    assert names(server, '{service_name="half"}')["total"] == 1110


@pytest.mark.parametrize("junk", [b"", b"junk junk", b"\x1f\x8b", b"\x1f\x8bjunk", b"\x0a\xff"])
def test_what_is_no_profile(server: RunningServer, junk: bytes) -> None:
    """Permanent, whatever the bytes: a client would try for ever what is called the server's fault."""
    refused(push(server, series("junk", junk)))
    assert not labels(server, '{service_name="junk"}')


@pytest.mark.parametrize(
    "document",
    [
        "",
        "{",
        "[]",
        "null",
        '{"series": [{"labels": 5}]}',
        {"series": [json_series("x", "!!!! not base64")]},
        {"series": [json_series("x", "QQ=A")]},
        {"series": [json_series("x", 5)]},
        '{"a":' * 50_000,
        {},
        {"series": []},
        {"series": [{"labels": [], "samples": []}]},
    ],
)
def test_bad_json(server: RunningServer, document: object) -> None:
    refused(push_json(server, document))


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"content-type": "text/plain"}, b"x", 415),
        ({"content-type": PROTO}, b"\xff\xff\xff", 400),
        ({"content-type": PROTO}, b"", 400),
        ({"content-type": PROTO, "content-encoding": "gzip"}, b"not gzip", 400),
        ({"content-type": PROTO, "content-encoding": "br"}, b"x", 501),
    ],
)
def test_bad_requests(server: RunningServer, headers: dict[str, str], body: bytes, status: int) -> None:
    assert server.http.post(f"/{PUSH}", content=body, headers=headers).status_code == status


def test_bodies_over_the_limit(server: RunningServer) -> None:
    large = raw(small_pprof()) + b"\0" * 3_000_001
    refused(push(server, series("large", large)), 429, "resource_exhausted")
    # Small on the wire, too large inflated.
    refused(push(server, series("large", large), zipped=True), 429, "resource_exhausted")


def test_bombs_in_profiles(server: RunningServer) -> None:
    bomb = gzip.compress(raw(small_pprof()) + b"\0" * (200 << 20))
    begun = time.monotonic()
    assert "more than the limit of 4194304 bytes" in refused(push(server, series("bomb", bomb)))
    assert time.monotonic() - begun < 10
    assert metric(server, "pyroscope_discarded_samples_total", reason="profile_size_limit", tenant="acme")


def test_ten_thousand_labels(server: RunningServer) -> None:
    many = {f"label{number}": "x" * 100 for number in range(10_000)}
    begun = time.monotonic()
    text = refused(push(server, series("many", raw(small_pprof()), also=many)))
    assert "10002 label names; limit 30" in text
    assert len(text) < 1000
    assert time.monotonic() - begun < 5
    twice = series("many", raw(small_pprof()), also=many)
    twice.labels.add(name="label7", value="again")
    assert "has duplicate label name: 'label7'" in refused(push(server, twice))


def test_long_labels(server: RunningServer) -> None:
    assert "limit 1024" in refused(push(server, series("x", raw(small_pprof()), also={"n" * 1025: "x"})))
    assert "limit 2048" in refused(push(server, series("x", raw(small_pprof()), also={"n": "x" * 2049})))


def test_invalid_utf8_in_a_label_is_refused(server: RunningServer) -> None:
    body = push_pb2.PushRequest(series=[series("utf8", raw(small_pprof()), also={"n": "XXXX"})])
    broken = body.SerializeToString().replace(b"XXXX", b"\xff\xfe\xff\xfe")
    reply = server.http.post(f"/{PUSH}", content=broken, headers={"content-type": PROTO})
    assert reply.status_code == 400


def test_a_client_that_tries_three_times_counts_once(server: RunningServer) -> None:
    """With and without a time of the profile's own: the first time of an id stays."""
    stamped = raw(small_pprof(time_ns=time.time_ns(), value=5))
    timeless = raw(small_pprof(value=50))
    for _ in range(3):
        listed = [series("thrice", stamped, ids=["a"]), series("thrice", timeless, ids=["b"])]
        assert push(server, *listed).status_code == 200
    assert names(server, '{service_name="thrice"}')["total"] == 55
    assert server.http.post("/flush").status_code == 204
    push(server, series("thrice", timeless, ids=["b"]))
    assert names(server, '{service_name="thrice"}')["total"] == 55


def test_equal_ids_in_one_push(server: RunningServer) -> None:
    """The same profile twice counts once, another one under the same id counts too."""
    one, other = raw(small_pprof(value=3)), raw(small_pprof(value=40))
    assert push(server, series("twins", one, one, other, ids=["i", "i", "i"])).status_code == 200
    assert names(server, '{service_name="twins"}')["total"] == 43


def test_equal_profiles_of_two_tenants(server: RunningServer) -> None:
    """Decoded in one group, kept apart."""
    import threading

    data = raw(small_pprof([("secret", "a.py")], time_ns=time.time_ns(), value=9))
    tenants = [f"tenant-{number}" for number in range(6)]
    gate = threading.Barrier(len(tenants))
    statuses: list[int] = []

    def send(tenant: str) -> None:
        with httpx.Client(base_url=server.url, headers={"x-scope-orgid": tenant}) as client:
            gate.wait()
            body = push_pb2.PushRequest(series=[series("shared", data, ids=["same"])]).SerializeToString()
            statuses.append(
                client.post(f"/{PUSH}", content=body, headers={"content-type": PROTO}).status_code
            )

    threads = [threading.Thread(target=send, args=(tenant,)) for tenant in tenants]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * len(tenants)
    for tenant in tenants:
        found = names(server, "{}", **{"x-scope-orgid": tenant})
        assert found == {"total": 9, "secret": 9}
    assert not labels(server, '{service_name="shared"}')


@pytest.mark.parametrize(
    ("tenant", "text"), [("", "no org id"), ("../up", "tenant"), ("a|b", "tenant"), ("x" * 200, "tenant")]
)
def test_tenants_that_are_none(server: RunningServer, tenant: str, text: str) -> None:
    reply = push(server, series("x", raw(small_pprof())), tenant=tenant)
    assert text in refused(reply, 401, "unauthenticated")
