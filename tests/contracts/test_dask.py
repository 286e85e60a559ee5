"""What may go wrong with a cluster, beyond what every executor survives: each a clear error, and nothing hangs."""

from __future__ import annotations

import operator
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import dask
import distributed
import pytest

from flameduck.engine.execution import Death, called
from flameduck.engine.execution.dask import DaskExecutor
from flameduck.engine.execution.named import executor_named
from flameduck.schema.errors import RequestError, SettingsError, Unavailable
from tests.clusters import ROOT, Cluster, cluster

CALL: Callable[[Any], Any] = operator.methodcaller("__call__")


def unexpected(item: object, death: Death) -> Any:
    raise AssertionError(f"{item!r} is said to have killed its worker")


def pid_after(mark: str, seconds: float) -> int:
    """Leave a file that tells the process id of the cluster's worker, be busy, and return it."""
    Path(mark, str(os.getppid())).touch()
    time.sleep(seconds)
    return os.getppid()


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@pytest.mark.parametrize(
    "name",
    ["dask://", "dask:///8786", "dask://host:port", "dask://host/path", "tcp://host:8786", "ray", "Local"],
)
def test_a_name_that_is_none(name: str) -> None:
    with pytest.raises(RequestError, match=r"executor .*expected .*dask://host:port"):
        executor_named(name)


def test_a_cluster_has_its_own_number_of_workers() -> None:
    with pytest.raises(RequestError, match="jobs go with the executor local"):
        executor_named("dask://127.0.0.1:8786", jobs=2)


def test_no_scheduler() -> None:
    address = f"dask://127.0.0.1:{free_port()}"
    begun = time.monotonic()
    with pytest.raises(Unavailable, match=f"^{address}: no scheduler answers") as raised:
        DaskExecutor(address, connect_s=1)
    assert time.monotonic() - begun < 10
    assert "\n" not in str(raised.value)


def test_no_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(SettingsError, match=r"pip install 'flameduck\[cluster\]'"):
        DaskExecutor("dask://127.0.0.1:8786")


