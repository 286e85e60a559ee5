"""Stacks that were collected: each once, found again, and compared when they come again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flameduck.engine.storage.stack_lookup import StackLookup
from flameduck.schema import profile
from flameduck.schema.errors import CorruptBlock

Stacks = Mapping[int, Sequence[int]]

every_stack = {key: [key * place for place in range(key % 5)] for key in range(40)}
some_keys = st.lists(st.integers(0, 39), max_size=12)


def table(stacks: Stacks) -> pa.Table:
    return pa.table([list(stacks), list(stacks.values())], schema=profile.STACKS)


def as_dict(stacks: pa.Table) -> Stacks:
    return dict(
        zip(stacks.column("stack_id").to_pylist(), stacks.column("locations").to_pylist(), strict=True)
    )


@given(st.lists(some_keys, max_size=30))
def test_every_stack_is_kept_once_in_order_of_arrival(batches: list[list[int]]) -> None:
    known = StackLookup()
    expected: dict[int, Sequence[int]] = {}
    earlier: list[tuple[pa.Table, Stacks]] = []
    for keys in batches:
        brought = {key: every_stack[key] for key in keys}
        # As a slice, as batches may be.
        sliced = pa.concat_tables([table({99: [1, 2]}), table(brought)]).combine_chunks().slice(1)
        assert as_dict(known.unknown(sliced)) == {k: v for k, v in brought.items() if k not in expected}
        known.add(sliced)
        expected |= brought
        earlier.append((known.table(), dict(expected)))
    for found, then in earlier:
        # What was given out stays as it was.
        assert list(as_dict(found).items()) == list(then.items())


@pytest.mark.parametrize("other", [[], [1, 2], [1, 2, 4], [1, 2, 3, 4]])
def test_two_stacks_of_one_hash(other: list[int]) -> None:
    known = StackLookup()
    known.add(table({5: [7], 6: [1, 2, 3], 7: []}))
    known.add(table({6: [1, 2, 3], 8: [1]}))
    with pytest.raises(CorruptBlock, match="hash collision: stack_id 0x6 stands for"):
        known.unknown(table({9: [3], 7: [], 6: other}))
    with pytest.raises(CorruptBlock, match="hash collision: stack_id 0x6 stands for"):
        known.add(table({6: other}))


def test_many_stacks() -> None:
    known = StackLookup()
    for first in range(0, 5000, 50):
        known.add(table({key: range(key % 7) for key in range(first, first + 100)}))
    assert as_dict(known.table()) == {key: list(range(key % 7)) for key in range(5050)}
