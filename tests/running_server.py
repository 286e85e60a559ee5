"""Our server as a process, as a user starts it, and a client that speaks to it."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from flameduck.schema.request import FlamegraphRequest, Selection, TreeQuery
from flameduck.schema.request_json import request_to_json

START_S = 30
STOP_S = 60
TYPE = "process_cpu:cpu:nanoseconds:cpu:nanoseconds"


@dataclass
class RunningServer:
    """A server process and where it listens."""

    process: subprocess.Popen[bytes]
    url: str
    log: Path
    http: httpx.Client

    def rpc(self, method: str, body: Mapping[str, Any], **headers: str) -> httpx.Response:
        """Call `<package>.<Service>/<Method>` with JSON."""
        return self.http.post(f"/{method}", json=body, headers=headers)

    def answer(self, method: str, body: Mapping[str, Any], **headers: str) -> dict[str, Any]:
        """The answer of a call that must succeed."""
        reply = self.rpc(method, body, **headers)
        assert reply.status_code == 200, reply.text
        document: dict[str, Any] = json.loads(reply.text)
        return document

    def total(self, selector: str = "{}", profile_type: str = TYPE, **headers: str) -> int:
        """The total of a flame graph over all time."""
        asked = FlamegraphRequest(TreeQuery(Selection(selector, profile_type)))
        reply = self.http.post("/api/v1/ask", content=request_to_json(asked), headers=headers)
        assert reply.status_code == 200, reply.text
        return int(reply.json()["total"])

    def kill(self) -> None:
        """End it as a crash does."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        """End it as an operator does; returns its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_S)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running_server(
    store: Path | str, *options: str, certificate: str = "", beside: Path | None = None, **environment: str
) -> Iterator[RunningServer]:
    """`flameduck serve` on a free port, with TLS when it has a `certificate`; killed at the end unless it stopped.

    Its log and limits are files beside a local store, or `beside` the path that is given.
    """
    port = free_port()
    beside = beside or (Path(store) if "://" not in str(store) else None)
    log = Path(f"{beside}.log") if beside else Path(os.devnull)
    words = [sys.executable, "-m", "flameduck.cli", "serve", "--store", str(store)]
    words += ["--http-port", str(port), "--otlp-port", "0", *_any_range(beside, options), *options]
    with log.open("ab") as output:
        process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env={**os.environ, **environment}
        )
    url = f"http{'s' if certificate else ''}://127.0.0.1:{port}"
    trusted = ssl.create_default_context(cafile=certificate) if certificate else True
    server = RunningServer(process, url, log, httpx.Client(base_url=url, timeout=60, verify=trusted))
    try:
        _wait(server)
        yield server
    finally:
        server.http.close()
        if process.poll() is None:
            process.kill()
            process.wait()


def _any_range(beside: Path | None, options: tuple[str, ...]) -> list[str]:
    """Made profiles span years; a question may be about all of them, unless a test has limits of its own."""
    if beside is None or "--limits-file" in options:
        return []
    limits = Path(f"{beside}.limits.toml")
    limits.write_text('[default]\nmax_query_length = "0s"\n')
    return ["--limits-file", str(limits)]


def _wait(server: RunningServer) -> None:
    give_up = time.monotonic() + START_S
    while time.monotonic() < give_up:
        if server.process.poll() is not None:
            break
        try:
            if server.http.get("/ready").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    raise AssertionError(f"the server did not start: {server.log.read_text(errors='replace')[-2000:]}")
