"""Partial answers merge in any order, any grouping, and through bytes, to the same answer."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flameduck.engine.query.calltree import order_nodes
from flameduck.engine.query.snapshot import resolve
from flameduck.schema.errors import CorruptBlock
from flameduck.schema.partial import (
    FunctionPartial,
    LocationPartial,
    from_bytes,
    merge_function_partials,
    merge_location_partials,
    to_bytes,
)
from flameduck.schema.request import Selection, TreeQuery

from ..engine.query.stacks import Stack, opened

FEW = settings(max_examples=25)
stacks_strategy = st.dictionaries(
    st.lists(st.sampled_from("abcd"), min_size=1, max_size=4).map(tuple),
    st.integers(1, 9),
    min_size=1,
    max_size=8,
).map(Counter)


def function_partial(stacks: Counter[Stack]) -> FunctionPartial:
    snapshot = opened(stacks)._snapshot(None, None)
    resolved = resolve(snapshot, Selection())
    return snapshot.source.aggregate(resolved.plan, TreeQuery(), resolved.weights)


def location_partial(stacks: Counter[Stack]) -> LocationPartial:
    from flameduck.engine.query.locations import gather_locations

    snapshot = opened(stacks)._snapshot(None, None)
    resolved = resolve(snapshot, Selection())
    return gather_locations(snapshot, [(resolved.plan.profile_type, resolved)], labels=True)


def nodes(partial: FunctionPartial) -> list[tuple[Any, ...]]:
    tree = order_nodes(partial.nodes)
    names = ["", *tree.names.to_pylist()]
    return [
        (int(parent), names[int(symbol) + 1], int(own), int(total), bool(first))
        for parent, symbol, own, total, first in zip(
            tree.trie.parent,
            tree.trie.symbol,
            tree.values["self"],
            tree.values["total"],
            tree.first,
            strict=True,
        )
    ]


def merged(partials: list[FunctionPartial], grouping: list[int]) -> FunctionPartial:
    """Merge in groups of the given sizes, then the groups, each through bytes."""
    groups: list[FunctionPartial] = []
    rest = partials
    for size in [*grouping, len(partials)]:
        if rest:
            group = merge_function_partials(rest[: max(size, 1)])
            again = from_bytes(to_bytes(group))
            assert isinstance(again, FunctionPartial)
            groups.append(again)
            rest = rest[max(size, 1) :]
    return merge_function_partials(groups)


@FEW
@given(st.lists(stacks_strategy, min_size=1, max_size=4), st.data())
def test_function_partials(parts: list[Counter[Stack]], data: st.DataObject) -> None:
    whole: Counter[Stack] = Counter()
    for part in parts:
        whole.update(part)
    order = data.draw(st.permutations(parts))
    grouping = data.draw(st.lists(st.integers(1, 3), max_size=3))
    result = merged([function_partial(part) for part in order], grouping)
    assert nodes(result) == nodes(function_partial(whole))


@FEW
@given(st.lists(stacks_strategy, min_size=1, max_size=3), st.data())
def test_location_partials(parts: list[Counter[Stack]], data: st.DataObject) -> None:
    whole: Counter[Stack] = Counter()
    for part in parts:
        whole.update(part)
    pieces = [from_bytes(to_bytes(location_partial(part))) for part in data.draw(st.permutations(parts))]
    result = merge_location_partials([piece for piece in pieces if isinstance(piece, LocationPartial)])
    expected = location_partial(whole)
    for name in ("values", "stacks", "locations", "functions", "mappings", "labelsets"):
        ours, theirs = getattr(result, name).to_pylist(), getattr(expected, name).to_pylist()
        assert sorted(map(repr, ours)) == sorted(map(repr, theirs)), name


def test_other_bytes_are_refused() -> None:
    data = to_bytes(function_partial(Counter({("a",): 1})))
    with pytest.raises(CorruptBlock):
        from_bytes(data[: len(data) // 2])
    with pytest.raises(CorruptBlock):
        from_bytes(b"")
    with pytest.raises(CorruptBlock):
        from_bytes(data + data)
