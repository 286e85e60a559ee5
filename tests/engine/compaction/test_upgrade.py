"""Blocks of version 1 are read as they are, and become blocks of the newest version with the same answers."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

import flameduck
from flameduck.engine.compaction.upgrade import old_blocks, upgrade
from flameduck.engine.embedded import StoreDatabase
from flameduck.engine.storage.catalog import Catalog
from flameduck.engine.storage.objects import open_objects
from flameduck.schema.block import BlockMeta
from flameduck.schema.tables import FORMAT_VERSION
from tests.engine.compaction.made_blocks import Made, store_of
from tests.engine.ingest.made_profiles import COMMAND, START_NS, answers, command, problems, write_profiles

EVERY: list[Made] = [(number, number, ("cart", "checkout")[number % 2], False) for number in range(12)]


def make_old(store: Path) -> None:
    """Say that the blocks are of version 1, which had nothing that they have not."""
    for path in store.glob("anonymous/blocks/*/meta.json"):
        fields = json.loads(path.read_bytes())
        assert fields.pop("rollups") == []
        path.write_text(json.dumps(fields | {"version": 1}))


def old_store(folder: Path, blocks: int = 3, level: int = 0) -> Path:
    """A store of version 1: blocks of level 0, and one of level 1 with many profiles a bucket."""
    store_of(folder / "store", [EVERY[start::blocks] for start in range(blocks)])
    if level:
        with flameduck.open(folder / "store") as db:
            db.ingest(str(write_profiles(folder / "files", range(20, 220))), labels={"service_name": "many"})
    make_old(folder / "store")
    return folder / "store"


def metas(store: Path) -> list[BlockMeta]:
    with flameduck.open(store) as db:
        assert isinstance(db.database, StoreDatabase)
        return [block.meta for block in db.database.blocks.live_blocks()]


def test_blocks_become_those_of_the_newest_version(tmp_path: Path) -> None:
    store = old_store(tmp_path, level=1)
    before = metas(store)
    assert {meta.version for meta in before} == {1}
    expected = answers(store, START_NS)
    assert problems(store) == []
    shown = command("blocks", "upgrade", "--store", store)
    assert shown.returncode == 0
    assert shown.stdout.count("to be rewritten") == 4
    assert "nothing was rewritten: --yes does it" in shown.stderr
    assert metas(store) == before
    done = command("blocks", "upgrade", "--yes", "--store", store, "--format", "json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    after = metas(store)
    assert sorted(row["became"] for row in rows) == sorted(meta.ulid for meta in after)
    assert {(row["version"], row["became_version"], row["problem"]) for row in rows} == {
        (1, FORMAT_VERSION, "")
    }
    assert [(meta.level, meta.profiles, meta.samples) for meta in after] == [
        (meta.level, meta.profiles, meta.samples) for meta in before
    ]
    assert [bool(meta.rollups) for meta in after] == [meta.level > 0 for meta in after]
    assert any(meta.rollups for meta in after)
    assert answers(store, START_NS) == expected
    assert problems(store) == []
    assert "version" in command("blocks", "upgrade", "--store", store).stdout
    assert json.loads(command("blocks", "upgrade", "--store", store, "--format", "json").stdout) == []


def test_a_block_that_does_not_hold_is_told_and_the_others_are_rewritten(tmp_path: Path) -> None:
    store = old_store(tmp_path)
    damaged = sorted(store.glob("anonymous/blocks/*/samples.parquet"))[1]
    damaged.write_bytes(damaged.read_bytes()[:-20])
    done = command("blocks", "upgrade", "--yes", "--store", store, "--format", "json")
    assert done.returncode == 1
    rows = {row["ulid"]: row for row in json.loads(done.stdout)}
    assert [ulid for ulid, row in rows.items() if row["problem"]] == [damaged.parent.name]
    assert "samples.parquet" in rows[damaged.parent.name]["problem"]
    assert sorted(meta.version for meta in metas(store)) == [1, FORMAT_VERSION, FORMAT_VERSION]


def test_a_block_that_another_process_replaced_is_left_to_it(tmp_path: Path) -> None:
    store = old_store(tmp_path)
    with flameduck.open(store) as db, flameduck.open(store) as other:
        assert isinstance(db.database, StoreDatabase)
        assert isinstance(other.database, StoreDatabase)
        old = old_blocks(db.database.blocks)
        list(upgrade(other.database.blocks, old[:1]))
        done = list(upgrade(db.database.blocks, old))
    assert [(one.made is None, one.problem) for one in done] == [(True, ""), (False, ""), (False, "")]
    assert len(metas(store)) == 3
    assert problems(store) == []


@pytest.mark.parametrize("kills", [1, pytest.param(20, marks=pytest.mark.nightly)])
def test_killed_at_any_moment_each_block_is_the_old_or_the_new_one(tmp_path: Path, kills: int) -> None:
    store = old_store(tmp_path, blocks=6)
    expected = answers(store, START_NS)
    chance = random.Random(kills)
    started_s = time.monotonic()
    command("blocks", "upgrade", "--store", store)
    start_s = time.monotonic() - started_s
    for _ in range(kills):
        process = subprocess.Popen(
            [*COMMAND, "blocks", "upgrade", "--yes", "--store", str(store)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(start_s * chance.uniform(0.5, 1.6))
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert answers(store, START_NS) == expected
        assert problems(store) == []
    assert command("blocks", "upgrade", "--yes", "--store", store).returncode == 0
    assert {meta.version for meta in metas(store)} == {FORMAT_VERSION}
    assert answers(store, START_NS) == expected
    commits = Catalog(open_objects(str(store)), "anonymous").load().version
    # One commit made the blocks, and each was replaced by one.
    assert commits == 1 + 6


def test_a_newer_version_is_refused_by_name(tmp_path: Path) -> None:
    store = store_of(tmp_path, [EVERY])
    (path,) = store.glob("anonymous/blocks/*/meta.json")
    path.write_text(json.dumps(json.loads(path.read_bytes()) | {"version": FORMAT_VERSION + 1}))
    failed = command("blocks", "upgrade", "--store", store)
    assert failed.returncode != 0
    assert f"format version {FORMAT_VERSION + 1} is newer than {FORMAT_VERSION}" in failed.stderr
