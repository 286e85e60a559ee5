"""What every store of objects promises, asked of files, memory and a real S3 server."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from flameduck.engine.storage.objects import ObjectInfo, Objects, open_objects
from flameduck.schema.errors import ObjectExists, ObjectMissing, StorageError
from tests.fault_proxy import NETWORK, Faults


@pytest.fixture
def faults() -> Faults:
    """Whose exclusive create was answered by nobody may get `ObjectExists`: that has a test of its own."""
    return replace(NETWORK, lost_create=0)


def test_what_is_written_is_read(objects: Objects) -> None:
    objects.write("a/b/c.json", b"first")
    assert objects.read("a/b/c.json") == b"first"
    objects.write("a/b/c.json", b"the second, longer")
    assert objects.read("a/b/c.json") == b"the second, longer"
    assert objects.size("a/b/c.json") == 18


def test_another_opening_sees_it(objects: Objects, url: str) -> None:
    objects.write("a", b"1")
    assert open_objects(url).read("a") == b"1"


@pytest.mark.parametrize("size", [0, 1, 100_000])
def test_any_bytes_are_kept(objects: Objects, size: int) -> None:
    data = os.urandom(size)
    objects.write("written", data)
    objects.create("created", data)
    assert objects.read("written") == data
    assert objects.read("created") == data
    assert objects.size("created") == size


RANGES: list[tuple[int | None, int | None, bytes]] = [
    (0, None, b"0123456789"),
    (None, 3, b"012"),
    (3, 7, b"3456"),
    (7, None, b"789"),
    (8, 100, b"89"),
    (5, 5, b""),
    (10, 12, b""),
    (40, None, b""),
]


def test_ranges(objects: Objects) -> None:
    objects.write("digits", b"0123456789")
    assert [(start, stop, objects.read("digits", start, stop)) for start, stop, _ in RANGES] == RANGES


def test_a_range_of_an_empty_object_is_empty(objects: Objects) -> None:
    objects.write("empty", b"")
    assert objects.read("empty", 0, 10) == b""


def test_a_backward_range_is_refused(objects: Objects) -> None:
    objects.write("digits", b"0123456789")
    for start, stop in [(-1, None), (5, 4), (None, -2)]:
        with pytest.raises(StorageError, match="digits"):
            objects.read("digits", start, stop)


def test_create_makes_an_object_once(objects: Objects) -> None:
    objects.create("log/1.json", b"first")
    with pytest.raises(ObjectExists, match=r"log/1\.json"):
        objects.create("log/1.json", b"second")
    assert objects.read("log/1.json") == b"first"
    with pytest.raises(ObjectExists):
        objects.create("log/1.json", b"first")


def test_create_lets_one_of_many_win(objects: Objects) -> None:
    together = threading.Barrier(8)

    def attempt(number: int) -> bool:
        together.wait()
        try:
            objects.create(f"race/{turn}", b"%d" % number)
        except ObjectExists:
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        for turn in range(10):
            winners = [number for number, won in enumerate(threads.map(attempt, range(8))) if won]
            assert [objects.read(f"race/{turn}")] == [b"%d" % number for number in winners]


def test_put_file_stores_a_file(objects: Objects, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"x" * 3_000_000)
    objects.put_file("a/copy", str(source))
    source.write_bytes(b"changed later")
    assert objects.read("a/copy") == b"x" * 3_000_000
    objects.put_file("a/copy", str(source))
    assert objects.read("a/copy") == b"changed later"


def test_put_file_of_no_file_is_refused(objects: Objects, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="source"):
        objects.put_file("a/copy", str(tmp_path / "source"))


def test_list_names_what_is_below(objects: Objects) -> None:
    for path in ("b/2", "a/x/1", "a/x/y/3", "ab/4", "c"):
        objects.write(path, path.encode())
    assert [info.path for info in objects.list("")] == ["a/x/1", "a/x/y/3", "ab/4", "b/2", "c"]
    assert objects.list("a") == [ObjectInfo("a/x/1", 5), ObjectInfo("a/x/y/3", 7)]
    assert objects.list("a/x/y") == [ObjectInfo("a/x/y/3", 7)]
    assert objects.list("a/nothing") == []
    assert objects.list("c") == []


def test_directories_are_first_parts(objects: Objects) -> None:
    assert list(objects.directories()) == []
    for path in ("b/c/d", "b/c/e", "a.x/f", "g"):
        objects.write(path, b"")
    assert list(objects.directories()) == ["a.x", "b"]


def test_an_empty_store_lists_nothing(objects: Objects) -> None:
    assert objects.list("") == []
    assert objects.list("a/b") == []


def test_list_is_never_old(objects: Objects, url: str) -> None:
    other = open_objects(url)
    for number in range(5):
        assert len(other.list("log")) == number
        objects.create(f"log/{number:020d}.json", b"{}")
    objects.delete("log/00000000000000000000.json")
    assert len(other.list("log")) == 4


def test_delete_removes(objects: Objects) -> None:
    objects.write("a/b", b"1")
    objects.delete("a/b")
    with pytest.raises(ObjectMissing):
        objects.read("a/b")
    objects.delete("a/b")
    objects.delete("never/there")
    objects.create("a/b", b"2")
    assert objects.read("a/b") == b"2"


def test_what_is_missing_is_said(objects: Objects) -> None:
    objects.write("a/there", b"1")
    asks: list[Callable[[], object]] = [
        lambda: objects.read("a/missing"),
        lambda: objects.read("a/missing", 2, 4),
        lambda: objects.read("a"),
        lambda: objects.size("a/missing"),
        lambda: objects.size("a"),
    ]
    for ask in asks:
        with pytest.raises(ObjectMissing, match="a"):
            ask()


OUTSIDE = ["", "/etc/passwd", "..", "../up", "a/../../up", "a//b", "a/", "./a", "a\\b", "a\nb", "a\0b"]


def test_names_stay_below_the_root(objects: Objects) -> None:
    asks: list[Callable[[str], object]] = [
        objects.read,
        objects.size,
        objects.delete,
        objects.local_path,
        lambda path: objects.write(path, b"1"),
        lambda path: objects.create(path, b"1"),
        lambda path: objects.put_file(path, __file__),
    ]
    for path in OUTSIDE:
        for ask in asks:
            with pytest.raises(StorageError, match="object name"):
                ask(path)


def test_names_that_look_temporary_are_not_written(objects: Objects) -> None:
    for write in (objects.write, objects.create):
        with pytest.raises(StorageError, match="object name"):
            write("a/.hidden", b"1")


def test_unusual_names_are_kept(objects: Objects) -> None:
    paths = ["100%/x?y#z", "a+b=c,d@e.json", "with space/ü.json"]
    for path in paths:
        objects.create(path, path.encode())
        assert objects.read(path) == path.encode()
    assert [info.path for info in objects.list("")] == paths


def test_several_threads_share_a_store(objects: Objects) -> None:
    def work(number: int) -> bool:
        data = bytes([number]) * 10_000
        for turn in range(5):
            objects.write(f"{number}/{turn}", data)
            if objects.read(f"{number}/{turn}", 10, 5_000) != data[10:5_000]:
                return False
        return True

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(work, range(8)))
    assert len(objects.list("")) == 40


def test_a_reader_sees_whole_writes(objects: Objects) -> None:
    objects.write("flips", b"a" * 200_000)
    stop = threading.Event()

    def flip() -> None:
        while not stop.is_set():
            objects.write("flips", b"b" * 200_000)
            objects.write("flips", b"a" * 200_000)

    with ThreadPoolExecutor(1) as writer:
        flipping = writer.submit(flip)
        try:
            seen = {objects.read("flips") for _ in range(50)}
        finally:
            stop.set()
        flipping.result()
    assert seen <= {b"a" * 200_000, b"b" * 200_000}
