"""What happens when the network fails, and when a store lags or answers wrongly: nothing lost, nothing twice.

`test_objects.py` and the others here run behind the same proxy at night, in full.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

import flameduck
from flameduck.engine.compaction.compact import compact
from flameduck.engine.compaction.levels import HOUR_NS, LevelPolicy
from flameduck.engine.compaction.retention import Retention
from flameduck.engine.embedded import StoreDatabase
from flameduck.engine.storage.catalog import Catalog
from flameduck.engine.storage.objects import open_objects
from flameduck.engine.upkeep import Upkeep
from flameduck.schema.catalog import BlockEntry
from flameduck.schema.errors import (
    CorruptBlock,
    ObjectExists,
    ObjectMissing,
    StorageError,
    Unavailable,
)
from tests.contracts.test_compaction import EVERY, STEP_NS
from tests.engine.compaction.made_blocks import put_blocks
from tests.engine.ingest.made_profiles import START_NS, answers, made_total, made_upload, problems
from tests.fault_proxy import LAGGING, NETWORK, FaultProxy, Faults

pytestmark = pytest.mark.timeout(600)

FEW = replace(NETWORK, slow_down=0.01, server_error=0.01, lost_request=0.01)
"""Fewer of those that cost time alone: the client waits before it asks again."""


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("FLAMEDUCK_CACHE_DIRECTORY", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def faults() -> Faults:
    return FEW


def entry(ulid: str) -> BlockEntry:
    return BlockEntry(ulid, level=0, min_ts=0, max_ts=9, profiles=1, samples=1, size_bytes=1)


def commit_all(url: str, threads: int, turns: int) -> None:
    """Each thread with a catalog of its own; each commit replaces the thread's block."""

    def work(number: int) -> None:
        catalog = Catalog(open_objects(url), "acme")
        for turn in range(turns):
            catalog.commit([entry(f"{number}-{turn}")], [f"{number}-{turn - 1}"] if turn else [], "test")

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, range(threads)))


def test_each_commit_is_made_once_though_answers_are_lost(faulty_url: str, fault_proxy: FaultProxy) -> None:
    fault_proxy.faults = Faults(lost_create=0.4)
    commit_all(faulty_url, threads=3, turns=5)
    assert fault_proxy.happened["lost_create"] >= 3
    state = Catalog(open_objects(faulty_url), "acme").load()
    assert (state.version, set(state.blocks)) == (15, {f"{number}-4" for number in range(3)})


def test_each_commit_is_made_once_though_the_store_lags_too(faulty_url: str, fault_proxy: FaultProxy) -> None:
    fault_proxy.faults = Faults(lost_create=0.4, late=0.7, lag_s=0.5)
    commit_all(faulty_url, threads=2, turns=5)
    assert fault_proxy.happened["late"] > 0
    fault_proxy.faults = Faults()
    state = Catalog(open_objects(faulty_url), "acme").load()
    assert (state.version, set(state.blocks)) == (10, {"0-4", "1-4"})


def test_an_exclusive_create_whose_answer_is_lost_has_one_winner(
    faulty_url: str, fault_proxy: FaultProxy
) -> None:
    fault_proxy.faults = Faults(lost_create=0.5, lost_request=0.1)
    objects = open_objects(faulty_url)

    def attempt(number: int) -> bool:
        try:
            objects.create(f"race/{turn}", b"%d" % number)
        except ObjectExists:
            return False
        return True

    with ThreadPoolExecutor(4) as threads:
        for turn in range(4):
            winners = [number for number, won in enumerate(threads.map(attempt, range(4))) if won]
            assert len(winners) <= 1
            there = objects.read(f"race/{turn}")
            assert not winners or there == b"%d" % winners[0]


def test_a_large_file_arrives_though_parts_and_answers_are_lost(
    faulty_url: str, fault_proxy: FaultProxy, tmp_path: Path
) -> None:
    fault_proxy.faults = Faults(lost_part=0.08, torn_upload=0.1, lost_answer=0.05, torn_download=0.1)
    source = tmp_path / "source"
    data = os.urandom(1 << 20) * 40
    source.write_bytes(data)
    objects = open_objects(faulty_url)
    for number in range(4):
        objects.put_file(f"a/{number}", str(source))
        assert objects.read(f"a/{number}") == data


def test_when_parts_are_lost_every_time_it_is_said(
    faulty_url: str, fault_proxy: FaultProxy, tmp_path: Path
) -> None:
    fault_proxy.faults = Faults(lost_part=1)
    source = tmp_path / "source"
    source.write_bytes(bytes(40 << 20))
    with pytest.raises(Unavailable, match="a/large: parts of it do not arrive"):
        open_objects(faulty_url).put_file("a/large", str(source))
    with pytest.raises(ObjectMissing):
        open_objects(faulty_url).size("a/large")


