"""A range of time cut into slices along a grid."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ...schema.times import format_time_ns

NS_PER_MS = 1_000_000


@dataclass(frozen=True, order=True)
class Slice:
    """The time from `start_ms` to before `end_ms`, since 1970."""

    start_ms: int
    end_ms: int

    def __str__(self) -> str:
        return f"{format_time_ns(self.start_ms * NS_PER_MS)}/{format_time_ns(self.end_ms * NS_PER_MS)}"

    @property
    def middle_ns(self) -> int:
        """The time that its profiles are stored with.

        A question about ranges that begin and end on slices takes the same profiles whether or not their ends are
        included, which a time on an end would not do.
        """
        return (self.start_ms + self.end_ms) * NS_PER_MS // 2

    def covers(self, other: Slice) -> bool:
        """Whether the other lies in this one."""
        return self.start_ms <= other.start_ms and other.end_ms <= self.end_ms


def grid(whole: Slice, step_ms: int) -> Iterator[Slice]:
    """Slices of `step_ms` that begin at multiples of it; the first and the last may be shorter."""
    start = whole.start_ms
    while start < whole.end_ms:
        end = min((start // step_ms + 1) * step_ms, whole.end_ms)
        yield Slice(start, end)
        start = end


def grid_length(whole: Slice, step_ms: int) -> int:
    """How many slices `grid` yields."""
    if whole.end_ms <= whole.start_ms:
        return 0
    return (whole.end_ms - 1) // step_ms - whole.start_ms // step_ms + 1
