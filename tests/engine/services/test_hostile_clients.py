"""Clients that are slow, broken or hostile: each gets the right status in bounded time, and nobody else waits."""

from __future__ import annotations

import gzip
import json
import resource
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from http.client import HTTPResponse, RemoteDisconnected
from pathlib import Path

import pytest

from tests.engine.ingest.made_profiles import made_profile
from tests.engine.services.test_crash import PUSH, push_body
from tests.running_server import RunningServer, running_server

MOST_MB = 900


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with running_server(tmp_path_factory.mktemp("hostile") / "store") as one:
        one.answer(PUSH, push_body(0))
        yield one


@pytest.fixture(autouse=True)
def others_are_served(server: RunningServer) -> Iterator[None]:
    """After each attack the server answers pushes and questions, and is no larger than it may be."""
    yield
    assert server.process.poll() is None
    begun = time.monotonic()
    server.answer(PUSH, push_body(int(time.time() * 10) % 10**6))
    assert server.total() > 0
    assert time.monotonic() - begun < 20
    assert rss_mb(server) < MOST_MB
    assert "Traceback" not in server.log.read_text(errors="replace")


def rss_mb(server: RunningServer) -> float:
    for line in Path(f"/proc/{server.process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    raise AssertionError("no VmRSS")


def connect(server: RunningServer) -> socket.socket:
    host, port = server.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=30)


def request(body: bytes, *headers: str, path: str = f"/{PUSH}") -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: here", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def status_of(connection: socket.socket) -> int:
    """The status of the next answer, read to its end; 0 when the server closed without one."""
    answer = HTTPResponse(connection)
    try:
        answer.begin()
        answer.read()
    except RemoteDisconnected:
        return 0
    return answer.status


def test_half_a_request_and_then_silence_holds_nobody_up(server: RunningServer) -> None:
    whole = request(json.dumps(push_body(1)).encode(), "Content-Type: application/json")
    with ExitStack() as stack:
        for share in (0.1, 0.5, 0.9):
            connection = stack.enter_context(connect(server))
            connection.sendall(whole[: int(len(whole) * share)])
        begun = time.monotonic()
        server.answer(PUSH, push_body(2))
        assert time.monotonic() - begun < 10


def test_a_slow_client_is_answered(server: RunningServer) -> None:
    whole = request(json.dumps(push_body(3)).encode(), "Content-Type: application/json")
    with connect(server) as connection:
        for start in range(0, len(whole), 97):
            connection.sendall(whole[start : start + 97])
            time.sleep(0.01)
        assert status_of(connection) == 200


def test_a_socket_that_is_closed_for_writing_still_gets_its_answer_or_an_end(server: RunningServer) -> None:
    with connect(server) as connection:
        connection.sendall(request(json.dumps(push_body(4)).encode(), "Content-Type: application/json"))
        connection.shutdown(socket.SHUT_WR)
        assert status_of(connection) in (0, 200, 499)
    with connect(server) as connection:
        connection.sendall(request(b"x" * 100)[:-50])
        connection.shutdown(socket.SHUT_WR)
        assert status_of(connection) in (0, 400, 415)


