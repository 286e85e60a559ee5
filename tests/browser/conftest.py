"""Pages opened from files in a real Chromium that has no network, and answers made from folded stacks."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import playwright
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from flameduck.engine.query.outputs.page import render_html
from flameduck.schema.request import Flamegraph, FlamegraphDiff

Stacks = dict[tuple[str, ...], int]
OpenPage = Callable[..., Page]

ARGUMENTS = [
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--host-resolver-rules=MAP * ~NOTFOUND",
]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One Chromium for the run."""
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no chromium here")
    if missing := _driver_problem():
        pytest.skip(f"Playwright's driver does not start: {missing}")
    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield chromium
        chromium.close()


def _driver_problem() -> str:
    """Why Playwright's driver does not start; on a bare Debian a shared library is missing (libatomic1)."""
    node = Path(playwright.__file__).parent / "driver" / "node"
    done = subprocess.run([node, "--version"], capture_output=True, text=True, check=False)
    return done.stderr.strip() if done.returncode else ""


@pytest.fixture
def complaints() -> list[str]:
    """Errors in the console, uncaught ones, dialogs, requests that leave the file."""
    return []


@pytest.fixture
def open_page(browser: Browser, tmp_path: Path, complaints: list[str]) -> Iterator[OpenPage]:
    """Open an answer's page from a file; the test fails when there are complaints at its end."""
    contexts: list[BrowserContext] = []

    def open_answer(
        answer: Flamegraph | FlamegraphDiff, unit: str = "count", fragment: str = "", **options: object
    ) -> Page:
        file = tmp_path / f"page{len(contexts)}.html"
        file.write_text(render_html(answer, "cpu", unit, "of a test"), encoding="utf-8")
        context = browser.new_context(viewport={"width": 1300, "height": 800}, **options)  # type: ignore[arg-type]
        contexts.append(context)
        page = context.new_page()
        page.on(
            "console", lambda message: complaints.append(message.text) if message.type == "error" else None
        )
        page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
        page.on("dialog", lambda dialog: complaints.append(f"dialog: {dialog.message}"))
        page.on("request", lambda request: complaints.append(request.url) if _leaves(request.url) else None)
        page.goto(file.as_uri() + fragment)
        return page

    yield open_answer
    for context in contexts:
        context.close()
    assert not complaints


def _leaves(url: str) -> bool:
    return not url.startswith(("file:", "data:"))


@pytest.fixture(scope="session")
def flame_graph() -> Callable[[Stacks], Flamegraph]:
    """A flame graph of folded stacks."""

    def build(stacks: Stacks) -> Flamegraph:
        names, levels, (total,) = _levels([stacks])
        return Flamegraph(names, levels, total, max(stacks.values(), default=0))

    return build


@pytest.fixture(scope="session")
def flame_diff() -> Callable[[Stacks, Stacks], FlamegraphDiff]:
    """A diff of folded stacks."""

    def build(left: Stacks, right: Stacks) -> FlamegraphDiff:
        names, levels, (left_ticks, right_ticks) = _levels([left, right])
        return FlamegraphDiff(names, levels, left_ticks + right_ticks, 0, left_ticks, right_ticks)

    return build


def _levels(sides: list[Stacks]) -> tuple[list[str], list[list[int]], list[int]]:
    """Levels by their definition: own value at the left edge, then the children by name, starts as distances."""
    numbers = {"total": 0}
    levels: list[list[int]] = []
    ends: list[list[int]] = []

    def place(path: tuple[str, ...], under: list[Stacks], start: list[int]) -> list[int]:
        depth = len(path)
        if depth == len(levels):
            levels.append([])
            ends.append([0] * len(sides))
        totals = [sum(stacks.values()) for stacks in under]
        own = [stacks.get(path, 0) for stacks in under]
        number = 0 if not path else numbers.setdefault(path[-1] + "\0", len(numbers))
        for side, total in enumerate(totals):
            levels[depth] += [start[side] - ends[depth][side], total, own[side]]
            ends[depth][side] = start[side] + total
        levels[depth].append(number)
        at = [a + b for a, b in zip(start, own, strict=True)]
        for name in sorted({stack[depth] for stacks in under for stack in stacks if len(stack) > depth}):
            child = (*path, name)
            narrowed = [{s: v for s, v in stacks.items() if s[: depth + 1] == child} for stacks in under]
            at = [a + b for a, b in zip(at, place(child, narrowed, at), strict=True)]
        return totals

    totals = place((), sides, [0] * len(sides))
    return [name.removesuffix("\0") for name in numbers], levels, totals
