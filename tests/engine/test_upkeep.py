"""A catalog that was lost is rebuilt from the blocks; what nothing refers to is removed, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest
from ulid import ULID

from flameduck.engine.compaction.retention import Expired, Retention, plan_expiry
from flameduck.engine.storage.catalog import Catalog
from flameduck.engine.storage.objects import open_objects
from flameduck.engine.storage.objects_local import LocalObjects
from flameduck.engine.upkeep import Upkeep
from flameduck.schema.catalog import BlockEntry
from flameduck.schema.errors import StorageError
from tests.engine.compaction.made_blocks import merge_all, store_of
from tests.engine.ingest.made_profiles import answers, command, cpu_total, made_total, problems

HOUR_NS = 3600 * 10**9
BLOCKS = [[(number, number, "cart", False)] for number in range(4)]


def blocks_in(store: Path) -> set[str]:
    return {path.name for path in (store / "anonymous" / "blocks").iterdir()}


def swept(store: Path, older_ns: int = 0, act: bool = True) -> list[str]:
    return [one.block.ulid for one in Upkeep(str(store), "anonymous").sweep(older_ns, act) if not one.problem]


@pytest.mark.parametrize("damage", ["lost", "broken"])
def test_a_catalog_is_rebuilt(tmp_path: Path, damage: str) -> None:
    store = store_of(tmp_path, BLOCKS)
    merge_all(store)
    store_of(tmp_path, [[(9, 9, "cart", True)]])
    expected = answers(store)
    for path in (store / "anonymous" / "catalog").rglob("*.json"):
        if damage == "lost":
            path.unlink()
        else:
            path.write_bytes(path.read_bytes()[:-3])
    listed = Upkeep(str(store), "anonymous").reindex(act=False)
    assert sorted(bool(one.reason) for one in listed) == [False] * 2 + [True] * 4
    (merged,) = {one.reason for one in listed if one.reason}
    assert merged.startswith("merged into ")
    Upkeep(str(store), "anonymous").reindex(act=True)
    assert answers(store) == expected
    assert problems(store) == []


def test_blocks_that_are_not_whole_are_left_out(tmp_path: Path) -> None:
    store = store_of(tmp_path, BLOCKS)
    whole, no_meta, short, foreign = sorted((store / "anonymous" / "blocks").iterdir())
    (no_meta / "meta.json").unlink()
    samples = short / "samples.parquet"
    samples.write_bytes(samples.read_bytes()[:-1])
    (foreign / "meta.json").write_bytes((whole / "meta.json").read_bytes())
    (store / "anonymous" / "blocks" / "notes").mkdir()
    (store / "anonymous" / "blocks" / "notes" / "today.txt").write_text("no block")
    reasons = {one.ulid: one.reason for one in Upkeep(str(store), "anonymous").reindex(act=True)}
    assert reasons == {
        whole.name: "",
        no_meta.name: "it has no meta.json: it was not written to its end",
        short.name: f"samples.parquet has {samples.stat().st_size} bytes instead of {samples.stat().st_size + 1}",
        foreign.name: f"its meta.json is that of block {whole.name} of anonymous",
    }
    assert set(Catalog(open_objects(str(store)), "anonymous").load().blocks) == {whole.name}


def test_what_was_replaced_is_removed_when_nobody_reads_it_any_more(tmp_path: Path) -> None:
    store = store_of(tmp_path, BLOCKS)
    before = blocks_in(store)
    merge_all(store)
    expected = answers(store)
    # The blocks were begun a moment ago, and replaced a moment ago.
    assert swept(store, HOUR_NS) == []
    assert swept(store, act=False) == sorted(before)
    assert blocks_in(store) > before
    assert swept(store) == sorted(before)
    assert len(blocks_in(store)) == 1
    assert answers(store) == expected
    assert swept(store) == []


def test_an_old_block_that_was_replaced_lately_stays(tmp_path: Path) -> None:
    objects = open_objects(str(tmp_path))
    catalog = Catalog(objects, "anonymous")
    replaced, abandoned, live = (str(ULID.from_timestamp(1_700_000_000 + number)) for number in range(3))
    for ulid in (replaced, abandoned, live):
        objects.write(f"anonymous/blocks/{ulid}/samples.parquet", b"samples")
    catalog.commit([entry(replaced), entry(live)], [], "test")
    catalog.commit([], [replaced], "test")
    for number in range(40):
        catalog.commit([entry(f"other-{number}")], [], "test")
    assert swept(tmp_path, HOUR_NS) == [abandoned]
    assert swept(tmp_path) == [replaced]
    assert blocks_in(tmp_path) == {live}


def entry(ulid: str) -> BlockEntry:
    return BlockEntry(ulid, 0, 0, 0, 1, 1, 1)


def test_what_a_killed_writer_left_is_removed_with_its_temporary_files(tmp_path: Path) -> None:
    store = store_of(tmp_path, BLOCKS)
    blocks = store / "anonymous" / "blocks"
    whole = blocks_in(store)
    for name in (".0123456789abcdef.tmp", "samples.parquet"):
        half = blocks / str(ULID())
        half.mkdir()
        (half / name).write_text("half")
    (blocks / "notes").mkdir()
    (blocks / "notes" / "today.txt").write_text("no block")
    assert len(swept(store)) == 2
    assert blocks_in(store) == whole | {"notes"}
    assert problems(store) == []


NOW_NS = 1000


def aged(ulid: str, max_ts: int, size_bytes: int = 10) -> BlockEntry:
    return BlockEntry(ulid, 0, 0, max_ts, 1, 1, size_bytes)


@pytest.mark.parametrize(
    ("retention", "expired"),
    [
        (Retention(), ""),
        (Retention(max_age_ns=2000), ""),
        (Retention(max_age_ns=900), ""),
        (Retention(max_age_ns=899), "A age"),
        (Retention(max_age_ns=700), "A age B age"),
        (Retention(max_age_ns=1), "A age B age C age"),
        (Retention(max_bytes=60), ""),
        (Retention(max_bytes=59), "A size"),
        (Retention(max_bytes=50), "A size"),
        (Retention(max_bytes=49), "A size B size"),
        (Retention(max_bytes=1), "A size B size C size"),
        (Retention(max_age_ns=800, max_bytes=40), "A age B size"),
        (Retention(max_age_ns=700, max_bytes=1000), "A age B age"),
    ],
)
def test_which_blocks_expire(retention: Retention, expired: str) -> None:
    """A goes first, then B, then C."""
    entries = [aged("C", 998, 30), aged("A", 100, 10), aged("B", 200, 20)]
    found = plan_expiry(entries, retention, NOW_NS)
    assert " ".join(f"{one.entry.ulid} {one.rule}" for one in found) == expired


def test_blocks_expire_at_once_and_are_removed_later(tmp_path: Path) -> None:
    store = store_of(tmp_path, BLOCKS, HOUR_NS)
    oldest = min(
        Catalog(open_objects(str(store)), "anonymous").load().blocks.values(), key=lambda one: one.max_ts
    )
    kept = (
        sum(one.size_bytes for one in Catalog(open_objects(str(store)), "anonymous").load().blocks.values())
        - 1
    )
    words = ("blocks", "expire", "--store", store, "--keep-bytes", str(kept), "-f", "json")
    asked = command(*words)
    assert "nothing was given up" in asked.stderr
    assert [row["ulid"] for row in json.loads(asked.stdout)] == [oldest.ulid]
    assert cpu_total(store) == made_total(range(4))
    assert [row["rule"] for row in json.loads(command(*words, "--yes").stdout)] == ["size"]
    assert cpu_total(store) == made_total(range(1, 4))
    assert len(blocks_in(store)) == 4
    assert swept(store, HOUR_NS) == []
    assert swept(store) == [oldest.ulid]
    gone = command("blocks", "expire", "--store", store, "--older", "1d", "--yes")
    assert gone.stdout.count(" age") == 3
    assert command("blocks", "expire", "--store", store).returncode == 2


def test_what_is_merged_meanwhile_expires_as_what_it_became(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = store_of(tmp_path, BLOCKS)
    calls: list[int] = []

    def merged_meanwhile(
        entries: Iterable[BlockEntry], retention: Retention, now_ns: int
    ) -> Sequence[Expired]:
        planned = plan_expiry(entries, retention, now_ns)
        if not calls:
            merge_all(store)
        calls.append(len(planned))
        return planned

    monkeypatch.setattr("flameduck.engine.upkeep.plan_expiry", merged_meanwhile)
    (expired,) = Upkeep(str(store), "anonymous").expire(Retention(max_age_ns=1), act=True)
    assert calls == [4, 1]
    assert expired.entry.profiles == 2 * 4
    assert not Catalog(open_objects(str(store)), "anonymous").load().blocks


def test_what_cannot_be_removed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = store_of(tmp_path, BLOCKS)
    merge_all(store)

    def fail(*_: object) -> None:
        raise StorageError("not allowed")

    monkeypatch.setattr(LocalObjects, "delete", fail)
    removed = list(Upkeep(str(store), "anonymous").sweep(0, act=True))
    assert [one.problem for one in removed] == ["not allowed"] * 4


def test_the_commands(tmp_path: Path) -> None:
    store = store_of(tmp_path, BLOCKS)
    merge_all(store)
    rows = json.loads(command("blocks", "sweep", "--store", store, "--older", "0s", "-f", "json").stdout)
    assert [row["removed"] for row in rows] == [False] * 4
    done = command("blocks", "sweep", "--store", store, "--older", "0s", "--yes")
    assert done.stdout.count("removed") == 4
    shown = command("blocks", "reindex", "--store", store)
    assert ("live" in shown.stdout, "nothing was changed" in shown.stderr) == (True, True)
    version = Catalog(open_objects(str(store)), "anonymous").load().version
    (row,) = json.loads(command("blocks", "reindex", "--store", store, "--yes", "-f", "json").stdout)
    assert (row["live"], row["reason"]) == (True, "")
    assert Catalog(open_objects(str(store)), "anonymous").load().version == version + 1
