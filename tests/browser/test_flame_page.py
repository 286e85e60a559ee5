"""The flame graph page as a person uses it: mouse, keys, search, table, link, colours."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from flameduck.schema.request import Flamegraph, FlamegraphDiff

Stacks = dict[tuple[str, ...], int]
Build = Callable[[Stacks], Flamegraph]
BuildDiff = Callable[[Stacks, Stacks], FlamegraphDiff]
OpenPage = Callable[..., Page]

SMALL: Stacks = {
    ("main", "serve", "json.Encode"): 40,
    ("main", "serve", "json.Encode", "alloc"): 20,
    ("main", "serve", "db.Query"): 25,
    ("main", "gc"): 15,
}


def random_stacks(seed: int) -> Stacks:
    """Stacks of up to twelve of fifteen functions, recursion included."""
    source = random.Random(seed)
    functions = [f"pkg{n % 4}/mod.func{n}" for n in range(15)]
    stacks: Stacks = {}
    for _ in range(300):
        stacks[tuple(source.choices(functions, k=source.randint(1, 12)))] = source.randint(1, 10_000)
    return stacks


def bars(page: Page) -> list[dict[str, Any]]:
    """The bars that the page shows."""
    found: list[dict[str, Any]] = page.evaluate("flameGraph.bars()")
    return found


def click_bar(page: Page, *path: str) -> None:
    box = next(bar["box"] for bar in bars(page) if bar["path"] == list(path))
    page.locator("#canvas").click(
        position={"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
    )


def zoomed(page: Page) -> str | None:
    """The last of the breadcrumb."""
    return page.locator("#crumbs button[aria-current]").text_content()


def press(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def table_rows(page: Page) -> list[list[str]]:
    rows = page.locator("#table tr[data-place]")
    return [rows.nth(n).locator("td").all_text_contents() for n in range(rows.count())]


@pytest.fixture
def small(open_page: OpenPage, flame_graph: Build) -> Page:
    """The page of `SMALL`."""
    return open_page(flame_graph(SMALL))


def test_click_zooms_and_escape_resets(small: Page) -> None:
    click_bar(small, "main", "serve")
    assert zoomed(small) == "serve"
    boxes = {tuple(bar["path"]): bar["box"] for bar in bars(small)}
    assert boxes["main", "serve"]["width"] == pytest.approx(boxes[()]["width"])
    assert boxes["main", "gc"] is None
    press(small, "Escape")
    assert zoomed(small) == "total"


def test_breadcrumb_goes_back(small: Page) -> None:
    click_bar(small, "main", "serve", "json.Encode")
    small.locator("#crumbs button", has_text="main").click()
    assert zoomed(small) == "main"
    small.go_back()
    assert zoomed(small) == "json.Encode"


def test_keys_move_zoom_and_step_out(small: Page) -> None:
    press(small, "ArrowDown", "ArrowDown")
    expect(small.locator("#live")).to_contain_text(
        "serve. Self: 0 (0 count). Total: 85 (85 count). Share: 85.0% of total"
    )
    press(small, "ArrowLeft")
    expect(small.locator("#live")).to_contain_text("gc. Self: 15")
    press(small, "ArrowRight", "ArrowDown", "Enter")
    assert zoomed(small) == "json.Encode"
    press(small, "ArrowDown")
    expect(small.locator("#live")).to_contain_text("Share: 20.0% of total, 33.3% of zoom")
    press(small, "Backspace")
    assert zoomed(small) == "serve"
    press(small, "Home")
    assert zoomed(small) == "total"


def test_arrows_follow_the_direction(small: Page) -> None:
    press(small, "d", "ArrowUp", "ArrowUp")
    expect(small.locator("#live")).to_contain_text("serve")
    root, below = bars(small)[0]["box"], bars(small)[1]["box"]
    assert root["y"] > below["y"]


def test_hover_shows_both_units_and_shares(open_page: OpenPage, flame_graph: Build) -> None:
    page = open_page(flame_graph({("a", "b"): 3_250_000, ("c",): 1_750_000}), "nanoseconds")
    box = next(bar["box"] for bar in bars(page) if bar["path"] == ["a"])
    page.locator("#canvas").hover(position={"x": box["x"] + 5, "y": box["y"] + 5})
    expect(page.locator("#tip")).to_contain_text("3.25 ms (3,250,000 nanoseconds)")
    expect(page.locator("#tip")).to_contain_text("65.0% of total")


@pytest.mark.parametrize("pattern", ["func3$", "pkg1/", "func1.|func7", "FUNC3$"])
def test_matched_share_counts_each_stack_once(open_page: OpenPage, flame_graph: Build, pattern: str) -> None:
    stacks = random_stacks(1)
    page = open_page(flame_graph(stacks))
    press(page, "/")
    page.keyboard.type(pattern)
    matched = sum(
        v for stack, v in stacks.items() if any(re.search(pattern, f, re.IGNORECASE) for f in stack)
    )
    functions = {f for stack in stacks for f in stack if re.search(pattern, f, re.IGNORECASE)}
    share = 100 * matched / sum(stacks.values())
    expect(page.locator("#matched")).to_have_text(
        re.compile(rf"^{len(functions)} functions?, {share:.1f}% of total$")
    )
    assert len(table_rows(page)) == len(functions)
    page.locator("#case").click()
    if pattern.startswith("FUNC"):
        expect(page.locator("#matched")).to_have_text("0 functions, 0.0% of total")


def test_search_steps_through_matches_and_refuses_bad_patterns(small: Page) -> None:
    press(small, "/")
    small.keyboard.type("alloc|gc")
    press(small, "Enter")
    expect(small.locator("#live")).to_contain_text("gc")
    press(small, "Enter")
    expect(small.locator("#live")).to_contain_text("alloc")
    press(small, "Shift+Enter")
    expect(small.locator("#live")).to_contain_text("gc")
    small.locator("#search").fill("(")
    expect(small.locator("#matched")).to_have_text("Not a regular expression")
    expect(small.locator("#search")).to_have_attribute("aria-invalid", "true")


def test_inverted_totals_are_those_of_the_reversed_stacks(open_page: OpenPage, flame_graph: Build) -> None:
    stacks = random_stacks(2)
    page = open_page(flame_graph(stacks))
    press(page, "i")
    expected: Counter[tuple[str, ...]] = Counter()
    for stack, value in stacks.items():
        for depth in range(len(stack) + 1):
            expected[stack[::-1][:depth]] += value
    assert {tuple(bar["path"]): bar["total"][0] for bar in bars(page)} == expected
    press(page, "i")
    straight: Counter[tuple[str, ...]] = Counter()
    for stack, value in stacks.items():
        for depth in range(len(stack) + 1):
            straight[stack[:depth]] += value
    assert {tuple(bar["path"]): bar["total"][0] for bar in bars(page)} == straight


def test_table_counts_recursion_once_and_sorts(open_page: OpenPage, flame_graph: Build) -> None:
    stacks: Stacks = {("f", "g", "f"): 5, ("f",): 2, ("g",): 4}
    page = open_page(flame_graph(stacks))
    assert table_rows(page) == [["f", "763.6%", "763.6%"], ["g", "436.4%", "981.8%"]]
    page.locator("th[data-key=total] button").click()
    assert [row[0] for row in table_rows(page)] == ["g", "f"]
    page.locator("th[data-key=total] button").click()
    assert [row[0] for row in table_rows(page)] == ["f", "g"]
    expect(page.locator("th[data-key=total]")).to_have_attribute("aria-sort", "ascending")


def test_a_row_highlights_its_function(small: Page) -> None:
    small.locator("#table td.function", has_text="alloc").click()
    expect(small.locator("#matched")).to_have_text("1 function, 20.0% of total")
    expect(small.locator("tr[aria-selected=true]")).to_contain_text("alloc")
    small.locator("#table").focus()
    press(small, "Home", "Enter")
    expect(small.locator("#matched")).to_have_text("1 function, 60.0% of total")
    press(small, "Enter")
    expect(small.locator("#matched")).to_have_text("")


def test_a_link_keeps_the_state(open_page: OpenPage, flame_graph: Build) -> None:
    page = open_page(flame_graph(SMALL))
    page.locator("#palette").select_option("warm")
    page.locator("#search").fill("json|alloc")
    page.get_by_role("radio", name="Flame").click()
    page.get_by_role("radio", name="Graph").click()
    click_bar(page, "main", "serve")
    press(page, "l")
    fragment = page.evaluate("location.hash")
    again = open_page(flame_graph(SMALL), fragment=fragment)
    assert zoomed(again) == "serve"
    assert again.locator("#search").input_value() == "json|alloc"
    assert again.locator("#palette").input_value() == "warm"
    expect(again.get_by_role("radio", name="Flame")).to_have_attribute("aria-checked", "true")
    expect(again.locator("#table-pane")).to_be_hidden()
    expect(again.locator("html")).to_have_attribute("data-theme", "dark")
    assert again.evaluate("location.hash") == fragment


def test_views_switch_by_key(small: Page) -> None:
    for key, graph, table in (
        ("t", True, False),
        ("t", True, True),
        ("3", False, True),
        ("2", True, False),
        ("1", True, True),
    ):
        press(small, key)
        assert (small.locator("#graph-pane").is_visible(), small.locator("#table-pane").is_visible()) == (
            graph,
            table,
        )


def test_help_opens_and_closes(small: Page) -> None:
    press(small, "?")
    expect(small.get_by_role("dialog", name="Keyboard")).to_be_visible()
    press(small, "Escape")
    expect(small.get_by_role("dialog", name="Keyboard")).to_be_hidden()


def test_c_copies_the_name(open_page: OpenPage, flame_graph: Build) -> None:
    page = open_page(flame_graph(SMALL), permissions=["clipboard-read", "clipboard-write"])
    press(page, "ArrowDown", "c")
    expect(page.locator("#toast")).to_have_text("Copied main")
    assert page.evaluate("navigator.clipboard.readText()") == "main"


def test_diff_shows_both_sides_and_what_changed(open_page: OpenPage, flame_diff: BuildDiff) -> None:
    left: Stacks = {("a", "b"): 60 * 1024, ("a", "gone"): 40 * 1024}
    right: Stacks = {("a", "b"): 90 * 1024, ("a", "new"): 60 * 1024}
    page = open_page(flame_diff(left, right), "bytes")
    expect(page.locator("#total")).to_have_text("100\u00a0KiB → 150\u00a0KiB (+50.0%)")
    rows = {row[0]: row[1:] for row in table_rows(page)}
    assert list(rows) == ["new", "a", "b", "gone"]
    assert rows["b"] == ["60.0\u00a0KiB60.0%", "90.0\u00a0KiB60.0%", "+30.0\u00a0KiB+50.0%"]
    assert rows["gone"][2] == "\u221240.0\u00a0KiB\u2212100.0%"
    totals = {tuple(bar["path"]): bar["total"] for bar in bars(page)}
    assert totals["a", "b"] == [61440, 92160]
    press(page, "ArrowDown", "ArrowDown")
    expect(page.locator("#live")).to_contain_text("b. Left: 60.0\u00a0KiB (61,440 bytes), 60.0% of total")
    expect(page.locator("#live")).to_contain_text(
        "Delta: +30.0\u00a0KiB (+50.0%). Delta of shares: 0.0 points"
    )
    page.locator("#compare").select_option("share")
    assert {row[0]: row[3] for row in table_rows(page)}["b"] == "0.0 pt0.0%"
    page.locator("#search").fill("^b$")
    expect(page.locator("#matched")).to_have_text("1 function, left 60.0%, right 60.0%")


def test_diff_colours(open_page: OpenPage, flame_diff: BuildDiff) -> None:
    page = open_page(flame_diff({("gone",): 50, ("same",): 50}, {("new",): 50, ("same",): 50}))
    page.evaluate("flameGraph.drawMilliseconds()")
    red, green, blue = colour_of(page, "new")
    assert red > blue + 60
    assert red > green
    red, green, blue = colour_of(page, "gone")
    assert blue > red + 60
    red, green, blue = colour_of(page, "same")
    assert max(red, green, blue) - min(red, green, blue) < 12


def colour_of(page: Page, name: str) -> tuple[int, int, int]:
    box = next(bar["box"] for bar in bars(page) if bar["path"] == [name])
    point = [box["x"] + box["width"] - 8, box["y"] + 4]
    red, green, blue, _ = page.evaluate(
        "([x, y]) => [...document.getElementById('canvas').getContext('2d').getImageData(x, y, 1, 1).data]",
        point,
    )
    return red, green, blue


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_follow_the_system_until_they_are_switched(
    open_page: OpenPage, flame_graph: Build, scheme: str
) -> None:
    page = open_page(flame_graph(SMALL), color_scheme=scheme)
    light = "rgb(255, 255, 255)"
    assert (page.evaluate("getComputedStyle(document.body).backgroundColor") == light) == (scheme == "light")
    press(page, "l")
    assert (page.evaluate("getComputedStyle(document.body).backgroundColor") == light) == (scheme == "dark")


def test_sharp_on_dense_displays(open_page: OpenPage, flame_graph: Build) -> None:
    page = open_page(flame_graph(SMALL), device_scale_factor=2)
    page.evaluate("flameGraph.drawMilliseconds()")
    wide, shown = page.evaluate(
        "(() => { const c = document.getElementById('canvas'); return [c.width, c.clientWidth] })()"
    )
    assert wide == 2 * shown


def test_hostile_names_are_only_shown(open_page: OpenPage, flame_graph: Build) -> None:
    names = [
        "<img src=x onerror=alert(1)>",
        "</script><script>alert(1)</script>",
        "\"'`",
        "\u202egnp.exe",
        "",
        "関数" * 40,
        "x" * 10_000,
    ]
    page = open_page(flame_graph({(name,): 1 + n for n, name in enumerate(names)}))
    assert sorted(bar["path"][0] for bar in bars(page)[1:]) == sorted(names)
    assert page.locator("img, #table script").count() == 0
    for _ in names:
        press(page, "ArrowDown", "Enter", "c", "Escape", "i")
    expect(page.locator("#table")).to_contain_text("<img src=x onerror=alert(1)>")
    expect(page.locator("#table")).to_contain_text("(no name)")


def test_an_empty_answer_says_so(open_page: OpenPage, flame_graph: Build) -> None:
    page = open_page(flame_graph({}))
    expect(page.locator("#empty")).to_be_visible()
    press(page, "ArrowDown", "Enter", "i", "Escape")


def test_negative_values_have_bars(open_page: OpenPage, flame_graph: Build) -> None:
    page = open_page(flame_graph({("a",): 5, ("b",): -3}))
    found = {tuple(bar["path"]): (bar["total"][0], bar["box"]["width"]) for bar in bars(page)}
    assert found["a",][0] == 5
    assert found["b",][0] == -3
    assert found["b",][1] == pytest.approx(found["a",][1] * 3 / 5)


def test_narrow_windows_stack_the_panes(open_page: OpenPage, flame_graph: Build) -> None:
    page = open_page(flame_graph(SMALL))
    page.set_viewport_size({"width": 420, "height": 700})
    graph, table = page.locator("#graph-pane").bounding_box(), page.locator("#table-pane").bounding_box()
    assert graph is not None
    assert table is not None
    assert graph["y"] < table["y"]
    assert page.evaluate("document.documentElement.scrollWidth") <= 420


def test_the_network_is_forbidden(small: Page, complaints: list[str]) -> None:
    refused = small.evaluate(
        "new Promise(done => { document.addEventListener('securitypolicyviolation', e => done(e.violatedDirective));"
        " const image = new Image(); image.src = 'file:///nowhere.png'; })"
    )
    assert refused == "img-src"
    (complaint,) = complaints
    assert "Content Security Policy" in complaint
    complaints.clear()
