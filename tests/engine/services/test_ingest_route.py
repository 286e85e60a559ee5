"""POST /ingest: every body that agents send, and what they are told about those that cannot be taken."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.engine.services.writing import any_range, labels, metric, names, raw, small_pprof, types
from tests.running_server import TYPE, RunningServer, running_server

FROM = 1_795_447_140
FILE = "application/octet-stream"
FOLDED = b"main;serve;parse 10\nmain;serve 5\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("ingest")
    with running_server(folder / "store", "--body-limit-bytes", "3000000", *any_range(folder)) as one:
        yield one


def post(
    server: RunningServer, name: str, body: bytes = b"", kind: str = FILE, **params: str | int
) -> httpx.Response:
    query: dict[str, str | int] = {"name": name, "from": FROM, "until": FROM + 10, **params}
    headers = {"content-type": kind} if kind else {}
    return server.http.post("/ingest", params=query, content=body, headers=headers)


def post_parts(
    server: RunningServer, name: str, parts: Mapping[str, bytes], **params: str | int
) -> httpx.Response:
    query: dict[str, str | int] = {"name": name, "from": FROM, "until": FROM + 10, **params}
    files = {part: (f"{part}.bin", data, FILE) for part, data in parts.items()}
    return server.http.post("/ingest", params=query, files=files)


def taken(reply: httpx.Response) -> None:
    assert (reply.status_code, reply.content) == (200, b""), reply.text


@pytest.mark.parametrize("path", ["/ingest", "/pyroscope/ingest"])
@pytest.mark.parametrize("asked", ["", "groups", "folded", "collapsed", "whatever"])
def test_folded_stacks(server: RunningServer, path: str, asked: str) -> None:
    app = f"folded-{asked or 'none'}-{path.count('/')}"
    query: dict[str, str | int] = {
        "name": f"{app}.cpu{{region=eu}}",
        "from": FROM,
        "sampleRate": "100",
        "format": asked,
    }
    taken(server.http.post(path, params=query, content=FOLDED))
    assert names(server, f'{{service_name="{app}",region="eu"}}') == {
        "total": 15 * 10**7,
        "main": 15 * 10**7,
        "serve": 15 * 10**7,
        "parse": 10 * 10**7,
    }


def test_lines(server: RunningServer) -> None:
    taken(post(server, "lines.wall", b"main;x\nmain;x\nmain;y\n", format="lines"))
    found = names(server, '{service_name="lines"}', "wall:wall:nanoseconds:cpu:nanoseconds")
    assert found == {"total": 3 * 10**7, "main": 3 * 10**7, "x": 2 * 10**7, "y": 10**7}


@pytest.mark.parametrize("kind", ["trie", "tree"])
@pytest.mark.parametrize("said", ["format", "content type"])
def test_tries_and_trees(server: RunningServer, fixtures: Path, kind: str, said: str) -> None:
    body = (fixtures / f"agent-cpu.{kind}").read_bytes()
    app = f"{kind}-{said.split(maxsplit=1)[0]}"
    if said == "format":
        taken(post(server, f"{app}.cpu", body, format=kind))
    else:
        # The type comes before a format of text.
        taken(post(server, f"{app}.cpu", body, f"binary/octet-stream+{kind}", format="lines"))
    folded = (fixtures / f"agent-cpu.{kind}.folded").read_text().splitlines()
    expected = sum(int(line.rpartition(" ")[2]) for line in folded)
    assert names(server, f'{{service_name="{app}"}}')["total"] == expected * 10**7


def test_speedscope(server: RunningServer, fixtures: Path) -> None:
    body = (fixtures / "python-cpu.speedscope.json").read_bytes()
    taken(post(server, "scope", body, format="speedscope"))
    assert any(labels(server, '{service_name=~"scope.*"}'))


def test_raw_pprof_named_as_multipart(server: RunningServer, fixtures: Path) -> None:
    """`format=pprof` says that the body is one, whatever its content type."""
    body = (fixtures / "node-wall.pb.gz").read_bytes()
    taken(post(server, "raw", body, "multipart/form-data; boundary=x", format="pprof", spyName="nodespy"))
    (found,) = {each["__name__"] for each in labels(server, '{service_name="raw"}')}
    assert found == "wall"


def test_a_capture_of_the_node_sdk(server: RunningServer, shared: Callable[[str], Path]) -> None:
    head = json.loads(shared("data/captures/node-sdk-ingest.json").read_text())
    body = shared("data/captures/node-sdk-ingest.bin").read_bytes()
    sent = {"content-type": head["headers"]["content-type"], "user-agent": "node"}
    taken(server.http.post(head["path"], content=body, headers=sent))
    (found,) = {each["otel.scope.version"] for each in labels(server, '{service_name="node-checkout"}')}
    assert found == "0.6.4"


def test_parts_of_the_go_sdk(server: RunningServer, fixtures: Path) -> None:
    """Mutex and block profiles look the same: only the agent's names of their types tell them apart."""
    for name in ("mutex", "block"):
        config = {
            "contentions": {"units": "lock_samples", "display-name": f"{name}_count"},
            "delay": {"units": "lock_nanoseconds", "display-name": f"{name}_duration"},
        }
        profile = (fixtures / f"go-{name}.pb.gz").read_bytes()
        parts = {"profile": profile, "sample_type_config": json.dumps(config).encode()}
        taken(post_parts(server, "go{__session_id__=77e4}", parts, spyName="gospy", sampleRate=0))
    taken(post_parts(server, "go", {"profile": (fixtures / "go-cpu.pb.gz").read_bytes()}, spyName="gospy"))
    found = labels(server, '{service_name="go"}')
    assert {each["__name__"] for each in found} == {"mutex", "block", "process_cpu"}
    assert all(each["pyroscope_spy"] == "gospy" and "__session_id__" not in each for each in found)


