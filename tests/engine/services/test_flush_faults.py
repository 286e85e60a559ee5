"""A flush that is cut off anywhere, whose store is down, whose answers are lost, or that merges run into."""

from __future__ import annotations

import shutil
from pathlib import Path
from uuid import uuid4

import pytest

from flameduck.engine.head.head import Head
from flameduck.engine.services.compactor import Compactor, CompactorBounds
from flameduck.engine.services.ingester import is_stored
from flameduck.engine.storage.objects import open_objects
from flameduck.engine.storage.objects_local import LocalObjects
from flameduck.schema.errors import StorageError, Unavailable
from tests.engine.ingest.made_profiles import made_total
from tests.engine.services.ingesting import Rig
from tests.engine.storage.faulty_objects import FaultyObjects
from tests.engine.storage.lossy_disk import LossyDisk, PowerLoss


def faulty(directory: Path) -> FaultyObjects:
    return FaultyObjects(open_objects(str(directory / "store")))


class CutOff:
    """Power goes at call number `calls_left`, before the call is made."""

    def __init__(self, calls_left: int) -> None:
        self.calls_left = calls_left

    def __call__(self, operation: str, path: str) -> None:
        if self.calls_left == 0:
            raise PowerLoss
        self.calls_left -= 1


@pytest.mark.parametrize("side", ["before", "after"])
def test_a_crash_at_any_call_of_a_flush_costs_nothing(tmp_path: Path, side: str) -> None:
    for calls in range(100):
        directory = tmp_path / str(calls)
        # In memory: what a disk makes of it is the matter of other tests.
        stored = open_objects(f"memory://{uuid4().hex}")
        objects = FaultyObjects(stored)
        rig = Rig(directory, objects)
        rig.commit(0, 1)
        rig.head.rotate()
        rig.commit(2)
        setattr(objects, side, CutOff(calls))
        try:
            rig.ingester.flush()
            crashed = False
        except PowerLoss:
            crashed = True
        again = Rig(directory, stored)
        assert again.total() == made_total(range(3))
        again.commit(3)
        again.ingester.flush()
        assert again.total() == made_total(range(4))
        assert again.profiles_stored() == 2 * 4
        assert not list((directory / "head").glob("*.log"))
        if not crashed:
            break
    assert calls > 10


