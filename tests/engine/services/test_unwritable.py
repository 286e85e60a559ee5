"""A data directory that nothing can be written into for a while: pushes are refused so that clients try again, questions
are answered, and it goes on without a restart.
"""

from __future__ import annotations

import resource
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from flameduck.engine.services.server import Server
from flameduck.engine.settings import ServerSettings, Settings
from flameduck.schema.errors import StorageError
from tests.engine.ingest.made_profiles import made_total
from tests.engine.services.test_crash import PUSH, check, push_body
from tests.engine.services.writing import metric
from tests.running_server import RunningServer, running_server

GIVE_UP_S = 30
Fault = Callable[[RunningServer, Path], AbstractContextManager[None]]


@contextmanager
def immutable(_: RunningServer | None, directory: Path) -> Iterator[None]:
    """No name can be made or removed in the head's directory, not even by root; what is open goes on."""
    changed = subprocess.run(["chattr", "+i", str(directory)], capture_output=True, check=False)
    if changed.returncode:
        pytest.skip("chattr +i does not work here: it takes root and a file system that knows it")
    try:
        yield
    finally:
        subprocess.run(["chattr", "-i", str(directory)], check=True)


@contextmanager
def no_growth(server: RunningServer, _: Path) -> Iterator[None]:
    """No file of the process can be written, also those that are open."""
    if not hasattr(resource, "prlimit"):
        pytest.skip("the limits of another process cannot be changed here")
    pid = server.process.pid
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


def push_until_refused(server: RunningServer, numbers: Iterator[int]) -> tuple[set[int], str]:
    """The numbers that were acknowledged before one was not, and what that one was told."""
    acknowledged: set[int] = set()
    give_up = time.monotonic() + GIVE_UP_S
    for number in numbers:
        reply = server.rpc(PUSH, push_body(number))
        if reply.status_code != 200:
            assert (reply.status_code, reply.json()["code"]) == (503, "unavailable"), reply.text
            return acknowledged, reply.json()["message"]
        acknowledged.add(number)
        assert time.monotonic() < give_up, "nothing is refused"
        time.sleep(0.1)
    raise AssertionError("no number is left")


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (immutable, "the log cannot be made: Operation not permitted"),
        (no_growth, "the log cannot be written: File too large"),
    ],
    ids=["immutable directory", "no file can grow"],
)
def test_a_data_directory_that_cannot_be_written_for_a_while(tmp_path: Path, fault: Fault, said: str) -> None:
    head = tmp_path / "data" / "head"
    options = ["--data-dir", str(tmp_path / "data"), "--flush-age-s", "1", "--merge-every-s", "0"]
    numbers = iter(range(1000))
    with running_server(tmp_path / "store", *options) as server:
        acknowledged = {next(numbers) for _ in range(3)}
        for number in acknowledged:
            server.answer(PUSH, push_body(number))
        with fault(server, head):
            more, message = push_until_refused(server, numbers)
            assert said in message
            acknowledged |= more
            for _ in range(3):
                assert server.rpc(PUSH, push_body(999)).status_code == 503
                assert server.total() == made_total(acknowledged)
                time.sleep(0.3)
        again = {next(numbers) for _ in range(3)}
        for number in again:
            server.answer(PUSH, push_body(number))
        acknowledged |= again
        give_up = time.monotonic() + GIVE_UP_S
        while metric(server, "flameduck_head_tenants") or list(head.glob("*.log")):
            assert time.monotonic() < give_up, "the head is not stored"
            time.sleep(0.1)
        check(server, acknowledged, acknowledged)
        assert server.stop() == 0
    assert not list(head.iterdir()) or {one.name for one in head.iterdir()} == {"lock"}


def test_a_server_does_not_start_over_a_data_directory_that_it_cannot_write(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    settings = ServerSettings(data_dir=str(data))
    with immutable(None, data), pytest.raises(StorageError, match="data/head: Operation not permitted"):
        Server(str(tmp_path / "store"), Settings(), settings)
