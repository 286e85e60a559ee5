"""How long pushes and questions about labels take while eight flame graphs of everything, or eight SQL statements, are
always under way or wait in a server of ours, against a server that does nothing else.

    python -m benchmarks.crowd [--scale 1] [--order service|time] [--seconds 20]

The server answers from a corpus. Client and server share the machine. One client each sends a push and asks for the
values of `service_name` every 50 ms; what is refused or stopped counts apart.
"""

from __future__ import annotations

import base64
import itertools
import os
import shutil
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tests.running_server import RunningServer, running_server

from .asking import HOUR
from .corpus import CPU_TYPE, Shape, corpus_parser, open_corpus
from .made_profiles import medium_profiles
from .measure import report

_CROWD = 8
_EVERY_S = 0.05
_RANGE = {"start": HOUR[0] // 10**6, "end": HOUR[1] // 10**6}
_QUERIER = "/querier.v1.QuerierService"
_SQL = "FROM top('cpu') LIMIT 20"


@dataclass
class Timed:
    """What some requests took, and how they ended."""

    latency_ms: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)

    def send(self, client: httpx.Client, path: str, body: object) -> None:
        """One request."""
        begun = time.perf_counter()
        reply = client.post(path, json=body)
        self.statuses[reply.status_code] += 1
        if reply.status_code == 200:
            self.latency_ms.append((time.perf_counter() - begun) * 1e3)
        # A statement that waits for the processors too long is stopped, and says so with 400.
        assert reply.status_code in (200, 400, 429), reply.text

    def figures(self, name: str) -> dict[str, float]:
        """Median, 99th of a hundred, and worst."""
        ordered = sorted(self.latency_ms)
        places = {"p50": len(ordered) // 2, "p99": int(len(ordered) * 0.99), "worst": len(ordered) - 1}
        found = {f"{name}_{place}_ms": round(ordered[at], 1) for place, at in places.items()}
        return {
            **found,
            f"{name}_answers": len(ordered),
            f"{name}_refused": self.statuses.total() - len(ordered),
        }


def main() -> None:
    """Measure an idle server, then one with each crowd."""
    parser = corpus_parser(__doc__)
    parser.add_argument("--seconds", type=float, default=20)
    options = parser.parse_args()
    store = open_corpus(Shape(options.scale, options.order))
    with tempfile.TemporaryDirectory(dir=store.parent) as directory:
        # Links: what the server adds must not stay in the corpus.
        copy = Path(directory) / "store"
        shutil.copytree(store, copy, copy_function=os.link)
        with running_server(copy) as server:
            for name, crowd in _CROWDS.items():
                report("crowd", {"beside": name, **_phase(server, crowd, options.seconds)})


def _flame_graph(client: httpx.Client, timed: Timed) -> None:
    body = {"profileTypeID": CPU_TYPE, "labelSelector": "{}", **_RANGE}
    timed.send(client, f"{_QUERIER}/SelectMergeStacktraces", body)


def _sql(client: httpx.Client, timed: Timed) -> None:
    timed.send(client, "/api/v1/sql", {"query": _SQL})


_CROWDS: dict[str, Callable[[httpx.Client, Timed], None] | None] = {
    "nothing": None,
    "flame_graphs": _flame_graph,
    "sql": _sql,
}


def _phase(
    server: RunningServer, crowd: Callable[[httpx.Client, Timed], None] | None, seconds: float
) -> dict[str, float]:
    """Latencies beside a crowd, after each kind of request was sent once."""
    bodies = _pushes()
    work: dict[str, Callable[[httpx.Client, Timed], None]] = {
        "labels": lambda client, timed: timed.send(
            client, f"{_QUERIER}/LabelValues", {"name": "service_name", **_RANGE}
        ),
        "push": lambda client, timed: timed.send(client, "/push.v1.PusherService/Push", next(bodies)),
    }
    timed = {name: Timed() for name in (*work, "crowd")}
    runs = [(name, one, _EVERY_S) for name, one in work.items()]
    runs += [("crowd", crowd, 0.0)] * _CROWD if crowd is not None else []
    with httpx.Client(base_url=server.url, timeout=300) as client:
        for _, one, _ in runs[:3]:
            one(client, Timed())
    ends = time.monotonic() + seconds
    threads = [
        threading.Thread(target=_repeat, args=(server.url, one, timed[name], every_s, ends))
        for name, one, every_s in runs
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {
        key: value
        for name, one in timed.items()
        if one.latency_ms
        for key, value in one.figures(name).items()
    }


def _repeat(
    url: str, work: Callable[[httpx.Client, Timed], None], timed: Timed, every_s: float, ends: float
) -> None:
    with httpx.Client(base_url=url, timeout=300) as client:
        while time.monotonic() < ends:
            work(client, timed)
            time.sleep(every_s)


def _pushes() -> Iterator[object]:
    """Bodies of pushes, one profile of 100 kB each."""
    raws = medium_profiles(20)
    for number in itertools.count():
        raw = base64.b64encode(raws[number % len(raws)]).decode()
        labels = [{"name": "__name__", "value": "process_cpu"}, {"name": "service_name", "value": "pushed"}]
        yield {"series": [{"labels": labels, "samples": [{"rawProfile": raw}]}]}


if __name__ == "__main__":
    main()
