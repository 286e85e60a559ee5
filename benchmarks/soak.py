"""A fleet's load for as long as wanted: does the server stay as it is?

    python -m benchmarks.soak [--minutes 60] [--rate 50]

200 pods push at a rate; flame graphs, series, labels and SQL about the last quarter of an hour are asked side by side.
Memory of all processes and open files after a quarter of the time are compared with the end. At the end the totals are
those of what was pushed.
"""

from __future__ import annotations

import json
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from flameduck.schema.proto.profile_pb2 import Profile
from tests.running_server import RunningServer, running_server

from .made_profiles import medium_profiles, push_of
from .measure import argument_parser, report
from .process_tree import rss_mb

_PUSHERS = 8
_SERVICES = 20
_DIFFERENT = 100
_LOOKS = 60
_CPU = "process_cpu:cpu:nanoseconds:cpu:nanoseconds"


@dataclass
class Load:
    """What was sent and asked so far, and what went wrong."""

    server: RunningServer
    rate: float
    profiles: list[Profile]
    total: int = 0
    pushed: int = 0
    asked: int = 0
    problems: list[str] = field(default_factory=list)
    stopped: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def push(self, client: httpx.Client, number: int) -> None:
        """One profile, of this moment."""
        profile = Profile()
        profile.CopyFrom(self.profiles[number % len(self.profiles)])
        profile.time_nanos = time.time_ns()
        request, total = push_of(profile, number)
        reply = client.post("/push.v1.PusherService/Push", content=request, headers=_PROTO)
        self._note(reply)
        with self.lock:
            self.pushed += 1
            self.total += total if reply.status_code == 200 else 0
        self.stopped.wait(_PUSHERS / self.rate)

    def ask(self, client: httpx.Client, number: int) -> None:
        """One of each question."""
        now_ms = time.time_ns() // 10**6
        span = {"start": now_ms - 900_000, "end": now_ms}
        chosen = {
            **span,
            "profileTypeID": _CPU,
            "labelSelector": f'{{service_name="service{number % _SERVICES}"}}',
        }
        for method, body in (
            ("SelectMergeStacktraces", {**chosen, "maxNodes": 8192}),
            ("SelectSeries", {**chosen, "step": 15, "groupBy": ["pod"]}),
            ("LabelValues", {**span, "name": "pod"}),
        ):
            self._note(client.post(f"/querier.v1.QuerierService/{method}", json=body))
        self._note(client.post("/api/v1/sql", json={"query": "SELECT count(*) FROM profiles"}))
        self._note(client.get("/metrics"))
        self.asked += 1
        self.stopped.wait(1)

    def _note(self, reply: httpx.Response) -> None:
        if reply.status_code != 200:
            self.problems.append(f"{reply.status_code} {reply.text[:200]}")

    def run(self, work: Callable[[httpx.Client, int], None], number: int, step: int) -> None:
        """Do one thing again and again until told to stop."""
        with httpx.Client(base_url=self.server.url, timeout=60) as client:
            while not self.stopped.is_set():
                work(client, number)
                number += step


_PROTO = {"Content-Type": "application/proto"}


def main() -> None:
    """Load, look, stop, compare."""
    parser = argument_parser(__doc__)
    parser.add_argument("--minutes", type=float, default=1)
    parser.add_argument("--rate", type=float, default=50)
    options = parser.parse_args()
    profiles = [Profile.FromString(raw) for raw in medium_profiles(_DIFFERENT)]
    with tempfile.TemporaryDirectory() as directory, running_server(Path(directory) / "store") as server:
        load = Load(server, options.rate, profiles)
        threads = [threading.Thread(target=load.run, args=(load.push, n, _PUSHERS)) for n in range(_PUSHERS)]
        threads.append(threading.Thread(target=load.run, args=(load.ask, 0, 1)))
        for thread in threads:
            thread.start()
        looks = []
        for _ in range(_LOOKS):
            time.sleep(60 * options.minutes / _LOOKS)
            looks.append((rss_mb(server.process.pid), _open_files(server)))
        load.stopped.set()
        for thread in threads:
            thread.join()
        _check(server, load)
    quarter, end = looks[_LOOKS // 4 :][:5], looks[-5:]
    figures = {"minutes": options.minutes, "pushed": load.pushed, "asked": load.asked}
    for name, look in (("quarter", quarter), ("end", end)):
        figures[f"{name}_rss_mb"] = max(rss for rss, _ in look)
        figures[f"{name}_files"] = max(files for _, files in look)
    report("soak", {**figures, "most_rss_mb": max(rss for rss, _ in looks)})


def _open_files(server: RunningServer) -> int:
    return len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))


def _check(server: RunningServer, load: Load) -> None:
    assert not load.problems, (len(load.problems), load.problems[:3])
    reply = server.http.post(
        "/api/v1/sql", json={"query": "SELECT sum(total)::VARCHAR AS total FROM profiles"}
    )
    (row,) = json.loads(reply.text)
    assert int(row["total"]) == load.total, (row, load.total)
    log = server.log.read_text(errors="replace")
    assert "Traceback" not in log, log[-2000:]
    assert server.stop() == 0


if __name__ == "__main__":
    main()
