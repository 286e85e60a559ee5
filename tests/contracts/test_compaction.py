"""Compaction, verification, sweep and reindex on every kind of store."""

from __future__ import annotations

import json
import time

import pytest
import xxhash

import flameduck
from flameduck.engine.compaction.compact import compact
from flameduck.engine.compaction.levels import HOUR_NS, LevelPolicy
from flameduck.engine.embedded import StoreDatabase
from flameduck.engine.storage.block_directories import find_blocks
from flameduck.engine.storage.objects import Objects
from flameduck.engine.upkeep import Upkeep
from tests.engine.compaction.deleting import Wanted, begin, finish
from tests.engine.compaction.made_blocks import Made, put_blocks
from tests.engine.ingest.made_profiles import START_NS, answers, problems

STEP_NS = HOUR_NS // 2
EVERY: list[Made] = [
    (number, number, ("cart", "checkout")[number % 2], number % 3 == 0) for number in range(12)
]
WANTED = Wanted("cart", "pod-1")


@pytest.fixture(autouse=True)
def no_cache_of_others(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setenv("FLAMEDUCK_CACHE_DIRECTORY", str(tmp_path_factory.mktemp("cache")))


def compact_all(url: str) -> int:
    """How many jobs were done."""
    with flameduck.open(url) as db:
        assert isinstance(db.database, StoreDatabase)
        done = list(compact(db.database.blocks, LevelPolicy()))
    assert all(one.made is not None and not one.problems for one in done)
    return len(done)


def test_from_many_blocks_to_one(objects: Objects, url: str) -> None:
    put_blocks(objects, [EVERY[start::4] for start in range(4)] + [EVERY[3:9]], STEP_NS)
    expected = answers(url, START_NS)
    assert compact_all(url) == 1
    assert answers(url, START_NS) == expected
    assert problems(url) == []
    assert len(find_blocks(objects, "anonymous")) == 6
    upkeep = Upkeep(url, "anonymous")
    assert list(upkeep.sweep(HOUR_NS, act=True)) == []
    assert [one.problem for one in upkeep.sweep(-(10**9), act=True)] == [""] * 5
    assert len(find_blocks(objects, "anonymous")) == 1
    assert answers(url, START_NS) == expected
    for info in objects.list("anonymous/catalog"):
        objects.delete(info.path)
    assert [one.reason for one in Upkeep(url, "anonymous").reindex(act=True)] == [""]
    assert answers(url, START_NS) == expected
    assert compact_all(url) == 0


def test_a_block_whose_bytes_changed_is_told_whatever_caches_hold(objects: Objects, url: str) -> None:
    put_blocks(objects, [EVERY])
    answers(url, START_NS)
    assert problems(url) == []
    (path,) = [
        info.path for info in objects.list("anonymous/blocks") if info.path.endswith("/stacks.parquet")
    ]
    data = bytearray(objects.read(path))
    data[len(data) // 2] ^= 1
    objects.write(path, bytes(data))
    assert problems(url) == ["stacks.parquet: checksum differs"]
    objects.delete(path)
    (problem,) = problems(url)
    assert "stacks.parquet" in problem


def test_a_clock_that_is_behind_removes_nothing(
    objects: Objects, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_blocks(objects, [EVERY[:6], EVERY[6:]])
    compact_all(url)
    past_ns = time.time_ns() - HOUR_NS
    monkeypatch.setattr("flameduck.engine.upkeep.time.time_ns", lambda: past_ns)
    assert list(Upkeep(url, "anonymous").sweep(0, act=True)) == []


def test_deletion_with_its_manifest(objects: Objects, url: str) -> None:
    put_blocks(objects, [EVERY[start::3] for start in range(3)] + [[EVERY[4], EVERY[10]]], STEP_NS)
    kept = [made for made in EVERY if not WANTED.covers(made)]
    begin(url, WANTED)
    expected = answers(url, START_NS)
    assert len(expected["profiles"]) == 2 * len(kept)  # type: ignore[arg-type]
    assert not [one.problem for one in finish(url) if one.problem]
    assert (answers(url, START_NS), problems(url)) == (expected, [])
    names = [info.path for info in objects.list("anonymous/deletions")]
    (path,) = [name for name in names if name.count("/") == 2]
    manifest = json.loads(objects.read(path))
    assert (manifest["state"], manifest["removed"]["profiles"]) == ("done", 2 * (len(EVERY) - len(kept) + 2))
    for change in manifest["changes"]:
        for block in [*change["old"], *([change["new"]] if change["new"] else [])]:
            for name, file in block["files"].items():
                data = objects.read(f"anonymous/blocks/{block['ulid']}/{name}")
                assert xxhash.xxh3_128_hexdigest(data) == file["checksum"]
    compact_all(url)
    assert answers(url, START_NS) == expected
