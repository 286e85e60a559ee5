"""A store that is away for a while: a whole server goes on, and stores everything once when it comes back."""

from __future__ import annotations

import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.engine.ingest.made_profiles import made_total
from tests.engine.services.test_crash import PUSH, check, push_body
from tests.engine.services.writing import metric
from tests.running_server import TYPE, RunningServer, running_server
from tests.servers import S3Process

HEAD_BYTES = 50_000
"""About what the head holds after some dozens of small profiles."""

PUSH_EVERY_S = 0.1
EMPTY_S = 90
LONG_S = 30
"""Longer than a client of S3 tries one call again."""

QUERIER = "querier.v1.QuerierService"
CHOSEN = {"profileTypeID": TYPE, "labelSelector": "{}", "start": 1, "end": 4 * 10**12}


class Reader:
    """Asks all the time; what it is answered with, by status."""

    def __init__(self, server: RunningServer) -> None:
        self._url = server.url
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.statuses: Counter[int] = Counter()
        self.texts: set[str] = set()

    def __enter__(self) -> Reader:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        with httpx.Client(base_url=self._url, timeout=120) as client:
            while not self._stopped.wait(0.1):
                for method, body in (
                    ("SelectMergeStacktraces", CHOSEN),
                    ("LabelValues", {"name": "service_name", "start": 1, "end": 4 * 10**12}),
                ):
                    reply = client.post(f"/{QUERIER}/{method}", json=body)
                    self.statuses[reply.status_code] += 1
                    if reply.status_code != 200:
                        self.texts.add(reply.json()["code"])


class Writer:
    """Pushes one profile after the other, and knows which were acknowledged."""

    def __init__(self, server: RunningServer) -> None:
        self._server = server
        self._next = 0
        self.acknowledged: set[int] = set()
        self.refused = 0

    def push(self) -> int:
        """Push the next profile; returns the status. One that is refused is sent again the next time."""
        reply = self._server.rpc(PUSH, push_body(self._next))
        if reply.status_code == 200:
            self.acknowledged.add(self._next)
            self._next += 1
        else:
            assert (reply.status_code, reply.json()["code"]) == (429, "resource_exhausted"), reply.text
            assert int(reply.headers["retry-after"]) >= 1
            assert f"limit {HEAD_BYTES}" in reply.json()["message"]
            self.refused += 1
        return reply.status_code


def await_empty_head(server: RunningServer) -> None:
    """Return once the server has stored everything, by itself."""
    give_up = time.monotonic() + EMPTY_S
    while metric(server, "flameduck_head_tenants"):
        assert time.monotonic() < give_up, "the head is not stored"
        time.sleep(0.1)


def outage(
    away: Callable[[], None], back: Callable[[], None], seconds: float, server: RunningServer
) -> Writer:
    """Profiles before, while and after the store is away."""
    writer = Writer(server)
    for _ in range(5):
        assert writer.push() == 200
    await_empty_head(server)
    away()
    ends = time.monotonic() + seconds
    with Reader(server) as reader:
        while time.monotonic() < ends:
            writer.push()
            time.sleep(PUSH_EVERY_S)
        assert len(writer.acknowledged) > 10, "nothing was acknowledged while the store was away"
        assert writer.refused, "the head was never full"
        assert server.http.get("/ready").status_code == 503
        back()
        await_empty_head(server)
    assert reader.statuses.keys() <= {200, 503}, reader.statuses
    assert reader.texts <= {"unavailable"}
    assert server.http.get("/ready").status_code == 200
    for _ in range(5):
        assert writer.push() == 200
    assert server.total() == made_total(writer.acknowledged)
    return writer


def survive(process: S3Process, folder: Path, hangs: bool, seconds: float) -> None:
    """A server over S3 that goes away, or takes connections and does not answer."""
    bucket = process.client
    environment = bucket.environment() | {"FLAMEDUCK_CACHE_DIRECTORY": str(folder / "cache")}
    options = ["--flush-age-s", "1", "--merge-every-s", "2", "--head-bytes", str(HEAD_BYTES)]
    away = (lambda: process.send(signal.SIGSTOP)) if hangs else process.stop
    back = (lambda: process.send(signal.SIGCONT)) if hangs else process.start
    url = f"s3://{bucket.bucket}/outage"
    with running_server(
        url, "--data-dir", str(folder / "data"), *options, beside=folder / "first", **environment
    ) as server:
        written = outage(away, back, seconds, server).acknowledged
        assert server.stop() == 0
        log = server.log.read_text()
        assert "Traceback" not in log
        assert hangs or seconds < LONG_S or "the flush failed and will be tried again" in log
    assert not list((folder / "data" / "head").glob("*.log"))
    with running_server(
        url, "--data-dir", str(folder / "other"), beside=folder / "second", **environment
    ) as server:
        check(server, written, written)


def test_a_store_that_is_away_for_six_seconds(s3_process: S3Process, tmp_path: Path) -> None:
    survive(s3_process, tmp_path, hangs=False, seconds=6)


@pytest.mark.nightly
@pytest.mark.timeout(900)
@pytest.mark.parametrize("hangs", [False, True])
def test_a_store_that_is_away_for_a_minute(s3_process: S3Process, tmp_path: Path, hangs: bool) -> None:
    survive(s3_process, tmp_path, hangs, seconds=60)
