"""Commits of several threads and processes lose nothing, on every kind of store."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from flameduck.engine.storage.catalog import CHECKPOINT_EVERY, Catalog
from flameduck.engine.storage.objects import Objects, open_objects
from flameduck.schema.catalog import BlockEntry
from flameduck.schema.errors import CommitConflict

COMMITTER = """
import sys
from concurrent.futures import ThreadPoolExecutor
from flameduck.engine.storage.catalog import Catalog
from flameduck.engine.storage.objects import open_objects
from flameduck.schema.catalog import BlockEntry

url, process = sys.argv[1:]
catalog = Catalog(open_objects(url), "acme")

def work(thread):
    for turn in range(10):
        catalog.commit([BlockEntry(f"{process}-{thread}-{turn}", 0, 0, 9, 1, 1, 1)], [], "test")

with ThreadPoolExecutor(4) as threads:
    list(threads.map(work, range(4)))
"""


def entry(ulid: str) -> BlockEntry:
    return BlockEntry(ulid, level=0, min_ts=0, max_ts=9, profiles=1, samples=1, size_bytes=1)


def test_threads_with_a_catalog_each(objects: Objects, url: str) -> None:
    def work(number: int) -> None:
        catalog = Catalog(open_objects(url), "acme")
        for turn in range(10):
            catalog.commit([entry(f"{number}-{turn}")], [f"{number}-{turn - 1}"] if turn else [], "test")

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(8)))
    state = Catalog(objects, "acme").load()
    assert (state.version, set(state.blocks)) == (80, {f"{number}-9" for number in range(8)})
    assert len(objects.list("acme/catalog/checkpoint")) == 80 // CHECKPOINT_EVERY


def test_two_processes(objects: Objects, url: str) -> None:
    if url.startswith("memory://"):
        pytest.skip("memory:// is one process")
    command = [sys.executable, "-c", COMMITTER, url]
    processes = [subprocess.Popen([*command, str(number)]) for number in range(2)]
    assert [process.wait() for process in processes] == [0, 0]
    state = Catalog(objects, "acme").load()
    expected = {f"{p}-{t}-{n}" for p in range(2) for t in range(4) for n in range(10)}
    assert (state.version, set(state.blocks)) == (80, expected)


def test_one_of_many_merges_of_a_block_wins(objects: Objects) -> None:
    for turn in range(5):
        Catalog(objects, "acme").commit([entry(f"in-{turn}")], [], "ingest")

        def merge(number: int, turn: int = turn) -> bool:
            try:
                Catalog(objects, "acme").commit([entry(f"{turn}-{number}")], [f"in-{turn}"], "merge")
            except CommitConflict:
                return False
            return True

        with ThreadPoolExecutor(4) as threads:
            assert sum(threads.map(merge, range(4))) == 1
    assert len(Catalog(objects, "acme").load().blocks) == 5
