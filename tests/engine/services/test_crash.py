"""kill -9 at any moment: what was acknowledged is there exactly once, the rest whole or not at all."""

from __future__ import annotations

import base64
import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from flameduck.engine.services.server import Server
from flameduck.engine.settings import ServerSettings, Settings
from flameduck.schema.errors import StorageError
from tests.engine.ingest.made_profiles import made_profile, made_total
from tests.running_server import TYPE, RunningServer, running_server

TENANT = "x-scope-orgid"
PUSH = "push.v1.PusherService/Push"
WRITERS = 4
PROFILES_OF_WRITER = 5_000
"""More than a writer sends before the kill; few, because a later number is a later time, and the future is refused."""
ANSWER_S = 60


def push_body(number: int) -> dict[str, object]:
    """Profile `number` as a push of its own."""
    labels = {"service_name": "made", "__name__": "process_cpu", "number": str(number)}
    raw = base64.b64encode(made_profile(number)).decode()
    listed = [{"name": name, "value": value} for name, value in labels.items()]
    return {"series": [{"labels": listed, "samples": [{"rawProfile": raw, "ID": f"id-{number}"}]}]}


class Pushers:
    """Threads that each push numbers of their own, one after the other, until the server is gone or they are told to
    stop. What is slow is waited for; what is refused as too much is sent again.
    """

    def __init__(self) -> None:
        self.acknowledged: set[int] = set()
        self.tried: set[int] = set()
        self.problems: list[str] = []
        self._stopped = threading.Event()
        self._threads: list[threading.Thread] = []
        self._next = 0

    def start(self, server: RunningServer) -> None:
        """Begin to push to a server."""
        self._stopped.clear()
        self._threads = []
        # Also the tenant, if the server's client speaks for one.
        headers = {name: value for name, value in server.http.headers.items() if name == TENANT}
        for _ in range(WRITERS):
            self._threads.append(threading.Thread(target=self._push, args=(server.url, headers, self._next)))
            self._next += PROFILES_OF_WRITER
        for thread in self._threads:
            thread.start()

    def wait_for(self, count: int) -> None:
        """Return once so many more are acknowledged; the first push also waits for the worker to start."""
        wanted = len(self.acknowledged) + count
        give_up = time.monotonic() + ANSWER_S
        while len(self.acknowledged) < wanted and time.monotonic() < give_up:
            time.sleep(0.005)
        assert len(self.acknowledged) >= wanted, "nothing is acknowledged"

    def stop(self) -> None:
        """Return once every thread has ended."""
        self._stopped.set()
        for thread in self._threads:
            thread.join()
        assert not self.problems, self.problems[:3]

    def _push(self, url: str, headers: Mapping[str, str], first: int) -> None:
        with httpx.Client(timeout=ANSWER_S, headers=headers) as client:
            for number in range(first, first + PROFILES_OF_WRITER):
                self.tried.add(number)
                while (status := self._push_one(client, url, number)) == 429:
                    time.sleep(0.01)
                if status != 200 or self._stopped.is_set():
                    return

    def _push_one(self, client: httpx.Client, url: str, number: int) -> int:
        try:
            reply = client.post(f"{url}/{PUSH}", json=push_body(number))
        except httpx.HTTPError:
            return 0
        if reply.status_code == 200:
            self.acknowledged.add(number)
        elif reply.status_code != 429:
            self.problems.append(reply.text)
        return reply.status_code


def crash_rounds(store: Path, rounds: int, seed: int) -> None:
    """Start, push from several threads, kill at random, again and again; then look. Now and then the process stands
    still for a moment first, while clients go on sending.
    """
    chance = random.Random(seed)
    pushers = Pushers()
    for _ in range(rounds):
        with running_server(store, "--flush-age-s", str(chance.choice([1, 1, 60]))) as server:
            pushers.start(server)
            pushers.wait_for(1)
            time.sleep(chance.uniform(0.0, 0.8))
            if chance.random() < 0.3:
                server.process.send_signal(signal.SIGSTOP)
                time.sleep(chance.uniform(0.0, 0.5))
                if chance.random() < 0.5:
                    server.process.send_signal(signal.SIGCONT)
                    time.sleep(chance.uniform(0.0, 0.3))
            server.kill()
            pushers.stop()
    with running_server(store) as server:
        check(server, pushers.acknowledged, pushers.tried)
        assert server.http.post("/flush").status_code == 204
        check(server, pushers.acknowledged, pushers.tried)
        assert server.stop() == 0
    with running_server(store) as server:
        check(server, pushers.acknowledged, pushers.tried)
        query = f"SELECT labels['number'] AS number, total FROM profiles WHERE profile_type = '{TYPE}'"
        reply = server.http.post("/api/v1/sql", json={"query": query})
        assert reply.status_code == 200, reply.text
        check_rows(
            [(row["number"], row["total"]) for row in reply.json()], pushers.acknowledged, pushers.tried
        )


