"""Tombstones in the catalog: which blocks they concern, and that nothing of them is forgotten."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from flameduck.engine.storage.catalog import CHECKPOINT_EVERY, Catalog
from flameduck.engine.storage.catalog_change import Change
from flameduck.engine.storage.objects import Objects, open_objects
from flameduck.schema.catalog import BlockEntry, CatalogState
from flameduck.schema.errors import CommitConflict, CorruptBlock
from flameduck.schema.tombstone import Tombstone

FIRST = Tombstone("A", '{a="b"}', "cpu", 5, None, 7, "somebody")


def block(ulid: str, applied: int = 0) -> BlockEntry:
    return BlockEntry(ulid, 0, 0, 10, 1, 1, 1, applied)


@pytest.fixture
def objects() -> Objects:
    return open_objects(f"memory://{id(object())}-tombstones")


@pytest.fixture
def catalog(objects: Objects) -> Catalog:
    for info in objects.list("acme"):
        objects.delete(info.path)
    return Catalog(objects, "acme")


def begin(catalog: Catalog, tombstone: Tombstone = FIRST) -> CatalogState:
    return catalog.commit_change(Change("delete", tombstones_added=(tombstone,)))


def drop(catalog: Catalog, name: str = "A") -> CatalogState:
    return catalog.commit_change(Change("deleted", tombstones_removed=(name,)))


def concerned(state: CatalogState) -> set[str]:
    return {ulid for ulid, entry in state.blocks.items() if state.in_force(entry.applied)}


def test_it_concerns_what_was_begun_before_it_whenever_that_is_committed(catalog: Catalog) -> None:
    catalog.commit([block("old")], [], "ingest")
    state = begin(catalog)
    assert (state.version, state.tombstones["A"].version, state.last_tombstone) == (2, 2, 2)
    state = catalog.commit([block("new", 2), block("late", 1)], [], "ingest")
    assert concerned(state) == {"old", "late"}
    assert [one.id for one in state.made_since(1)] == ["A"]
    assert state.made_since(2) == ()


def test_a_dropped_one_is_known_and_comes_back_with_a_block_from_before_it(catalog: Catalog) -> None:
    begin(catalog)
    state = drop(catalog)
    assert (dict(state.tombstones), list(state.spent)) == ({}, ["A"])
    assert [one.id for one in state.made_since(0)] == ["A"]
    state = catalog.commit([block("new", 2)], [], "ingest")
    assert not state.tombstones
    state = catalog.commit([block("late", 0)], [], "flush")
    assert (list(state.tombstones), dict(state.spent), concerned(state)) == (["A"], {}, {"late"})
    assert state.tombstones["A"] == replace(FIRST, version=1)


def test_what_is_not_in_force_cannot_be_dropped(catalog: Catalog) -> None:
    begin(catalog)
    drop(catalog)
    with pytest.raises(CommitConflict, match="not there: A"):
        drop(catalog)


def test_a_guard_sees_what_it_would_follow(catalog: Catalog, objects: Objects) -> None:
    begin(catalog)
    Catalog(objects, "acme").commit([block("late")], [], "flush")

    def guard(state: CatalogState) -> None:
        if state.blocks:
            raise CommitConflict("a block came")

    with pytest.raises(CommitConflict, match="a block came"):
        catalog.commit_change(Change("deleted", tombstones_removed=("A",), guard=guard))
    assert list(catalog.load().tombstones) == ["A"]


def test_checkpoints_have_them(catalog: Catalog, objects: Objects) -> None:
    begin(catalog)
    begin(catalog, replace(FIRST, id="B", start_ns=None))
    drop(catalog)
    for number in range(CHECKPOINT_EVERY):
        state = catalog.commit([block(f"block {number}", 3 + number)], [], "ingest")
    for version in range(1, CHECKPOINT_EVERY + 1):
        objects.delete(f"acme/catalog/{version:020d}.json")
    again = Catalog(objects, "acme").load()
    assert again == state
    assert (list(again.tombstones), list(again.spent)) == (["B"], ["A"])
    assert again.blocks["block 9"].applied == 12


def test_an_older_catalog_is_read_and_goes_on(catalog: Catalog, objects: Objects) -> None:
    """Entries and checkpoints of format 1 know neither tombstones nor `applied`."""
    catalog.commit([block("old")], [], "ingest")
    path = f"acme/catalog/{1:020d}.json"
    fields = json.loads(objects.read(path))
    del fields["tombstones_added"], fields["tombstones_removed"], fields["added"][0]["applied"]
    objects.write(path, json.dumps(fields | {"format": 1}).encode())
    fresh = Catalog(objects, "acme")
    assert fresh.load().blocks == {"old": block("old")}
    assert concerned(begin(fresh)) == {"old"}


def test_an_older_reader_does_not_pass_over_a_tombstone(catalog: Catalog, objects: Objects) -> None:
    begin(catalog)
    assert json.loads(objects.read(f"acme/catalog/{1:020d}.json"))["format"] == 2


@pytest.mark.parametrize(
    "spoilt",
    [{"id": 3}, {"start_ns": "x"}, {"start_ns": True}, {"more": 1}, {"version": 1.5}, {"end_ns": 10**30}],
)
def test_what_is_no_tombstone_is_named(catalog: Catalog, objects: Objects, spoilt: dict[str, object]) -> None:
    begin(catalog)
    path = f"acme/catalog/{1:020d}.json"
    fields = json.loads(objects.read(path))
    fields["tombstones_added"][0] |= spoilt
    objects.write(path, json.dumps(fields).encode())
    with pytest.raises(CorruptBlock, match="not a catalog entry"):
        Catalog(objects, "acme").load()


def test_a_rebuilt_log_goes_on_after_all_versions_that_are_known(catalog: Catalog, objects: Objects) -> None:
    state = catalog.reindex([], [replace(FIRST, version=41)])
    assert (state.version, state.tombstones["A"].version) == (42, 41)
    assert Catalog(objects, "acme").load() == state
    assert not concerned(catalog.commit([block("new", 42)], [], "ingest"))
