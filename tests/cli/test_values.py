"""Values as people read them."""

from __future__ import annotations

import pytest

from flameduck.cli.values import format_share, format_value, unit_of


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0, "nanoseconds", "0 ns"),
        (999, "nanoseconds", "999 ns"),
        (1_234, "nanoseconds", "1.23 µs"),
        (1_250_000_000, "nanoseconds", "1.25 s"),
        (90_000_000_000, "nanoseconds", "1.50 min"),
        (-1_250_000_000, "nanoseconds", "-1.25 s"),
        (1_500, "milliseconds", "1.50 s"),
        (123_456_789_000_000_000, "nanoseconds", "34,294 h"),
        (512, "bytes", "512 B"),
        (3 << 20, "bytes", "3.00 MiB"),
        (1_234_567, "count", "1,234,567"),
        (1_234_567, "", "1,234,567"),
        (2.5, "count", "2.5"),
    ],
)
def test_format_value(value: float, unit: str, text: str) -> None:
    assert format_value(value, unit) == text


def test_format_share_without_a_total_is_empty() -> None:
    assert format_share(1, 3) == "33.3%"
    assert format_share(1, 0) == ""


def test_unit_of_takes_the_sample_unit() -> None:
    assert unit_of("memory:inuse_space:bytes:space:bytes") == "bytes"
    assert unit_of("") == ""
