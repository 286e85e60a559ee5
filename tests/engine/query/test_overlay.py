"""Numbering the hashes of many trees at once."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from flameduck.engine.query.overlay import number_hashes


@given(st.lists(st.integers(0, 20) | st.integers(0, 2**64 - 1)))
def test_hashes_are_numbered_in_the_order_of_their_appearance(hashes: list[int]) -> None:
    known: dict[int, int] = {}
    expected = [known.setdefault(one, len(known)) for one in hashes]
    numbers, leaders = number_hashes(np.array(hashes, np.uint64))
    assert numbers.tolist() == expected
    assert leaders.tolist() == [hashes.index(one) for one in known]


def test_hashes_that_want_the_same_slots() -> None:
    """Slots are told by the high bits of a product; these agree in the first product's high 40 bits."""
    inverse = pow(0x9E3779B97F4A7C15, -1, 1 << 64)
    hashes = [(low * inverse) % (1 << 64) for low in range(300)] * 2
    numbers, leaders = number_hashes(np.array(hashes, np.uint64))
    assert numbers.tolist() == [*range(300)] * 2
    assert leaders.tolist() == [*range(300)]
