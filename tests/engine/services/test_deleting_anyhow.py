"""Whatever two servers push, flush, compact and delete, killed in between: what is there is what should be."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flameduck.engine.compaction.compact import compact
from flameduck.engine.compaction.deletion import Deletions
from flameduck.engine.compaction.levels import LevelPolicy
from tests.engine.ingest.made_profiles import made_total, problems

from .ingesting import TENANT, Rig
from .test_deleting import services, tombstone

SERVER = st.integers(0, 1)
NUMBER = st.integers(0, 9)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("push"), SERVER, NUMBER),
        st.tuples(st.just("push"), SERVER, NUMBER),
        st.tuples(st.just("delete"), NUMBER, st.integers(1, 10)),
        st.tuples(st.sampled_from(("flush", "restart", "finish", "compact")), SERVER, st.just(0)),
    ),
    min_size=3,
    max_size=14,
)


class Servers:
    """Two servers over one store, and which profiles there should be."""

    def __init__(self, directory: Path) -> None:
        first = Rig(directory / "0")
        self.objects = first.objects
        self.rigs = [first, Rig(directory / "1", first.objects)]
        self.pushed = [set[int](), set[int]()]
        self.stored = set[int]()

    def do(self, step: str, one: int, other: int) -> None:
        if step == "delete":
            Deletions(self.rigs[0].blocks_of(TENANT)).begin(tombstone(one, one + other))
            gone = set(range(one, one + other))
            self.stored -= gone
            self.pushed = [pushed - gone for pushed in self.pushed]
            return
        rig = self.rigs[one]
        # A server looks at the catalog with each question and each flush.
        rig.blocks_of(TENANT).state()
        if step == "push":
            rig.commit(other)
            self.pushed[one].add(other)
        elif step == "flush":
            rig.ingester.flush()
            self.stored |= self.pushed[one]
            self.pushed[one] = set()
        elif step == "restart":
            rig.head.close()
            self.rigs[one] = Rig(rig.directory, self.objects)
        elif step == "finish":
            assert not [two.problem for two in Deletions(rig.blocks_of(TENANT)).finish() if two.problem]
        else:
            assert not [two.problems for two in compact(rig.blocks_of(TENANT), LevelPolicy()) if two.problems]

    def check(self) -> None:
        for rig, pushed in zip(self.rigs, self.pushed, strict=True):
            visible = self.stored | pushed
            if visible:
                assert rig.total() == made_total(visible)
            else:
                assert services(rig) == []


def run(steps: Sequence[tuple[str, int, int]]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        servers = Servers(Path(directory))
        for step in steps:
            servers.do(*step)
            servers.check()
        for step in (("flush", 0, 0), ("flush", 1, 0), ("finish", 0, 0)):
            servers.do(*step)
            servers.check()
        blocks = servers.rigs[0].blocks_of(TENANT)
        assert not blocks.state().tombstones
        kept = sum(entry.profiles for entry in blocks.state().blocks.values())
        assert kept >= 2 * len(servers.stored)
        servers.do("compact", 0, 0)
        servers.check()
        assert problems(Path(directory) / "0" / "store", TENANT) == []


@settings(max_examples=15, deadline=None)
@given(STEPS)
def test_what_is_there_is_what_should_be(steps: Sequence[tuple[str, int, int]]) -> None:
    run(steps)


@pytest.mark.nightly
@pytest.mark.timeout(3600)
@settings(max_examples=500, deadline=None)
@given(STEPS)
def test_what_is_there_is_what_should_be_every_time(steps: Sequence[tuple[str, int, int]]) -> None:
    run(steps)
