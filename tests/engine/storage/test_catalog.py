"""The catalog log: what is committed is seen by all, once, in one order, whatever is missing or broken."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flameduck.engine.storage.catalog import CHECKPOINT_EVERY, Catalog
from flameduck.engine.storage.objects import ObjectInfo, Objects, open_objects
from flameduck.schema.block import BlockMeta
from flameduck.schema.catalog import BlockEntry, CatalogState, entry_of
from flameduck.schema.errors import (
    CommitConflict,
    CorruptBlock,
    ObjectExists,
    RequestError,
    StorageError,
    Unavailable,
)
from tests.engine.storage.faulty_objects import FaultyObjects


def entry(ulid: str) -> BlockEntry:
    return BlockEntry(ulid, level=0, min_ts=-5, max_ts=2**62, profiles=2, samples=3, size_bytes=4)


def meta(ulid: str, *parents: str) -> BlockMeta:
    return BlockMeta(ulid, "acme", 0, 0, 0, 9, 1, 1, 1, parts=(), files={}, parents=parents, size_bytes=7)


def log_path(version: int) -> str:
    return f"acme/catalog/{version:020d}.json"


class Watched:
    """A store that counts what is asked of it, and can answer wrongly."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self.asked: Counter[str] = Counter()
        self.after_create: Callable[[], None] = lambda: None
        self.shown_in_lists: Callable[[ObjectInfo], bool] = lambda _: True

    @property
    def url(self) -> str:
        return self._objects.url

    def read(self, path: str, start: int | None = None, stop: int | None = None) -> bytes:
        self.asked["read"] += 1
        return self._objects.read(path, start, stop)

    def write(self, path: str, data: bytes) -> None:
        self.asked["write"] += 1
        self._objects.write(path, data)

    def create(self, path: str, data: bytes) -> None:
        self.asked["create"] += 1
        self._objects.create(path, data)
        self.after_create()

    def put_file(self, path: str, local_path: str) -> None:
        self._objects.put_file(path, local_path)

    def list(self, prefix: str) -> list[ObjectInfo]:
        self.asked["list"] += 1
        return [info for info in self._objects.list(prefix) if self.shown_in_lists(info)]

    def directories(self) -> Sequence[str]:
        return self._objects.directories()

    def size(self, path: str) -> int:
        return self._objects.size(path)

    def delete(self, path: str) -> None:
        self._objects.delete(path)

    def local_path(self, path: str) -> str | None:
        return self._objects.local_path(path)


@pytest.fixture
def objects() -> Watched:
    return Watched(open_objects(f"memory://{uuid4().hex}"))


def commit_many(catalog: Catalog, count: int) -> None:
    for number in range(count):
        catalog.commit([entry(f"B{number:05d}")], [], "test")


def test_an_empty_store_is_version_0(objects: Watched) -> None:
    assert Catalog(objects, "acme").load() == CatalogState()


def test_commits_are_seen_by_all(objects: Watched) -> None:
    one, other = Catalog(objects, "acme"), Catalog(objects, "acme")
    assert other.load().version == 0
    assert one.commit([entry("A"), entry("B")], [], "ingest").version == 1
    state = other.commit([entry("C")], ["A"], "merge")
    assert (state.version, set(state.blocks)) == (2, {"B", "C"})
    assert one.load() == state == other.load() == Catalog(objects, "acme").load()
    assert state.blocks["C"] == entry("C")


def test_a_commit_of_nothing_makes_no_entry(objects: Watched) -> None:
    assert Catalog(objects, "acme").commit([], [], "nothing").version == 0
    assert objects.list("") == []


def test_a_removed_block_is_removed_once(objects: Watched) -> None:
    one, other = Catalog(objects, "acme"), Catalog(objects, "acme")
    one.commit([entry("A")], [], "ingest")
    other.load()
    one.commit([entry("B")], ["A"], "merge")
    with pytest.raises(CommitConflict, match="A"):
        other.commit([entry("C")], ["A"], "merge")
    assert set(other.load().blocks) == {"B"}