def test_an_answer_before_the_end_of_the_body_does_not_cost_the_connection(server: RunningServer) -> None:
    refused = request(b"x" * (1 << 20), "Content-Type: text/plain")
    taken = request(json.dumps(push_body(6)).encode(), "Content-Type: application/json")
    with connect(server) as connection:
        connection.sendall(refused[: len(refused) // 2])
        assert status_of(connection) == 415
        connection.sendall(refused[len(refused) // 2 :] + taken)
        assert status_of(connection) == 200


def idle_connections(server: RunningServer, wanted: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted + 500, hard), hard))
    try:
        with ExitStack() as stack:
            for _ in range(min(wanted, hard - 500)):
                stack.enter_context(connect(server))
            begun = time.monotonic()
            server.answer(PUSH, push_body(5))
            assert time.monotonic() - begun < 10
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_idle_connections_cost_the_others_nothing(server: RunningServer) -> None:
    idle_connections(server, 500)


@pytest.mark.nightly
def test_ten_thousand_idle_connections(server: RunningServer) -> None:
    idle_connections(server, 10_000)


def test_giant_headers_are_refused(server: RunningServer) -> None:
    with connect(server) as connection:
        try:
            connection.sendall(b"POST / HTTP/1.1\r\nHost: here\r\nX-Much: " + b"y" * (1 << 22))
            assert status_of(connection) in (0, 400, 431)
        except (BrokenPipeError, ConnectionResetError):
            pass


def test_no_http_at_all(server: RunningServer) -> None:
    http2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    for data in (b"\x16\x03\x01" + bytes(200), b"\x00" * 100, b"GET\r\n\r\n", http2 + b"\xff" * 99):
        with connect(server) as connection:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            try:
                answer = connection.recv(4096)
            except ConnectionResetError:
                answer = b""
            assert not answer.startswith(b"HTTP/1.1 5")


def bomb(inflated_mb: int) -> bytes:
    packed = gzip.compress(bytes(1 << 20), 9)
    return packed * inflated_mb


def test_a_gzip_bomb_as_body(server: RunningServer) -> None:
    begun = time.monotonic()
    headers = {"Content-Type": "application/proto", "Content-Encoding": "gzip"}
    reply = server.http.post(f"/{PUSH}", content=bomb(2000), headers=headers)
    assert reply.status_code in (400, 413, 429)
    assert time.monotonic() - begun < 30


def test_a_gzip_bomb_as_profile(server: RunningServer) -> None:
    import base64

    body = push_body(6)
    body["series"][0]["samples"][0]["rawProfile"] = base64.b64encode(bomb(500)).decode()  # type: ignore[index]
    reply = server.rpc(PUSH, body)
    assert reply.status_code == 400
    assert "limit" in reply.text
    path = "/ingest?name=app&format=pprof&from=1750000000&until=1750000010"
    reply = server.http.post(path, content=bomb(500))
    assert reply.status_code in (400, 413, 422)


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"series": 5}', b"[" * 100_000, b'{"a":' * 50_000],
    ids=["empty", "open", "list", "null", "no text", "wrong type", "deep lists", "deep objects"],
)
def test_json_that_is_none(server: RunningServer, body: bytes) -> None:
    reply = server.http.post(f"/{PUSH}", content=body, headers={"Content-Type": "application/json"})
    assert reply.status_code == 400
    assert reply.json()["code"] == "invalid_argument"


@pytest.mark.parametrize(
    "kind", ["", "text/plain", "application/xml", "application/proto; charset=utf-16", "a" * 2000]
)
def test_content_types_that_are_none(server: RunningServer, kind: str) -> None:
    reply = server.http.post(f"/{PUSH}", content=b"x", headers={"Content-Type": kind})
    assert reply.status_code in (400, 415)


@pytest.mark.parametrize(
    "pattern", ["(a+)+$", "(a|aa)+$", "(.*)*x", "a{1000}{1000}", "(" * 500 + "a" + ")" * 500, "[a-", "(?=x)"]
)
def test_selectors_built_to_explode(server: RunningServer, pattern: str) -> None:
    labels = [{"name": "service_name", "value": "a" * 60 + "!"}, {"name": "__name__", "value": "process_cpu"}]
    body = push_body(7)
    body["series"][0]["labels"] = labels  # type: ignore[index]
    server.answer(PUSH, body)
    begun = time.monotonic()
    question = {
        "profileTypeID": "process_cpu:cpu:nanoseconds:cpu:nanoseconds",
        "labelSelector": "{service_name=~" + json.dumps(pattern) + "}",
        "start": 1,
        "end": 4 * 10**12,
    }
    reply = server.rpc("querier.v1.QuerierService/SelectMergeStacktraces", question)
    assert reply.status_code in (200, 400)
    assert time.monotonic() - begun < 10


def test_profiles_that_are_none_are_refused_by_name_and_their_neighbours_stored(
    server: RunningServer,
) -> None:
    import base64

    before = server.total()
    body = push_body(8)
    good = body["series"][0]["samples"][0]  # type: ignore[index]
    raw = made_profile(8)
    bad = [b"", b"\x00" * 50, raw[: len(raw) // 2], gzip.compress(raw)[:-9], b"\x0a" * 5000]
    samples = [{"rawProfile": base64.b64encode(one).decode(), "ID": f"bad-{n}"} for n, one in enumerate(bad)]
    body["series"][0]["samples"] = [*samples, good]  # type: ignore[index]
    reply = server.rpc(PUSH, body)
    assert reply.status_code == 400
    assert "sample 0" in reply.text
    assert "1 of 6 profiles were stored" in reply.text
    assert server.total() > before
