"""The cache holds what it was given, within its bound, and never gives anything else back."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from flameduck.engine.storage.disk_cache import DiskCache
from flameduck.schema.errors import StorageError, Unavailable

MIB = 1 << 20


def age(path: Path, seconds: float) -> None:
    """Make a copy look as if it was last used so long ago."""
    os.utime(path, (time.time() - seconds,) * 2)


def on_disk(directory: Path) -> int:
    return sum(file.stat().st_size for file in directory.rglob("*") if file.is_file())


def keep(cache: DiskCache, name: str, *chunks: bytes) -> Path:
    return cache.whole(name, sum(map(len, chunks)), lambda: chunks)


def never() -> Iterator[bytes]:
    raise AssertionError("fetched again")


def test_an_object_is_fetched_once(tmp_path: Path) -> None:
    path = keep(DiskCache(tmp_path, MIB), "s3://b/x", b"one", b"two")
    assert path.read_bytes() == b"onetwo"
    assert DiskCache(tmp_path, MIB).whole("s3://b/x", 6, never) == path
    assert DiskCache(tmp_path, MIB).find_whole("s3://b/y") is None


def test_pieces_and_wholes_are_apart(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, MIB)
    cache.store_piece("x", 1, b"one")
    cache.store_piece("x", 10, b"ten")
    assert [cache.find_piece("x", number) for number in (0, 1, 10)] == [None, b"one", b"ten"]
    assert cache.find_whole("x") is None
    assert cache.find_piece("y", 1) is None


@pytest.mark.parametrize("damage", [b"", b"onetw0", b"onetwothree"])
def test_a_damaged_copy_is_fetched_again(tmp_path: Path, damage: bytes) -> None:
    first = DiskCache(tmp_path, MIB)
    path = keep(first, "x", b"onetwo")
    first.store_piece("x", 0, b"onetwo")
    for file in path.parent.iterdir():
        file.write_bytes(damage)
    later = DiskCache(tmp_path, MIB)
    assert later.find_piece("x", 0) is None
    assert keep(later, "x", b"onetwo").read_bytes() == b"onetwo"


def test_a_fetch_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def breaks_off() -> Iterator[bytes]:
        yield b"half"
        raise Unavailable("no answer")

    cache = DiskCache(tmp_path, MIB)
    with pytest.raises(Unavailable):
        cache.whole("x", 8, breaks_off)
    assert on_disk(tmp_path) == 0
    assert keep(cache, "x", b"all").read_bytes() == b"all"


def test_what_was_used_longest_ago_goes_first(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, 5_000, keep_s=0)
    copies = [keep(cache, str(number), bytes(1_000)) for number in range(4)]
    for number, path in enumerate(copies):
        age(path, 1_000 - number)
    assert cache.find_whole("0") == copies[0]
    assert cache.make_room(2_000)
    assert [path.exists() for path in copies] == [True, False, False, True]


def test_copies_in_use_stay(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, 3_000, keep_s=600)
    used = keep(cache, "used", bytes(1_500))
    left = keep(cache, "left", bytes(1_500))
    age(left, 601)
    cache.store_piece("piece", 0, bytes(500))
    assert (used.exists(), left.exists()) == (True, False)
    assert not cache.make_room(2_000)
    assert used.exists()
    assert cache.find_piece("piece", 0) is None


def test_the_bound_counts_what_was_there(tmp_path: Path) -> None:
    for number in range(4):
        DiskCache(tmp_path, MIB).store_piece("x", number, bytes(1_000))
    small = DiskCache(tmp_path, 2_500)
    small.store_piece("y", 0, bytes(1_000))
    assert small.find_piece("y", 0) == bytes(1_000)
    assert on_disk(tmp_path) <= 2_500


def test_what_a_crash_left_is_swept(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, MIB)
    folder = keep(cache, "x", b"x").parent
    old, new = folder / ".old.tmp", folder / ".new.tmp"
    old.write_bytes(b"half")
    new.write_bytes(b"half")
    age(old, 4_000)
    DiskCache(tmp_path, MIB).make_room(1)
    assert (old.exists(), new.exists()) == (False, True)


def test_threads_fetch_one_object_once(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, MIB)
    fetched = []
    together = Barrier(8)

    def fetch() -> Iterator[bytes]:
        fetched.append(1)
        time.sleep(0.02)
        yield b"data"

    def ask(_: int) -> bytes:
        together.wait()
        return cache.whole("x", 4, fetch).read_bytes()

    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(ask, range(8))) == {b"data"}
    assert fetched == [1]


CHURN = """
import pathlib, random, sys
from flameduck.engine.storage.disk_cache import DiskCache
cache = DiskCache(pathlib.Path(sys.argv[1]), 60_000, keep_s=0)
for turn in range(400):
    number = random.randrange(20)
    data = bytes([number]) * 5_000
    if random.random() < 0.5:
        found = cache.find_piece("x", number)
        if found is None:
            cache.store_piece("x", number, data)
        assert found in (None, data)
    else:
        try:
            assert cache.whole(str(number), 5_000, lambda: [data]).read_bytes() == data
        except FileNotFoundError:
            pass  # evicted by another at once, as nothing is kept here
"""


def test_processes_share_a_cache(tmp_path: Path) -> None:
    processes = [subprocess.Popen([sys.executable, "-c", CHURN, str(tmp_path)]) for _ in range(3)]
    assert [process.wait() for process in processes] == [0, 0, 0]
    # Each may be about to add one copy when another makes room.
    assert on_disk(tmp_path) <= 60_000 + 3 * 5_000


def test_a_directory_that_goes_while_it_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process removes it between "it is there" and "is it a directory"."""
    cache = DiskCache(tmp_path, MIB)
    cache.store_piece("x", 0, b"first")
    is_dir, looks = Path.is_dir, []

    def gone_at_first(path: Path) -> bool:
        looks.append(path)
        return len(looks) > 1 and is_dir(path)

    monkeypatch.setattr(Path, "is_dir", gone_at_first)
    cache.store_piece("x", 1, b"second")
    assert looks
    assert cache.find_piece("x", 1) == b"second"


def test_a_file_where_a_directory_should_be_is_what_is_told(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, MIB)
    cache.store_piece("x", 0, b"first")
    (folder,) = (path for path in tmp_path.glob("*/*") if path.is_dir())
    shutil.rmtree(folder)
    folder.write_bytes(b"")
    with pytest.raises(StorageError, match="File exists"):
        cache.store_piece("x", 0, b"first")


def test_a_directory_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    cache = DiskCache(tmp_path / "file" / "cache", MIB)
    with pytest.raises(StorageError, match="file/cache"):
        keep(cache, "x", b"x")