def test_tenants_do_not_see_each_other(objects: Watched) -> None:
    Catalog(objects, "acme").commit([entry("A")], [], "ingest")
    assert Catalog(objects, "acme2").load() == CatalogState()


@pytest.mark.parametrize("name", ["a", "acme", "A.b_c-9", ".hidden", "...", "x" * 128])
def test_tenant_names(objects: Watched, name: str) -> None:
    Catalog(objects, name).commit([entry("A")], [], "ingest")
    assert [info.path.split("/")[0] for info in objects.list("")] == [name]


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "../a", "a\\b", "ünï", "a b", "a\n", "x" * 129, "a\0", "*", "٣"]
)
def test_names_that_are_no_tenant(objects: Watched, name: str) -> None:
    with pytest.raises(RequestError, match="tenant"):
        Catalog(objects, name)


def test_looking_again_costs_one_read(objects: Watched) -> None:
    catalog = Catalog(objects, "acme")
    commit_many(catalog, 3)
    objects.asked.clear()
    catalog.load()
    assert objects.asked == {"read": 1}


def test_a_new_reader_starts_at_the_newest_checkpoint(objects: Watched) -> None:
    catalog = Catalog(objects, "acme")
    commit_many(catalog, 5 * CHECKPOINT_EVERY + 3)
    names = [info.path.rpartition("/")[2] for info in objects.list("acme/catalog/checkpoint")]
    assert names == [f"{n * CHECKPOINT_EVERY:020d}.parquet" for n in (3, 4, 5)]
    objects.asked.clear()
    assert Catalog(objects, "acme").load() == catalog.load()
    assert objects.asked["read"] < 12


def test_checkpoints_are_only_a_shortcut(objects: Watched) -> None:
    catalog = Catalog(objects, "acme")
    commit_many(catalog, 2 * CHECKPOINT_EVERY + 3)
    first, second = (info.path for info in objects.list("acme/catalog/checkpoint"))
    objects.write(second, objects.read(second)[:-20])
    assert Catalog(objects, "acme").load() == catalog.load()
    objects.write(first, b"")
    assert Catalog(objects, "acme").load() == catalog.load()


def test_listings_that_lag_do_not_matter(objects: Watched) -> None:
    catalog = Catalog(objects, "acme")
    commit_many(catalog, 2 * CHECKPOINT_EVERY + 3)
    objects.shown_in_lists = lambda info: f"{CHECKPOINT_EVERY:020d}" in info.path
    assert Catalog(objects, "acme").load() == catalog.load()
    objects.shown_in_lists = lambda _: False
    assert Catalog(objects, "acme").load() == catalog.load()
    assert Catalog(objects, "acme").commit([entry("Z")], [], "test").version == 2 * CHECKPOINT_EVERY + 4


def test_a_listed_checkpoint_that_is_gone_does_not_matter(objects: Watched) -> None:
    catalog = Catalog(objects, "acme")
    commit_many(catalog, CHECKPOINT_EVERY + 1)
    (info,) = objects.list("acme/catalog/checkpoint")

    class Lagging(Watched):
        def list(self, prefix: str) -> list[ObjectInfo]:
            return [info]

    objects.delete(info.path)
    assert Catalog(Lagging(objects), "acme").load() == catalog.load()


@pytest.mark.parametrize("error", [ObjectExists("repeated"), Unavailable("no answer")])
def test_a_commit_whose_answer_is_lost_counts_once(objects: Watched, error: Exception) -> None:
    def lose() -> None:
        raise error

    catalog = Catalog(objects, "acme")
    objects.after_create = lose
    state = catalog.commit([entry("A")], [], "ingest")
    assert (state.version, set(state.blocks)) == (1, {"A"})
    assert Catalog(objects, "acme").load() == state


