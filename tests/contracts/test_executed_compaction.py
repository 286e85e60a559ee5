"""Compaction by the workers of an executor: what comes of it is what comes of it in one process."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import distributed
import pytest

import flameduck
from flameduck.engine.block_set import BlockSet
from flameduck.engine.compaction.compact import Compacted, PlannedJob, compact
from flameduck.engine.compaction.executed import OnExecutor
from flameduck.engine.compaction.levels import HOUR_NS, LevelPolicy
from flameduck.engine.compaction.plan import MergeJob
from flameduck.engine.embedded import StoreDatabase
from flameduck.engine.execution import Executor
from flameduck.engine.execution.inline import InlineExecutor
from flameduck.engine.execution.named import executor_named
from flameduck.engine.settings import load_settings
from flameduck.engine.storage.block_directories import find_blocks
from flameduck.engine.storage.objects import open_objects
from flameduck.engine.store_place import StorePlace, place_of
from flameduck.engine.upkeep import Upkeep
from flameduck.schema.catalog import CatalogState
from flameduck.schema.errors import RequestError, Unavailable
from tests.clusters import WORKERS, Cluster, cluster
from tests.engine.compaction.made_blocks import Made, put_blocks
from tests.engine.ingest.made_profiles import START_NS, answers, command, problems
from tests.servers import S3Server

pytestmark = pytest.mark.usefixtures("workers_know_tests")

PROFILES = 8
STEP_NS = HOUR_NS // PROFILES
KILLS = 8
EACH_HOUR = LevelPolicy(smallest_bytes=0)
"""Even small blocks are not joined beyond their hour: several jobs a round."""


@pytest.fixture(autouse=True)
def no_cache_of_others(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setenv("FLAMEDUCK_CACHE_DIRECTORY", str(tmp_path_factory.mktemp("cache")))


def blocks_of(hours: int, of_hour: int = 2) -> list[list[Made]]:
    """Some blocks of each hour, which share its profiles; the first of these is in all of them."""
    blocks = []
    for first in range(0, hours * PROFILES, PROFILES):
        every: list[Made] = [
            (number, number, ("cart", "checkout")[number % 2], number % 3 == 0)
            for number in range(first, first + PROFILES)
        ]
        blocks += [[every[0], *every[1 + start :: of_hour]] for start in range(of_hour)]
    return blocks


@contextmanager
def opened(url: str) -> Iterator[BlockSet]:
    with flameduck.open(url) as db:
        assert isinstance(db.database, StoreDatabase)
        yield db.database.blocks


def compact_by(executor: Executor, url: str) -> list[Compacted]:
    return compact_at(executor, url, place_of(url, "anonymous", load_settings(), executor))


def compact_at(executor: Executor, url: str, place: StorePlace) -> list[Compacted]:
    with opened(url) as blocks:
        return list(compact(blocks, EACH_HOUR, run_jobs=OnExecutor(executor, place)))


def compact_here(url: str) -> list[Compacted]:
    with opened(url) as blocks:
        return list(compact(blocks, EACH_HOUR))


def facts(done: Sequence[Compacted]) -> list[Any]:
    """What was made, but for its name."""
    return sorted(
        (one.level, len(one.inputs), one.made and (one.made.profiles, one.made.samples, one.made.min_ts))
        for one in done
    )


@pytest.mark.parametrize("name", ["local", "dask"])
def test_what_is_made_is_what_one_process_makes(
    name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    address = "local" if name == "local" else request.getfixturevalue("dask_cluster").address
    stores = [str(tmp_path / "here"), str(tmp_path / "there")]
    for store in stores:
        put_blocks(open_objects(store), blocks_of(4), STEP_NS)
    expected = answers(stores[0], START_NS)
    here = compact_here(stores[0])
    with executor_named(address) as executor:
        there = compact_by(executor, stores[1])
        assert compact_by(executor, stores[1]) == []
    assert facts(there) == facts(here)
    assert [one.level for one in here] == [1, 1, 1, 1, 2]
    assert answers(stores[1], START_NS) == answers(stores[0], START_NS) == expected
    assert problems(stores[1]) == []


def test_a_block_that_does_not_hold_is_told_and_left(tmp_path: Path) -> None:
    store = str(tmp_path)
    put_blocks(open_objects(store), blocks_of(4), STEP_NS)
    path = min(tmp_path.glob("*/blocks/*/samples.parquet"))
    path.write_bytes(path.read_bytes()[:-100])
    with executor_named("local", 2) as executor:
        done = compact_by(executor, store)
    (told,) = [f"block {ulid}: {reason}" for one in done for ulid, reason in one.problems.items()]
    assert path.parent.name in told
    assert any(one.made for one in done)


def test_a_store_that_workers_cannot_see(dask_cluster: Cluster, tmp_path: Path) -> None:
    with executor_named(dask_cluster.address) as executor:
        with pytest.raises(RequestError, match="memory of this process"):
            place_of("memory://here", "anonymous", load_settings(), executor)
        put_blocks(open_objects(str(tmp_path / "store")), blocks_of(1), STEP_NS)
        elsewhere = StorePlace(str(tmp_path / "other"), "anonymous")
        with pytest.raises(
            Unavailable, match=r"other: no such directory on .*need a store that all of them share"
        ):
            compact_at(executor, str(tmp_path / "store"), elsewhere)


@dataclass(frozen=True)
class KillingPlace(StorePlace):
    """A place whose jobs kill the process that is at them."""

    def blocks(self) -> BlockSet:
        os.kill(os.getpid(), signal.SIGKILL)
        return super().blocks()


def test_a_job_that_kills_its_workers_is_told_and_not_run_again(tmp_path: Path) -> None:
    put_blocks(open_objects(str(tmp_path)), blocks_of(1), STEP_NS)
    with executor_named("local", 1) as executor:
        done = compact_at(executor, str(tmp_path), KillingPlace(str(tmp_path), "anonymous"))
    assert [one.made for one in done] == [None] * len(done)
    assert all("died, each time it was tried" in problem for one in done for problem in one.problems.values())
    assert {ulid for one in done for ulid in one.problems} == {
        one.name for one in tmp_path.glob("*/blocks/*")
    }


@dataclass(frozen=True)
class MarkingPlace(StorePlace):
    """A place whose first job leaves the process id of its cluster's worker, `when` it has come so far, and waits."""

    when: str = ""
    mark: str = ""

    def blocks(self) -> BlockSet:
        blocks = super().blocks()
        if self.when == "begun":
            self._pause()
        else:
            commit = blocks.catalog.commit_change

            def late_commit(*what: Any, **how: Any) -> CatalogState:
                self._pause()
                return commit(*what, **how)

            blocks.catalog.commit_change = late_commit  # type: ignore[method-assign]
        return blocks

    def _pause(self) -> None:
        try:
            os.link(self._own_mark(), self.mark)
        except FileExistsError:
            return
        time.sleep(60)

    def _own_mark(self) -> str:
        own = f"{self.mark}.{uuid4().hex}"
        Path(own).write_text(str(os.getppid()))
        return own


