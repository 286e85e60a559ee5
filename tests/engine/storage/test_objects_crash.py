"""No crash, at whatever step, leaves an object that is not whole, or takes one back that was acknowledged."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flameduck.engine.storage.objects_local import LocalObjects
from tests.engine.storage.lossy_disk import LossyDisk, PowerLoss

OLD, NEW = b"old" * 100, b"new" * 200
STORE, NAME = "store", "tenant/catalog/1.json"
Action = Callable[[LocalObjects, Path], None]


def write(objects: LocalObjects, source: Path) -> None:
    objects.write(NAME, NEW)


def create(objects: LocalObjects, source: Path) -> None:
    objects.create(NAME, NEW)


def put_file(objects: LocalObjects, source: Path) -> None:
    objects.put_file(NAME, str(source))


def delete(objects: LocalObjects, source: Path) -> None:
    objects.delete(NAME)


def outcomes(
    tmp_path: Path, action: Action, *, replaces: bool, skipped: frozenset[str] = frozenset()
) -> Iterator[tuple[bool, bytes | None]]:
    """Whether the action had returned, and what is read afterwards, for a loss of power at each of its steps."""
    source = tmp_path / "source"
    source.write_bytes(NEW)
    for steps_left in range(100):
        base = tmp_path / str(steps_left)
        base.mkdir()
        disk = LossyDisk(base, skipped)
        objects = LocalObjects(base / STORE, disk)
        if replaces:
            LocalObjects(base / STORE, disk).write(NAME, OLD)
        disk.steps_left = steps_left
        try:
            action(objects, source)
            returned = True
        except PowerLoss:
            returned = False
        yield from ((returned, seen) for seen in what_is_left(tmp_path / f"{steps_left}-after", disk))
        if returned:
            return
    raise AssertionError("the action does not end")


def what_is_left(place: Path, disk: LossyDisk) -> Iterator[bytes | None]:
    """What a new process reads of the object, in every state that the disk may be in."""
    for number, files in enumerate(disk.after_loss()):
        root = place / str(number)
        for path, data in files.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(data)
        objects = LocalObjects(root / STORE)
        listed = [info.path for info in objects.list("")]
        assert listed in ([], [NAME])
        yield objects.read(NAME) if listed else None


@pytest.mark.parametrize("action", [write, put_file])
def test_replacing_shows_the_old_or_the_new(tmp_path: Path, action: Action) -> None:
    seen = list(outcomes(tmp_path, action, replaces=True))
    assert {found for _, found in seen} == {OLD, NEW}
    assert {found for returned, found in seen if returned} == {NEW}


@pytest.mark.parametrize("action", [write, put_file, create])
def test_making_shows_nothing_or_the_new(tmp_path: Path, action: Action) -> None:
    seen = list(outcomes(tmp_path, action, replaces=False))
    assert {found for _, found in seen} == {None, NEW}
    assert {found for returned, found in seen if returned} == {NEW}


def test_deleting_shows_the_old_or_nothing(tmp_path: Path) -> None:
    seen = list(outcomes(tmp_path, delete, replaces=True))
    assert {found for _, found in seen} == {OLD, None}
    assert {found for returned, found in seen if returned} == {None}


@pytest.mark.parametrize("action", [write, create])
def test_the_disk_shows_bytes_that_were_not_synced(tmp_path: Path, action: Action) -> None:
    skipped = frozenset({"sync_file"})
    seen = {found for _, found in outcomes(tmp_path, action, replaces=False, skipped=skipped)}
    assert {b"", NEW[: len(NEW) // 2]} <= seen


def test_the_disk_shows_names_that_were_not_synced(tmp_path: Path) -> None:
    skipped = frozenset({"sync_directory"})
    seen = list(outcomes(tmp_path, create, replaces=False, skipped=skipped))
    assert (True, None) in seen


def test_a_directory_that_another_has_just_made_is_synced_too(tmp_path: Path) -> None:
    disk = LossyDisk(tmp_path)
    for directory in ("store", "store/tenant", "store/tenant/catalog"):
        disk.make_directory(tmp_path / directory)
    create(LocalObjects(tmp_path / STORE, disk), tmp_path)
    assert set(what_is_left(tmp_path / "after", disk)) == {NEW}


ENDLESS_WRITER = """
import itertools, pathlib, sys
from flameduck.engine.storage.objects_local import LocalObjects
objects = LocalObjects(pathlib.Path(sys.argv[1]))
for turn in itertools.count():
    objects.write("same", b"%d," % turn * 50_000)
    objects.create(f"log/{turn:020d}.json", b"%d," % turn * 50_000)
    print(turn, flush=True)
"""


def test_a_killed_writer_leaves_whole_objects(tmp_path: Path) -> None:
    for turn in range(5):
        root = tmp_path / str(turn)
        writer = subprocess.Popen([sys.executable, "-c", ENDLESS_WRITER, str(root)], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(random.uniform(0, 0.1))
        writer.send_signal(signal.SIGKILL)
        acknowledged = [0, *map(int, writer.communicate()[0].split())][-1]
        assert_whole(LocalObjects(root), acknowledged)


def assert_whole(objects: LocalObjects, acknowledged: int) -> None:
    """Every object is one of those written, and no acknowledged one is missing."""
    listed = {info.path for info in objects.list("")}
    assert {f"log/{turn:020d}.json" for turn in range(acknowledged + 1)} | {"same"} <= listed
    for path in listed:
        data = objects.read(path)
        first = data.partition(b",")[0] + b","
        assert data == first * 50_000
