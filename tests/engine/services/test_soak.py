"""Mixed load for a while: memory and open files stay flat, and nothing goes wrong."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.engine.ingest.made_profiles import made_total
from tests.engine.services.test_crash import PUSH, check, push_body
from tests.running_server import TYPE, RunningServer, running_server

PUSHERS = 3
MAY_GROW_MB = 60
MAY_GROW_FILES = 20


def rss_mb(server: RunningServer) -> float:
    pages = int(Path(f"/proc/{server.process.pid}/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def open_files(server: RunningServer) -> int:
    return len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))


class Load:
    """Pushes, questions and flushes side by side, until told to stop."""

    def __init__(self, server: RunningServer) -> None:
        self.server = server
        self.pushed: set[int] = set()
        self.asked = 0
        self.problems: list[str] = []
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(self._push, n)) for n in range(PUSHERS)]
        self._threads += [threading.Thread(target=self._run, args=(self._ask, n)) for n in range(2)]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End, and wait for the end."""
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def _run(self, work: Callable[[httpx.Client, int], None], number: int) -> None:
        with httpx.Client(base_url=self.server.url, timeout=60) as client:
            turn = 0
            while not self._stopped.is_set():
                work(client, number + turn * PUSHERS)
                turn += 1

    def _push(self, client: httpx.Client, number: int) -> None:
        self._note(client.post(f"/{PUSH}", json=push_body(number)))
        self.pushed.add(number)
        time.sleep(0.02)

    def _ask(self, client: httpx.Client, number: int) -> None:
        chosen = {"profileTypeID": TYPE, "labelSelector": "{}", "start": 1, "end": 4 * 10**12}
        for method, body in (
            ("SelectMergeStacktraces", chosen),
            ("SelectSeries", {**chosen, "start": 1_750_000_000_000, "end": 1_750_003_600_000, "step": 15}),
            ("LabelValues", {"name": "service_name", "start": 1, "end": 4 * 10**12}),
        ):
            self._note(client.post(f"/querier.v1.QuerierService/{method}", json=body))
        self._note(client.get("/metrics"))
        self.asked += 1
        time.sleep(0.05)

    def _note(self, reply: httpx.Response) -> None:
        if reply.status_code != 200:
            self.problems.append(reply.text)


def soak(store: Path, seconds: float) -> None:
    """Load for so long; what is measured after a quarter of it is compared with the end."""
    with running_server(store, "--flush-age-s", "1", "--merge-every-s", "2") as server:
        load = Load(server)
        load.start()
        time.sleep(seconds / 4)
        before = rss_mb(server), open_files(server)
        time.sleep(seconds * 3 / 4)
        after = rss_mb(server), open_files(server)
        load.stop()
        assert not load.problems, load.problems[:3]
        assert load.asked > seconds / 4
        check(server, load.pushed, load.pushed)
        assert server.total() == made_total(load.pushed)
        assert after[0] < before[0] + MAY_GROW_MB, (before, after)
        assert after[1] < before[1] + MAY_GROW_FILES, (before, after)
        log = server.log.read_text(errors="replace")
        assert "Traceback" not in log
        assert "ERROR" not in log
        assert server.stop() == 0


@pytest.mark.timeout(300)
def test_a_minute_of_mixed_load(tmp_path: Path) -> None:
    soak(tmp_path / "store", 60)


@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_five_minutes_of_mixed_load(tmp_path: Path) -> None:
    soak(tmp_path / "store", 300)