def kill_marked(mark: Path) -> None:
    """Kill the process that leaves its id."""
    while not mark.exists():
        time.sleep(0.02)
    os.kill(int(mark.read_text()), signal.SIGKILL)


@pytest.mark.parametrize(
    ("kind", "when"),
    [
        pytest.param("file", "begun", marks=pytest.mark.nightly),
        pytest.param("file", "written", marks=pytest.mark.nightly),
        ("s3", "written"),
        pytest.param("s3", "begun", marks=pytest.mark.nightly),
    ],
)
def test_a_worker_is_killed_in_the_middle_of_a_job(
    kind: str, when: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue("s3_url") if kind == "s3" else str(tmp_path / "store")
    server: dict[str, str] = (
        S3Server.environment(request.getfixturevalue("s3_server")) if kind == "s3" else {}
    )
    here = str(tmp_path / "here")
    for store in (url, here):
        put_blocks(open_objects(store), blocks_of(3), STEP_NS)
    mark = tmp_path / "mark"
    with cluster(tmp_path, environment=server) as three, executor_named(three.address) as executor:
        killer = threading.Thread(target=kill_marked, args=(mark,))
        killer.start()
        there = compact_at(executor, url, MarkingPlace(url, "anonymous", None, when, str(mark)))
        killer.join()
        assert [worker.poll() for worker in three.workers].count(-signal.SIGKILL) == 1
    assert facts(there) == facts(compact_here(here))
    assert_same_and_swept(url, here)


def assert_same_and_swept(url: str, here: str) -> None:
    """Nothing lost, nothing doubled, and after a sweep nothing that the catalog does not name."""
    assert answers(url, START_NS) == answers(here, START_NS)
    assert problems(url) == []
    swept = list(Upkeep(url, "anonymous").sweep(-(10**9), act=True))
    assert [one.problem for one in swept] == [""] * len(swept)
    with opened(url) as blocks:
        live = set(blocks.state().blocks)
    assert {found.ulid for found in find_blocks(open_objects(url), "anonymous")} == live
    assert answers(url, START_NS) == answers(here, START_NS)


@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_workers_are_killed_again_and_again(s3_url: str, s3_server: S3Server, tmp_path: Path) -> None:
    here = str(tmp_path / "here")
    for store in (s3_url, here):
        put_blocks(open_objects(store), blocks_of(24, 3), STEP_NS)
    over = threading.Event()

    def kill_and_replace(three: Cluster) -> None:
        address = three.address.replace("dask", "tcp")
        with distributed.Client(address, set_as_default=False) as client:  # type: ignore[no-untyped-call]
            while not over.wait(1) and len(three.workers) < WORKERS + KILLS:
                if len(client.nthreads()) == WORKERS:
                    three.workers[-WORKERS].kill()
                    three.add_worker()

    environment = {**s3_server.environment(), "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "100"}
    with cluster(tmp_path, environment=environment) as three, executor_named(three.address) as executor:
        killer = threading.Thread(target=partial(kill_and_replace, three))
        killer.start()
        try:
            there = compact_by(executor, s3_url)
        finally:
            over.set()
            killer.join()
        assert len(three.workers) > WORKERS + 2
    # A job that was committed by a worker which died before it could say so has made nothing the second time.
    assert len(there) == len(compact_here(here))
    assert_same_and_swept(s3_url, here)


def test_the_largest_job_is_begun_first(tmp_path: Path) -> None:
    blocks = blocks_of(3)
    put_blocks(open_objects(str(tmp_path)), [blocks[0][:2], *blocks[1:]], STEP_NS)
    with InlineExecutor() as executor:
        done = compact_by(executor, str(tmp_path))
    sizes = [sum(entry.size_bytes for entry in one.inputs) for one in done if one.level == 1]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > sizes[-1]


def test_a_job_that_was_done_already_changes_nothing(tmp_path: Path) -> None:
    store = str(tmp_path)
    put_blocks(open_objects(store), blocks_of(1), STEP_NS)
    with opened(store) as blocks:
        live = blocks.state().blocks
    again = PlannedJob(MergeJob(tuple(live), 1), list(live.values()), "compact")
    compact_here(store)
    before = answers(store, START_NS)
    with executor_named("local", 1) as executor:
        run = OnExecutor(executor, place_of(store, "anonymous", load_settings(), executor))
        assert [one.made for one in run([again])] == [None]
    assert answers(store, START_NS) == before
    assert problems(store) == []


def test_a_store_that_is_made_anew_in_the_same_place(tmp_path: Path) -> None:
    store = tmp_path / "store"
    with executor_named("local", 1) as executor:
        for _ in range(2):
            put_blocks(open_objects(str(store)), blocks_of(2), STEP_NS)
            assert [one.level for one in compact_by(executor, str(store))] == [1, 1, 2]
            shutil.rmtree(store)


def test_jobs_that_are_always_lost_come_to_an_end(tmp_path: Path) -> None:
    put_blocks(open_objects(str(tmp_path)), blocks_of(2), STEP_NS)

    def never(jobs: Sequence[PlannedJob]) -> Iterator[Compacted]:
        return (Compacted(one.job.level, one.inputs, None, 0.0) for one in jobs)

    with opened(str(tmp_path)) as blocks:
        done = list(compact(blocks, EACH_HOUR, run_jobs=never))
    told = [one for one in done if one.problems]
    assert len(done) == 6
    assert len(told) == 2
    for one in told:
        assert one.problems.keys() == {entry.ulid for entry in one.inputs}
        assert all("and yet in the catalog" in problem for problem in one.problems.values())


def test_the_command_line(tmp_path: Path, dask_cluster: Cluster) -> None:
    expected: list[Any] = []
    for number, words in enumerate(
        ([], ["--jobs", "2"], ["--executor", "local"], ["--executor", dask_cluster.address])
    ):
        store = str(tmp_path / str(number))
        put_blocks(open_objects(store), blocks_of(2), STEP_NS)
        done = command("compact", "--store", store, "--format", "json", *words)
        assert (done.returncode, done.stderr) == (0, "")
        made = [
            (row["level"], row["blocks"], row["profiles"], row["samples"]) for row in json.loads(done.stdout)
        ]
        expected = expected or made
        assert made == expected != []
        assert problems(store) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--executor", "ray://host"], "executor 'ray://host': expected local, dask://host:port"),
        (["--executor", "dask://host:1", "--jobs", "2"], "dask://host:1 has its own number of workers"),
    ],
)
def test_what_the_command_line_refuses(tmp_path: Path, words: list[str], message: str) -> None:
    put_blocks(open_objects(str(tmp_path)), blocks_of(1), STEP_NS)
    done = command("compact", "--store", tmp_path, *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
