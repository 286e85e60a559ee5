"""Slices along a grid, and along what is stored."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flameduck.engine.migration.slices import Slice, grid, grid_length
from flameduck.engine.migration.stored import StoredSlice, StoredSlices

A = frozenset({("service_name", "a")})
B = frozenset({("service_name", "b")})


@given(st.integers(0, 1000), st.integers(0, 1000), st.integers(1, 300))
def test_a_grid_covers_its_range_once(start: int, length: int, step: int) -> None:
    whole = Slice(start, start + length)
    slices = list(grid(whole, step))
    assert len(slices) == grid_length(whole, step)
    assert [ms for one in slices for ms in range(one.start_ms, one.end_ms)] == list(
        range(start, start + length)
    )
    assert all(one.start_ms % step == 0 for one in slices[1:])
    assert all(one.end_ms - one.start_ms <= step for one in slices)


def test_a_slice_says_when_it_is() -> None:
    one = Slice(1_795_450_000_001, 1_795_450_000_004)
    assert str(one) == "2026-11-23T16:06:40.001Z/2026-11-23T16:06:40.004Z"
    assert one.middle_ns == 1_795_450_000_002_500_000


STORED = StoredSlices(
    [
        StoredSlice(A, "t", Slice(50, 90), 1),
        StoredSlice(A, "t", Slice(10, 30), 2),
        StoredSlice(B, "t", Slice(20, 40), 3),
        StoredSlice(B, "u", Slice(0, 100), 4),
    ]
)


@pytest.mark.parametrize(
    ("whole", "kind", "ends"),
    [
        (Slice(0, 100), "t", [0, 10, 20, 30, 40, 50, 90, 100]),
        (Slice(10, 30), "t", [10, 20, 30]),
        (Slice(31, 39), "t", [31, 39]),
        (Slice(0, 100), "u", [0, 100]),
        (Slice(0, 100), "v", [0, 100]),
    ],
)
def test_slices_are_cut_where_stored_ones_end(whole: Slice, kind: str, ends: list[int]) -> None:
    pieces = STORED.cut(whole, kind)
    assert [one.start_ms for one in pieces] == ends[:-1]
    assert [one.end_ms for one in pieces] == ends[1:]


def test_what_covers_a_slice_is_found() -> None:
    def total(labels: frozenset[tuple[str, str]], kind: str, one: Slice) -> int:
        found = STORED.find(labels, kind, one)
        return found.total if found else 0

    assert total(A, "t", Slice(10, 30)) == 2
    assert total(A, "t", Slice(10, 20)) == 2
    assert total(A, "t", Slice(20, 30)) == 2
    assert total(A, "t", Slice(60, 70)) == 1
    assert total(A, "t", Slice(30, 50)) == 0
    assert total(A, "t", Slice(0, 10)) == 0
    assert total(A, "t", Slice(20, 40)) == 0
    assert total(B, "u", Slice(20, 40)) == 4
    assert total(A, "u", Slice(20, 40)) == 0
