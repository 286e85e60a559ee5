"""Which blocks are compacted: tables of blocks in, jobs out."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flameduck.engine.compaction.levels import LevelPolicy, plan_levels
from flameduck.schema.catalog import BlockEntry

POLICY = LevelPolicy({1: 10, 2: 100}, grace_ns=5, smallest_bytes=50, most_bytes=200, most_blocks=6)
LATER = 10_000


def entry(ulid: str, level: int, min_ts: int, max_ts: int | None = None, size_bytes: int = 60) -> BlockEntry:
    return BlockEntry(ulid, level, min_ts, min_ts if max_ts is None else max_ts, 1, 1, size_bytes)


def planned(
    entries: Sequence[BlockEntry], now: int = LATER, policy: LevelPolicy = POLICY
) -> list[tuple[str, int | None]]:
    return [("".join(job.ulids), job.level) for job in plan_levels(entries, policy, now)]


@pytest.mark.parametrize(
    ("entries", "jobs"),
    [
        ([], []),
        ([entry("A", 0, 0)], []),
        # An hour's blocks become one, each hour for itself, oldest first.
        ([entry("A", 0, 3), entry("B", 0, 1)], [("BA", 1)]),
        ([entry("A", 0, 3), entry("B", 0, 1), entry("C", 0, 12), entry("D", 0, 19)], [("BA", 1), ("CD", 1)]),
        # One that is alone in its hour waits for the day.
        ([entry("A", 0, 3), entry("B", 0, 1), entry("C", 0, 12)], [("BA", 1)]),
        ([entry("A", 0, 3), entry("B", 0, 12)], [("AB", 2)]),
        # Small ones are joined beyond their hour, until they are large enough.
        ([entry(name, 0, 10 * at, size_bytes=25) for at, name in enumerate("ABCD")], [("AB", 1), ("CD", 1)]),
        ([entry(name, 0, 10 * at, size_bytes=1) for at, name in enumerate("ABCD")], [("ABCD", 1)]),
        # What came late joins the hour's block if that is small, else the day's.
        ([entry("A", 1, 0, size_bytes=49), entry("B", 0, 5, size_bytes=1)], [("AB", 1)]),
        ([entry("A", 1, 0), entry("B", 0, 5, size_bytes=1)], [("AB", 2)]),
        # A day's blocks of level 1 become one; a large one of level 2 is done.
        ([entry(name, 1, 10 * at) for at, name in enumerate("ABC")], [("ABC", 2)]),
        ([entry("A", 2, 0), entry("B", 1, 10), entry("C", 1, 20)], [("BC", 2)]),
        ([entry("A", 2, 0), entry("B", 2, 10)], []),
        # No block is made of more than the most.
        ([entry(name, 0, 1) for name in "ABCDE"], [("ABC", 1), ("DE", 1)]),
        ([entry("A", 0, 1, size_bytes=500), entry("B", 0, 2), entry("C", 0, 3)], [("BC", 1)]),
        ([entry(name, 0, 1, size_bytes=9) for name in "ABCDEFGH"], [("ABCDEF", 1), ("GH", 1)]),
    ],
)
def test_jobs(entries: Sequence[BlockEntry], jobs: list[tuple[str, int]]) -> None:
    assert planned(entries) == jobs


@pytest.mark.parametrize(("now", "jobs"), [(14, []), (15, [("AB", 1)])])
def test_an_hour_is_left_alone_until_it_is_over_and_its_grace_too(
    now: int, jobs: list[tuple[str, int]]
) -> None:
    assert planned([entry("A", 0, 0), entry("B", 0, 9)], now) == jobs


def test_a_block_that_reaches_into_an_hour_that_is_not_over_waits() -> None:
    assert planned([entry("A", 0, 0), entry("B", 0, 5, 12)], 20) == []
    assert planned([entry("A", 0, 0), entry("B", 0, 5, 12)], 25) == [("AB", 1)]


blocks = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 300), st.integers(0, 120), st.integers(1, 250)), max_size=20
)


@given(blocks, st.integers(0, 600))
def test_planning_comes_to_an_end(facts: list[tuple[int, int, int, int]], now: int) -> None:
    """Each block is in one job at most, and what a job makes is never smaller than its largest input."""
    live = {
        str(number): BlockEntry(str(number), level, start, start + length, 1, 1, size_bytes)
        for number, (level, start, length, size_bytes) in enumerate(facts)
    }
    made = len(live)
    for _ in range(len(facts) + 1):
        jobs = plan_levels(live.values(), POLICY, now)
        if not jobs:
            break
        used = [ulid for job in jobs for ulid in job.ulids]
        assert len(used) == len(set(used))
        for job in jobs:
            inputs = [live.pop(ulid) for ulid in job.ulids]
            assert len(inputs) > 1
            assert job.level is not None
            assert max(one.level for one in inputs) <= job.level
            size_bytes = sum(one.size_bytes for one in inputs)
            assert size_bytes <= POLICY.most_bytes
            assert len(job.ulids) <= POLICY.most_blocks
            first, last = min(one.min_ts for one in inputs), max(one.max_ts for one in inputs)
            live[str(made)] = BlockEntry(str(made), job.level, first, last, 1, 1, size_bytes)
            made += 1
    else:
        raise AssertionError(jobs)
