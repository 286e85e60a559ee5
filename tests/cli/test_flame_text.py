"""Flame graphs drawn with characters."""

from __future__ import annotations

import pytest

from flameduck.cli.flame_text import Bar, Style, draw, label, visible_bars

NAMES = ["total", "main", "github.com/acme/shop.(*Cart).Total", "idle", "gc"]
LEVELS = [
    [0, 100, 0, 0],
    [0, 100, 0, 1],
    [0, 60, 0, 2, 10, 30, 30, 3],
    [0, 60, 60, 4],
]


def test_bars_stand_where_their_values_are() -> None:
    bars = visible_bars(NAMES, LEVELS[2], 100, 50)
    assert [(bar.start, bar.end, bar.name) for bar in bars] == [(0, 30, NAMES[2]), (35, 50, "idle")]


def test_bars_narrower_than_a_column_are_left_out() -> None:
    assert visible_bars(["a", "b"], [0, 995, 0, 0, 0, 5, 5, 1], 1000, 20) == [Bar(0, 20, "a", 0.995)]


def test_graph_without_colours() -> None:
    assert draw(NAMES, LEVELS, 100, Style(width=40)) == [
        "│total 100.0%───────────────────────────",
        "│main 100.0%────────────────────────────",
        "│shop.(*Cart).Total─────    │idle 30.0%─",
        "│gc 60.0%───────────────",
    ]


def test_graph_in_ascii() -> None:
    lines = draw(NAMES, LEVELS, 100, Style(width=40, unicode=False))
    assert lines[0].startswith("|total 100.0%---")
    assert all(line.isascii() for line in lines)


def test_every_line_is_as_wide_as_asked() -> None:
    for width in (20, 33, 80, 200):
        assert {len(line) for line in draw(NAMES, LEVELS[:2], 100, Style(width=width))} == {width}


def test_colours_fill_the_same_columns() -> None:
    (line,) = draw(["total"], [[0, 10, 0, 0]], 10, Style(width=30, colour=True))
    assert line.startswith("\x1b[30;48;5;")
    assert "total 100.0%" in line


def _chain(depth: int) -> list[list[int]]:
    return [[0, 10, 0, number] for number in range(depth)]


def test_deep_chains_are_folded_before_anything_is_cut() -> None:
    names = [f"f{number}" for number in range(50)]
    levels = [*_chain(50), [0, 5, 5, 0]]
    lines = draw(names, levels, 10, Style(width=40, max_rows=10))
    assert [line.split("─")[0] for line in lines] == [
        "│f0 100.0%",
        "⋮ 48 rows of the same shape",
        "│f49 100.0%",
        "│f0 50.0%",
    ]


def test_rows_that_do_not_fit_are_counted() -> None:
    names = ["a"]
    levels = [[0, 1000 - 10 * depth, 0, 0] for depth in range(40)]
    lines = draw(names, levels, 1000, Style(width=100, max_rows=5))
    assert len(lines) == 6
    assert lines[-1] == "⋮ 35 deeper rows (--depth 0 shows all)"
    assert len(draw(names, levels, 1000, Style(width=100, max_rows=0))) == 40


@pytest.mark.parametrize(
    ("width", "text"),
    [
        (40, "github.com/acme/shop.(*Cart).Total 60.0%"),
        (36, "github.com/acme/shop.(*Cart).Total"),
        (20, "shop.(*Cart).Total"),
        (6, "shop.…"),
        (2, ""),
    ],
)
def test_label_loses_its_share_then_its_path_then_its_end(width: int, text: str) -> None:
    assert label(Bar(0, 0, NAMES[2], 0.6), width, Style()) == text


def test_control_characters_do_not_reach_the_terminal() -> None:
    (line,) = draw(["a\x1b[31m\nb"], [[0, 10, 0, 0]], 10, Style(width=40))
    assert line.isprintable()


def test_an_empty_graph_has_no_lines() -> None:
    assert draw(["total"], [[0, 0, 0, 0]], 0, Style()) == []
