"""What every test may ask for: the recorded profiles, the shared goldens, a real browser."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ROOT = Path(__file__).resolve().parent.parent
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

# A shared machine stalls: an example that takes long says nothing about the code.
settings.register_profile("flameduck", deadline=None, derandomize=True)
settings.load_profile("flameduck")


@pytest.fixture(scope="session")
def fixtures() -> Path:
    """The folder of the recorded profiles; its README says which program made which."""
    return ROOT / "tests" / "fixtures"


@pytest.fixture(scope="session")
def shared() -> Callable[[str], Path]:
    """Find a file of the shared data beside the checkout, `shared("golden/pprof_top.json.gz")`, or skip."""

    def find(name: str) -> Path:
        path = ROOT.parent / "shared" / name
        if not path.exists():
            pytest.skip(f"../shared/{name} is not beside this checkout")
        return path

    return find


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A running Chromium, or skip."""
    executable = next(filter(None, map(shutil.which, BROWSERS)), None)
    if executable is None:
        pytest.skip("no Chromium on this machine (Debian: apt install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # The sandbox of Chromium refuses to run as root, which is what a container's user is.
        running = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield running
        running.close()
