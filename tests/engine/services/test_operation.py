"""How a server starts, says how it is, and stops."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest

from flameduck.engine.services.logs import REQUEST_ID, JsonFormatter
from tests.engine.ingest.made_profiles import made_total
from tests.engine.services.test_crash import PUSH, push_body
from tests.running_server import TYPE, RunningServer, running_server

WRITERS = 8
IDLE_BYTES = 300 << 20


def push_until_refused(server: RunningServer, first: int, acknowledged: set[int]) -> None:
    with httpx.Client(timeout=60) as client:
        for number in range(first, first + 1000):
            try:
                reply = client.post(f"{server.url}/{PUSH}", json=push_body(number))
            except httpx.TransportError:
                return
            if reply.status_code == 200:
                acknowledged.add(number)
            else:
                assert reply.status_code == 503, reply.text
                return


def test_a_stop_with_pushes_in_flight(tmp_path: Path) -> None:
    """Every acknowledged push is there, none hangs, and the head is empty."""
    acknowledged: set[int] = set()
    with running_server(tmp_path / "store") as server:
        writers = [
            threading.Thread(target=push_until_refused, args=(server, writer * 1000, acknowledged))
            for writer in range(WRITERS)
        ]
        for writer in writers:
            writer.start()
        give_up = time.monotonic() + 30
        while len(acknowledged) < WRITERS and time.monotonic() < give_up:
            time.sleep(0.01)
        assert server.stop() == 0
        for writer in writers:
            writer.join(60)
            assert not writer.is_alive()
    assert acknowledged
    assert list((tmp_path / "store" / "_head").glob("*.log")) == []
    with running_server(tmp_path / "store") as server:
        assert server.total() >= made_total(acknowledged)
        reply = server.http.get("/api/v1/profiles", params={"type": TYPE, "limit": "0"})
        assert acknowledged <= {int(row["labels"]["number"]) for row in reply.json()}


def rss_bytes(pid: str) -> int:
    """The memory of a process that is resident."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_an_idle_server_is_small(tmp_path: Path) -> None:
    with running_server(tmp_path / "store") as server:
        pid = server.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        assert sum(rss_bytes(one) for one in (str(pid), *children)) < IDLE_BYTES


def test_a_server_profiles_itself(tmp_path: Path) -> None:
    with running_server(tmp_path / "store", "--self-profile", "--multitenancy") as server:
        time.sleep(0.5)
        assert server.stop() == 0
    command = [sys.executable, "-m", "flameduck.cli", "top", "--store", str(tmp_path / "store"), "-f", "json"]
    done = subprocess.run([*command, "--tenant", "_self"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert any("threading" in str(row) for row in json.loads(done.stdout))


def test_a_record_is_one_line_whatever_it_says() -> None:
    record = logging.LogRecord("a.b", logging.WARNING, "x.py", 1, "two\nlines %s", ("\x1b[31m",), None)
    record.fields = {"route": "/x"}
    token = REQUEST_ID.set("id-1")
    line = JsonFormatter().format(record)
    REQUEST_ID.reset(token)
    assert "\n" not in line
    assert "\x1b" not in line
    found = json.loads(line)
    assert found["message"] == "two\nlines \x1b[31m"
    assert (found["level"], found["request_id"], found["route"]) == ("warning", "id-1", "/x")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--log-level", "loud"], "log_level: 'loud' is none of debug, info, warning, error"),
        (["--access-file", "/gone"], "No such file"),
        (["--http-port", "-1"], "--http-port: http_port must be 0 or more, got -1"),
    ],
)
def test_a_wrong_setting_is_one_line(tmp_path: Path, words: list[str], reason: str) -> None:
    command = [sys.executable, "-m", "flameduck.cli", "serve", "--store", str(tmp_path / "store"), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode != 0
    assert done.stderr.count("\n") == 1
    assert reason in done.stderr
