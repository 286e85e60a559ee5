"""Stores that hold what they should not: each step says what is wrong, loses nothing, and comes to its end."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ulid import ULID

import flameduck
from flameduck.engine.compaction.compact import Compacted, compact
from flameduck.engine.compaction.levels import HOUR_NS, LevelPolicy
from flameduck.engine.compaction.retention import Retention
from flameduck.engine.embedded import StoreDatabase
from flameduck.engine.storage.catalog import Catalog
from flameduck.engine.storage.objects import ObjectInfo, open_objects
from flameduck.engine.upkeep import Upkeep
from flameduck.schema.errors import CorruptBlock, FlameduckError, StorageError
from tests.engine.compaction.made_blocks import Made, store_of
from tests.engine.ingest.made_profiles import START_NS, answers, command, problems
from tests.engine.storage.faulty_objects import FaultyObjects

pytestmark = pytest.mark.timeout(300)

STEP_NS = HOUR_NS
BLOCKS: list[list[Made]] = [[(number, number, "cart", False)] for number in range(4)]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return store_of(tmp_path / "store", BLOCKS, STEP_NS)


def blocks_of(store: Path) -> list[Path]:
    """The directories with names of blocks, in the order in which they were made."""
    return sorted(path for path in (store / "anonymous" / "blocks").iterdir() if len(path.name) == 26)


def compacted(store: Path) -> list[Compacted]:
    with flameduck.open(store) as db:
        assert isinstance(db.database, StoreDatabase)
        return list(compact(db.database.blocks, LevelPolicy()))


def change_meta(block: Path, **changes: Any) -> None:
    path = block / "meta.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_foreign_files_are_ignored_and_stay(store: Path) -> None:
    expected = answers(store, START_NS)
    live = blocks_of(store)[0]
    checkpoint = store / "anonymous" / "catalog" / "checkpoint"
    places = [
        store / "readme.md",
        store / "anonymous" / "photo.jpg",
        store / "anonymous" / "blocks" / "notes.txt",
        store / "anonymous" / "blocks" / "old" / "meta.json",
        store / "anonymous" / "blocks" / str(ULID()).lower() / "meta.json",
        store / "anonymous" / "catalog" / "99999999999999999999999.txt",
        store / "anonymous" / "catalog" / "9.json",
        store / "anonymous" / "catalog" / "00000000000000000002.json.bak",
        checkpoint / "00000000000000000001.parquet.old",
        checkpoint / "zzz.parquet",
        store / "anonymous" / "quarantine" / "why.json",
        live / "notes.txt",
    ]
    for place in places:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(b"not ours")
    assert answers(store, START_NS) == expected
    assert [len(one.problems) for one in compacted(store)] == [0]
    catalog = Catalog(open_objects(str(store)), "anonymous")
    for _ in range(70):
        catalog.commit([], [], "nothing")
        catalog.commit([catalog.load().blocks[next(iter(catalog.load().blocks))]], [], "again")
    upkeep = Upkeep(str(store), "anonymous")
    assert [one.problem for one in upkeep.sweep(0, act=True)] == [""] * 4
    upkeep.reindex(act=True)
    assert Catalog(open_objects(str(store)), "anonymous").load().version == 73
    assert upkeep.expire(Retention(max_bytes=1 << 40), act=True) == []
    assert answers(store, START_NS) == expected
    assert problems(store) == []
    # What lay within the directory of a block that was swept went with it.
    assert [place for place in places if not place.exists()] == [live / "notes.txt"]


def test_half_uploaded_blocks_are_not_seen(store: Path) -> None:
    expected = answers(store, START_NS)
    first, second = blocks_of(store)[:2]
    for lacking in ("meta.json", "samples.parquet"):
        half = store / "anonymous" / "blocks" / str(ULID())
        shutil.copytree(first, half)
        (half / lacking).unlink()
    change_meta(half, ulid=half.name)
    assert answers(store, START_NS) == expected
    reasons = [one.reason for one in Upkeep(str(store), "anonymous").reindex(act=True) if one.reason]
    assert sorted(reasons) == [
        "it has no meta.json: it was not written to its end",
        "samples.parquet is not there",
    ]
    assert answers(store, START_NS) == expected
    assert len(list(Upkeep(str(store), "anonymous").sweep(-HOUR_NS, act=True))) == 2
    assert second in blocks_of(store)
    assert len(blocks_of(store)) == 4


def of_another_tenant(block: Path, _: Path) -> str:
    change_meta(block, tenant="acme")
    return f"its meta.json is that of block {block.name} of acme"


def of_another_block(block: Path, other: Path) -> str:
    (block / "meta.json").write_bytes((other / "meta.json").read_bytes())
    return f"its meta.json is that of block {other.name} of anonymous"


def not_json(block: Path, _: Path) -> str:
    (block / "meta.json").write_bytes(b"\x00")
    return "not a block's meta.json"


def of_a_later_format(block: Path, _: Path) -> str:
    change_meta(block, version=99)
    return "format version 99 is newer than"


def with_texts_for_numbers(block: Path, _: Path) -> str:
    change_meta(block, profiles="many")
    return "profiles is 'many'"


def with_a_path_for_a_file(block: Path, _: Path) -> str:
    files = json.loads((block / "meta.json").read_text())["files"]
    change_meta(block, files=files | {"../../../secret": files["samples.parquet"]})
    return r"file '../../../secret'"


def lying_about_sizes(block: Path, _: Path) -> str:
    files = json.loads((block / "meta.json").read_text())["files"]
    files["profiles.parquet"]["size_bytes"] += 7
    change_meta(block, files=files)
    size = files["profiles.parquet"]["size_bytes"]
    return f"profiles.parquet.* {size - 7} bytes instead of {size}"


def lying_about_rows(block: Path, _: Path) -> str:
    (part,) = json.loads((block / "meta.json").read_text())["parts"]
    change_meta(block, profiles=9, parts=[part | {"profiles": [0, 9]}])
    return "profiles.* 9"


LIES: list[Callable[[Path, Path], str]] = [
    of_another_tenant,
    of_another_block,
    not_json,
    of_a_later_format,
    with_texts_for_numbers,
    with_a_path_for_a_file,
    lying_about_sizes,
    lying_about_rows,
]


@pytest.mark.parametrize("lie", LIES)
def test_a_meta_that_lies_is_told_by_every_step(store: Path, lie: Callable[[Path, Path], str]) -> None:
    damaged, other = blocks_of(store)[1], blocks_of(store)[2]
    told = lie(damaged, other)
    with flameduck.open(store) as db:
        with pytest.raises(CorruptBlock, match=told) as raised:
            db.profiles(type="cpu")
        assert damaged.name in str(raised.value)
        assert "\n" not in str(raised.value)
        # The other blocks answer, and all are listed.
        assert db.flamegraph(type="cpu", start=START_NS + 2 * STEP_NS).total > 0
        assert len(db.blocks()) == 4
    verified = command("blocks", "verify", "--store", store, "--format", "json")
    assert verified.returncode == 1
    assert [row["ulid"] for row in json.loads(verified.stdout) if not row["holds"]] == [damaged.name]
    assert "Traceback" not in verified.stderr
    done = compacted(store)
    assert [len(one.problems) for one in done] == [1, 0]
    assert damaged.name in done[0].problems
    assert compacted(store) == []
    upkeep = Upkeep(str(store), "anonymous")
    list(upkeep.sweep(0, act=True))
    assert damaged in blocks_of(store)
    upkeep.reindex(act=False)
    assert len(upkeep.expire(Retention(max_age_ns=1), act=True)) == 2


def test_a_block_without_its_files_is_told(store: Path) -> None:
    damaged = blocks_of(store)[1]
    (damaged / "stacks.parquet").unlink()
    assert [len(one.problems) for one in compacted(store)] == [1, 0]
    with flameduck.open(store) as db, pytest.raises(CorruptBlock, match=r"stacks\.parquet"):
        db.flamegraph(type="cpu")
    reasons = {one.ulid: one.reason for one in Upkeep(str(store), "anonymous").reindex(act=False)}
    assert reasons[damaged.name] == "stacks.parquet is not there"


def watched(store: Path, monkeypatch: pytest.MonkeyPatch) -> FaultyObjects:
    """The objects that `Upkeep` works with."""
    objects = FaultyObjects(open_objects(str(store)))
    monkeypatch.setattr("flameduck.engine.upkeep.open_objects", lambda _: objects)
    return objects


def deny(*operations: str) -> Callable[[str, str], None]:
    def before(operation: str, path: str) -> None:
        if operation in operations:
            raise StorageError(f"{path}: Access Denied")

    return before


def test_without_the_right_to_delete_a_sweep_says_so_and_ends(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compacted(store)
    expected = answers(store, START_NS)
    objects = watched(store, monkeypatch)
    objects.before = deny("delete")
    removed = list(Upkeep("", "anonymous").sweep(0, act=True))
    assert len(removed) == 4
    assert all("Access Denied" in one.problem for one in removed)
    assert len(blocks_of(store)) == 5
    assert answers(store, START_NS) == expected


def test_without_the_right_to_write_nothing_changes(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = answers(store, START_NS)
    objects = watched(store, monkeypatch)
    objects.before = deny("write", "create", "put_file")
    upkeep = Upkeep("", "anonymous")
    steps: list[Callable[[], object]] = [
        lambda: upkeep.expire(Retention(max_age_ns=1), act=True),
        lambda: upkeep.reindex(act=True),
    ]
    for step in steps:
        with pytest.raises(StorageError, match="Access Denied"):
            step()
    with flameduck.open(store) as db:
        assert isinstance(db.database, StoreDatabase)
        db.database.blocks.objects = objects
        with pytest.raises(StorageError, match="Access Denied"):
            list(compact(db.database.blocks, LevelPolicy()))
    assert answers(store, START_NS) == expected
    assert len(Catalog(open_objects(str(store)), "anonymous").load().blocks) == 4


def lists(objects: FaultyObjects, shown: Callable[[list[ObjectInfo]], list[ObjectInfo]]) -> None:
    """Make a store list something else than the blocks that there are."""
    whole = objects.list

    def listing(prefix: str) -> list[ObjectInfo]:
        return shown(whole(prefix)) if prefix.endswith("/blocks") else whole(prefix)

    objects.list = listing  # type: ignore[method-assign]


def test_a_listing_that_lacks_what_is_new_loses_nothing(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = answers(store, START_NS)
    newest = blocks_of(store)[-1].name
    objects = watched(store, monkeypatch)
    lists(objects, lambda infos: [info for info in infos if newest not in info.path])
    upkeep = Upkeep("", "anonymous")
    assert [one.reason for one in upkeep.reindex(act=True)] == [""] * 4
    assert list(upkeep.sweep(-HOUR_NS, act=True)) == []
    assert answers(store, START_NS) == expected


def test_a_listing_that_shows_what_is_gone_does_no_harm(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compacted(store)
    expected = answers(store, START_NS)
    before = open_objects(str(store)).list("anonymous/blocks")
    list(Upkeep(str(store), "anonymous").sweep(0, act=True))
    objects = watched(store, monkeypatch)
    lists(objects, lambda infos: before)
    upkeep = Upkeep("", "anonymous")
    assert [one.problem for one in upkeep.sweep(0, act=True)] == [""] * 4
    assert [bool(one.reason) for one in upkeep.reindex(act=True)].count(False) == 1
    assert answers(store, START_NS) == expected


def test_a_sweep_does_not_go_by_a_catalog_with_a_hole(store: Path) -> None:
    """An entry that is not shown may have removed a block a moment ago, which is being read."""
    objects = open_objects(str(store))
    catalog = Catalog(objects, "anonymous")
    state = catalog.load()
    for _ in range(70):
        state = catalog.commit([next(iter(state.blocks.values()))], [], "again")
    (store / "anonymous" / "catalog" / f"{state.version - 3:020d}.json").unlink()
    (store / "anonymous" / "blocks" / str(ULID.from_timestamp(1_700_000_000))).mkdir()
    with pytest.raises(CorruptBlock, match=f"{state.version - 3:020d}.json: is not there"):
        catalog.removed_since(0)


@pytest.mark.parametrize("text", ["{}", "[]", "null", '{"added":[{"ulid":7}],"removed":[],"version":1}'])
def test_an_entry_that_is_none_is_told(store: Path, text: str) -> None:
    (store / "anonymous" / "catalog" / "00000000000000000002.json").write_text(text)
    for step in (
        lambda: answers(store, START_NS),
        lambda: compacted(store),
        lambda: list(Upkeep(str(store), "anonymous").sweep(0, act=True)),
        lambda: Upkeep(str(store), "anonymous").expire(Retention(max_age_ns=1), act=True),
    ):
        with pytest.raises(FlameduckError, match=r"00000000000000000002\.json: not a catalog entry"):
            step()
    Upkeep(str(store), "anonymous").reindex(act=True)
    assert len(blocks_of(store)) == 4
    assert problems(store) == []
