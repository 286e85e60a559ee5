"""stackprof's JSON: modes, stacks, and profiles without stacks."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.engine.formats.decoded_profiles import Profile, read, reason, stored_totals
from tests.engine.formats.text_examples import STACKPROF


def document(**changes: Any) -> bytes:
    return json.dumps(json.loads(STACKPROF) | changes).encode()


def only(raw: bytes) -> Profile:
    (profile,) = read("stackprof", raw)
    return profile


MODES = {
    "cpu": ("process_cpu", {"samples/count": 7, "cpu/nanoseconds": 7_000_000}),
    "wall": ("wall", {"samples/count": 7, "wall/nanoseconds": 7_000_000}),
    "object": ("memory", {"samples/count": 7, "alloc_objects/count": 7000}),
    "custom": ("custom", {"samples/count": 7}),
}


@pytest.mark.parametrize("mode", MODES)
def test_modes(mode: str) -> None:
    profile = only(document(mode=mode, interval=1000))
    assert (profile.name, profile.totals()) == MODES[mode]
    assert profile.stacks() == {"main;work": 7}
    assert profile.samples[0].frames == (("work", "app.rb", 0), ("main", "app.rb", 0))


def test_lines_of_newer_versions() -> None:
    profile = only(document(raw_lines=[2, 1, 7, 3, 2, 1, 8, 4]))
    assert {sample.frames[0]: sample.values for sample in profile.samples} == {
        ("work", "app.rb", 7): (3,),
        ("work", "app.rb", 8): (4,),
    }


def test_without_stacks_each_function_has_its_own() -> None:
    frames = json.loads(STACKPROF)["frames"]
    frames["20"]["lines"] = {"7": [7, 3], "8": 5}
    profile = only(document(raw=None, frames=frames))
    assert {sample.frames: sample.values for sample in profile.samples} == {
        (("work", "app.rb", 7),): (3,),
        (("work", "app.rb", 0),): (4,),
    }
    assert profile.warnings == [
        "stacks were not recorded (raw: true): only what functions took themselves is there"
    ]


def test_the_time_between_samples_is_the_duration() -> None:
    profile = only(document(mode="wall", interval=2000, raw_timestamp_deltas=[1500, 2500], missed_samples=3))
    assert (profile.header["duration_nanos"], profile.header["period"]) == (4_000_000, 2_000_000)
    assert profile.warnings == ["3 samples were missed while recording"]


BAD = {
    document(raw=[2, 10, 99, 1]): "raw has frame 99, which is not in frames",
    document(raw=[2**40, 10, 20, 1]): "raw[0] is a stack of 1099511627776 frames: 3 numbers are left",
    document(raw=[-1, 10, 20, 1]): "raw[0] is a stack of -1 frames: 3 numbers are left",
    document(raw=[2, 10, 20]): "raw[0] is a stack of 2 frames: 2 numbers are left",
    document(raw=[2, 10, 2**64, 1]): "raw: a number does not fit 64 bits",
    document(raw_lines=[1]): "raw_lines has 1 entries, raw 8",
    document(interval=0.5): "interval is 0.5: expected a whole number",
    document(raw="x"): "JSON: raw: Expected `array`, got `str`",
    document(mode="cpu", interval=2**50, raw=[1, 20, 2**50]): (
        f"sample.value {2**50 * 2**50 * 1000} does not fit 64 bits"
    ),
}


@pytest.mark.parametrize("raw", BAD, ids=[text[:40] for text in BAD.values()])
def test_documents_that_are_none(raw: bytes) -> None:
    assert reason("stackprof", raw) == BAD[raw]


@pytest.mark.parametrize("mode", ["cpu", "wall", "object"])
def test_recordings_against_their_own_sums(fixtures: Path, mode: str) -> None:
    """The gem counts by function while it records, apart from the stacks."""
    path = fixtures / f"ruby-{mode}.stackprof.json"
    recorded = json.loads(path.read_bytes())
    profile = only(path.read_bytes())
    own: Counter[tuple[str, str]] = Counter()
    total: Counter[tuple[str, str]] = Counter()
    for sample in profile.samples:
        own[sample.frames[0][:2]] += sample.values[0]
        for frame in {frame[:2] for frame in sample.frames}:
            total[frame] += sample.values[0]
    expected_own: Counter[tuple[str, str]] = Counter()
    for frame in recorded["frames"].values():
        expected_own[frame["name"], frame["file"]] += frame["samples"]
    assert own == +expected_own
    price = next(frame for frame in recorded["frames"].values() if frame["name"] == "Object#serve")
    assert total["Object#serve", price["file"]] == price["total_samples"]
    values = profile.totals()
    assert values["samples/count"] == recorded["samples"]
    worth = recorded["interval"] * (1 if mode == "object" else 1000)
    assert list(values.values())[1] == recorded["samples"] * worth
    assert sorted(stored_totals(path).values()) == sorted(values.values())


def test_a_recording_without_stacks(fixtures: Path) -> None:
    path = fixtures / "ruby-flat.stackprof.json"
    recorded = json.loads(path.read_bytes())
    profile = only(path.read_bytes())
    assert profile.totals()["samples/count"] == recorded["samples"]
    assert all(len(sample.frames) == 1 for sample in profile.samples)