@pytest.mark.parametrize("chunked", [False, True])
def test_recordings_of_the_java_agent(server: RunningServer, fixtures: Path, chunked: bool) -> None:
    app = f"java-{chunked}"
    recording = (fixtures / "java-agent.jfr.gz").read_bytes()
    snapshot = (fixtures / "java-agent.labels.pb.gz").read_bytes()
    query: dict[str, str | int] = {"name": app, "from": FROM, "format": "jfr", "spyName": "javaspy"}
    request = server.http.build_request(
        "POST",
        "/ingest",
        params=query,
        files={"jfr": ("jfr", recording), "labels": ("labels", snapshot, "application/x-protobuf")},
    )
    if chunked:
        pieces, content_type = request.read(), request.headers["content-type"]
        steps = (pieces[at : at + 1000] for at in range(0, len(pieces), 1000))
        taken(
            server.http.post("/ingest", params=query, content=steps, headers={"content-type": content_type})
        )
    else:
        taken(server.http.send(request))
    found = labels(server, f'{{service_name="{app}"}}')
    assert found
    assert {name for each in found for name in each} > {"jfr_event", "pyroscope_spy", "service_name"}
    assert TYPE in types(server, f'{{service_name="{app}"}}')


@pytest.mark.parametrize("zipped", [False, True])
def test_raw_recordings(server: RunningServer, fixtures: Path, zipped: bool) -> None:
    body = (fixtures / "java-agent.jfr.gz").read_bytes()
    app = f"java-raw-{zipped}"
    taken(post(server, app, body if zipped else gzip.decompress(body), format="jfr"))
    assert TYPE in types(server, f'{{service_name="{app}"}}')


@pytest.mark.parametrize(
    ("spy", "file", "shown"),
    [
        ("pyspy", "app.py", "app.py work"),
        ("pyspy", "/srv/app.py", "work"),
        ("rbspy", "/srv/app.rb", "/srv/app.rb work"),
        ("scripting", "app.php", "app.php work"),
        ("gospy", "app.go", "work"),
    ],
)
def test_files_of_scripting_languages(server: RunningServer, spy: str, file: str, shown: str) -> None:
    body = raw(small_pprof([("work", file), ("main", file)]), zipped=True)
    app = f"{spy}{file.count('/')}"
    taken(post(server, app, body, format="pprof", spyName=spy))
    found = set(names(server, f'{{service_name="{app}"}}'))
    assert found == {"total", shown, shown.replace("work", "main")}


