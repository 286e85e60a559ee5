"""What is asked of a Pyroscope and what its answers mean: recorded ones, and those that are none."""

from __future__ import annotations

import gzip
import json
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format

from flameduck.engine.migration.merged import Merged
from flameduck.engine.migration.querier import Querier
from flameduck.engine.migration.source import is_source, parse_source
from flameduck.schema.errors import FlameduckError, InputError, LimitExceeded, RequestError, Unavailable
from flameduck.schema.proto import profile_pb2
from tests.engine.migration.pyroscope_server import IMPATIENT, Fault, Pyroscope, running
from tests.golden.exchanges import exported_stacks, recorded_stacks

RECORDINGS = ("golden/pyroscope-v2-push.jsonl.gz", "golden/pyroscope-v2.jsonl.gz")
CPU = "process_cpu:cpu:nanoseconds:cpu:nanoseconds"


@dataclass
class Recorded:
    """Answers as they were recorded. The bounds of time series are passed over: each asks for one bucket."""

    rows: list[dict[str, Any]]

    def answer(self, method: str, body: Mapping[str, Any]) -> Mapping[str, Any] | bytes:
        for row in self.rows:
            if self._asks(row, method, body):
                answer: dict[str, Any] = row["response"]["json"]
                return _pprof(answer) if method == "SelectMergeProfile" else answer
        raise KeyError(f"{method} {body}")

    def _asks(self, row: dict[str, Any], method: str, body: Mapping[str, Any]) -> bool:
        request = row.get("request", {})
        if request.get("path") != f"/querier.v1.QuerierService/{method}" or row["response"]["status"] != 200:
            return False
        asked = request["json"]
        names = [name for name in body if method != "SelectSeries" or name not in ("start", "end", "step")]
        return all(asked.get(name) == body[name] for name in names) and not asked.get("maxNodes")


def _pprof(answer: dict[str, Any]) -> bytes:
    """The bytes of a pprof that was recorded as JSON, where texts are text and here they are bytes."""
    plain = {**answer, "stringTable": []}
    message = json_format.ParseDict(plain, profile_pb2.Profile())
    message.string_table.extend(text.encode() for text in answer.get("stringTable", ()))
    data: bytes = message.SerializeToString()
    return data


@pytest.fixture(params=RECORDINGS)
def recorded(request: pytest.FixtureRequest, shared: Callable[[str], Path]) -> Recorded:
    with gzip.open(shared(request.param), "rt") as lines:
        return Recorded([json.loads(line) for line in lines])


@pytest.fixture
def server(recorded: Recorded) -> Iterator[Pyroscope]:
    with running(recorded) as server:
        yield server


def bounds(recorded: Recorded) -> tuple[int, int]:
    body = next(row["request"]["json"] for row in recorded.rows if row["name"] == "Series []")
    return body["start"], body["end"]


def test_recorded_series(server: Pyroscope, recorded: Recorded) -> None:
    found = Querier(parse_source(server.url)).series('{service_name="checkout"}', *bounds(recorded))
    assert len(found) == 72
    assert all(dict(labels)["service_name"] == "checkout" for labels in found)
    assert {dict(labels)["__profile_type__"] for labels in found} > {CPU}


def test_recorded_totals_and_merges_agree(server: Pyroscope, recorded: Recorded) -> None:
    querier = Querier(parse_source(server.url))
    start, end = bounds(recorded)
    checkout = '{service_name="checkout"}'
    by_pod = querier.totals(CPU, checkout, ["pod"], start, end)
    assert {frozenset({("pod", f"checkout-{number}")}) for number in range(3)} <= by_pod.keys()
    assert sum(by_pod.values()) == sum(querier.totals(CPU, checkout, [], start, end).values())
    merged = Merged(querier.merged(CPU, checkout, start, end))
    assert merged.total == sum(by_pod.values()) == 1258800000000


def test_a_recorded_merge_keeps_its_stacks(server: Pyroscope, recorded: Recorded) -> None:
    answer = next(row["response"]["json"] for row in recorded.rows if row["name"] == "merge profile")
    data = Querier(parse_source(server.url)).merged(CPU, '{service_name="checkout"}', *bounds(recorded))
    assert exported_stacks(profile_pb2.Profile.FromString(data)) == recorded_stacks(answer)


def test_recorded_nothing(server: Pyroscope, recorded: Recorded) -> None:
    data = Querier(parse_source(server.url)).merged(CPU, '{service_name="none"}', *bounds(recorded))
    assert Merged(data).total == 0


def test_recorded_bounds(server: Pyroscope, recorded: Recorded) -> None:
    oldest, newest = Querier(parse_source(server.url)).bounds_ms() or (0, 0)
    start, end = bounds(recorded)
    assert oldest == start + 1000
    assert start < newest < end


class Still:
    """Answers nothing in particular."""

    def answer(self, method: str, body: Mapping[str, Any]) -> Mapping[str, Any] | bytes:
        return b"" if method == "SelectMergeProfile" else {}


@pytest.fixture
def still() -> Iterator[Pyroscope]:
    with running(Still()) as server:
        yield server


def failure(server: Pyroscope, fault: Fault) -> FlameduckError:
    server.faults = [fault]
    with pytest.raises(FlameduckError) as caught:
        Querier(parse_source(server.url), IMPATIENT).series("{}", 1, 2)
    return caught.value


COMPLAINT = b'{"code":"unauthenticated","message":"no org id"}'


