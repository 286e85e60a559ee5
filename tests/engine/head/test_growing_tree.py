"""A tree that grows is the tree of everything that came, whatever it came in."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from flameduck.engine.head.growing_tree import GrowingTree, GrowingTrees, NamedPaths
from flameduck.engine.query.function_tree import FunctionTree, PartTree
from flameduck.engine.query.overlay import Overlays, PartValues
from flameduck.engine.trie import Ragged, offsets_of

Path = tuple[str, ...]
IntArray = npt.NDArray[np.int64]

paths = st.lists(
    st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=6).map(tuple), unique=True, max_size=30
)
portions = st.lists(st.lists(st.integers(0, 29), unique=True, max_size=12), max_size=6)


def named(some: Sequence[Path]) -> NamedPaths:
    """As a block numbers them: by the names that it has."""
    names = sorted(set(chain.from_iterable(some)) | {"never used"})
    values = [names.index(name) for path in some for name in path]
    lengths = np.array([len(path) for path in some], np.int64)
    return NamedPaths(Ragged(np.array(values, np.int32), offsets_of(lengths)), pa.array(names, pa.string()))


def path_of(tree: FunctionTree, node: int) -> Path:
    if node == 0:
        return ()
    parent = int(tree.parent[node])
    assert parent < node
    assert tree.depth[node] == tree.depth[parent] + 1
    return (*path_of(tree, parent), tree.names[int(tree.symbol[node])].as_py())


def put(tree: GrowingTree, stacks: Sequence[int], every: Sequence[Path]) -> PartTree:
    """Ask for the nodes of some stacks; each is a place in `every`."""

    def paths_of(places: IntArray) -> NamedPaths:
        return named([every[stacks[place]] for place in places])

    return tree.part(tree.nodes_of(np.array(stacks, np.int64), paths_of))


@given(paths, portions)
def test_it_is_the_tree_of_everything(every: list[Path], portions: list[list[int]]) -> None:
    tree, known = GrowingTree(), set[int]()
    before = put(tree, [], every)
    for portion in portions:
        stacks = [stack for stack in portion if stack < len(every)]
        known |= set(stacks)
        part = put(tree, stacks, every)
        whole = part.functions
        assert [path_of(whole, node) for node in part.node_of_stack.tolist()] == [every[s] for s in stacks]
        assert part.key == before.key
        assert whole.path_hash[: len(before.functions)].tolist() == before.functions.path_hash.tolist()
        at_once, _ = named([every[stack] for stack in known]).tree()
        assert _facts(whole) == _facts(at_once)
        before = part


def _facts(tree: FunctionTree) -> dict[int, tuple[Path, bool]]:
    paths = [path_of(tree, node) for node in range(len(tree))]
    facts = dict(zip(tree.path_hash.tolist(), zip(paths, tree.first.tolist(), strict=True), strict=True))
    assert len(facts) == len(tree)
    return facts


def test_only_new_stacks_are_asked_for() -> None:
    tree, every = GrowingTree(), [("a", "b"), ("a", "c"), ("a", "b", "d")]
    put(tree, [0, 1], every)
    size_bytes = tree.size_bytes
    part = put(tree, [1, 0], [])
    assert [path_of(part.functions, node) for node in part.node_of_stack.tolist()] == [("a", "c"), ("a", "b")]
    assert tree.size_bytes == size_bytes
    put(tree, [2], every)
    assert tree.size_bytes > size_bytes


def test_trees_are_kept_by_service_and_name() -> None:
    trees = GrowingTrees()
    assert trees.of("checkout", "cpu") is trees.of("checkout", "cpu")
    assert (
        len({id(trees.of(*key)) for key in (("checkout", "cpu"), ("checkout", "memory"), ("cart", "cpu"))})
        == 3
    )
    assert trees.size_bytes == 3 * GrowingTree().size_bytes


def test_overlays_are_made_anew_when_a_tree_has_grown() -> None:
    tree, every = GrowingTree(), [("a", "b"), ("a", "c"), ("d",)]
    small, large = put(tree, [0], every), put(tree, [1, 2], every)
    overlays = Overlays()
    first = overlays.of([small])
    assert overlays.of([small]) is first
    second = overlays.of([small, large])
    assert second is not first
    # A larger one serves what a smaller one did, and is the only one that is kept.
    assert overlays.of([large]) is overlays.of([small]) is second
    values = PartValues(small.key, small.functions, np.array([0, 0, 7]))
    names = second.merged([values, values]).nodes.to_pylist()
    assert [(node["name"], node["self"], node["total"]) for node in names] == [
        ("", 0, 14),
        ("a", 0, 14),
        ("b", 14, 14),
    ]
