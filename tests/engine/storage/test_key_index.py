"""Keys to numbers: what was added is found, and nothing else."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from flameduck.engine.storage.key_index import KeyIndex

KEYS = st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 50), unique=True, max_size=300)


@given(KEYS, st.integers(1, 40), st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 50), max_size=50))
def test_what_was_added_is_found_and_nothing_else(keys: list[int], at_once: int, others: list[int]) -> None:
    index = KeyIndex()
    for begin in range(0, len(keys), at_once):
        some = keys[begin : begin + at_once]
        index.add(np.array(some, np.uint64), np.arange(begin, begin + len(some)))
    wanted = {key: number for number, key in enumerate(keys)}
    asked = [*keys, *others]
    assert index.find(np.array(asked, np.uint64)).tolist() == [wanted.get(key, -1) for key in asked]
    assert len(index) == len(keys)


def test_nothing_is_found_in_nothing() -> None:
    assert KeyIndex().find(np.zeros(0, np.uint64)).tolist() == []
    assert KeyIndex().find(np.array([0, 1, 2**64 - 1], np.uint64)).tolist() == [-1, -1, -1]


def test_many_keys_that_share_their_low_or_high_bits() -> None:
    for keys in (np.arange(20_000, dtype=np.uint64), np.arange(20_000, dtype=np.uint64) << np.uint64(40)):
        index = KeyIndex()
        index.add(keys, np.arange(len(keys)))
        assert (index.find(keys) == np.arange(len(keys))).all()
        assert index.size_bytes < 100 * len(keys)
