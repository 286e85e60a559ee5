"""A deletion that is interrupted, or raced: its tombstone stays in force, nothing else is lost, nothing comes back."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
import xxhash

import flameduck
from flameduck.engine.block_set import BlockSet
from flameduck.engine.compaction.deletion import Deletions
from flameduck.engine.compaction.plan import MergeJob
from flameduck.engine.compaction.run import replace_blocks
from flameduck.engine.embedded import StoreDatabase
from flameduck.engine.settings import Settings
from flameduck.engine.storage.catalog import Catalog
from flameduck.engine.storage.catalog_change import Change
from flameduck.engine.storage.objects import Objects, open_objects
from flameduck.engine.upkeep import Upkeep
from flameduck.schema.catalog import CatalogState
from flameduck.schema.errors import CommitConflict, StorageError
from tests.engine.compaction.deleting import Wanted, begin, compact_all, finish, put
from tests.engine.compaction.made_blocks import Made
from tests.engine.ingest.made_profiles import COMMAND, answers, command, problems
from tests.engine.storage.faulty_objects import FaultyObjects

SEED = 20_261_128
EVERY: list[Made] = [
    (number, number % 8, ("cart", "checkout")[number % 2], number % 3 == 0) for number in range(18)
]
BLOCKS = [EVERY[:6], EVERY[4:12], EVERY[12:], [EVERY[0], EVERY[6]]]
"""The last one goes as a whole."""
WANTED = Wanted("cart", "pod-0")


class Killed(BaseException):
    """What nobody catches."""


def filled(store: Path) -> Path:
    for block in BLOCKS:
        put(store, block)
    return store


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> tuple[Mapping[str, object], Mapping[str, object]]:
    """Answers before and after."""
    before = filled(tmp_path_factory.mktemp("before"))
    after = tmp_path_factory.mktemp("after")
    for block in BLOCKS[:-1]:
        put(after, [made for made in block if not WANTED.covers(made)])
    return answers(before), answers(after)


@contextmanager
def block_set(
    store: Path, objects: Objects | None = None, catalog: type[Catalog] = Catalog
) -> Iterator[BlockSet]:
    with flameduck.open(store) as db:
        assert isinstance(db.database, StoreDatabase)
        blocks = db.database.blocks
        objects = objects or blocks.objects
        yield BlockSet(objects, catalog(objects, "anonymous"), "anonymous", blocks._locate, Settings())


def in_force(store: Path) -> int:
    return len(Catalog(open_objects(str(store)), "anonymous").load().tombstones)


def delete_until(store: Path, step: int, after: bool) -> bool:
    """Delete, and be killed before or after the change number `step` to the store; whether that came."""
    objects = FaultyObjects(open_objects(str(store)))
    left = [step]

    def fault(operation: str, path: str) -> None:
        if operation not in ("read", "list", "size"):
            left[0] -= 1
            if left[0] < 0:
                raise Killed

    setattr(objects, "after" if after else "before", fault)
    try:
        with block_set(store, objects) as blocks:
            deletions = Deletions(blocks)
            deletions.begin(WANTED.tombstone())
            assert not [one.problem for one in deletions.finish() if one.problem]
    except Killed:
        return True
    return False


@pytest.mark.parametrize("after", [False, True])
def test_killed_at_every_step(
    tmp_path: Path, expected: tuple[Mapping[str, object], Mapping[str, object]], after: bool
) -> None:
    before_answers, after_answers = expected
    # The first steps are where the commit is; of the many files of blocks every seventh must do.
    step, came = 0, True
    while came:
        store = filled(tmp_path / str(step))
        came = delete_until(store, step, after)
        state = Catalog(open_objects(str(store)), "anonymous").load()
        is_begun = bool(state.tombstones or state.spent)
        assert answers(store) == (after_answers if is_begun else before_answers), step
        if not is_begun:
            begin(store, WANTED)
        if step % 2:
            compact_all(store)
        finish(store)
        assert in_force(store) == 0
        assert answers(store) == after_answers, step
        assert problems(store) == []
        check_manifests(store)
        step += 1 if step < 3 else 7


def check_manifests(store: Path) -> None:
    """What manifests say of blocks is what their files are, and what they took out is what is missing."""
    removed: Counter[str] = Counter()
    missing: dict[str, int] = {}
    for path in (store / "anonymous" / "deletions").glob("*.json"):
        manifest = json.loads(path.read_text())
        assert manifest["state"] == "done"
        assert manifest["changes"]
        for change in manifest["changes"]:
            removed[change["commit"]] += change["removed"]["profiles"]
            made = [change["new"]] if change["new"] else []
            if len(change["old"]) == 1:
                # Of several, copies go as well.
                missing[change["commit"]] = change["old"][0]["profiles"] - sum(
                    new["profiles"] for new in made
                )
            for block in [*change["old"], *made]:
                for name, file in block["files"].items():
                    data = (store / "anonymous" / "blocks" / block["ulid"] / name).read_bytes()
                    assert len(data) == file["size_bytes"]
                    assert xxhash.xxh3_128_hexdigest(data) == file["checksum"]
        assert manifest["removed"]["profiles"] == sum(
            one["removed"]["profiles"] for one in manifest["changes"]
        )
    assert {commit: removed[commit] for commit in missing} == missing


def start(store: Path, *words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*COMMAND, *words, "--store", str(store)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, "FLAMEDUCK_TEMP_DIRECTORY": str(store / "spill")},
    )


DELETE = ("delete", "-q", '{service_name="cart",pod="pod-0"}', "--yes")


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "kills", [3, pytest.param(100, marks=[pytest.mark.nightly, pytest.mark.timeout(3600)])]
)
def test_kill_at_random_moments(
    tmp_path: Path, expected: tuple[Mapping[str, object], Mapping[str, object]], kills: int
) -> None:
    chance = random.Random(SEED)
    before_answers, after_answers = expected
    begun_s = time.monotonic()
    finished(start(filled(tmp_path / "measured"), *DELETE))
    duration_s = time.monotonic() - begun_s
    stores, killed, is_begun = 0, 0, False
    store = filled(tmp_path / "0")
    while killed < kills:
        process = start(store, *(("delete", "--resume") if is_begun else DELETE))
        try:
            # The first third is spent on starting Python.
            process.wait((0.3 + 0.7 * chance.random()) * duration_s)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
        process.communicate()
        killed += process.returncode == -signal.SIGKILL
        found = answers(store)
        assert found == after_answers or (not is_begun and found == before_answers)
        is_begun = found == after_answers
        assert problems(store) == []
        if is_begun and not in_force(store):
            finish(store)
            check_manifests(store)
            stores += 1
            store, is_begun = filled(tmp_path / str(stores)), False
    finished(start(store, *(("delete", "--resume") if is_begun else DELETE)))
    assert answers(store) == after_answers
    swept = command("blocks", "sweep", "--store", store, "--older", "0s", "--yes")
    assert swept.returncode == 0, swept.stderr
    live = Catalog(open_objects(str(store)), "anonymous").load().blocks
    assert {path.name for path in (store / "anonymous" / "blocks").iterdir()} == set(live)
    assert answers(store) == after_answers


def finished(process: subprocess.Popen[bytes]) -> None:
    _, errors = process.communicate()
    assert process.returncode == 0, errors.decode()


class Deleting(Catalog):
    """A catalog in which another process deletes whenever this one is about to replace blocks."""

    rivals: tuple[Wanted, ...] = ()
    store = Path()
    carried_out = False

    def commit_change(self, change: Change) -> CatalogState:
        if change.removed and self.rivals:
            (wanted,), self.rivals = self.rivals, ()
            begin(self.store, wanted)
            if self.carried_out:
                finish(self.store)
        return super().commit_change(change)


@pytest.mark.parametrize("carried_out", [False, True])
def test_a_merge_that_was_planned_before_gives_nothing_back(
    tmp_path: Path, expected: tuple[Mapping[str, object], Mapping[str, object]], carried_out: bool
) -> None:
    store = filled(tmp_path)
    with block_set(store, catalog=Deleting) as blocks:
        assert isinstance(blocks.catalog, Deleting)
        blocks.catalog.rivals, blocks.catalog.store = (WANTED,), store
        blocks.catalog.carried_out = carried_out
        job = MergeJob(tuple(blocks.state().blocks))
        if carried_out:
            with pytest.raises(CommitConflict):
                replace_blocks(blocks, job, "compact")
        else:
            assert replace_blocks(blocks, job, "compact") is not None
    assert answers(store) == expected[1]
    finish(store)
    assert answers(store) == expected[1]
    assert problems(store) == []


def test_blocks_that_come_late_from_before_are_seen_through_the_tombstone(
    tmp_path: Path, expected: tuple[Mapping[str, object], Mapping[str, object]]
) -> None:
    """As of a long ingest, or of a server that was down: also when the tombstone had been dropped."""
    put(tmp_path, BLOCKS[0])
    version = Catalog(open_objects(str(tmp_path)), "anonymous").load().version
    begin(tmp_path, WANTED)
    finish(tmp_path)
    assert in_force(tmp_path) == 0
    for block in BLOCKS[1:]:
        put(tmp_path, block, applied=version)
    assert in_force(tmp_path) == 1
    assert answers(tmp_path) == expected[1]
    finish(tmp_path)
    assert in_force(tmp_path) == 0
    assert answers(tmp_path) == expected[1]
    check_manifests(tmp_path)


def test_ingest_compaction_and_deletion_at_once(tmp_path: Path) -> None:
    """New profiles of what is deleted all the time come in; each is gone if a deletion began after it was stored."""
    store = filled(tmp_path)
    stop = threading.Event()

    def keep(work: Callable[[], object]) -> None:
        while not stop.is_set():
            work()

    with ThreadPoolExecutor(2) as pool:
        others = [pool.submit(keep, work) for work in (lambda: compact_all(store), lambda: finish(store))]
        try:
            kept = delete_and_put(store)
        finally:
            stop.set()
        for one in others:
            one.result()
    finish(store)
    compact_all(store)
    reference = tmp_path / "reference"
    put(reference, sorted(kept))
    assert answers(store) == answers(reference)
    assert (problems(store), in_force(store)) == ([], 0)


def delete_and_put(store: Path) -> set[Made]:
    """Delete and put by turns; returns what is there afterwards."""
    kept = {made for block in BLOCKS for made in block}
    for round_ in range(6):
        fresh: list[Made] = [
            (100 + 2 * round_ + at, round_ % 8, ("cart", "checkout")[at], at == 0) for at in range(2)
        ]
        put(store, fresh)
        kept |= set(fresh)
        wanted = Wanted("cart", f"pod-{round_ % 3}", (round_ % 4, 8))
        begin(store, wanted)
        kept = {made for made in kept if not wanted.covers(made)}
        put(store, [EVERY[0]])
        kept.add(EVERY[0])
    return kept


def test_a_rebuilt_catalog_keeps_deletions(
    tmp_path: Path, expected: tuple[Mapping[str, object], Mapping[str, object]]
) -> None:
    """Also of a block that went as a whole, whose files are there still and that no other came of."""
    store = filled(tmp_path)
    begin(store, WANTED)
    finish(store)
    put(store, [EVERY[0]])
    after = answers(store)
    Upkeep(str(store), "anonymous").reindex(act=True)
    assert answers(store) == after
    for path in (store / "anonymous" / "catalog").rglob("*.*"):
        path.unlink()
    Upkeep(str(store), "anonymous").reindex(act=True)
    assert in_force(store) == 1
    assert answers(store) == after
    finish(store)
    assert (answers(store), in_force(store)) == (after, 0)
    begin(store, Wanted("cart"))
    assert answers(store)["labels"]["service_name"] == ["checkout"]  # type: ignore[index]


def test_a_block_that_cannot_be_read_keeps_its_tombstone(tmp_path: Path) -> None:
    store = filled(tmp_path)
    broken = sorted((store / "anonymous" / "blocks").iterdir())[1]
    data = (broken / "profiles.parquet").read_bytes()
    (broken / "profiles.parquet").write_bytes(data[:-20])
    begin(store, WANTED)
    told = [one for one in finish(store) if one.problem]
    assert [one.ulid for one in told] == [broken.name]
    assert in_force(store) == 1
    done = command("delete", "--resume", "--store", store, "--format", "json")
    assert done.returncode == 1
    assert f"block {broken.name}: " in done.stderr
    assert len(json.loads(done.stdout)["in_force"]) == 1
    (broken / "profiles.parquet").write_bytes(data)
    assert command("compact", "--store", store).returncode == 0
    assert in_force(store) == 0


def test_what_a_deletion_touches_alone_is_written_anew(tmp_path: Path) -> None:
    store = tmp_path
    for tick in range(4):
        put(store, [(tick, tick, "cart", False)])
    live = set(Catalog(open_objects(str(store)), "anonymous").load().blocks)
    begin(store, Wanted("cart", ticks=(1, 2)))
    assert len(finish(store)) == 1
    assert len(live - set(Catalog(open_objects(str(store)), "anonymous").load().blocks)) == 1


def test_a_store_that_takes_no_writes_is_left_as_it_was(
    tmp_path: Path, expected: tuple[Mapping[str, object], Mapping[str, object]]
) -> None:
    store = filled(tmp_path)
    objects = FaultyObjects(open_objects(str(store)))

    def fault(operation: str, path: str) -> None:
        if operation not in ("read", "list", "size"):
            raise StorageError(f"{path}: the store is read-only")

    objects.before = fault
    with block_set(store, objects) as blocks, pytest.raises(StorageError, match="read-only"):
        Deletions(blocks).begin(WANTED.tombstone())
    assert (answers(store), in_force(store)) == (expected[0], 0)
    assert not (store / "anonymous" / "deletions").exists()


def test_manifests_are_whole_whoever_carries_out_what(tmp_path: Path) -> None:
    """Several processes carry out one deletion, and another begins and ends meanwhile."""
    for round_ in range(4):
        store = filled(tmp_path / str(round_))
        begin(store, WANTED)
        threads = [threading.Thread(target=finish, args=(store,)) for _ in range(3)]
        for thread in threads:
            thread.start()
        begin(store, Wanted("checkout", "pod-1"))
        for thread in threads:
            thread.join()
        finish(store)
        assert in_force(store) == 0
        check_manifests(store)
        removed = sum(
            json.loads(path.read_text())["removed"]["profiles"]
            for path in (store / "anonymous" / "deletions").glob("*.json")
        )
        gone = [made for block in BLOCKS for made in block if WANTED.covers(made)]
        gone += [made for block in BLOCKS for made in block if Wanted("checkout", "pod-1").covers(made)]
        assert removed == 2 * len(gone)