@pytest.mark.parametrize("spy", ["dotnetspy", ""])
def test_profiles_of_dotnet(server: RunningServer, spy: str) -> None:
    profile = small_pprof(kind=("inuse-space", "bytes"))
    for function in profile.function:
        function.id = 0
    config = b'{"inuse-space": {"units": "bytes"}}'
    parts = {"profile": raw(profile), "sample_type_config": config}
    app = f"dotnet-{spy}"
    taken(post_parts(server, app, parts, **({"spyName": spy} if spy else {})))
    kind = "memory:inuse_space:bytes:cpu:nanoseconds"
    assert names(server, f'{{service_name="{app}"}}', kind) == {"total": 7, "main": 7, "work": 7}


def test_a_time_of_1970_is_none(server: RunningServer) -> None:
    body = raw(small_pprof(time_ns=86_400 * 10**9))
    taken(post(server, "old-clock", body, format="pprof"))
    query = {
        "profileTypeID": TYPE,
        "labelSelector": '{service_name="old-clock"}',
        "start": FROM * 1000,
        "end": FROM * 1000 + 1,
    }
    found = server.answer("querier.v1.QuerierService/SelectMergeStacktraces", query)
    assert int(found["flamegraph"]["total"]) == 7


def test_the_label_name_is_the_application(server: RunningServer) -> None:
    taken(post(server, "other{__name__=called.cpu}", FOLDED))
    assert names(server, '{service_name="called"}')["total"] == 15 * 10**7


@pytest.mark.parametrize("asked", ["groups", "lines", "speedscope"])
def test_what_agents_send_again_by_span_is_not_stored(server: RunningServer, asked: str) -> None:
    taken(post(server, f"silent-{asked}.cpu{{profile_id=abc}}", FOLDED, format=asked))
    assert not labels(server, f'{{service_name=~"silent-{asked}.*"}}')


@pytest.mark.parametrize("asked", ["groups", "lines", "pprof"])
def test_empty_bodies_are_taken(server: RunningServer, asked: str) -> None:
    taken(post(server, "empty.cpu", b"", format=asked))


def test_empty_parts_are_taken(server: RunningServer) -> None:
    taken(post_parts(server, "empty", {"profile": b"", "prev_profile": b""}))
    taken(post_parts(server, "empty", {"other": b"x"}))
    assert not labels(server, '{service_name="empty"}')


SCOPE = b'{"$schema": "https://example.com/other.json", "profiles": []}'


@pytest.mark.parametrize(
    ("name", "body", "asked", "answer", "text"),
    [
        ("", b"", "", (400, "invalid_argument"), "name: service name is required"),
        ("b ad", b"", "", (400, "invalid_argument"), "character is not allowed: ' '"),
        ("bad{a-b=1}", b"", "", (400, "invalid_argument"), "invalid label name"),
        ("my.service", FOLDED, "", (400, "invalid_argument"), "unknown profile type: service"),
        ("bad.cpu", b"main;a ten\n", "", (422, "unknown"), "ten"),
        ("bad.cpu", b"junk", "trie", (422, "unknown"), ""),
        ("bad.cpu", b"\xff\xff", "tree", (422, "unknown"), ""),
        ("bad", b"not a profile", "pprof", (422, "unknown"), "malformed pprof"),
        ("bad", b"\x1f\x8bnot gzip", "pprof", (422, "unknown"), "gzip"),
        ("bad", b"FLR\0 and no more", "jfr", (422, "unknown"), ""),
        ("bad.cpu", SCOPE, "speedscope", (422, "unknown"), ""),
    ],
)
def test_what_cannot_be_taken(
    server: RunningServer, name: str, body: bytes, asked: str, answer: tuple[int, str], text: str
) -> None:
    reply = post(server, name, body, format=asked)
    assert (reply.status_code, reply.json()["code"]) == answer, reply.text
    assert text in reply.json()["message"]
    assert "\n" not in reply.json()["message"]


def test_labels_over_the_limit(server: RunningServer) -> None:
    many = ",".join(f"l{number}=x" for number in range(40))
    reply = post(server, f"many.cpu{{{many}}}", FOLDED)
    assert (reply.status_code, reply.json()["code"]) == (400, "invalid_argument")
    reply = post(server, f"many{{{many}}}", raw(small_pprof()), format="pprof")
    assert (reply.status_code, reply.json()["code"]) == (422, "unknown")
    assert "label names; limit 30" in reply.json()["message"]