def test_a_commit_that_was_not_made_says_so(objects: Watched) -> None:
    class Away(Watched):
        def create(self, path: str, data: bytes) -> None:
            raise Unavailable("no answer")

    with pytest.raises(Unavailable):
        Catalog(Away(objects), "acme").commit([entry("A")], [], "ingest")
    assert Catalog(objects, "acme").load() == CatalogState()


def test_a_checkpoint_that_cannot_be_written_does_not_matter(objects: Watched) -> None:
    class ReadOnlyCheckpoints(Watched):
        def write(self, path: str, data: bytes) -> None:
            raise StorageError("denied")

    catalog = Catalog(ReadOnlyCheckpoints(objects), "acme")
    commit_many(catalog, CHECKPOINT_EVERY + 1)
    assert Catalog(objects, "acme").load().version == CHECKPOINT_EVERY + 1


BROKEN = [b"", b"{", b"[]", b'{"version":2}', b'{"version":2,"added":[{"ulid":"X"}],"removed":[]}', b"\xff"]


@pytest.mark.parametrize("data", BROKEN)
def test_a_broken_entry_is_named_and_repaired(objects: Watched, data: bytes) -> None:
    old_reader = Catalog(objects, "acme")
    commit_many(Catalog(objects, "acme"), 1)
    old_reader.load()
    commit_many(Catalog(objects, "acme"), 3)
    objects.write(log_path(2), data)
    for reader in (old_reader, Catalog(objects, "acme")):
        with pytest.raises(CorruptBlock, match=r"0002\.json"):
            reader.load()
    rebuilt = Catalog(objects, "acme").reindex([meta("B"), meta("A")])
    assert (rebuilt.version, list(rebuilt.blocks.values())) == (5, [entry_of(meta("A")), entry_of(meta("B"))])
    assert old_reader.load() == rebuilt == Catalog(objects, "acme").load()
    assert old_reader.commit([entry("C")], ["A"], "merge").version == 6
    assert set(Catalog(objects, "acme").load().blocks) == {"B", "C"}


def test_an_entry_in_the_wrong_place_is_corrupt(objects: Watched) -> None:
    commit_many(Catalog(objects, "acme"), 2)
    objects.write(log_path(2), objects.read(log_path(1)))
    with pytest.raises(CorruptBlock, match="is entry 1"):
        Catalog(objects, "acme").load()


def test_an_entry_of_a_newer_format_is_refused(objects: Watched) -> None:
    commit_many(Catalog(objects, "acme"), 1)
    objects.write(log_path(1), objects.read(log_path(1)).replace(b'"format":2', b'"format":3'))
    with pytest.raises(CorruptBlock, match="newer"):
        Catalog(objects, "acme").load()


def test_a_log_that_contradicts_itself_is_corrupt(objects: Watched) -> None:
    Catalog(objects, "acme").commit([entry("A")], [], "ingest")
    Catalog(objects, "acme").commit([], ["A"], "delete")
    objects.write(log_path(1), objects.read(log_path(1)).replace(b'"A"', b'"Q"'))
    with pytest.raises(CorruptBlock, match="contradicts"):
        Catalog(objects, "acme").load()


def test_reindex_goes_beyond_entries_after_a_gap(objects: Watched) -> None:
    commit_many(Catalog(objects, "acme"), 4)
    objects.delete(log_path(2))
    state = Catalog(objects, "acme").reindex([meta("A")])
    assert (state.version, set(state.blocks)) == (5, {"A"})
    assert Catalog(objects, "acme").load() == state


def test_reindex_of_a_lost_log_starts_a_new_one(objects: Watched) -> None:
    state = Catalog(objects, "acme").reindex([meta("A"), meta("B")])
    assert (state.version, set(state.blocks)) == (1, {"A", "B"})


def test_reindex_leaves_out_what_was_merged(objects: Watched) -> None:
    metas = [meta("D", "B", "C"), meta("A"), meta("B"), meta("C", "gone")]
    assert set(Catalog(objects, "acme").reindex(metas).blocks) == {"A", "D"}


