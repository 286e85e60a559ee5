"""Values as people read them, by unit: 1.25 s, 3.1 MiB, 12,345."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

_TIME = ((3600 * 10**9, "h"), (60 * 10**9, "min"), (10**9, "s"), (10**6, "ms"), (10**3, "µs"), (1, "ns"))
_BYTES = ((1 << 50, "PiB"), (1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"), (1, "B"))
_NS_OF_TIME_UNIT = {
    "nanoseconds": 1,
    "nanosecond": 1,
    "ns": 1,
    "microseconds": 10**3,
    "microsecond": 10**3,
    "us": 10**3,
    "milliseconds": 10**6,
    "millisecond": 10**6,
    "ms": 10**6,
    "seconds": 10**9,
    "second": 10**9,
    "s": 10**9,
}
_BYTE_UNITS = ("bytes", "byte", "b")


def unit_of(profile_type: str) -> str:
    """The sample unit of a profile type id, empty when there is none."""
    parts = profile_type.split(":")
    return parts[2] if len(parts) > 2 else ""


def format_value(value: float, unit: str) -> str:
    """A value in its unit, with three digits that count; counts are whole, with thousands separated."""
    name = unit.lower()
    if name in _NS_OF_TIME_UNIT:
        return _scaled(value * _NS_OF_TIME_UNIT[name], _TIME)
    if name in _BYTE_UNITS:
        return _scaled(value, _BYTES)
    return f"{value:,}" if isinstance(value, int) else f"{value:,.6g}"


def format_share(value: float, total: float) -> str:
    """A percentage of the total, empty without one."""
    return f"{100 * value / total:.1f}%" if total else ""


def format_second(time_ns: int) -> str:
    """A time in UTC, to the second."""
    from ..schema.times import format_time_ns

    return format_time_ns(time_ns // 10**9 * 10**9)


def column_sum(table: pa.Table, name: str) -> int:
    """The sum of a column of integers, 0 without rows."""
    import pyarrow.compute as pc

    return int(pc.sum(table[name]).as_py() or 0)


def _scaled(value: float, units: tuple[tuple[int, str], ...]) -> str:
    size, name = next(((size, name) for size, name in units if abs(value) >= size), units[-1])
    scaled = value / size
    if size == 1 and scaled == int(scaled):
        return f"{int(scaled)} {name}"
    magnitude = abs(scaled)
    digits = 2 if magnitude < 10 else 1 if magnitude < 100 else 0
    return f"{scaled:,.{digits}f} {name}"