@pytest.mark.parametrize(
    ("parts", "params", "text"),
    [
        ({"profile": b"x", "prev_profile": b"y"}, {}, "prev_profile"),
        ({"profile": b"junk"}, {}, "malformed pprof"),
        ({"profile": raw(small_pprof()), "sample_type_config": b"[1]"}, {}, "sample_type_config"),
        ({"labels": b"x"}, {"format": "jfr"}, "jfr field is required"),
    ],
)
def test_parts_that_cannot_be_taken(
    server: RunningServer, parts: dict[str, bytes], params: dict[str, str], text: str
) -> None:
    reply = post_parts(server, "bad", parts, **params)
    assert (reply.status_code, reply.json()["code"]) == (422, "unknown"), reply.text
    assert text in reply.json()["message"]


@pytest.mark.parametrize("body", [b"", b"--other\r\n", b"--x\r\nnonsense", b"--x\r\n" * 50])
def test_broken_multipart_bodies(server: RunningServer, body: bytes) -> None:
    reply = post(server, "bad", body, "multipart/form-data; boundary=x")
    assert reply.status_code in (200, 422), reply.text
    reply = post(server, "bad", body, "multipart/form-data")
    assert reply.status_code == 422, reply.text


def test_bodies_over_the_limit(server: RunningServer) -> None:
    before = metric(server, "pyroscope_discarded_samples_total", reason="body_size_limit_exceeded")
    reply = post(server, "large", b"x" * 3_000_001, format="pprof")
    assert reply.status_code == 413
    assert "request body too large" in reply.json()["message"]
    reply = server.http.post("/ingest", params={"name": "large"}, content=(b"x" * 65_536 for _ in range(100)))
    assert reply.status_code == 413
    after = metric(server, "pyroscope_discarded_samples_total", reason="body_size_limit_exceeded")
    assert after == before + 2


def test_bombs(server: RunningServer) -> None:
    bomb = gzip.compress(b"\0" * (64 << 20))
    for asked in ("pprof", "jfr"):
        reply = post(server, "bomb", bomb, format=asked)
        assert (reply.status_code, reply.json()["code"]) == (422, "unknown")
        assert "more than the limit of 4194304 bytes" in reply.json()["message"]
    assert metric(server, "flameduck_discarded_profiles_total", reason="profile_size_limit") >= 2


def test_other_methods(server: RunningServer) -> None:
    assert server.http.get("/ingest").status_code == 405


def test_a_connection_outlives_what_is_refused_early(server: RunningServer) -> None:
    """An agent's next profile must not meet a connection that is about to close."""
    for _ in range(3):
        with httpx.Client(base_url=server.url) as client:
            for path in ("/ingest?name=b%20ad", "/nowhere", "/ready", "/v1development/profiles"):
                reply = client.post(path, content=b"x" * 500_000)
                assert reply.status_code in (400, 404, 405, 415), path
            taken(client.post("/ingest", params={"name": "after.cpu", "from": FROM}, content=FOLDED))


def recorded(shared: Callable[[str], Path]) -> Iterator[dict[str, Any]]:
    """Every recorded upload that is not Push."""
    with gzip.open(shared("golden/pyroscope-v2.jsonl.gz"), "rt") as lines:
        for line in lines:
            exchange: dict[str, Any] = json.loads(line)
            path = exchange.get("request", {}).get("path", "")
            if path.startswith(("/ingest", "/v1development")):
                yield exchange


ACCEPTED_HERE = {"ingest jfr", "ingest too old pprof"}


def test_recorded_uploads_are_answered_alike(server: RunningServer, shared: Callable[[str], Path]) -> None:
    for exchange in recorded(shared):
        asked, answer = exchange["request"], exchange["response"]
        body = asked.get("text", "").encode() or base64.b64decode(asked.get("b64", ""))
        if "file" in asked:
            body = shared(f"data/{asked['file']}").read_bytes()
        reply = server.http.request(
            asked["method"], asked["path"], content=body, headers=asked.get("headers", {})
        )
        expected = 200 if exchange["name"] in ACCEPTED_HERE else answer["status"]
        assert reply.status_code == expected, (exchange["name"], reply.text)
        if expected != 200:
            code = answer.get("json", {}).get("code")
            assert code is None or reply.json()["code"] == code, exchange["name"]
