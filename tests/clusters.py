"""A Dask cluster of real processes for tests: a scheduler, and workers that can be killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
START_TIMEOUT_S = 60
WORKERS = 3


class Cluster:
    """A scheduler on a port of its own, and workers of one thread each; every process logs to a file in `directory`.

    It speaks TLS, where its environment says with which certificates.
    """

    def __init__(self, directory: Path, environment: Mapping[str, str]) -> None:
        self._directory = directory
        self._environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),  # tasks of tests
            "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False",
            "FLAMEDUCK_TEMP_DIRECTORY": str(directory / "spill"),
            "FLAMEDUCK_CACHE_DIRECTORY": str(directory / "cache"),
            **environment,
        }
        self.workers: list[subprocess.Popen[bytes]] = []
        note = directory / "scheduler.json"
        tls = ["--protocol", "tls"] if any("__TLS__" in name for name in environment) else []
        self.scheduler = self._start(
            "scheduler", "--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(note), *tls
        )
        self._scheduler_address = str(_awaited(note, self.scheduler)["address"])
        self.address = self._scheduler_address.replace("tcp://", "dask://").replace("tls://", "dask+tls://")

    def add_worker(self) -> subprocess.Popen[bytes]:
        """One worker more. Nobody restarts it when it dies."""
        number = str(len(self.workers))
        options = ["--host", "127.0.0.1", "--nthreads", "1", "--no-nanny", "--memory-limit", "0"]
        place = ["--name", number, "--local-directory", str(self._directory / number)]
        self.workers.append(self._start("worker", self._scheduler_address, *options, *place))
        return self.workers[-1]

    def _start(self, role: str, *options: str) -> subprocess.Popen[bytes]:
        name = f"{role}-{len(self.workers)}.log"
        with (self._directory / name).open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "dask", role, *options, "--no-dashboard"],
                cwd=self._directory,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def stop(self) -> None:
        """End every process."""
        for process in (*self.workers, self.scheduler):
            process.kill()
        for process in (*self.workers, self.scheduler):
            process.wait()


@contextmanager
def cluster(
    directory: Path, workers: int = WORKERS, environment: Mapping[str, str] | None = None
) -> Iterator[Cluster]:
    """A running cluster."""
    started = Cluster(directory, environment or {})
    try:
        for _ in range(workers):
            started.add_worker()
        yield started
    finally:
        started.stop()


@pytest.fixture(scope="session")
def dask_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One that tests share: they leave its workers alive."""
    with cluster(tmp_path_factory.mktemp("dask")) as started:
        yield started


def _awaited(note: Path, process: subprocess.Popen[bytes]) -> Mapping[str, object]:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            found: Mapping[str, object] = json.loads(note.read_bytes())
        except (OSError, ValueError):
            time.sleep(0.05)
        else:
            return found
    process.kill()
    raise AssertionError(f"the scheduler does not start: {(note.parent / 'scheduler-0.log').read_text()}")
