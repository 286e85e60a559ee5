"""Push profiles to a server of ours, at a rate and then as fast as it takes them, against a bare protobuf parse.

    python -m benchmarks.server [--profiles 1500] [--rate 200] [--connections 64] [--tenants 1]

A push is answered once it is durable. Latency at a rate counts from the instant at which the push was due, so a stall
is not hidden. The CPU is that of all the server's processes, with everything flushed to blocks in it. Client and server
share the machine. Totals are compared with a sum over what was pushed.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from flameduck.schema.proto.profile_pb2 import Profile
from tests.running_server import RunningServer, running_server

from .made_profiles import medium_profiles, push_of
from .measure import interleaved, report
from .process_tree import cpu_s_of, rss_mb

_DIFFERENT = 200
_CHECKED_TENANTS = 5


@dataclass(frozen=True)
class Push:
    """A request, ready to send, and the sum of all values in it."""

    body: bytes
    total: int
    tenant: str


@dataclass
class Pushed:
    """What became of some pushes."""

    latency_ms: list[float] = field(default_factory=list)
    wall_s: float = 0.0
    cpu_s: float = 0.0
    rss_mb: float = 0.0

    def quantile(self, share: float) -> float:
        """A latency that so many pushes stay below."""
        ordered = sorted(self.latency_ms)
        return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def main() -> None:
    """Measure both ways of pushing and one way of asking."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--profiles", type=int, default=1500)
    parser.add_argument("--rate", type=int, default=200)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--tenants", type=int, default=1)
    options = parser.parse_args()
    raws = medium_profiles(_DIFFERENT)
    pushes = _made(raws, 2 * options.profiles, options.tenants)
    parse = interleaved(9, {"parse": lambda: _parsed(raws)})["parse"].cpu_s / len(raws)
    with tempfile.TemporaryDirectory() as directory:
        figures = _measured(Path(directory), pushes, options)
    parse = min(parse, interleaved(9, {"parse": lambda: _parsed(raws)})["parse"].cpu_s / len(raws))
    ratios = {
        f"{name}_cpu_to_parse": float(figures[f"{name}_cpu_ms"]) / 1e3 / parse for name in ("paced", "closed")
    }
    report("server", {"tenants": options.tenants, "parse_us": 1e6 * parse, **figures, **ratios})


def _made(raws: Sequence[bytes], count: int, tenants: int) -> list[Push]:
    """Each raw profile again and again, at another time and of another pod."""
    made = []
    for number, raw in zip(range(count), itertools.cycle(raws), strict=False):
        profile = Profile.FromString(raw)
        profile.time_nanos += 10**9 * number
        made.append(Push(*push_of(profile, number), f"tenant{number % tenants}"))
    return made


def _parsed(raws: Sequence[bytes]) -> None:
    for raw in raws:
        Profile.FromString(raw)


def _measured(directory: Path, pushes: Sequence[Push], options: argparse.Namespace) -> dict[str, float]:
    begun = time.perf_counter()
    with running_server(directory / "store", "--multitenancy") as server:
        ready_s = time.perf_counter() - begun
        # A first push of its own: afterwards everything is loaded.
        _push(server, pushes[:1], 0, 1)
        idle_mb = rss_mb(server.process.pid)
        half = len(pushes) // 2
        paced = _push(server, pushes[1:half], options.rate, 2 * options.connections)
        closed = _push(server, pushes[half:], 0, options.connections)
        _check(server, pushes)
        asked = {
            name: 1e3 * cost.wall_s
            for name, cost in interleaved(5, {"flame_graph_ms": lambda: _flame_graph(server)}).items()
        }
    return {
        "ready_s": ready_s,
        "idle_rss_mb": idle_mb,
        "paced_cpu_ms": 1e3 * paced.cpu_s / len(paced.latency_ms),
        "paced_p50_ms": paced.quantile(0.5),
        "paced_p99_ms": paced.quantile(0.99),
        "closed_cpu_ms": 1e3 * closed.cpu_s / len(closed.latency_ms),
        "closed_p50_ms": closed.quantile(0.5),
        "closed_p99_ms": closed.quantile(0.99),
        "closed_per_s": len(closed.latency_ms) / closed.wall_s,
        "peak_rss_mb": max(paced.rss_mb, closed.rss_mb),
        **asked,
    }


def _push(server: RunningServer, pushes: Sequence[Push], rate: int, connections: int) -> Pushed:
    """Send pushes over so many connections, `rate` a second or, at 0, one after the other; then flush."""
    found = Pushed()
    todo = iter(enumerate(pushes))
    lock = threading.Lock()
    cpu_s, begun = cpu_s_of(server.process.pid), time.perf_counter()

    def client() -> None:
        connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=120)
        while True:
            with lock:
                number, one = next(todo, (-1, None))
                if number % 100 == 0:
                    found.rss_mb = max(found.rss_mb, rss_mb(server.process.pid))
            if one is None:
                return
            due = begun + number / rate if rate else time.perf_counter()
            time.sleep(max(due - time.perf_counter(), 0))
            headers = {"Content-Type": "application/proto", "X-Scope-OrgID": one.tenant}
            connection.request("POST", "/push.v1.PusherService/Push", one.body, headers)
            reply = connection.getresponse()
            text = reply.read()
            assert reply.status == 200, text
            with lock:
                found.latency_ms.append(1e3 * (time.perf_counter() - due))

    threads = [threading.Thread(target=client) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found.wall_s = time.perf_counter() - begun
    assert len(found.latency_ms) == len(pushes)
    assert server.http.post("/flush").status_code == 204
    found.cpu_s = cpu_s_of(server.process.pid) - cpu_s
    return found


def _check(server: RunningServer, pushes: Sequence[Push]) -> None:
    # Each answer takes a process of its own: of many tenants, some.
    for tenant in sorted({push.tenant for push in pushes})[:_CHECKED_TENANTS]:
        query = {"query": "SELECT sum(total)::VARCHAR AS total FROM profiles"}
        reply = server.http.post("/api/v1/sql", json=query, headers={"X-Scope-OrgID": tenant})
        (row,) = json.loads(reply.text)
        wanted = sum(push.total for push in pushes if push.tenant == tenant)
        assert int(row["total"]) == wanted, (tenant, row, wanted)


def _flame_graph(server: RunningServer) -> None:
    headers = {"X-Scope-OrgID": "tenant0"}
    types = server.answer(
        "querier.v1.QuerierService/ProfileTypes", {"start": 1, "end": 4 * 10**12}, **headers
    )
    server.total("{}", types["profileTypes"][0]["ID"], **headers)


if __name__ == "__main__":
    main()
