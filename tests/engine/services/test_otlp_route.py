"""OTLP profiles: over HTTP, and over gRPC and Connect on both ports, with OpenTelemetry's own classes as clients."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import grpc
import httpx
import pytest
from google.protobuf import json_format
from opentelemetry.proto.collector.profiles.v1development import profiles_service_pb2 as collector
from opentelemetry.proto.collector.profiles.v1development import profiles_service_pb2_grpc as stubs

from tests.engine.services.writing import any_range, labels, metric, names
from tests.running_server import RunningServer, free_port, running_server

PATH = "/v1development/profiles"
SERVICE = "opentelemetry.proto.collector.profiles.v1development.ProfilesService"
PROTO, JSON = "application/x-protobuf", "application/json"
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
BODY_LIMIT = 16 << 20


@pytest.fixture(scope="module")
def otlp_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, otlp_port: int) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("otlp")
    options = ("--multitenancy", "--body-limit-bytes", str(BODY_LIMIT), "--otlp-port", str(otlp_port))
    with running_server(folder / "store", *options, *any_range(folder)) as one:
        one.http.headers["x-scope-orgid"] = "acme"
        yield one


@pytest.fixture(scope="module", params=["http port", "otlp port"])
def stub(
    request: pytest.FixtureRequest, server: RunningServer, otlp_port: int
) -> Iterator[stubs.ProfilesServiceStub]:
    """A gRPC client on each of the ports."""
    port = httpx.URL(server.url).port if request.param == "http port" else otlp_port
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield stubs.ProfilesServiceStub(channel)  # type: ignore[no-untyped-call]


TENANT = (("x-scope-orgid", "acme"),)


def export(service: str, samples: int = 1, pad: int = 0) -> collector.ExportProfilesServiceRequest:
    """Some samples of `main;work`, worth 10 ms each, with a link to a span; and so many bytes of strings."""
    request = collector.ExportProfilesServiceRequest()
    tables = request.dictionary
    texts = ["", "samples", "count", "cpu", "nanoseconds", "main", "work", "thread.name", "main.py"]
    tables.mapping_table.add()
    tables.attribute_table.add()
    tables.link_table.add()
    tables.link_table.add(trace_id=bytes.fromhex(TRACE), span_id=bytes.fromhex(SPAN))
    tables.location_table.add()
    tables.function_table.add()
    for name in (5, 6):
        tables.function_table.add(name_strindex=name, filename_strindex=8)
        tables.location_table.add().lines.add(function_index=len(tables.function_table) - 1, line=1)
    tables.stack_table.add()
    tables.stack_table.add(location_indices=[2, 1])
    tables.string_table.extend([*texts, *(f"{number:01000d}" for number in range(pad // 1000))])
    resource = request.resource_profiles.add()
    resource.resource.attributes.add(key="service.name").value.string_value = service
    profile = resource.scope_profiles.add().profiles.add(period=10_000_000)
    profile.sample_type.type_strindex, profile.sample_type.unit_strindex = 1, 2
    profile.period_type.type_strindex, profile.period_type.unit_strindex = 3, 4
    for _ in range(samples):
        profile.samples.add(stack_index=1, values=[1], link_index=1)
    return request


def with_hex_ids(request: collector.ExportProfilesServiceRequest) -> bytes:
    """Its JSON as OTLP wants it: ids in hexadecimal."""
    document = json.loads(json_format.MessageToJson(request))
    link = document["dictionary"]["linkTable"][1]
    link["traceId"], link["spanId"] = TRACE, SPAN
    return json.dumps(document).encode()


def post(server: RunningServer, body: bytes, kind: str = PROTO, **headers: str) -> httpx.Response:
    return server.http.post(PATH, content=body, headers={"content-type": kind, **headers})


def found(server: RunningServer, service: str) -> dict[str, int]:
    return dict(names(server, f'{{service_name="{service}"}}'))


ONE = {"total": 10**7, "main": 10**7, "work": 10**7}


@pytest.mark.parametrize("kind", [PROTO, "application/protobuf"])
@pytest.mark.parametrize("zipped", ["", "gzip", "GZIP"])
def test_protobuf_over_http(server: RunningServer, kind: str, zipped: str) -> None:
    service = f"http-{kind[-10:]}-{zipped}"
    body = export(service).SerializeToString()
    headers = {"content-encoding": zipped} if zipped else {}
    reply = post(server, gzip.compress(body) if zipped else body, kind, **headers)
    assert (reply.status_code, reply.content, reply.headers["content-type"]) == (200, b"", PROTO)
    assert found(server, service) == ONE


@pytest.mark.parametrize("ids", ["hex", "base64"])
def test_json_over_http(server: RunningServer, ids: str) -> None:
    request = export(f"json-{ids}")
    body = with_hex_ids(request) if ids == "hex" else json_format.MessageToJson(request).encode()
    reply = post(server, body, JSON)
    assert (reply.status_code, reply.content, reply.headers["content-type"]) == (200, b"", PROTO)
    assert found(server, f"json-{ids}") == ONE
    query = {
        "profileTypeID": "process_cpu:cpu:nanoseconds:cpu:nanoseconds",
        "labelSelector": f'{{service_name="json-{ids}"}}',
        "spanSelector": [SPAN],
        "start": 1,
        "end": 4_000_000_000_000,
    }
    spans = server.answer("querier.v1.QuerierService/SelectMergeSpanProfile", query)
    assert int(spans["flamegraph"]["total"]) == 10**7


def test_labels(server: RunningServer) -> None:
    assert post(server, export("labels").SerializeToString()).status_code == 200
    (one,) = labels(server, '{service_name="labels"}')
    assert one["service.name"] == "labels"
    assert one["__otel__"] == "true"
    assert "__delta__" not in one


@pytest.mark.parametrize(
    ("body", "kind", "headers", "status"),
    [
        (b"x", "text/plain", {}, 415),
        (b"x", "", {}, 415),
        (b"{}", "application/json; charset=utf-8", {}, 415),
        (b"{", JSON, {}, 400),
        (b"[]", JSON, {}, 400),
        (b"\xff\xff\xff", PROTO, {}, 400),
        (b"", PROTO, {}, 400),
        (b"{}", JSON, {}, 400),
        (b"x", PROTO, {"content-encoding": "gzip"}, 400),
        (b"\x1f\x8bx", PROTO, {"content-encoding": "gzip"}, 400),
        (b"", PROTO, {"x-scope-orgid": ""}, 401),
    ],
)
def test_bad_requests(
    server: RunningServer, body: bytes, kind: str, headers: dict[str, str], status: int
) -> None:
    reply = post(server, body, kind, **headers)
    assert reply.status_code == status, reply.text
    if status != 401:
        assert reply.headers["content-type"].startswith("text/plain")


def test_other_methods(server: RunningServer) -> None:
    assert server.http.get(PATH).status_code == 405


def test_bodies_over_the_limit(server: RunningServer) -> None:
    before = metric(server, "pyroscope_discarded_samples_total", reason="body_size_limit_exceeded")
    assert post(server, b"x" * (BODY_LIMIT + 1)).status_code == 413
    bomb = gzip.compress(b"\0" * (BODY_LIMIT * 4))
    reply = post(server, bomb, **{"content-encoding": "gzip"})
    assert (reply.status_code, "exceed" in reply.text or "limit" in reply.text) == (413, True)
    after = metric(server, "pyroscope_discarded_samples_total", reason="body_size_limit_exceeded")
    assert after == before + 2


def test_good_profiles_of_a_bad_request_are_stored(server: RunningServer) -> None:
    """The answer names what is wrong; the rest counts."""
    request = export("partly")
    bad = request.resource_profiles.add()
    bad.CopyFrom(request.resource_profiles[0])
    bad.resource.attributes[0].value.string_value = "partly-bad"
    for number in range(40):
        bad.resource.attributes.add(key=f"k{number}").value.string_value = "x"
    reply = post(server, request.SerializeToString())
    assert reply.status_code == 400
    assert "label names; limit 30" in reply.text
    assert found(server, "partly") == ONE
    assert not labels(server, '{service_name="partly-bad"}')


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
def test_grpc(server: RunningServer, stub: stubs.ProfilesServiceStub, compression: grpc.Compression) -> None:
    service = f"grpc-{uuid4().hex}"
    answer = stub.Export(export(service), metadata=TENANT, compression=compression, timeout=30)
    assert isinstance(answer, collector.ExportProfilesServiceResponse)
    assert not answer.HasField("partial_success")
    assert found(server, service) == ONE


def test_a_large_message_over_grpc(server: RunningServer, stub: stubs.ProfilesServiceStub) -> None:
    service = f"large-{uuid4().hex}"
    request = export(service, samples=100, pad=8 << 20)
    assert request.ByteSize() > 8 << 20
    stub.Export(request, metadata=TENANT, timeout=60)
    assert found(server, service) == dict.fromkeys(ONE, 100 * 10**7)


def test_a_large_message_over_http(server: RunningServer) -> None:
    assert post(server, export("large", pad=8 << 20).SerializeToString()).status_code == 200
    assert found(server, "large") == ONE


@pytest.mark.parametrize(
    ("change", "metadata", "code", "text"),
    [
        ("dictionary", TENANT, grpc.StatusCode.INVALID_ARGUMENT, "missing profile metadata dictionary"),
        ("resource_profiles", TENANT, grpc.StatusCode.INVALID_ARGUMENT, "missing resource profiles"),
        ("", (), grpc.StatusCode.UNAUTHENTICATED, "no org id"),
    ],
)
def test_codes_over_grpc(
    stub: stubs.ProfilesServiceStub,
    change: str,
    metadata: tuple[tuple[str, str], ...],
    code: grpc.StatusCode,
    text: str,
) -> None:
    request = export("bad")
    if change:
        request.ClearField(change)  # type: ignore[arg-type]
    with pytest.raises(grpc.RpcError) as caught:
        stub.Export(request, metadata=metadata, timeout=30)
    assert caught.value.code() == code
    assert text in caught.value.details()


def test_a_stack_that_is_not_there_over_grpc(stub: stubs.ProfilesServiceStub) -> None:
    request = export("bad")
    request.resource_profiles[0].scope_profiles[0].profiles[0].samples[0].stack_index = 7
    with pytest.raises(grpc.RpcError) as caught:
        stub.Export(request, metadata=TENANT, timeout=30)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "failed to convert otel profile" in caught.value.details()


def test_messages_over_the_limit_over_grpc(stub: stubs.ProfilesServiceStub) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        stub.Export(export("huge", pad=BODY_LIMIT + 2000), metadata=TENANT, timeout=60)
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


def test_connect_over_http1(server: RunningServer) -> None:
    body = export("connect").SerializeToString()
    reply = server.http.post(
        f"/{SERVICE}/Export", content=body, headers={"content-type": "application/proto"}
    )
    assert (reply.status_code, reply.content) == (200, b"")
    assert found(server, "connect") == ONE


@pytest.mark.parametrize("version", ["--http2-prior-knowledge", "--http1.1"])
def test_connect_by_curl(server: RunningServer, tmp_path: Path, version: str) -> None:
    """What only HTTP/2 can say in clear text, on the port of everything else."""
    if shutil.which("curl") is None:
        pytest.skip("there is no curl")
    (tmp_path / "body").write_bytes(with_hex_ids(export(f"curl{version}")))
    command = ["curl", "-sS", version, "-w", "%{http_code} %{http_version}", "-H", "x-scope-orgid: acme"]
    command += ["-H", "content-type: application/json", "--data-binary", f"@{tmp_path / 'body'}"]
    done = subprocess.run(
        [*command, f"{server.url}/{SERVICE}/Export"], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "{}200 " + ("2" if "2" in version else "1.1")
    assert found(server, f"curl{version}") == ONE


def test_the_ebpf_profiler(server: RunningServer, shared: Callable[[str], Path]) -> None:
    body = shared("data/otlp/otel-ebpf-profile.pb.bin").read_bytes()
    assert post(server, body).status_code == 200
    assert labels(server, '{service_name=~"unknown_service:.+"}')
