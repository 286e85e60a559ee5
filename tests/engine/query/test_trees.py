"""Answers made of call trees equal those of a plain walk over the stacks."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flameduck.engine.embedded import FilesDatabase
from flameduck.schema.errors import RequestError
from flameduck.schema.request import (
    DiffRequest,
    Flamegraph,
    FlamegraphDiff,
    FlamegraphRequest,
    FrameFilter,
    Request,
    Rows,
    SandwichRequest,
    Selection,
    TopRequest,
    TreeQuery,
    TreeRequest,
)

from ...golden.exchanges import bars
from .stacks import Stack, opened, top_of, tree_of

NAMES = ["main", "work", "read", "write", "Zeta", "ünï", "other"]
FEW = settings(max_examples=25)
stacks_strategy = st.dictionaries(
    st.lists(st.sampled_from(NAMES), min_size=1, max_size=6).map(tuple),
    st.integers(1, 1000),
    min_size=1,
    max_size=25,
).map(Counter)


def table(database: FilesDatabase, request: Request) -> list[dict[str, object]]:
    answer = database.ask(request)
    assert isinstance(answer, Rows)
    rows: list[dict[str, object]] = answer.table.to_pylist()
    return rows


def graph_nodes(graph: Flamegraph) -> dict[Stack, tuple[int, int]]:
    """Self and total by path, read back from the bars."""
    nodes: dict[Stack, tuple[int, int]] = {}
    above: list[tuple[int, int, Stack]] = []
    for depth, row in enumerate(bars(graph.names, graph.levels, 4)):
        here: list[tuple[int, int, Stack]] = []
        for x, total, own, name in row:
            assert isinstance(x, int)
            assert isinstance(total, int)
            assert isinstance(own, int)
            path: Stack = ()
            if depth:
                path = (*next(p for a, b, p in above if a <= x < b or (a == x and not total)), str(name))
            here.append((x, x + total, path))
            nodes[path] = (own, total)
        above = here
    return nodes


@FEW
@given(stacks_strategy)
def test_flamegraph_holds_every_node(stacks: Counter[Stack]) -> None:
    graph = opened(stacks).ask(FlamegraphRequest(TreeQuery(), 0))
    assert isinstance(graph, Flamegraph)
    assert graph_nodes(graph) == tree_of(stacks)
    assert graph.total == sum(stacks.values())
    assert graph.max_self == max(own for own, _ in tree_of(stacks).values())


@FEW
@given(stacks_strategy, st.integers(1, 12))
def test_truncation_keeps_the_largest_and_the_mass(stacks: Counter[Stack], max_nodes: int) -> None:
    renamed = Counter({tuple(name.replace("other", "else") for name in k): v for k, v in stacks.items()})
    graph = opened(renamed).ask(FlamegraphRequest(TreeQuery(), max_nodes))
    assert isinstance(graph, Flamegraph)
    whole = tree_of(renamed)
    shown = {path: values for path, values in graph_nodes(graph).items() if "other" not in path}
    assert all(whole[path][1] == total and whole[path][0] == own for path, (own, total) in shown.items())
    largest = sorted((total for path, (_, total) in whole.items() if path), reverse=True)
    threshold = largest[max_nodes - 1] if len(largest) > max_nodes else 0
    assert set(shown) == {path for path, (_, total) in whole.items() if not path or total >= threshold}
    assert sum(own for own, _ in graph_nodes(graph).values()) == graph.total


@FEW
@given(stacks_strategy)
def test_top_counts_recursion_once(stacks: Counter[Stack]) -> None:
    rows = table(opened(stacks), TopRequest(TreeQuery()))
    assert {row["function"]: (row["self"], row["total"]) for row in rows} == top_of(stacks)
    assert [row["self"] for row in rows] == sorted((own for own, _ in top_of(stacks).values()), reverse=True)


@FEW
@given(stacks_strategy)
def test_tree_is_in_preorder(stacks: Counter[Stack]) -> None:
    rows = table(opened(stacks), TreeRequest(TreeQuery()))
    paths: list[Stack] = []
    for row in rows:
        parent = row["parent"]
        paths.append(() if parent is None else (*paths[int(str(parent))], str(row["function"])))
    assert paths == sorted(tree_of(stacks), key=lambda path: [name.encode() for name in path])
    assert {p: (r["self"], r["total"]) for p, r in zip(paths, rows, strict=True)} == tree_of(stacks)


@FEW
@given(stacks_strategy, stacks_strategy)
def test_diff_aligns_both_sides(left: Counter[Stack], right: Counter[Stack]) -> None:
    from flameduck.engine.embedded import open_files
    from flameduck.schema.profile import Upload

    from .stacks import folded

    database = open_files(
        [Upload(folded(side), {"side": name}, name, time_ns=1) for name, side in (("a", left), ("b", right))]
    )
    a, b = (TreeQuery(Selection(f'{{side="{name}"}}')) for name in "ab")
    graph = database.ask(DiffRequest(a, b, max_nodes=0))
    assert isinstance(graph, FlamegraphDiff)
    assert (graph.left_ticks, graph.right_ticks) == (sum(left.values()), sum(right.values()))
    rows = bars(graph.names, graph.levels, 7)
    assert sum(len(row) for row in rows) == len(set(tree_of(left)) | set(tree_of(right)))
    assert sum(int(bar[2]) for row in rows for bar in row) == sum(left.values())
    assert sum(int(bar[5]) for row in rows for bar in row) == sum(right.values())


@FEW
@given(stacks_strategy, st.sampled_from(NAMES))
def test_sandwich(stacks: Counter[Stack], function: str) -> None:
    database = opened(stacks)
    if not any(function in stack for stack in stacks):
        with pytest.raises(RequestError):
            database.ask(SandwichRequest(TreeQuery(), function, "callers"))
        return
    below: Counter[Stack] = Counter()
    above: Counter[Stack] = Counter()
    for stack, value in stacks.items():
        if function in stack:
            at = stack.index(function)
            below[stack[at:]] += value
            above[stack[at::-1]] += value
    for direction, expected in (("callees", below), ("callers", above)):
        graph = database.ask(SandwichRequest(TreeQuery(), function, direction, 0))  # type: ignore[arg-type]
        assert isinstance(graph, Flamegraph)
        assert graph_nodes(graph) == tree_of(expected)


FILTERS = [
    (FrameFilter(focus="work"), lambda s: s if any("work" in f for f in s) else ()),
    (FrameFilter(ignore="work"), lambda s: () if any("work" in f for f in s) else s),
    (FrameFilter(hide="^re"), lambda s: tuple(f for f in s if not f.startswith("re"))),
    (FrameFilter(show="work|main"), lambda s: tuple(f for f in s if "work" in f or "main" in f)),
    (
        FrameFilter(focus="main", hide="work"),
        lambda s: tuple(f for f in s if "work" not in f) if any("main" in f for f in s) else (),
    ),
]


@pytest.mark.parametrize(("chosen", "expected"), FILTERS)
def test_frame_filters(chosen: FrameFilter, expected: object) -> None:
    stacks: Counter[Stack] = Counter(
        {
            ("main", "work", "read"): 3,
            ("main", "read"): 5,
            ("read",): 7,
            ("main", "workers", "write"): 11,
            ("init",): 13,
        }
    )
    kept: Counter[Stack] = Counter()
    for stack, value in stacks.items():
        filtered = expected(stack)  # type: ignore[operator]
        if filtered:
            kept[filtered] += value
    rows = table(opened(stacks), TopRequest(TreeQuery(filter=chosen)))
    assert {row["function"]: (row["self"], row["total"]) for row in rows} == top_of(kept)


def test_call_site_keeps_whole_stacks_that_start_so() -> None:
    stacks: Counter[Stack] = Counter(
        {("main", "a", "b"): 1, ("main", "c"): 2, ("init", "a"): 4, ("main",): 8}
    )
    graph = opened(stacks).ask(FlamegraphRequest(TreeQuery(call_site=("main", "a")), 0))
    assert isinstance(graph, Flamegraph)
    assert graph_nodes(graph) == tree_of(Counter({("main", "a", "b"): 1}))
