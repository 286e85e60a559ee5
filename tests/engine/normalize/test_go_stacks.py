"""Truncated stacks of Go are completed from other stacks of the profile, and nothing else is touched."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from flameduck.engine.normalize.go_stacks import HEAP_FRAMES, may_be_truncated, repair_stacks


def repaired(stacks: Sequence[Sequence[int]]) -> list[list[int]]:
    """Repair stacks of location numbers, leaf first."""
    return [stack.tolist() for stack in repair_stacks([np.array(s, np.uint64) for s in stacks], HEAP_FRAMES)]


def cut(first: int, last: int) -> list[int]:
    """The frames `first`, `first + 1` … `last - 1` of one deep call path; higher is nearer to the root."""
    return list(range(first, last))


def test_a_lost_root_is_found_in_a_stack_that_starts_further_up() -> None:
    assert repaired([cut(0, 32), cut(6, 38)]) == [cut(0, 38), cut(6, 38)]


def test_several_stacks_bridge_a_longer_gap() -> None:
    stacks = [cut(0, 32), cut(7, 39), cut(14, 46), cut(21, 53)]
    assert repaired(stacks) == [cut(0, 53), cut(7, 53), cut(14, 53), cut(21, 53)]


def test_more_than_24_frames_are_not_added() -> None:
    stacks = [cut(start, start + 32) for start in range(0, 33, 8)]
    whole = repaired(stacks)
    assert whole[0] == cut(0, 32)
    assert whole[1] == cut(8, 64)


def test_a_gap_without_enough_overlap_stays() -> None:
    stacks = [cut(0, 32), cut(17, 49)]
    assert repaired(stacks) == stacks


def test_short_stacks_are_whole() -> None:
    stacks = [cut(5, 32), cut(6, 38)]
    assert repaired(stacks) == stacks


def test_only_profiles_at_the_runtime_s_bound_are_looked_at() -> None:
    assert may_be_truncated(np.array([3, 32]), HEAP_FRAMES)
    assert may_be_truncated(np.array([28]), HEAP_FRAMES)
    assert not may_be_truncated(np.array([27]), HEAP_FRAMES)
    assert not may_be_truncated(np.array([32, 33]), HEAP_FRAMES)
    assert not may_be_truncated(np.zeros(0, np.int64), HEAP_FRAMES)
