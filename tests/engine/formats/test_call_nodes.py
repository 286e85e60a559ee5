"""Stacks out of trees that come as parents: right for every tree, and never without end."""

from __future__ import annotations

import time
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flameduck.engine.formats import call_nodes
from flameduck.engine.formats.call_nodes import CallNodes, GrowingTree, stack_pieces
from flameduck.schema.errors import CorruptProfile, LimitExceeded


def stacks(parent: list[int], ends: list[int]) -> list[list[int]]:
    nodes = CallNodes(np.array(parent, np.int64), np.arange(len(parent)) + 100)
    found: list[list[int]] = []
    for part, piece in stack_pieces(nodes, np.array(ends, np.int64)):
        assert part.start == len(found)
        bounds = piece.offsets.tolist()
        found += [piece.values[start:stop].tolist() for start, stop in pairwise(bounds)]
    return found


@given(st.data(), st.integers(1, 40), st.integers(1, 20))
def test_stacks_are_the_ways_to_the_root(data: st.DataObject, count: int, piece: int) -> None:
    parent = [data.draw(st.integers(-1, at - 1)) for at in range(count)]
    order = data.draw(st.permutations(range(count)))
    moved = [-1] * count
    for at, above in enumerate(parent):
        moved[order[at]] = order[above] if above >= 0 else -1
    ends = data.draw(st.lists(st.integers(0, count - 1)))
    expected = []
    for end in ends:
        way, at = [], end
        while at >= 0:
            way.append(at + 100)
            at = moved[at]
        expected.append(way)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(call_nodes, "PIECE_FRAMES", piece)
        assert stacks(moved, ends) == expected


@pytest.mark.parametrize("parent", [[0], [1, 0], [-1, 0, 3, 4, 2]])
def test_circles_are_refused(parent: list[int]) -> None:
    with pytest.raises(CorruptProfile, match="among its own ancestors"):
        stacks(parent, [len(parent) - 1])


def test_a_long_chain_is_measured_before_it_is_written_out() -> None:
    count = 200_000
    begun = time.monotonic()
    with pytest.raises(LimitExceeded, match="20000100000 frames; limit 100000000"):
        stacks(list(range(-1, count - 1)), list(range(count)))
    assert time.monotonic() - begun < 5


def test_a_growing_tree_keeps_a_value_a_node() -> None:
    tree = GrowingTree()
    node = tree.child(tree.child(0, 7), 8)
    assert tree.child(tree.child(0, 7), 8) == node
    tree.own[node] += 5
    nodes, ends, own = tree.columns(np.arange(10) * 10)
    assert (ends.tolist(), own.tolist()) == ([node], [5])
    assert nodes.location[node] == 80
    tree.own[node] = 2**63
    with pytest.raises(CorruptProfile, match="does not fit 64 bits"):
        tree.columns()