def test_other_software(dask_cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    own = called.own_software()
    other = called.Software("2.7", "0.0.1")
    monkeypatch.setattr("flameduck.engine.execution.dask.own_software", lambda: other)
    with pytest.raises(
        Unavailable, match=f"the scheduler runs {own}, this is Python 2.7 and flameduck 0.0.1"
    ):
        DaskExecutor(dask_cluster.address)
    monkeypatch.setattr(DaskExecutor, "_check_software", lambda self: None)
    with (
        DaskExecutor(dask_cluster.address) as executor,
        pytest.raises(Unavailable, match=f"a worker of the cluster runs {own}, this is {other}"),
    ):
        list(executor.map(operator.neg, [1], unexpected))


def test_what_a_worker_cannot_unpack_is_told(dask_cluster: Cluster) -> None:
    class OfThisTest:
        def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
            return int, ("no number",)

    with DaskExecutor(dask_cluster.address) as executor:
        with pytest.raises(ValueError, match="no number"):
            list(executor.map(bool, [OfThisTest()], unexpected))
        assert list(executor.map(operator.neg, [1], unexpected)) == [-1]


def kill_marked(mark: Path) -> None:
    """Kill the first process that leaves its id."""
    while not (found := list(mark.iterdir())):
        time.sleep(0.05)
    os.kill(int(found[0].name), signal.SIGKILL)


@pytest.mark.nightly
def test_workers_come_and_go(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    mark.mkdir()
    items = [partial(pid_after, str(mark), 2), partial(int)]
    with cluster(tmp_path, workers=0) as few:
        with pytest.raises(Unavailable, match=f"{few.address}: the cluster has no worker, after 1 s"):
            DaskExecutor(few.address, connect_s=1)
        few.add_worker()
        few.add_worker()
        killer = threading.Thread(target=kill_marked, args=(mark,))
        killer.start()
        with DaskExecutor(few.address) as executor:
            found = list(executor.map(CALL, items, unexpected))
        killer.join()
        died, alive = sorted(few.workers, key=lambda worker: worker.pid == found[0])
        assert (died.wait(5), alive.poll(), found[1]) == (-signal.SIGKILL, None, 0)
        with DaskExecutor(few.address, connect_s=2) as executor:
            waiting = executor.map(CALL, [partial(time.sleep, 60)], unexpected)
            threading.Timer(1, alive.kill).start()
            with pytest.raises(
                Unavailable, match=f"{few.address}: no worker of the cluster is left, for 2 s"
            ):
                next(waiting)


@pytest.mark.nightly
def test_an_item_that_the_scheduler_gives_up(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    mark.mkdir()
    items = [partial(pid_after, str(mark), 60), partial(int)]
    lost: list[Death] = []

    def died(item: object, death: Death) -> int:
        lost.append(death)
        return -1

    environment = {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0"}
    with cluster(tmp_path, 2, environment) as strict, DaskExecutor(strict.address) as executor:
        killer = threading.Thread(target=kill_marked, args=(mark,))
        killer.start()
        assert list(executor.map(CALL, items, died)) == [-1, 0]
        killer.join()
    assert lost == [Death()]


NOISE = """
import logging, warnings, sys
from flameduck.engine.execution.dask import DaskExecutor
with DaskExecutor(sys.argv[1]) as executor:
    print(*executor.map(abs, [-1, 2], None))
    from distributed.versions import VersionMismatchWarning
    warnings.warn(VersionMismatchWarning("noise"))
    for name in ("distributed.client", "distributed.comm.tcp", "tornado.application"):
        logging.getLogger(name).error("noise")
"""


def test_dask_is_silent_unless_the_program_uses_it(dask_cluster: Cluster) -> None:
    for before, noisy in (("", False), ("import distributed", True)):
        command = [sys.executable, "-c", before + NOISE, dask_cluster.address]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        assert done.stdout == "1 2\n"
        assert ("noise" in done.stderr, done.stderr != "") == (noisy, noisy)


@pytest.mark.nightly
def test_a_client_that_is_killed_leaves_no_work_behind(dask_cluster: Cluster, tmp_path: Path) -> None:
    script = f"""
import time
from functools import partial
from tests.contracts.test_dask import CALL, pid_after, unexpected
from flameduck.engine.execution.dask import DaskExecutor
items = [partial(pid_after, {str(tmp_path)!r}, 3)] * 50
list(DaskExecutor({dask_cluster.address!r}).map(CALL, items, unexpected))
"""
    with subprocess.Popen([sys.executable, "-c", script], cwd=ROOT) as client:
        while not list(tmp_path.iterdir()):
            time.sleep(0.05)
        client.kill()
    deadline = time.monotonic() + 30
    while tasks_of(dask_cluster) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert tasks_of(dask_cluster) == 0
    with DaskExecutor(dask_cluster.address) as executor:
        assert list(executor.map(operator.neg, range(9), unexpected)) == [-n for n in range(9)]


def tasks_of(asked: Cluster) -> int:
    """How many tasks the scheduler knows."""
    address = asked.address.replace("dask", "tcp")
    with distributed.Client(address, set_as_default=False) as client:  # type: ignore[no-untyped-call]
        return int(client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks)))


def test_a_scheduler_that_goes_away(tmp_path: Path) -> None:
    with cluster(tmp_path, workers=1) as doomed, DaskExecutor(doomed.address) as executor:
        results = executor.map(CALL, [partial(int), partial(time.sleep, 60), partial(int)], unexpected)
        assert list(executor.map(CALL, [partial(int)], unexpected)) == [0]
        threading.Timer(1, doomed.scheduler.kill).start()
        begun = time.monotonic()
        with pytest.raises(Unavailable, match=f"^{doomed.address}: the cluster's scheduler is lost"):
            list(results)
        with pytest.raises(Unavailable, match=f"^{doomed.address}: "):
            list(executor.map(CALL, [partial(int)], unexpected))
        assert time.monotonic() - begun < 60


def test_tls(tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl here to make a certificate")
    chain, private = str(tmp_path / "chain.pem"), str(tmp_path / "key.pem")
    words = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=flameduck"
    alternative = ["-addext", "subjectAltName=IP:127.0.0.1"]
    made = [*words.split(), *alternative, "-out", chain, "-keyout", private]
    subprocess.run(made, check=True, capture_output=True)
    files = {"ca-file": chain}
    for role in ("scheduler", "worker", "client"):
        files |= {f"{role}.cert": chain, f"{role}.key": private}
    prefix = "distributed.comm.tls."
    environment = {
        f"DASK_{prefix}{name}".upper().replace(".", "__").replace("-", "_"): path
        for name, path in files.items()
    }
    with cluster(tmp_path, workers=1, environment=environment) as secret:
        assert secret.address.startswith("dask+tls://127.0.0.1:")
        with (
            dask.config.set({f"{prefix}{name}": path for name, path in files.items()}),
            DaskExecutor(secret.address, connect_s=30) as executor,
        ):
            assert list(executor.map(operator.neg, range(3), unexpected)) == [0, -1, -2]
        with pytest.raises(SettingsError, match=r"dask\+tls://.* needs certificates"):
            DaskExecutor(secret.address)
        with pytest.raises(Unavailable, match="no scheduler answers"):
            DaskExecutor(secret.address.replace("dask+tls", "dask"), connect_s=1)
