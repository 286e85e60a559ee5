"""Numbers of documents as integers: what stands in the text, times a power of ten, to the last digit."""

from __future__ import annotations

import json
from decimal import ROUND_HALF_EVEN, Decimal

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flameduck.engine.formats.exact_numbers import scaled, scaled_number
from flameduck.schema.errors import CorruptProfile

FLOATS = st.floats(-9e9, 9e9) | st.decimals(-9000, 9000, places=10).map(float)


def exactly(number: float, scale: int) -> int:
    return int((Decimal(repr(number)) * scale).to_integral_value(ROUND_HALF_EVEN))


@given(st.lists(FLOATS | st.integers(-(2**53), 2**53)), st.sampled_from([1, 10**3, 10**6]))
@example([5e-10, 1.5e-9, 2.5e-9, -2.5e-9, 0.3, 2**53 + 0.0], 10**9)
@example([0.5, 1.5, 2.5, 4503599627370497.5], 1)
@example([9007199254740993, 0.5], 1)
def test_every_number_is_what_the_text_says(numbers: list[float], scale: int) -> None:
    text = json.dumps(numbers).encode()
    parsed = msgspec.json.decode(text, type=list[int | float])
    if all(abs(number) * scale < 2**63 for number in numbers):
        assert scaled(parsed, scale, "x").tolist() == [exactly(number, scale) for number in numbers]
        assert [scaled_number(number, scale, "x") for number in numbers] == scaled(
            parsed, scale, "x"
        ).tolist()


@pytest.mark.parametrize("number", [2**63, -(2**64), 10**30, 1e300, float("inf"), float("nan"), 1e10])
def test_what_does_not_fit_is_refused(number: float) -> None:
    with pytest.raises(CorruptProfile, match=r"weights.*does not fit 64 bits"):
        scaled([0.5, number], 10**9, "weights")
    with pytest.raises(CorruptProfile, match=r"x: .* does not fit 64 bits"):
        scaled_number(number, 10**9, "x")


def test_the_largest_fit() -> None:
    assert scaled([2**62, -(2**62)], 1, "x").tolist() == [2**62, -(2**62)]
    assert scaled_number(Decimal("9223372036854775807"), 1, "x") == 2**63 - 1
