"""Deletion: every answer is that of a store that never had the profiles, before and after blocks are written anew."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import flameduck
from flameduck.engine.embedded import StoreDatabase
from flameduck.engine.storage.catalog import Catalog
from flameduck.engine.storage.objects import open_objects
from tests.engine.compaction.deleting import Wanted, begin, compact_all, everything, finish, put
from tests.engine.compaction.made_blocks import Made
from tests.engine.ingest.made_profiles import problems

SERVICES = ("cart", "checkout")


MADE = st.builds(
    lambda number, tick, labelled: (number, tick, SERVICES[number % 2], labelled),
    st.integers(0, 9),
    st.integers(0, 9),
    st.booleans(),
)
BLOCK = st.lists(MADE, min_size=1, max_size=6)
RANGE = st.tuples(st.integers(0, 9), st.integers(1, 9)).map(lambda pair: (pair[0], pair[0] + pair[1]))
WANTED = st.builds(
    Wanted, st.sampled_from(("", *SERVICES)), st.sampled_from(("", "pod-0", "pod-1")), st.none() | RANGE
)
STEP = st.one_of(BLOCK, BLOCK, WANTED, st.sampled_from(("finish", "compact")))


@settings(max_examples=6, deadline=None)
@given(st.lists(STEP, min_size=2, max_size=7))
def test_answers_are_those_of_a_store_that_never_had_them(steps: Sequence[object]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        check(Path(directory), [[(0, 0, "cart", True), (1, 1, "checkout", False)], *steps])


@pytest.mark.nightly
@pytest.mark.timeout(3600)
@settings(max_examples=400, deadline=None)
@given(st.lists(STEP, min_size=2, max_size=12))
def test_answers_of_many_stores(steps: Sequence[object]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        check(Path(directory), [[(0, 0, "cart", True), (1, 1, "checkout", False)], *steps])


def check(directory: Path, steps: Sequence[object]) -> None:
    store = directory / "store"
    kept: list[list[Made]] = []
    for step in steps:
        if isinstance(step, list):
            put(store, step)
            kept.append(step)
        elif isinstance(step, Wanted):
            begin(store, step)
            kept = [[made for made in block if not step.covers(made)] for block in kept]
        elif step == "finish":
            finish(store)
        else:
            compact_all(store)
    reference = directory / "reference"
    Catalog(open_objects(str(reference)), "anonymous").load()
    for block in kept:
        if block:
            put(reference, block)
    expected = everything(reference)
    assert differing(everything(store), expected) == []
    finish(store)
    assert differing(everything(store), expected) == []
    with flameduck.open(store) as db:
        assert isinstance(db.database, StoreDatabase)
        assert not db.database.blocks.state().tombstones
    assert problems(store) == []
    compact_all(store)
    compact_all(reference)
    assert differing(everything(store), everything(reference)) == []


def differing(found: Mapping[str, object], expected: Mapping[str, object]) -> list[str]:
    return [
        f"{name}: {found[name]} instead of {expected[name]}"
        for name in expected
        if found[name] != expected[name]
    ]
