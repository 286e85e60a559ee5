"""The page's Python side: bars become a tree, hostile text stays text, the file needs nothing else."""

import base64
import hashlib
import json
import re

import pytest

from flameduck.engine.query.outputs.page import json_in_html, render_html
from flameduck.engine.query.outputs.page_tree import page_tree
from flameduck.schema.errors import RequestError
from flameduck.schema.request import Flamegraph, FlamegraphDiff

HOSTILE = [
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "\"quotes' and `ticks`",
    "line\u2028separator\u2029\n\x00",
    "ünïcødé 関数 🔥",
    "{{script}} {{data}}",
    "\ud800 lone",
    "",
    "x" * 10_000,
]


def single(names: list[str], levels: list[list[int]]) -> Flamegraph:
    return Flamegraph(["total", *names], levels, levels[0][1], 0)


def shape(answer: Flamegraph | FlamegraphDiff) -> list[tuple[object, ...]]:
    """Depth, name and self values of each node."""
    tree = page_tree(answer)
    return list(zip(tree.depth, (tree.names[n] for n in tree.name), *tree.self_values, strict=True))


def data_of(page: str) -> dict[str, object]:
    """What the page's script reads."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    data: dict[str, object] = json.loads(found[1])
    return data


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        ([[0, 0, 0, 0]], [(0, "total", 0)]),
        # a (self 2) with b 3 and c 1; d 4 with b 4: the second b belongs to d.
        (
            [[0, 10, 0, 0], [0, 6, 2, 1, 0, 4, 0, 4], [2, 3, 3, 2, 0, 1, 1, 3, 0, 4, 4, 2]],
            [(0, "total", 0), (1, "a", 2), (2, "b", 3), (2, "c", 1), (1, "d", 0), (2, "b", 4)],
        ),
        # A bar without value between two with.
        (
            [[0, 5, 0, 0], [0, 2, 2, 1, 0, 0, 0, 2, 0, 3, 3, 3]],
            [(0, "total", 0), (1, "a", 2), (1, "b", 0), (1, "c", 3)],
        ),
        # a: own 1, children 5 and -5: full after the first one, had it not another.
        (
            [[0, 1, 0, 0], [0, 1, 1, 1], [1, 5, 5, 2, 0, -5, -5, 3]],
            [(0, "total", 0), (1, "a", 1), (2, "b", 5), (2, "c", -5)],
        ),
    ],
)
def test_levels_become_a_tree(levels: list[list[int]], expected: list[tuple[object, ...]]) -> None:
    assert shape(single(["a", "b", "c", "d"], levels)) == expected


def test_negative_mass_that_was_cut_becomes_a_bar() -> None:
    levels = [[0, 9, 0, 0], [0, 3, 0, 1, 0, 7, 0, 2], [0, 5, 5, 1, -2, 7, 7, 2]]
    expected = [("total", 0), ("a", 0), ("a", 5), ("other", -2), ("b", 0), ("b", 7), ("other", -1)]
    assert [node[1:] for node in shape(single(["a", "b"], levels))] == expected


def test_diff_levels_become_a_tree_of_two_sides() -> None:
    # Left: a 4, with b 1. Right: b 5 under a new c.
    levels = [
        [0, 4, 0, 0, 5, 0, 0],
        [0, 4, 3, 0, 0, 0, 1, 0, 0, 0, 0, 5, 0, 3],
        [3, 1, 1, 0, 0, 0, 2, 0, 0, 0, 0, 5, 5, 2],
    ]
    answer = FlamegraphDiff(["total", "a", "b", "c"], levels, 9, 5, 4, 5)
    assert shape(answer) == [
        (0, "total", 0, 0),
        (1, "a", 3, 0),
        (2, "b", 1, 0),
        (1, "c", 0, 0),
        (2, "b", 0, 5),
    ]


def test_levels_that_do_not_fit_together_are_refused() -> None:
    with pytest.raises(RequestError, match="do not fit"):
        page_tree(single(["a", "b"], [[0, 5, 0, 0], [0, 5, 0, 1], [3, 1, 1, 2]]))


def test_values_beyond_doubles_find_their_parents() -> None:
    big = 2**60
    levels = [[0, big + 3, 0, 0], [0, big + 1, big, 1, 0, 2, 1, 2], [big, 1, 1, 3, 1, 1, 1, 4]]
    assert [node[:2] for node in shape(single(["a", "b", "c", "d"], levels))] == [
        (0, "total"),
        (1, "a"),
        (2, "c"),
        (1, "b"),
        (2, "d"),
    ]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_data(text: str) -> None:
    page = render_html(single([text], [[0, 1, 0, 0], [0, 1, 1, 1]]), text, text, text)
    page.encode()
    data = data_of(page)
    assert data["names"] == ["total", text]
    assert data["title"] == data["subtitle"] == data["unit"] == text
    plain = render_html(single(["f"], [[0, 1, 0, 0], [0, 1, 1, 1]]), "t", "count")
    assert page.count("<") == plain.count("<"), "text became markup"
    assert page.count("{{") == plain.count("{{") + 4 * text.count("{{") + text.count("{{")


def test_embedded_json_is_ascii_without_an_opening_bracket() -> None:
    text = json_in_html(HOSTILE)
    assert text.isascii()
    assert "<" not in text
    assert json.loads(text) == HOSTILE


def test_the_page_needs_nothing_else() -> None:
    page = render_html(single(["f"], [[0, 1, 0, 0], [0, 1, 1, 1]]), "title", "count")
    assert not re.search(r'\b(src|href)\s*=\s*"(?!data:,")', page)
    assert not re.search(
        r"https?:|//[a-z]+\.|@import|url\(|\bfetch\(|XMLHttpRequest|\beval\(|innerHTML", page
    )
    assert "default-src 'none'" in page
    assert "unsafe" not in page


def test_the_policy_allows_this_script_and_this_style() -> None:
    page = render_html(single(["f"], [[0, 1, 0, 0], [0, 1, 1, 1]]), "title", "count")
    for tag in ("script", "style"):
        found = re.search(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        assert found is not None
        digest = base64.b64encode(hashlib.sha256(found[1].encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in page


def test_the_page_itself_is_small() -> None:
    page = render_html(single([], [[0, 0, 0, 0]]), "", "")
    assert len(page) < 70_000
