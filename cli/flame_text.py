"""A flame graph drawn with characters: the root on top, each row one call deeper, widths by value."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

MIN_WIDTH = 20
_PALETTE = (208, 214, 220, 178, 172, 166, 202, 209, 215, 221, 180, 216)
"""Warm colours of the 256-colour terminal palette, all light enough for black text."""


@dataclass(frozen=True)
class Style:
    """How to draw: columns, the most rows (0: all), colours, and whether the terminal shows Unicode."""

    width: int = 100
    max_rows: int = 0
    colour: bool = False
    unicode: bool = True


@dataclass(frozen=True)
class Bar:
    """One visible frame: columns `[start, end)`, its name and its share of the total."""

    start: int
    end: int
    name: str
    share: float


def draw(names: Sequence[str], levels: Sequence[Sequence[int]], total: int, style: Style) -> list[str]:
    """The lines of a flame graph; `names`, `levels` and `total` as in `schema.request.Flamegraph`.

    Frames narrower than a column are left out. When there are more rows than `max_rows`, rows that
    only repeat the shape of the row above are folded first, then the deepest are cut; a line says how many.
    """
    rows = [
        bars for level in levels if (bars := visible_bars(names, level, total, max(style.width, MIN_WIDTH)))
    ]
    if not style.max_rows or len(rows) <= style.max_rows:
        return [_draw_row(row, style) for row in rows]
    return _draw_cut(rows, style)


def visible_bars(names: Sequence[str], level: Sequence[int], total: int, width: int) -> list[Bar]:
    """The bars of one row that are at least a column wide."""
    bars = []
    position = 0
    for offset, value, _, name in _groups(level):
        left = position + offset
        position = left + value
        start, end = _column(left, total, width), _column(position, total, width)
        if end > start:
            bars.append(Bar(start, end, names[name], value / total))
    return bars


def _column(value: int, total: int, width: int) -> int:
    """The column edge nearest to a value."""
    return (2 * value * width + total) // (2 * total) if total > 0 else 0


def _groups(level: Sequence[int]) -> Iterator[tuple[int, int, int, int]]:
    for at in range(0, len(level), 4):
        yield level[at], level[at + 1], level[at + 2], level[at + 3]


def _draw_cut(rows: list[list[Bar]], style: Style) -> list[str]:
    lines = []
    for run in _runs(rows):
        if len(run) > 3:
            lines += [_draw_row(run[0], style), _folded_line(len(run) - 2, style), _draw_row(run[-1], style)]
        else:
            lines += [_draw_row(row, style) for row in run]
    if len(lines) <= style.max_rows:
        return lines
    hidden = len(lines) - style.max_rows
    return [*lines[: style.max_rows], f"{_dots(style)} {hidden} deeper rows (--depth 0 shows all)"]


def _runs(rows: list[list[Bar]]) -> Iterator[list[list[Bar]]]:
    """Consecutive rows of one shape: each frame is the only, equally wide, call of the frame above."""
    run: list[list[Bar]] = []
    for row in rows:
        if run and [(bar.start, bar.end) for bar in row] != [(bar.start, bar.end) for bar in run[-1]]:
            yield run
            run = []
        run.append(row)
    if run:
        yield run


def _folded_line(count: int, style: Style) -> str:
    return f"{_dots(style)} {count} rows of the same shape"


def _dots(style: Style) -> str:
    return "⋮" if style.unicode else "..."


def _draw_row(row: Sequence[Bar], style: Style) -> str:
    parts = []
    column = 0
    for bar in row:
        parts.append(" " * (bar.start - column))
        parts.append(_draw_bar(bar, style))
        column = bar.end
    return "".join(parts)


def _draw_bar(bar: Bar, style: Style) -> str:
    width = bar.end - bar.start
    if style.colour:
        body = label(bar, width - 1, style).ljust(width - 1) if width > 1 else " "
        gap = " " if width > 1 else ""
        colour = _PALETTE[zlib.crc32(bar.name.encode()) % len(_PALETTE)]
        return f"\x1b[30;48;5;{colour}m{body}\x1b[0m{gap}"
    edge, fill = ("│", "─") if style.unicode else ("|", "-")
    return edge + label(bar, width - 1, style).ljust(width - 1, fill)


def label(bar: Bar, width: int, style: Style) -> str:
    """The name, and its share where there is room; a long name loses its path first, then its end."""
    name = "".join(char if char.isprintable() else " " for char in bar.name)
    full = f"{name} {100 * bar.share:.1f}%"
    if len(full) <= width:
        return full
    if len(name) <= width:
        return name
    short = name.rpartition("/")[2]
    if len(short) <= width:
        return short
    ellipsis = "…" if style.unicode else "~"
    return short[: width - 1] + ellipsis if width > 2 else ""
