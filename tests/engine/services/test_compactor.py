"""The compactor's schedule and its book, with runners that do as a test wants."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from flameduck.engine.block_set import BlockSet
from flameduck.engine.compaction.levels import HOUR_NS
from flameduck.engine.services import compactor as module
from flameduck.engine.services.compactor import Compactor, CompactorBounds, CompactorParts
from flameduck.engine.services.job import Amount, JobOrder, Step
from flameduck.engine.services.metrics import Metrics
from flameduck.engine.services.server import Server
from flameduck.engine.settings import ServerSettings, Settings
from flameduck.engine.storage.cache import block_locator
from flameduck.engine.storage.catalog import Catalog
from flameduck.engine.storage.objects import open_objects
from flameduck.engine.storage.objects_protocol import Objects
from flameduck.engine.storage.tenants import tenants_of
from flameduck.schema.errors import StorageError, Unavailable
from tests.engine.compaction.made_blocks import put_blocks
from tests.engine.services.jobs import until

TENANT = "anonymous"
HOURLY = [[(number, number, "cart", False)] for number in range(4)]
ALWAYS = CompactorBounds(every_s=0, levels_every_s=0.001, grace_s=0)


class Runner:
    """Does what a test says, and remembers what it was told."""

    pid = 7

    def __init__(self, work: Callable[[JobOrder], Iterator[Step]]) -> None:
        self._work = work
        self.orders: list[JobOrder] = []
        self.rests = 0
        self.stops = 0

    def run(self, order: JobOrder) -> Iterator[Step]:
        self.orders.append(order)
        yield from self._work(order)

    def rest(self) -> None:
        self.rests += 1

    def stop(self) -> None:
        self.stops += 1


@pytest.fixture
def objects() -> Objects:
    stored = open_objects(f"memory://{uuid4().hex}")
    put_blocks(stored, HOURLY, HOUR_NS)
    return stored


def compactor(
    objects: Objects, runner: Runner, bounds: CompactorBounds = ALWAYS, metrics: Metrics | None = None
) -> Compactor:
    locate = block_locator(objects, Settings().block_cache, 1 << 20)

    def blocks_of(tenant: str) -> BlockSet:
        return BlockSet(objects, Catalog(objects, tenant), tenant, locate, Settings())

    parts = CompactorParts(tenants=lambda: tenants_of(objects), store=objects.url, runner=runner)
    return Compactor(blocks_of, bounds, metrics or Metrics(), parts)


def run_once(role: Compactor) -> None:
    """One round, with a look that is due."""
    time.sleep(0.002)
    role.run_once()


def nothing(_: JobOrder) -> Iterator[Step]:
    yield from ()


def test_a_look_finds_what_there_is_to_do(objects: Objects) -> None:
    runner = Runner(nothing)
    role = compactor(objects, runner)
    run_once(role)
    assert {(order.tenant, order.kind, order.store) for order in runner.orders} == {
        (TENANT, "compact", objects.url)
    }
    assert runner.rests == 1


def test_a_bug_is_logged_and_the_job_waits(objects: Objects, caplog: pytest.LogCaptureFixture) -> None:
    def fail(_: JobOrder) -> Iterator[Step]:
        yield Step(Amount(2, 2, 2, 2), Amount(1, 2, 2, 2))
        raise ZeroDivisionError("by zero")

    metrics = Metrics()
    role = compactor(objects, Runner(fail), metrics=metrics)
    run_once(role)
    (job,) = role.book.listed(None, lambda job: job)
    assert (job.state, job.attempts, job.error) == ("queued", 1, "ZeroDivisionError, see the log")
    assert "ZeroDivisionError: by zero" in caplog.text
    assert b'flameduck_jobs_total{kind="compact",outcome="failed"} 1.0' in metrics.exposition()
    run_once(role)
    assert job.attempts == 1


def test_blocks_that_do_not_hold_are_left_out_of_what_follows(objects: Objects) -> None:
    broken, *sound = sorted(Catalog(objects, TENANT).load().blocks)

    def find(order: JobOrder) -> Iterator[Step]:
        if len(runner.orders) == 1:
            yield Step(Amount(), problems={broken: "is spoilt"})

    runner = Runner(find)
    role = compactor(objects, runner)
    run_once(role)
    assert role.left_alone(None) == {broken: (TENANT, "is spoilt")}
    assert role.left_alone("other") == {}
    run_once(role)
    assert [dict(order.left_alone) for order in runner.orders][-1] == {broken: "is spoilt"}
    # What leaves the catalog is forgotten.
    Catalog(objects, TENANT).commit([], [broken], "test")
    run_once(role)
    assert role.left_alone(None) == {}
    assert len(sound) == 3


def test_a_job_whose_turn_is_over_goes_on_later(objects: Objects, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TURN_S", 0)
    left = [3]

    def some(_: JobOrder) -> Iterator[Step]:
        if left[0]:
            left[0] -= 1
            yield Step(Amount(2), Amount(1))

    runner = Runner(some)
    role = compactor(objects, runner, CompactorBounds(every_s=0))
    job, is_new = role.request(TENANT)
    assert job is not None
    assert is_new
    role.run_once()
    assert len(runner.orders) == 4
    assert (job.state, job.attempts, job.before.blocks, job.after.blocks) == ("done", 1, 6, 3)


def test_tenants_that_cannot_be_listed_are_told(objects: Objects, caplog: pytest.LogCaptureFixture) -> None:
    def away() -> list[str]:
        raise StorageError("the store is away")

    role = Compactor(lambda _: pytest.fail("not asked"), ALWAYS, Metrics(), CompactorParts(tenants=away))
    run_once(role)
    assert "the tenants of the store are not known: the store is away" in caplog.text


def test_a_job_that_is_broken_off_by_a_stop_has_not_failed(
    objects: Objects, caplog: pytest.LogCaptureFixture
) -> None:
    begun: list[JobOrder] = []

    def wait(order: JobOrder) -> Iterator[Step]:
        begun.append(order)
        until(lambda: runner.stops)
        raise Unavailable("the server stops")
        yield

    runner = Runner(wait)
    role = compactor(objects, runner)
    role.start()
    until(lambda: begun)
    role.stop()
    (job,) = role.book.listed(None, lambda job: job)
    assert (job.state, job.error) == ("queued", "")
    assert "not compacted" not in caplog.text


def test_a_store_in_memory_is_looked_after_by_the_process_itself(tmp_path: Path) -> None:
    url = f"memory://{uuid4().hex}"
    put_blocks(open_objects(url), HOURLY, HOUR_NS)
    settings = ServerSettings(data_dir=str(tmp_path), compaction_every_s=1, merge_every_s=0)
    server = Server(url, Settings(), settings)
    server.start("http://127.0.0.1:1")
    try:
        until(lambda: len(Catalog(open_objects(url), TENANT).load().blocks) == 1)
    finally:
        server.stop()
