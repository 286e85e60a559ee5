"""What every test may ask for: the recorded profiles and the shared goldens."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent

# A shared machine stalls: an example that takes long says nothing about the code.
settings.register_profile("flameduck", deadline=None, derandomize=True)
settings.load_profile("flameduck")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Browser tests come last: while Playwright's driver lives, no other test can start an event loop."""
    items.sort(key=lambda item: "browser" in getattr(item, "fixturenames", ()))


@pytest.fixture(scope="session", autouse=True)
def stand_in_perf() -> Iterator[None]:
    """The reader of perf.data finds a program that does as perf: the real one is not everywhere."""
    with pytest.MonkeyPatch.context() as patch:
        folder = ROOT / "tests" / "engine" / "formats" / "stand_in"
        patch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
        yield


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