def check(server: RunningServer, acknowledged: set[int], tried: set[int]) -> None:
    """Every acknowledged profile is there, no profile twice or in part."""
    reply = server.http.get("/api/v1/profiles", params={"type": TYPE, "limit": "0"})
    assert reply.status_code == 200, reply.text
    found = check_rows([(row["labels"]["number"], row["total"]) for row in reply.json()], acknowledged, tried)
    assert server.total() == made_total(found)


def check_rows(rows: Sequence[tuple[str, int]], acknowledged: set[int], tried: set[int]) -> Mapping[int, int]:
    """The same of numbers and totals; returns these."""
    assert acknowledged
    found = {int(number): total for number, total in rows}
    assert len(found) == len(rows), "a profile is there twice"
    assert acknowledged <= found.keys() <= tried
    assert found == {number: made_total([number]) for number in found}
    return found


@pytest.mark.timeout(400)
def test_ten_kills(tmp_path: Path) -> None:
    crash_rounds(tmp_path / "store", 10, seed=1)


@pytest.mark.nightly
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(3, 23))
def test_a_thousand_kills(tmp_path: Path, seed: int) -> None:
    crash_rounds(tmp_path / "store", 50, seed)


@pytest.fixture(scope="module")
def one_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server for tests that leave it running."""
    store = tmp_path_factory.mktemp("shared") / "store"
    with running_server(store, "--flush-age-s", "1", "--multitenancy") as running:
        yield running


@pytest.fixture
def server(one_server: RunningServer) -> RunningServer:
    """It, spoken to for a tenant of the test's own."""
    one_server.http.headers[TENANT] = uuid4().hex
    return one_server


def test_a_process_that_stands_still_answers_everybody_when_it_goes_on(server: RunningServer) -> None:
    pushers = Pushers()
    pushers.start(server)
    for _ in range(3):
        pushers.wait_for(5)
        server.process.send_signal(signal.SIGSTOP)
        time.sleep(0.5)
        server.process.send_signal(signal.SIGCONT)
    pushers.wait_for(5)
    pushers.stop()
    check(server, pushers.acknowledged, pushers.acknowledged)


def test_a_worker_that_is_killed_costs_no_push(server: RunningServer) -> None:
    pushers = Pushers()
    pushers.start(server)
    for _ in range(2):
        pushers.wait_for(5)
        for child in children(server.process.pid):
            os.kill(child, signal.SIGKILL)
    pushers.wait_for(5)
    pushers.stop()
    check(server, pushers.acknowledged, pushers.acknowledged)


def children(pid: int) -> list[int]:
    """The processes that a process started and that run."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += [int(child) for child in (task / "children").read_text().split()]
    return found


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MB, which takes root to mount."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(place)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a small tmpfs cannot be mounted here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk_refuses_pushes_and_recovers_without_a_restart(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    with running_server(small_disk / "store", "--flush-age-s", "3600") as server:
        acknowledged = set()
        for number in range(3):
            server.answer(PUSH, push_body(number))
            acknowledged.add(number)
        with suppress(OSError), ballast.open("wb") as file:
            while True:
                file.write(bytes(4096))
                file.flush()
        statuses = [server.rpc(PUSH, push_body(number)).status_code for number in range(3, 30)]
        acknowledged |= {number for number, status in enumerate(statuses, 3) if status == 200}
        assert set(statuses) <= {200, 503}
        assert statuses[-1] == 503
        assert server.http.post("/flush").status_code >= 500
        assert server.total() == made_total(acknowledged)
        ballast.unlink()
        for number in range(100, 103):
            server.answer(PUSH, push_body(number))
            acknowledged.add(number)
        check(server, acknowledged, acknowledged)
        assert server.http.post("/flush").status_code == 204
        check(server, acknowledged, acknowledged)


def test_a_client_that_tries_three_times_counts_once(server: RunningServer) -> None:
    for number in range(5):
        for _ in range(3):
            server.answer(PUSH, push_body(number))
        if number == 2:
            assert server.http.post("/flush").status_code == 204
        assert server.total() == made_total(range(number + 1))
    for number in range(5):
        server.answer(PUSH, push_body(number))
    assert server.total() == made_total(range(5))
    server.http.post("/flush")
    assert server.total() == made_total(range(5))


def test_two_profiles_of_one_nanosecond_both_count(server: RunningServer) -> None:
    body = push_body(0)
    other = push_body(0)
    sample = other["series"][0]["samples"][0]  # type: ignore[index]
    sample["ID"] = "another"
    for one in (body, other):
        server.answer(PUSH, one)
    assert server.total() == 2 * made_total([0])
    server.http.post("/flush")
    assert server.total() == 2 * made_total([0])


def test_a_second_server_is_refused(tmp_path: Path) -> None:
    first = Server(str(tmp_path / "store"), Settings(), ServerSettings())
    with pytest.raises(StorageError, match="another server is at work here"):
        Server(str(tmp_path / "store"), Settings(), ServerSettings())
    first.stop()
    Server(str(tmp_path / "store"), Settings(), ServerSettings()).stop()
