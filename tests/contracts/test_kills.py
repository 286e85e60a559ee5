"""Uploads, compaction and retention, killed at any moment on a disk and on S3."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from uuid import uuid4

import pytest

from flameduck.engine.compaction.levels import HOUR_NS
from flameduck.engine.storage.objects import open_objects
from tests.contracts.killing import Action, Killing
from tests.engine.compaction.made_blocks import Made, put_blocks
from tests.engine.ingest.made_profiles import START_NS, made_total, write_profiles

SEED = 20_261_129
STEP_NS = HOUR_NS // 4
PROFILES = 36
FILES = 60
GIVEN_UP = range(12)
"""The profiles that retention gives up: those of the first three hours, which are blocks of their own."""

OLDER_S = int(time.time()) - (START_NS + 15 * STEP_NS) // 10**9


def fill_with_blocks(store: str, _: Path) -> None:
    """Three replicas of the profiles, a tenth missing in each, in blocks of three hours."""
    every: list[Made] = [
        (number, number, ("cart", "pay")[number % 2], number % 3 == 0) for number in range(PROFILES)
    ]
    blocks = [
        [one for one in every[first : first + 12] if one[0] % 10 != replica]
        for replica in range(3)
        for first in range(0, PROFILES, 12)
    ]
    put_blocks(open_objects(store), blocks, STEP_NS)


def fill_with_files(_: str, folder: Path) -> None:
    """Files to be ingested; the store is empty."""
    write_profiles(folder / "profiles", range(FILES))


def totals_of(numbers: Iterable[int]) -> list[int]:
    """What the profiles count for, each."""
    return sorted(made_total([number]) for number in numbers)


def are_some_of_the_files(totals: Sequence[int]) -> bool:
    """Whether each is a whole file's, and none is there twice."""
    return len(set(totals)) == len(totals) and set(totals_of(range(FILES))).issuperset(totals)


ACTIONS: Mapping[str, Action] = {
    "upload": Action(
        fill_with_files,
        [["ingest", "{folder}/profiles", "--service", "made", "--store", "{store}"]],
        are_some_of_the_files,
        START_NS,
        {"FLAMEDUCK_BLOCK_SAMPLES": "150"},
    ),
    "compact": Action(
        fill_with_blocks,
        [["compact", "--store", "{store}"]],
        lambda totals: totals == totals_of(range(PROFILES)),
        START_NS,
    ),
    "retention": Action(
        fill_with_blocks,
        [
            ["blocks", "expire", "--store", "{store}", "--older", f"{OLDER_S}s", "--yes"],
            ["blocks", "sweep", "--store", "{store}", "--older", "0s", "--yes"],
        ],
        lambda totals: (
            totals in (totals_of(range(PROFILES)), totals_of(set(range(PROFILES)) - set(GIVEN_UP)))
        ),
        START_NS,
    ),
}
"""What is killed. Each must come to the same end however often it is begun again."""


@pytest.fixture(params=["file", "s3"])
def kind(request: pytest.FixtureRequest) -> str:
    """Where the store is."""
    kind: str = request.param
    return kind


@pytest.fixture
def place(request: pytest.FixtureRequest, kind: str, tmp_path: Path) -> Callable[[], str]:
    """Makes the URL of a new store."""
    if kind == "file":
        numbers = itertools.count()
        return lambda: str(tmp_path / f"store-{next(numbers)}")
    root: str = request.getfixturevalue("s3_url")
    return lambda: f"{root}/{uuid4().hex}"


FEW = {("upload", "s3"): 1, ("compact", "s3"): 1, ("retention", "file"): 1, ("retention", "s3"): 1}
"""How often each is killed in every run, beside uploads (test_ingest_crash.py), compaction (test_compact.py) and deletion
(test_deletion_faults.py) on disk.
"""


@pytest.fixture(autouse=True)
def one_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Commands and checks share it."""
    monkeypatch.setenv("FLAMEDUCK_CACHE_DIRECTORY", str(tmp_path / "cache"))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("action", list(ACTIONS))
def test_a_few_kills(action: str, place: Callable[[], str], kind: str, tmp_path: Path) -> None:
    kills = FEW.get((action, kind))
    if kills is None:
        pytest.skip("it has a test of its own")
    Killing(ACTIONS[action], place, tmp_path, SEED).run(kills)


@pytest.mark.nightly
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("action", list(ACTIONS))
def test_many_kills(action: str, place: Callable[[], str], tmp_path: Path) -> None:
    Killing(ACTIONS[action], place, tmp_path, SEED + 1).run(50)
