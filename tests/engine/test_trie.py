"""Tries by whole arrays equal tries by nested dictionaries."""

from __future__ import annotations

from collections.abc import Sequence
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flameduck.engine import path_grid
from flameduck.engine.trie import (
    Ragged,
    Trie,
    build_trie,
    depths_in,
    depths_of,
    first_occurrences,
    merge_order,
    offsets_of,
    path_hashes,
    project_trie,
    totals,
    unify,
)

SYMBOLS = 5
Paths = list[list[int]]
paths_strategy = st.lists(st.lists(st.integers(0, SYMBOLS - 1), max_size=7), max_size=30)


def ragged(lists: Sequence[Sequence[int]]) -> Ragged:
    flat = [item for one in lists for item in one]
    return Ragged(np.array(flat, np.int64), offsets_of(np.array([len(one) for one in lists], np.int64)))


def naive(paths: Paths) -> list[tuple[int, int, int, int]]:
    """(parent, symbol, size, depth) in pre-order, siblings by symbol."""
    distinct = sorted({tuple(path[:n]) for path in paths for n in range(len(path) + 1)} | {()})
    position = {path: number for number, path in enumerate(distinct)}
    return [
        (
            position[path[:-1]],
            path[-1] if path else -1,
            sum(other[: len(path)] == path for other in distinct),
            len(path),
        )
        for path in distinct
    ]


def rows(trie: Trie) -> list[tuple[int, int, int, int]]:
    columns = (trie.parent, trie.symbol, trie.size, trie.depth)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def path_of(trie: Trie, node: int) -> list[int]:
    path: list[int] = []
    while node:
        path.insert(0, int(trie.symbol[node]))
        node = int(trie.parent[node])
    return path


by_levels_and_by_grid = pytest.mark.parametrize("most_cells", [0, path_grid.MOST_CELLS])
"""A grid of no cells is none: levels it is."""


@by_levels_and_by_grid
@given(paths_strategy, st.sampled_from([0, 1 << 20]))
def test_build(most_cells: int, paths: Paths, least: int) -> None:
    paths = [[least + symbol for symbol in path] for path in paths]
    with mock.patch.object(path_grid, "MOST_CELLS", most_cells):
        trie, ends = build_trie(ragged(paths), least + SYMBOLS)
    assert rows(trie) == naive(paths)
    assert [path_of(trie, node) for node in ends.tolist()] == paths
    assert (depths_of(trie.parent) == trie.depth).all()
    assert (depths_in(trie.size) == trie.depth).all()


@by_levels_and_by_grid
@given(paths_strategy, st.lists(st.lists(st.integers(0, 3), max_size=2), min_size=SYMBOLS, max_size=SYMBOLS))
def test_project(most_cells: int, paths: Paths, expansion: Paths) -> None:
    trie, ends = build_trie(ragged(paths), SYMBOLS)
    symbols = [expansion[symbol] if symbol >= 0 else [] for symbol in trie.symbol.tolist()]
    with mock.patch.object(path_grid, "MOST_CELLS", most_cells):
        projected, new_node = project_trie(trie, ragged(symbols), 4)
    expected = [[new for symbol in path for new in expansion[symbol]] for path in paths]
    assert rows(projected) == naive(expected)
    assert [path_of(projected, int(new_node[end])) for end in ends.tolist()] == expected


@given(paths_strategy)
def test_symbols_of_more_than_32_bits(paths: Paths) -> None:
    wide = [[symbol << 33 for symbol in path] for path in paths]
    trie, _ = build_trie(ragged(wide), SYMBOLS << 33)
    assert rows(trie) == naive(wide)
    chains = [[symbol + 1] if symbol >= 0 else [] for symbol in trie.symbol.tolist()]
    projected, _ = project_trie(trie, ragged(chains), (SYMBOLS << 33) + 1)
    assert rows(projected) == naive([[symbol + 1 for symbol in path] for path in wide])
    assert trie.symbol.dtype == projected.symbol.dtype == np.int64
    assert build_trie(ragged(paths), SYMBOLS)[0].symbol.dtype == np.int32


@given(paths_strategy)
def test_first_occurrences(paths: Paths) -> None:
    trie, _ = build_trie(ragged(paths), SYMBOLS)
    for node, first in enumerate(first_occurrences(trie).tolist()):
        path = path_of(trie, node)
        assert first == (not path or path[-1] not in path[:-1])


@given(paths_strategy, st.randoms(use_true_random=False))
def test_merge_order_undoes_any_shuffle(paths: Paths, random: object) -> None:
    trie, _ = build_trie(ragged(paths), SYMBOLS)
    shuffled = np.array([0, *random.sample(range(1, len(trie)), len(trie) - 1)])  # type: ignore[attr-defined]
    back = np.argsort(shuffled)
    merged, position = merge_order(back[trie.parent[shuffled]], trie.symbol[shuffled], trie.depth[shuffled])
    assert rows(merged) == rows(trie)
    assert (position == shuffled).all()


@given(paths_strategy)
def test_unify_of_the_subtrees_is_the_trie(paths: Paths) -> None:
    trie, _ = build_trie(ragged(paths), SYMBOLS)
    parent = np.where(trie.depth[1:] == 1, -1, trie.parent[1:] - 1)
    merged, place = unify(parent, trie.symbol[1:], trie.depth[1:] - 1, SYMBOLS)
    assert rows(merged) == rows(trie)
    assert place.tolist() == list(range(1, len(trie)))


@given(paths_strategy, st.integers(0, 2**32))
def test_totals_and_path_hashes(paths: Paths, seed: int) -> None:
    trie, _ = build_trie(ragged(paths), SYMBOLS)
    values = np.random.default_rng(seed).integers(-5, 5, len(trie))
    for node in range(len(trie)):
        inside = slice(node, node + int(trie.size[node]))
        assert totals(values, trie.size)[node] == values[inside].sum()
    hashes = path_hashes(trie, np.arange(1, SYMBOLS + 1, dtype=np.uint64))
    assert len(set(hashes.tolist())) == len(trie)


def test_lists_are_taken_and_reversed() -> None:
    lists = ragged([[1, 2, 3], [], [4]])
    assert lists.take(np.array([2, 0])).values.tolist() == [4, 1, 2, 3]
    assert lists.reversed().values.tolist() == [3, 2, 1, 4]
