"""speedscope out: frames with their places, a profile for each type and name, and nothing lost on the way."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flameduck.schema.errors import RequestError
from flameduck.schema.proto import profile_pb2
from flameduck.schema.request import FrameFilter

from .round_trip import export, kept, stored

SCHEMA = "https://www.speedscope.app/file-format-schema.json"
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)
FRAMES = st.lists(
    st.fixed_dictionaries(
        {"name": TEXTS},
        optional={"file": TEXTS, "line": st.integers(1, 9), "col": st.integers(1, 2**31)},
    ),
    min_size=1,
    max_size=5,
)
UNITS = st.sampled_from(["none", "bytes", "nanoseconds", "microseconds", "milliseconds", "seconds"])
WEIGHTS = st.integers(0, 10**6) | st.decimals(0, 1000, places=6).map(float)


@st.composite
def profiles(draw: st.DrawFn, frames: int) -> dict[str, Any]:
    stacks = st.lists(st.integers(0, frames - 1), max_size=4)
    rows = draw(st.lists(st.tuples(stacks, WEIGHTS), max_size=5))
    unit = draw(UNITS)
    start = draw(st.integers(0, 5))
    said: dict[str, Any] = {"name": draw(TEXTS), "unit": unit, "startValue": start}
    if draw(st.booleans()):
        lists, weights = [stack for stack, _ in rows], [weight for _, weight in rows]
        return said | {
            "type": "sampled",
            "samples": lists,
            "weights": weights,
            "endValue": start + sum(weights),
        }
    events: list[dict[str, Any]] = []
    at: float = start
    for stack, weight in rows:
        events += [{"type": "O", "frame": frame, "at": at} for frame in stack]
        at += weight
        events += [{"type": "C", "frame": frame, "at": at} for frame in stack[::-1]]
    return said | {"type": "evented", "events": events, "endValue": at}


@st.composite
def documents(draw: st.DrawFn) -> bytes:
    frames = draw(FRAMES)
    listed = draw(st.lists(profiles(len(frames)), min_size=1, max_size=3))
    return json.dumps({"$schema": SCHEMA, "shared": {"frames": frames}, "profiles": listed}).encode()


@settings(max_examples=60)
@given(documents())
def test_nothing_is_lost_on_the_way_out_and_in(raw: bytes) -> None:
    first = stored(raw)
    second = stored(export(first, "speedscope"))
    assert kept(second).values == kept(first).values


@pytest.mark.parametrize(
    "name", ["python-cpu.speedscope.json", "node.heapprofile", "go-heap.pb.gz", "python-cpu.folded"]
)
def test_recordings_come_back_with_what_the_format_holds(fixtures: Path, name: str) -> None:
    first = stored((fixtures / name).read_bytes())
    second = stored(export(first, "speedscope"))
    assert held(kept(second).values) == held(kept(first).values)


def held(values: Counter[tuple[Any, ...]]) -> Counter[tuple[Any, ...]]:
    """Without what speedscope has no place for: where functions begin, and other labels than the name."""
    found: Counter[tuple[Any, ...]] = Counter()
    for (kind, frames, labels), value in values.items():
        named = tuple(label for label in labels if label[0] == "profile_name")
        found[kind, tuple(frame[:4] for frame in frames), named] += value
    return found


def test_a_profile_is_called_by_its_type_and_name(fixtures: Path) -> None:
    document = json.loads(
        export(stored((fixtures / "python-cpu.speedscope.json").read_bytes()), "speedscope")
    )
    names = [profile["name"] for profile in document["profiles"]]
    counts, times = "process_cpu:samples:count:cpu:nanoseconds", "process_cpu:cpu:nanoseconds:cpu:nanoseconds"
    assert [name.split(" ")[0] for name in names] == [counts, counts, times, times]
    assert names[0].endswith('"MainThread"')
    assert {profile["unit"] for profile in document["profiles"]} == {"none", "nanoseconds"}
    for profile in document["profiles"]:
        assert profile["endValue"] >= sum(profile["weights"])
        assert len(profile["samples"]) == len(profile["weights"])
    placed = [frame for frame in document["shared"]["frames"] if frame["name"] == "spin"]
    assert placed
    assert all(frame["file"].endswith("checkout.py") and frame["line"] > 0 for frame in placed)


def test_one_type_can_be_named(fixtures: Path) -> None:
    data = export(stored((fixtures / "go-heap.pb.gz").read_bytes()), "speedscope", "inuse_space")
    (profile,) = json.loads(data)["profiles"]
    assert (profile["name"], profile["unit"]) == ("memory:inuse_space:bytes:space:bytes", "bytes")


def test_changed_frames_are_names(fixtures: Path) -> None:
    database = stored((fixtures / "go-cpu.pb.gz").read_bytes())
    document = json.loads(export(database, "speedscope", "cpu", filter=FrameFilter(hide="spin")))
    names = {frame["name"] for frame in document["shared"]["frames"]}
    assert len(names) > 10
    assert not any("spin" in name for name in names)


def test_negative_values_are_refused() -> None:
    message = profile_pb2.Profile(string_table=[b"", b"samples", b"count"], time_nanos=1)
    message.sample_type.add(type=1, unit=2)
    message.sample.add(value=[-5])
    database = stored(message.SerializeToString())
    with pytest.raises(RequestError, match="has a stack with -5: the format has no negative weights"):
        export(database, "speedscope")
