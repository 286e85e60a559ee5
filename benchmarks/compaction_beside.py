"""What a push and a question pay for compaction beside them: the same server with and without a job, by turns.

    python -m benchmarks.compaction_beside [--scale 0.1] [--rate 20] [--rounds 3]

Pushes at a rate over a few connections, each answered once it is durable, and flame graphs of one service of the corpus,
one after the other. Every answer of a flame graph is compared with the first, and everything pushed with a sum over it.
Client and server share the machine. Each round takes as long as the job; ratios are of medians of what was measured in
all rounds together.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from flameduck.engine.storage.catalog import Catalog
from flameduck.engine.storage.objects import open_objects
from flameduck.schema.proto.profile_pb2 import Profile
from tests.running_server import TYPE, RunningServer, running_server

from .compact import replicas_of
from .corpus import Shape, service_name
from .made_profiles import medium_profiles, push_of
from .measure import argument_parser, report
from .process_tree import rss_mb

_DIFFERENT = 50
_CONNECTIONS = 8
_QUIET_S = 15.0
_PUSHED = "pushed"


@dataclass
class Paid:
    """Latencies with a job beside, or without; pushes count from when they were due."""

    pushes_ms: list[float] = field(default_factory=list)
    questions_ms: list[float] = field(default_factory=list)

    def figures(self, name: str) -> Mapping[str, float]:
        """Medians and 99ths."""
        return {
            f"{name}_push_p50_ms": statistics.median(self.pushes_ms),
            f"{name}_push_p99_ms": _quantile(self.pushes_ms, 0.99),
            f"{name}_question_p50_ms": statistics.median(self.questions_ms),
            f"{name}_question_p99_ms": _quantile(self.questions_ms, 0.99),
        }


class Client:
    """Pushes and asks until it is told to stop, and remembers what is pushed."""

    def __init__(self, server: RunningServer, rate: int) -> None:
        self._server = server
        self._rate = rate
        self._raws = medium_profiles(_DIFFERENT)
        self._numbers = itertools.count()
        self.pushed_total = 0
        self.graph_total = server.total(_selector(), TYPE)
        self._lock = threading.Lock()

    def work(self, paid: Paid, stopped: threading.Event) -> None:
        """Both at once, in threads of their own."""
        pushes = self._pushes()
        begun = time.perf_counter()
        turns = itertools.count()
        threads = [
            threading.Thread(target=self._push, args=(paid, stopped, pushes, begun, turns))
            for _ in range(_CONNECTIONS)
        ]
        threads.append(threading.Thread(target=self._ask, args=(paid, stopped)))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _pushes(self) -> Iterator[tuple[bytes, int]]:
        for number in self._numbers:
            profile = Profile.FromString(self._raws[number % len(self._raws)])
            profile.time_nanos += 10**9 * number
            yield push_of(profile, number)

    def _push(
        self,
        paid: Paid,
        stopped: threading.Event,
        pushes: Iterator[tuple[bytes, int]],
        begun: float,
        turns: Iterator[int],
    ) -> None:
        connection = http.client.HTTPConnection(self._server.url.removeprefix("http://"), timeout=120)
        headers = {"Content-Type": "application/proto", "X-Scope-OrgID": _PUSHED}
        while not stopped.is_set():
            with self._lock:
                body, total = next(pushes)
                due = begun + next(turns) / self._rate
            time.sleep(max(due - time.perf_counter(), 0))
            connection.request("POST", "/push.v1.PusherService/Push", body, headers)
            reply = connection.getresponse()
            text = reply.read()
            assert reply.status == 200, text
            with self._lock:
                self.pushed_total += total
                paid.pushes_ms.append(1e3 * (time.perf_counter() - due))

    def _ask(self, paid: Paid, stopped: threading.Event) -> None:
        while not stopped.is_set():
            begun = time.perf_counter()
            total = self._server.total(_selector(), TYPE)
            paid.questions_ms.append(1e3 * (time.perf_counter() - begun))
            assert total == self.graph_total, (total, self.graph_total)
            time.sleep(0.1)


def main() -> None:
    """Measure by turns."""
    parser = argument_parser(__doc__)
    parser.add_argument("--scale", type=float, default=0.1)
    parser.add_argument("--rate", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    source = replicas_of(Shape(options.scale, "time", ticks_per_block=8))
    with tempfile.TemporaryDirectory() as directory:
        report("compaction_beside", _measured(source, Path(directory), options))


def _measured(source: Path, directory: Path, options: argparse.Namespace) -> Mapping[str, object]:
    store = directory / "store"
    shutil.copytree(source, store)
    (tenant,) = {path.parent.name for path in source.glob("*/catalog")}
    quiet, beside = Paid(), Paid()
    job_s, job_rss_mb = [], 0.0
    never = ("--merge-every-s", "0", "--compaction-every-s", "0", "--multitenancy")
    with running_server(store, *never) as server:
        server.http.headers["X-Scope-OrgID"] = tenant
        client = Client(server, options.rate)
        # Everything is loaded once before anything is measured.
        _during(client, Paid(), partial(time.sleep, _QUIET_S / 3))
        for number in range(options.rounds):
            _during(client, quiet, partial(time.sleep, _QUIET_S))
            begun = time.monotonic()
            peaks: list[float] = []
            _during(client, beside, partial(_compact, server, peaks))
            job_s.append(time.monotonic() - begun)
            job_rss_mb = max(job_rss_mb, *peaks)
            if number + 1 < options.rounds:
                _again(source, store, tenant)
        _check_pushed(server, client.pushed_total)
    figures = {**quiet.figures("quiet"), **beside.figures("beside")}
    ratios = {
        f"{name}_ratio": figures[f"beside_{name}_ms"] / figures[f"quiet_{name}_ms"]
        for name in ("push_p50", "push_p99", "question_p50", "question_p99")
    }
    return {"job_s": statistics.median(job_s), "peak_rss_mb": job_rss_mb, **figures, **ratios}


def _selector() -> str:
    return f'{{service_name="{service_name(0)}"}}'


def _during(client: Client, paid: Paid, wait: Callable[[], object]) -> None:
    stopped = threading.Event()
    thread = threading.Thread(target=client.work, args=(paid, stopped))
    thread.start()
    try:
        wait()
    finally:
        stopped.set()
        thread.join()


def _compact(server: RunningServer, peaks: list[float]) -> None:
    """Ask for the job, and wait for its end."""
    job = server.http.post("/api/v1/jobs/compact").json()["job"]
    while not job["ended"]:
        time.sleep(0.2)
        peaks.append(rss_mb(server.process.pid))
        (job,) = (one for one in server.http.get("/api/v1/jobs").json()["jobs"] if one["id"] == job["id"])
        assert not job["error"], job


def _again(source: Path, store: Path, tenant: str) -> None:
    """The blocks as they were before, in place of what the job made."""
    before = Catalog(open_objects(str(source)), tenant).load().blocks
    catalog = Catalog(open_objects(str(store)), tenant)
    catalog.commit(list(before.values()), list(catalog.load().blocks), "benchmark")


def _check_pushed(server: RunningServer, total: int) -> None:
    headers = {"X-Scope-OrgID": _PUSHED}
    query = {"query": "SELECT sum(total)::VARCHAR AS total FROM profiles"}
    (row,) = json.loads(server.http.post("/api/v1/sql", json=query, headers=headers).text)
    assert int(row["total"]) == total, (row, total)


def _quantile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


if __name__ == "__main__":
    main()
