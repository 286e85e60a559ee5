"""The part of the demo with a server: a program pushes its own profile through Pyroscope's SDK, and is found."""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROGRAM = """\
import sys, time
import pyroscope

def price(until):
    total = 0.0
    while time.monotonic() < until:
        total += sum(number * 0.5 for number in range(1000))
    return total

pyroscope.configure(application_name="live", server_address=sys.argv[1], upload_interval=1)
price(time.monotonic() + 4)
pyroscope.shutdown()
"""
"""What is profiled; it is busy for some seconds."""

_START_S = 20
_STOP_S = 30
_PROGRAM_S = 30


def missing_module() -> str:
    """What a server or the SDK would need and is not installed; empty when all is there."""
    for module, said in (("uvicorn", "flameduck[server]"), ("pyroscope", "pyroscope-io")):
        if importlib.util.find_spec(module) is None:
            return said
    return ""


@contextmanager
def demo_server(store: str, log: Path) -> Iterator[str]:
    """A server over a store; its URL, or empty when it did not start. It is stopped at the end."""
    from ..engine.client import is_ready

    port = _free_port()
    url = f"http://127.0.0.1:{port}"
    words = ["serve", "--store", store, "--http-port", str(port), "--otlp-port", "0"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "flameduck.cli", *words],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, "FLAMEDUCK_TOKEN": ""},
        )
    try:
        give_up = time.monotonic() + _START_S
        while is_ready(url) and process.poll() is None and time.monotonic() < give_up:
            time.sleep(0.1)
        yield "" if is_ready(url) else url
    finally:
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def run_program(url: str) -> str:
    """Run the program, which pushes to a server; why it failed, empty when it did not."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, url],
            capture_output=True,
            text=True,
            timeout=_PROGRAM_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"it did not end within {_PROGRAM_S} s"
    return done.stderr.strip().rpartition("\n")[2] or f"code {done.returncode}" if done.returncode else ""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