@pytest.mark.parametrize(
    "rates",
    [FEW, pytest.param(LAGGING, marks=pytest.mark.nightly), pytest.param(NETWORK, marks=pytest.mark.nightly)],
)
def test_from_uploads_to_one_block(faulty_url: str, fault_proxy: FaultProxy, rates: Faults) -> None:
    """What was stored is there, once, whatever is asked again and whatever comes late."""
    fault_proxy.faults = rates
    numbers = list(range(12))
    for group in (numbers[:8], numbers[4:], numbers):
        again(lambda group=group: ingest(faulty_url, group))
    again(lambda: compact_all(faulty_url))
    fault_proxy.faults = Faults()
    time.sleep(rates.lag_s)
    assert fault_proxy.happened["requests"] > 50
    with flameduck.open(faulty_url) as db:
        totals = sorted(row["total"] for row in db.profiles(type="cpu").to_dicts())
        assert db.flamegraph(type="cpu").total == made_total(numbers)
    assert totals == sorted(made_total([number]) for number in numbers)
    assert problems(faulty_url) == []
    list(Upkeep(faulty_url, "anonymous").sweep(-HOUR_NS, act=True))
    assert problems(faulty_url) == []


def again(work: object, attempts: int = 10) -> None:
    """Do what a scheduler does: begin again what ended with an error that says so."""
    assert callable(work)
    for attempt in range(attempts):
        try:
            work()
            return
        except (Unavailable, ObjectMissing):
            assert attempt < attempts - 1
            time.sleep(0.2)


def ingest(url: str, numbers: Sequence[int]) -> None:
    with flameduck.open(url) as db:
        report = db.ingest([made_upload(number) for number in numbers])
    assert report.refused == ()


def compact_all(url: str) -> None:
    with flameduck.open(url) as db:
        assert isinstance(db.database, StoreDatabase)
        done = list(compact(db.database.blocks, LevelPolicy()))
    if any(one.problems for one in done):
        raise Unavailable(str([one.problems for one in done]))


def test_bytes_of_another_object_are_not_believed(
    faulty_url: str, fault_proxy: FaultProxy, own_cache: Path
) -> None:
    """Every answer is right or an error, and what is cached is what was written."""
    fault_proxy.faults = Faults()
    put_blocks(open_objects(faulty_url), [EVERY[start::3] for start in range(3)], STEP_NS)
    expected = answers(faulty_url, START_NS)
    for file in own_cache.rglob("*.*"):
        file.unlink()
    fault_proxy.faults = Faults(wrong_body=0.2)
    for _ in range(6):
        # One that is shorter than what was asked for looks like an answer that broke off.
        with suppress(CorruptBlock, Unavailable):
            assert answers(faulty_url, START_NS) == expected
    assert fault_proxy.happened["wrong_body"] > 3
    fault_proxy.faults = Faults()
    assert answers(faulty_url, START_NS) == expected


def test_a_cache_stays_bounded_and_right_behind_a_store_that_fails(
    faulty_url: str, fault_proxy: FaultProxy, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault_proxy.faults = Faults()
    put_blocks(open_objects(faulty_url), [EVERY[start::3] for start in range(3)], STEP_NS)
    expected = answers(faulty_url, START_NS)
    sizes = sorted((file.stat().st_size, file) for file in own_cache.rglob("whole.*"))
    monkeypatch.setenv("FLAMEDUCK_CACHE_BYTES", str(1 << 20))
    fault_proxy.faults = replace(FEW, torn_download=0.1, wrong_body=0.05)
    for (_, file), damage in zip(sizes[-4:], (b"", b"short", bytes(50_000), b"x"), strict=True):
        file.write_bytes(damage)
    assert again_answers(faulty_url) == expected
    assert sum(file.stat().st_size for file in own_cache.rglob("*.*")) <= 1 << 20
    assert list(own_cache.rglob("*.tmp")) == []


def test_what_may_not_be_done_is_said_at_once(faulty_url: str, fault_proxy: FaultProxy) -> None:
    fault_proxy.faults = Faults()
    put_blocks(open_objects(faulty_url), [EVERY[start::2] for start in range(2)], STEP_NS)
    expected = answers(faulty_url, START_NS)
    fault_proxy.faults = Faults(denied=frozenset({"PUT", "POST"}))
    with pytest.raises(StorageError, match=r"s3://.*Access ?Denied"):
        compact_all(faulty_url)
    with pytest.raises(StorageError, match=r"s3://.*Access ?Denied"):
        Upkeep(faulty_url, "anonymous").expire(Retention(max_age_ns=1), act=True)
    fault_proxy.faults = Faults()
    assert answers(faulty_url, START_NS) == expected
    compact_all(faulty_url)
    fault_proxy.faults = Faults(denied=frozenset({"DELETE"}))
    removed = list(Upkeep(faulty_url, "anonymous").sweep(-HOUR_NS, act=True))
    assert ["AccessDenied" in one.problem.replace(" ", "") for one in removed] == [True] * 2
    assert answers(faulty_url, START_NS) == expected


def again_answers(url: str) -> object:
    for _ in range(10):
        with suppress(Unavailable, StorageError):
            return answers(url, START_NS)
    return None
