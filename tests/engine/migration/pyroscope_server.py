"""A Pyroscope for tests, on loopback: answers from one of our own stores, or recorded ones, and misbehaves on demand."""

from __future__ import annotations

import gzip
import json
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol

from flameduck.engine.connection import Connection
from flameduck.engine.migration.querier import JSON, PROTOBUF, Patience
from flameduck.schema.labels import parse_selector, selects
from flameduck.schema.proto import querier_pb2
from flameduck.schema.request import PprofOptions

MS = 1_000_000
IMPATIENT = Patience(connect_s=5, read_s=5, retries=2, first_wait_s=0.01)


class Backend(Protocol):
    """What answers a method of the querier: JSON takes and gives objects, a merged profile is bytes."""

    def answer(self, method: str, body: Mapping[str, Any]) -> Mapping[str, Any] | bytes:
        """The answer. Raises `KeyError` for what it does not know."""
        ...


@dataclass
class StoreBackend:
    """Answers as Pyroscope does, over a store. What is asked is in ms, with both ends included."""

    store: Connection

    def answer(self, method: str, body: Mapping[str, Any]) -> Mapping[str, Any] | bytes:
        answers: Mapping[str, Callable[[Mapping[str, Any]], Mapping[str, Any] | bytes]] = {
            "GetProfileStats": self._stats,
            "Series": self._series,
            "SelectSeries": self._totals,
            "SelectMergeProfile": self._merged,
        }
        return answers[method](body)

    @cached_property
    def _rows(self) -> list[dict[str, Any]]:
        rows = self.store.sql("SELECT labels, profile_type, ts, total FROM profiles").to_dicts()
        return [{**row, "labels": dict(row["labels"])} for row in rows]

    def _stats(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        times = [row["ts"] // MS for row in self._rows]
        bounds = {"oldestProfileTime": str(min(times)), "newestProfileTime": str(max(times))} if times else {}
        return {"dataIngested": True, **bounds} if times else {}

    def _series(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """By block: series without a profile in the range are there as well."""
        matchers = [one for text in body["matchers"] for one in parse_selector(text)]
        sets = {tuple(sorted(row["labels"].items())) for row in self._rows}
        return {
            "labelsSet": [
                {"labels": _pairs(dict(one))} for one in sorted(sets) if selects(matchers, dict(one))
            ]
        }

    def _totals(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        step_ms = int(body["step"] * 1000)
        assert body["start"] == body["end"], "one bucket"
        matchers = parse_selector(body["labelSelector"])
        totals: dict[tuple[tuple[str, str], ...], int] = defaultdict(int)
        for row in self._rows:
            inside = (body["start"] - step_ms) * MS <= row["ts"] <= body["end"] * MS
            if inside and row["profile_type"] == body["profileTypeID"] and selects(matchers, row["labels"]):
                key = tuple((name, row["labels"][name]) for name in body["groupBy"] if name in row["labels"])
                totals[key] += row["total"]
        series = [
            {"labels": _pairs(dict(key)), "points": [{"value": total, "timestamp": str(body["end"])}]}
            for key, total in totals.items()
        ]
        return {"series": series} if series else {}

    def _merged(self, body: Mapping[str, Any]) -> bytes:
        data = self.store.export(
            body["labelSelector"],
            format="pprof",
            type=body["profileTypeID"],
            start=body["start"] * MS,
            end=body["end"] * MS + 1,
            pprof=PprofOptions(rules="pyroscope"),
        )
        return gzip.decompress(data)


def _pairs(labels: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in labels.items()]


@dataclass
class Fault:
    """What happens to calls of a method (empty: of any) instead of an answer: from call `after` on, `times` times."""

    method: str = ""
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    after: int = 0
    times: int = 1_000_000
    break_off: bool = False
    change: Callable[[Any], Any] | None = None


class Pyroscope:
    """A running server. `calls` counts the methods that were asked, `seen` holds the headers of the last request."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.calls: Counter[str] = Counter()
        self.seen: dict[str, str] = {}
        self.faults: list[Fault] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where it is, as `flameduck ingest` takes it."""
        return f"pyroscope://127.0.0.1:{self._server.server_port}"

    def stop(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def fault(self, method: str) -> Fault | None:
        """The fault that this call meets."""
        number = self.calls[method]
        self.calls[method] += 1
        for one in self.faults:
            if one.method in ("", method) and one.after <= number and one.times:
                one.times -= 1
                return one
        return None

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # Head and body in one packet: two would wait for each other.
            wbufsize = -1

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["Content-Length"]))
                server.seen = dict(self.headers.items())
                service, _, method = self.path.rpartition("/")
                assert service.endswith("/querier.v1.QuerierService"), self.path
                fault = server.fault(method)
                if fault is not None and fault.status:
                    self._send(fault.status, fault.headers, fault.body)
                    return
                answer = server.backend.answer(method, _body(method, raw, self.headers["Content-Type"]))
                if fault is not None and fault.change is not None:
                    answer = fault.change(answer)
                data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                kind = {"Content-Type": self.headers["Content-Type"]}
                if fault is not None and fault.break_off:
                    self._send(200, kind, data, data[: len(data) // 2])
                    self.close_connection = True
                    return
                if "gzip" in self.headers.get("Accept-Encoding", ""):
                    data, kind = gzip.compress(data, 1), {**kind, "Content-Encoding": "gzip"}
                self._send(200, kind, data)

            def _send(
                self, status: int, headers: Mapping[str, str], body: bytes, sent: bytes | None = None
            ) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body if sent is None else sent)

        return Handler


def _body(method: str, raw: bytes, content_type: str) -> Mapping[str, Any]:
    if method != "SelectMergeProfile":
        assert content_type == JSON
        body: dict[str, Any] = json.loads(raw)
        return body
    assert content_type == PROTOBUF
    message = querier_pb2.SelectMergeProfileRequest.FromString(raw)
    return {
        "profileTypeID": message.profile_typeID,
        "labelSelector": message.label_selector,
        "start": message.start,
        "end": message.end,
    }


@contextmanager
def running(backend: Backend) -> Iterator[Pyroscope]:
    """A server that ends with the test."""
    server = Pyroscope(backend)
    try:
        yield server
    finally:
        server.stop()
