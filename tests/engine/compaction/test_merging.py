"""Merging of small blocks: which are chosen, what a loser of a race and a damaged block cost."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Sequence
from pathlib import Path

import pytest

import flameduck
from flameduck.engine.block_set import BlockSet
from flameduck.engine.compaction.plan import MergePolicy, plan_merges
from flameduck.engine.compaction.run import merge_small_blocks
from flameduck.engine.embedded import StoreDatabase
from flameduck.engine.execution.inline import InlineExecutor
from flameduck.engine.ingest.run import ingest
from flameduck.engine.settings import Settings
from flameduck.engine.storage.catalog import Catalog
from flameduck.engine.storage.catalog_change import Change
from flameduck.schema.catalog import BlockEntry, CatalogState
from flameduck.schema.request import DEFAULT_INGEST
from tests.engine.ingest.made_profiles import cpu_total, made_total, made_upload, problems

POLICY = MergePolicy(enough=3, small_bytes=100, max_samples=10, max_bytes=250)


def entry(ulid: str, samples: int = 1, size_bytes: int = 1, min_ts: int = 0) -> BlockEntry:
    return BlockEntry(ulid, 1, min_ts, min_ts, 1, samples, size_bytes)


@pytest.mark.parametrize(
    ("entries", "jobs"),
    [
        ([], []),
        ([entry("A"), entry("B")], []),
        ([entry("A", min_ts=3), entry("B", min_ts=1), entry("C", min_ts=2)], ["BCA"]),
        ([entry("A"), entry("B"), entry("C", size_bytes=100)], []),
        ([entry("A"), entry("B"), entry("C", samples=10)], []),
        ([entry("A", 3), entry("B", 3), entry("C", 4), entry("D", 3), entry("E", 3)], ["ABC"]),
        ([entry(name, 3) for name in "ABCDEF"], ["ABC", "DEF"]),
        ([entry(name, size_bytes=80) for name in "ABCDEF"], ["ABC", "DEF"]),
    ],
)
def test_which_blocks_are_merged(entries: Sequence[BlockEntry], jobs: list[str]) -> None:
    assert ["".join(job.ulids) for job in plan_merges(entries, POLICY)] == jobs


class Contested(Catalog):
    """A catalog in which another process merges whenever this one is about to."""

    rival: BlockSet | None = None

    def commit_change(self, change: Change) -> CatalogState:
        if self.rival is not None and change.removed:
            merge_small_blocks(self.rival, MergePolicy(enough=2))
        done = super().commit_change(change)
        if self.rival is not None:
            merge_small_blocks(self.rival, MergePolicy(enough=2))
        return done


def block_set(store: Path, catalog: type[Catalog] = Catalog) -> BlockSet:
    with flameduck.open(store) as db:
        assert isinstance(db.database, StoreDatabase)
        blocks = db.database.blocks
        return BlockSet(
            blocks.objects, catalog(blocks.objects, "anonymous"), "anonymous", blocks._locate, Settings()
        )


def fill(store: Path, numbers: Sequence[int]) -> None:
    with flameduck.open(store) as db:
        for number in numbers:
            assert db.ingest(made_upload(number)).new == 1


def test_a_rival_that_merges_first_costs_nothing(tmp_path: Path) -> None:
    """Also not when what this process has just written is merged away before it looks again."""
    fill(tmp_path, range(7))
    contested = block_set(tmp_path, Contested)
    assert isinstance(contested.catalog, Contested)
    contested.catalog.rival = block_set(tmp_path)
    report = ingest(contested, map(made_upload, range(5, 9)), InlineExecutor(), DEFAULT_INGEST)
    assert (report.new, report.known, report.refused, report.warnings) == (2, 2, (), ())
    merge_small_blocks(contested, MergePolicy(enough=1))
    assert cpu_total(tmp_path) == made_total(range(9))
    assert problems(tmp_path) == []
    assert len(contested.live_blocks()) == 1


def test_blocks_that_were_merged_away_hold_no_memory(tmp_path: Path) -> None:
    fill(tmp_path, range(4))
    blocks = block_set(tmp_path)
    before = [weakref.ref(block) for block in blocks.live_blocks()]
    assert len(before) > 1
    assert all(block() is not None for block in before)
    merge_small_blocks(blocks, MergePolicy(enough=2))
    assert len(blocks.live_blocks()) == 1
    gc.collect()
    assert all(block() is None for block in before)


def test_a_merge_that_fails_is_a_warning(tmp_path: Path) -> None:
    """What was ingested is stored whatever becomes of the merge after it; nothing is removed."""
    fill(tmp_path, range(7))
    damaged = sorted((tmp_path / "anonymous" / "blocks").glob("*/samples.parquet"))[3]
    damaged.write_bytes(damaged.read_bytes()[:-20])
    with flameduck.open(tmp_path) as db:
        report = db.ingest(made_upload(7))
        assert (report.new, report.refused) == (1, ())
        assert len(report.warnings) == 1
        assert report.warnings[0].startswith("small blocks were not merged: block ")
        assert len(db.blocks()) == 8
        assert db.ingest(made_upload(7)).known == 1


def test_a_merge_keeps_the_copies_out(tmp_path: Path) -> None:
    """Two stores' worth of the same profiles, in one catalog: answers count them once, and so does the merge."""
    first, second = block_set(tmp_path), block_set(tmp_path)
    stale = second.state()
    ingest(first, map(made_upload, range(4)), InlineExecutor(), DEFAULT_INGEST)

    class Blind(BlockSet):
        def live_blocks(self) -> list:  # type: ignore[type-arg]
            return list(self.blocks(stale, None, None).values())

    blind = Blind(second.objects, second.catalog, "anonymous", second._locate, Settings())
    assert ingest(blind, map(made_upload, range(2, 6)), InlineExecutor(), DEFAULT_INGEST).new == 4
    assert cpu_total(tmp_path) == made_total(range(6))
    merge_small_blocks(first, MergePolicy(enough=2))
    (merged,) = first.live_blocks()
    assert merged.meta.profiles == 2 * 6
    assert cpu_total(tmp_path) == made_total(range(6))