def test_threads_commit_without_loss(objects: Watched) -> None:
    shared = Catalog(objects, "acme")

    def work(number: int) -> None:
        catalog = shared if number % 2 else Catalog(objects, "acme")
        for turn in range(25):
            catalog.commit([entry(f"{number}-{turn}")], [f"{number}-{turn - 1}"] if turn else [], "test")

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(8)))
    state = Catalog(objects, "acme").load()
    assert (state.version, set(state.blocks)) == (200, {f"{number}-24" for number in range(8)})


def test_readers_see_every_version_once_and_in_order(objects: Watched) -> None:
    writer, reader = Catalog(objects, "acme"), Catalog(objects, "acme")
    writer.commit([entry("000")], [], "first")

    def read() -> Sequence[CatalogState]:
        states: list[CatalogState] = []
        while not states or states[-1].version < 100:
            states.append(reader.load())
        return states

    with ThreadPoolExecutor(4) as threads:
        reading = [threads.submit(read) for _ in range(4)]
        for number in range(1, 100):
            # Each replaces the one before, so that a state that is not one version shows none or two.
            writer.commit([entry(f"{number:03d}")], [f"{number - 1:03d}"], "replace")
        for states in (done.result() for done in reading):
            assert [state.version for state in states] == sorted(state.version for state in states)
            assert all(list(state.blocks) == [f"{state.version - 1:03d}"] for state in states)


def test_a_load_holds_what_was_committed_before_it(objects: Watched) -> None:
    """Threads share one look at the store, but never one that began before they asked."""
    reader, writer = Catalog(objects, "acme"), Catalog(objects, "acme")

    def look(_: int) -> bool:
        committed = writer.commit([entry(uuid4().hex)], [], "test").version
        return reader.load().version >= committed

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(look, range(200)))


def test_threads_that_wait_share_the_failure_of_a_store_that_is_away(objects: Watched) -> None:
    catalog = Catalog(objects, "acme")
    catalog.commit([entry("A")], [], "test")
    faulty = FaultyObjects(objects)
    waiting, faults = Catalog(faulty, "acme"), 0
    assert waiting.load().version == 1

    def away(operation: str, path: str) -> None:
        nonlocal faults
        faults += 1
        time.sleep(0.2)
        raise Unavailable("the store is away")

    def look(_: int) -> str:
        with pytest.raises(Unavailable) as caught:
            waiting.load()
        return str(caught.value)

    faulty.before = away
    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(look, range(8))) == {"the store is away"}
    # The first one's, and one for all that asked meanwhile.
    assert faults < 8
    faulty.before = lambda operation, path: None
    catalog.commit([entry("B")], [], "test")
    assert waiting.load().version == 2


@given(
    steps=st.lists(
        st.tuples(
            st.integers(0, 2),
            st.lists(st.integers(0, 9), max_size=3, unique=True),
            st.lists(st.integers(0, 9), max_size=3, unique=True),
        ),
        max_size=12,
    )
)
def test_any_commits_add_up(steps: list[tuple[int, list[int], list[int]]]) -> None:
    """Three catalogs of one store, each with its own memory, against a dictionary."""
    objects = open_objects(f"memory://{uuid4().hex}")
    catalogs = [Catalog(objects, "acme") for _ in range(3)]
    expected: dict[str, BlockEntry] = {}
    version = 0
    for step, (who, added, removed) in enumerate(steps):
        entries = [replace(entry(str(number)), level=step) for number in added]
        names = [str(number) for number in removed]
        if not set(names) <= expected.keys():
            with pytest.raises(CommitConflict):
                catalogs[who].commit(entries, names, "test")
            continue
        state = catalogs[who].commit(entries, names, "test")
        expected = {ulid: kept for ulid, kept in expected.items() if ulid not in names}
        expected |= {added_entry.ulid: added_entry for added_entry in entries}
        version += bool(entries or names)
        assert (state.version, dict(state.blocks)) == (version, expected)
    assert all(dict(catalog.load().blocks) == expected for catalog in [*catalogs, Catalog(objects, "acme")])
