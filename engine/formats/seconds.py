"""Seconds that a format gives as floating-point numbers, as exact nanoseconds."""

from __future__ import annotations

from ...schema.errors import CorruptProfile

NS_PER_S = 10**9
MAX_NS = 2**63 - 1


def exact_ns(seconds: float, field: str) -> int:
    """The nearest whole nanosecond, half to even. Raises `CorruptProfile` naming the field."""
    try:
        numerator, denominator = seconds.as_integer_ratio()
    except (OverflowError, ValueError):
        raise CorruptProfile(f"{field}: {seconds} is not a time") from None
    whole, rest = divmod(numerator * NS_PER_S, denominator)
    twice = 2 * rest
    found = whole + (twice > denominator or (twice == denominator and whole % 2 == 1))
    if abs(found) > MAX_NS:
        raise CorruptProfile(f"{field}: {seconds} seconds do not fit 64 bits of nanoseconds")
    return found
