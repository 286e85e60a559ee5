"""Values of points on a grid of time and size, as Pyroscope's heatmaps cut it.

A point at `t` belongs to the smallest `start + k * step` that is not before it. There are 20 rows of equal height
between the smallest and the largest value of all series.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

ROWS = 20


@dataclass(frozen=True)
class Point:
    """One value at one time, and what it is of: a profile, or a span and its trace."""

    ts_ms: int
    value: int
    profile_id: str = ""
    span_id: str = ""
    trace_id: str = ""
    labels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Slot:
    """The points of one column of a series: how many there are in each row, and the largest of each."""

    ts_ms: int
    y_min: Sequence[float]
    counts: Sequence[int]
    largest: Sequence[Point]


@dataclass(frozen=True)
class Grid:
    """Where the columns are."""

    start_ms: int
    end_ms: int
    step_ms: int

    def column(self, ts_ms: int) -> int:
        """The time of a point's column."""
        steps = -(-(ts_ms - self.start_ms) // self.step_ms)
        last = -(-(self.end_ms - self.start_ms) // self.step_ms)
        return self.start_ms + min(max(steps, 0), last) * self.step_ms


def heatmap(series: Sequence[Sequence[Point]], grid: Grid) -> list[list[Slot]]:
    """The slots of each series in time, empty ones left out."""
    values = [point.value for points in series for point in points]
    if not values:
        return [[] for _ in series]
    low, high = min(values), max(values)
    high = high + 1 if high == low else high
    height = (high - low) / ROWS
    y_min = [float(low + int(row * height)) for row in range(ROWS)]
    return [_slots(points, grid, y_min, (low, height)) for points in series]


def _slots(
    points: Sequence[Point], grid: Grid, y_min: Sequence[float], scale: tuple[int, float]
) -> list[Slot]:
    low, height = scale
    cells: dict[int, dict[int, list[Point]]] = {}
    for point in points:
        row = min(int((point.value - low) / height), ROWS - 1)
        cells.setdefault(grid.column(point.ts_ms), {}).setdefault(row, []).append(point)
    return [
        Slot(
            ts_ms,
            y_min,
            [len(rows.get(row, ())) for row in range(ROWS)],
            [max(rows[row], key=lambda point: point.value) for row in sorted(rows)],
        )
        for ts_ms, rows in sorted(cells.items())
    ]