@pytest.mark.parametrize(
    ("fault", "kind", "text", "calls"),
    [
        (Fault(status=401, body=COMPLAINT), RequestError, "401 Unauthorized: no org id: give a user in the URL", 1),
        (Fault(status=403, body=b"not you"), RequestError, "403 Forbidden: not you: these credentials", 1),
        (Fault(status=404, body=b"page not found"), RequestError, "404 Not Found: page not found: no querier.v1", 1),
        (Fault(status=400, body=b"x" * 9999), RequestError, "400 Bad Request: " + "x" * 299 + "…", 1),
        (Fault(status=302, headers={"Location": "/login"}), RequestError, "302 Found", 1),
        (
            Fault(status=429, headers={"Retry-After": "0"}, body=b"slow down"),
            Unavailable,
            "429 Too Many Requests: slow down: it asks to wait 0 s",
            3,
        ),
        (Fault(status=503), Unavailable, "503 Service Unavailable", 3),
        (Fault(status=500, body=b'{"message":"oh"}'), Unavailable, "500 Internal Server Error: oh", 1),
        (Fault(break_off=True), Unavailable, "Series: ", 3),
        (Fault(change=lambda _: [1]), InputError, "the answer of Series cannot be read: Expected `object`", 1),
    ],
)  # fmt: skip
def test_answers_that_are_none(
    still: Pyroscope, fault: Fault, kind: type[FlameduckError], text: str, calls: int
) -> None:
    error = failure(still, replace(fault))
    assert type(error) is kind
    assert str(error).startswith(f"{still.url}: ")
    assert text in str(error)
    assert "0x" not in str(error)
    assert still.calls["Series"] == calls


@pytest.mark.parametrize(
    "fault", [Fault(status=429, headers={"Retry-After": "0"}), Fault(status=502), Fault(break_off=True)]
)
def test_what_passes_is_asked_again(still: Pyroscope, fault: Fault) -> None:
    still.faults = [replace(fault, times=2)]
    assert Querier(parse_source(still.url), IMPATIENT).series("{}", 1, 2) == []
    assert still.calls["Series"] == 3


def test_a_login_page_is_no_answer(still: Pyroscope) -> None:
    error = failure(still, Fault(status=200, headers={"Content-Type": "text/html"}, body=b"<html>"))
    assert "answered 'text/html', not application/json" in str(error)


def test_an_answer_without_end(still: Pyroscope) -> None:
    still.faults = [Fault(change=lambda _: bytes(10_000_000))]
    patience = replace(IMPATIENT, max_bytes=1_000_000)
    with pytest.raises(LimitExceeded, match="SelectMergeProfile: the answer has more than 1000000 bytes"):
        Querier(parse_source(still.url), patience).merged(CPU, "{}", 1, 2)


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    querier = Querier(parse_source(f"pyroscope://me:secret@127.0.0.1:{port}"), IMPATIENT)
    with pytest.raises(Unavailable) as caught:
        querier.bounds_ms()
    assert str(caught.value) == f"pyroscope://127.0.0.1:{port}: GetProfileStats: connection refused"


def test_somebody_who_never_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        patience = replace(IMPATIENT, read_s=0.05, retries=1)
        querier = Querier(parse_source(f"pyroscope://127.0.0.1:{deaf.getsockname()[1]}"), patience)
        with pytest.raises(Unavailable, match=r"GetProfileStats: .*(timed out|timeout)"):
            querier.bounds_ms()


def test_one_connection_does(still: Pyroscope) -> None:
    querier = Querier(parse_source(still.url), IMPATIENT)
    for _ in range(5):
        querier.series("{}", 1, 2)
    assert querier._pool.num_connections == 1


def test_what_is_sent_along(still: Pyroscope) -> None:
    source = parse_source(still.url.replace("//", "//me:pa%3Ass@"), "team-a", ["X-Way: up "])
    Querier(source).series("{}", 1, 2)
    assert still.seen["Authorization"] == "Basic bWU6cGE6c3M="
    assert (still.seen["X-Scope-OrgID"], still.seen["X-Way"]) == ("team-a", "up")
    assert still.seen["Accept"] == "*/*;allow-utf8-labelnames=true"


SOURCES = {
    "pyroscope://host": ("pyroscope://host:4040", "http://host:4040"),
    "pyroscope://host:80/base/": ("pyroscope://host:80/base", "http://host:80/base"),
    "pyroscopes://host": ("pyroscopes://host:443", "https://host:443"),
    "pyroscope://[::1]:4040": ("pyroscope://[::1]:4040", "http://[::1]:4040"),
    "pyroscope://me:secret@host": ("pyroscope://host:4040", "http://host:4040"),
}


@pytest.mark.parametrize("text", SOURCES)
def test_sources(text: str) -> None:
    source = parse_source(text)
    assert (source.name, source.url) == SOURCES[text]
    assert is_source(text)


@pytest.mark.parametrize(
    "text",
    ["pyroscope://", "pyroscope://me:secret@", "pyroscope://me:secret@host:99999", "pyroscope://host?secret=1",
     "pyroscope://host#secret", "http://me:secret@host", "pyroscope://me:secret@ho st", "pyroscope://[me:secret@"],
)  # fmt: skip
def test_what_is_no_source_is_refused_without_its_secret(text: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse_source(text)
    assert "secret" not in str(caught.value).replace("?secret=1", "").replace("#secret", "")


@pytest.mark.parametrize(
    "line", ["secret", "secret value", ": secret", "A B: secret", "A: secret\r\nB: c", "A: \0secret"]
)
def test_what_is_no_header_is_refused_without_its_secret(line: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse_source("pyroscope://host", headers=[line])
    assert "secret" not in str(caught.value)


def test_a_source_shows_no_secret() -> None:
    source = parse_source("pyroscope://me:secret@host", "team", ["X-Key: secret"])
    assert "secret" not in repr(source) + source.mark + source.name
    with pytest.raises(RequestError, match="which is it"):
        parse_source("pyroscope://me:secret@host", headers=["authorization: Bearer x"])