def test_a_crash_between_the_commit_and_the_drop_stores_nothing_twice(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.commit(0, 1)
    shutil.copytree(tmp_path / "head", tmp_path / "kept")
    rig.ingester.flush()
    for kept in (tmp_path / "kept").glob("*.log"):
        shutil.copy(kept, tmp_path / "head")
    again = Rig(tmp_path)
    assert again.total() == made_total([0, 1])
    again.ingester.flush()
    assert again.profiles_stored() == 2 * 2
    assert again.total() == made_total([0, 1])


def test_a_generation_whose_block_was_merged_meanwhile_is_known_to_be_stored(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    for number in range(8):
        rig.commit(number)
        shutil.copytree(tmp_path / "head", tmp_path / "kept", dirs_exist_ok=True)
        rig.ingester.flush()
    merge(rig)
    assert len(rig.live()) == 1
    for kept in (tmp_path / "kept").glob("*.log"):
        shutil.copy(kept, tmp_path / "head")
    again = Rig(tmp_path)
    assert len(again.head.closed()) == 8
    assert all(is_stored(generation, again.blocks_of("acme")) for generation in again.head.closed())
    assert again.total() == made_total(range(8))
    again.ingester.flush()
    assert again.profiles_stored() == 2 * 8
    assert again.total() == made_total(range(8))


def merge(rig: Rig, samples: int = 2_000_000) -> None:
    compactor = Compactor(rig.blocks_of, CompactorBounds(samples=samples), rig.metrics)
    for tenant in rig.stored:
        compactor.note(tenant)
    compactor.run_once()


def test_lost_unsynced_writes_under_the_store_cost_nothing(tmp_path: Path) -> None:
    """The log is synced by itself; here the store's disk forgets, at every third step of the flush."""
    whole = LossyDisk(tmp_path / "whole")
    (tmp_path / "whole").mkdir()
    rig = Rig(tmp_path / "whole", LocalObjects(tmp_path / "whole" / "store", whole))
    rig.commit(0, 1)
    rig.ingester.flush()
    for step in range(0, whole.steps + 1, 3):
        base = tmp_path / str(step)
        base.mkdir()
        disk = LossyDisk(base)
        rig = Rig(base, LocalObjects(base / "store", disk))
        rig.commit(0, 1)
        shutil.copytree(base / "head", base / "log")
        disk.steps_left = step
        try:
            rig.ingester.flush()
            acknowledged = True
        except PowerLoss:
            acknowledged = False
        states = list(disk.after_loss())
        for number, files in enumerate(states[:1] + states[-1:]):
            after = tmp_path / f"{step}-{number}"
            for path, data in files.items():
                (after / path).parent.mkdir(parents=True, exist_ok=True)
                (after / path).write_bytes(data)
            # The log was removed after the commit only; that removal may be lost as well.
            logs = base / ("head" if acknowledged and number == 0 else "log")
            shutil.copytree(logs, after / "head")
            again = Rig(after)
            assert again.total() == made_total([0, 1]), (step, number)
            again.ingester.flush()
            assert again.total() == made_total([0, 1]), (step, number)
            assert again.profiles_stored() == 2 * 2


def test_an_outage_keeps_everything_readable_and_ends_by_itself(tmp_path: Path) -> None:
    def down(operation: str, path: str) -> None:
        if operation in ("write", "create"):
            raise Unavailable("the store is away")

    objects = faulty(tmp_path)
    rig = Rig(tmp_path, objects)
    rig.commit(0)
    rig.ingester.flush()
    objects.before = down
    for number in (1, 2, 3):
        rig.commit(number)
        with pytest.raises(Unavailable, match="the store is away"):
            rig.ingester.flush()
        assert rig.total() == made_total(range(number + 1))
    assert rig.head.closed_generations == 3
    objects.before = lambda operation, path: None
    rig.ingester.flush()
    assert rig.head.closed_generations == 0
    assert rig.total() == made_total(range(4))


def test_a_commit_whose_answer_is_lost_is_made_once(tmp_path: Path) -> None:
    def lost(operation: str, path: str) -> None:
        if operation == "create" or lost_reads:
            lost_reads.append(path)
            raise Unavailable("no answer")

    lost_reads: list[str] = []
    objects = faulty(tmp_path)
    rig = Rig(tmp_path, objects)
    rig.commit(0, 1)
    objects.after = lost
    with pytest.raises(Unavailable, match="no answer"):
        rig.ingester.flush()
    objects.after = lambda operation, path: None
    assert len(rig.live()) == 1
    assert rig.total() == made_total([0, 1])
    rig.ingester.flush()
    assert len(rig.live()) == 1
    assert rig.total() == made_total([0, 1])


def test_what_is_in_the_way_of_one_tenant_does_not_hold_up_the_others(tmp_path: Path) -> None:
    def in_the_way(operation: str, path: str) -> None:
        if operation == "write" and path.startswith("bad/"):
            raise StorageError("something is in the way")

    objects = faulty(tmp_path)
    objects.before = in_the_way
    rig = Rig(tmp_path, objects)
    for tenant in ("acme", "bad", "good"):
        rig.commit(0, tenant=tenant)
    with pytest.raises(StorageError, match="in the way"):
        rig.ingester.flush()
    assert rig.head.tenants() == {"bad"}
    for tenant in ("acme", "bad", "good"):
        assert rig.total(tenant) == made_total([0])
    assert [len(rig.live(tenant)) for tenant in ("acme", "bad", "good")] == [1, 0, 1]


def test_the_clock_may_jump_back_between_a_generation_and_its_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = Rig(tmp_path)
    rig.commit(0)
    shutil.copytree(tmp_path / "head", tmp_path / "kept")
    monkeypatch.setattr("time.time_ns", lambda: 10**18)
    monkeypatch.setattr("time.time", lambda: 10.0**9)
    rig.ingester.flush()
    (name,) = {path.stem for path in (tmp_path / "kept").glob("*.log")}
    assert all(ulid > name for ulid in rig.live())
    shutil.copy(tmp_path / "kept" / f"{name}.log", tmp_path / "head")
    again = Rig(tmp_path)
    again.ingester.flush()
    assert again.profiles_stored() == 2


def test_a_drop_that_fails_is_made_up_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig(tmp_path)
    rig.commit(0)
    with monkeypatch.context() as patch:
        unlink = Path.unlink

        def refuse(path: Path, missing_ok: bool = False) -> None:
            if path.suffix == ".log":
                raise PermissionError(13, "Permission denied")
            unlink(path, missing_ok)

        patch.setattr(Path, "unlink", refuse)
        with pytest.raises(Unavailable, match="Permission denied"):
            rig.ingester.flush()
    assert rig.total() == made_total([0])
    rig.ingester.flush()
    assert rig.total() == made_total([0])
    assert rig.profiles_stored() == 2
    assert Head(tmp_path / "head").tenants() == set()


def test_small_blocks_become_few_and_stay_readable_for_who_began_before(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    for number in range(20):
        rig.commit(number)
        rig.ingester.flush()
    before = rig.blocks_of("acme").live_blocks()
    assert len(before) == 20
    rig.commit(20)
    merge(rig)
    assert len(rig.live()) == 1
    assert rig.total() == made_total(range(21))
    for block in before:
        assert block.block.table("samples", ["value"]).num_rows == block.meta.samples
    merge(rig)
    assert len(rig.live()) == 1


def test_a_merge_that_fails_leaves_the_blocks_and_the_thread(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    objects = faulty(tmp_path)
    rig = Rig(tmp_path, objects)
    for number in range(9):
        rig.commit(number)
        rig.ingester.flush()

    def down(operation: str, path: str) -> None:
        if operation == "write":
            raise Unavailable("the store is away")

    objects.before = down
    merge(rig)
    assert "small blocks of acme were not merged: the store is away" in caplog.text
    objects.before = lambda operation, path: None
    assert rig.total() == made_total(range(9))
    merge(rig)
    assert len(rig.live()) == 1
