"""V8's cpuprofile out: exact to the nanosecond, readable by what reads V8's, and nothing lost on the way."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from flameduck.engine.query.outputs.cpuprofile import _exact_parts, _microseconds
from flameduck.schema.errors import RequestError
from flameduck.schema.proto import profile_pb2
from flameduck.schema.request import FrameFilter

from .round_trip import TIME_NS, export, kept, stored

NAMES = st.sampled_from(["", "main", "work", "(program)", "(root)", "ünï"])
DELTAS = st.integers(-5, 10**6) | st.decimals(0, 1000, places=3).map(float)


@st.composite
def nodes(draw: st.DrawFn) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for number in range(1, draw(st.integers(1, 8)) + 1):
        line = draw(st.integers(-1, 3))
        column = draw(st.integers(0, 3)) if line >= 0 else -1
        frame = {"functionName": draw(NAMES), "scriptId": "0", "url": draw(st.sampled_from(["", "a.js"]))}
        hits = draw(st.integers(0, 9))
        one = {"id": number * 3, "callFrame": frame | {"lineNumber": line, "columnNumber": column}}
        one |= {"hitCount": hits}
        if number > 1:
            one["parent"] = draw(st.integers(1, number - 1)) * 3
        if hits and line >= 0 and draw(st.booleans()):
            # Of two lines, because what a single one has is the same after any rounding.
            split = draw(st.integers(0, hits))
            lines = ((line + 1, split), (line + 4, hits - split))
            one["positionTicks"] = [{"line": at, "ticks": ticks} for at, ticks in lines if ticks]
        found.append(one)
    return found


@st.composite
def documents(draw: st.DrawFn) -> bytes:
    listed = draw(nodes())
    rows = draw(st.lists(st.tuples(st.sampled_from(listed), DELTAS), max_size=8))
    start = draw(st.sampled_from([7, 1_650_000_000_000_000]))
    # No sample is taken before the start, however late the others come.
    deltas = [delta + 50 * (at == 0) for at, (_, delta) in enumerate(rows)]
    return json.dumps(
        {
            "nodes": listed,
            "samples": [one["id"] for one, _ in rows],
            "timeDeltas": deltas,
            "startTime": start,
            "endTime": start + 10 + int(sum(deltas)),
        }
    ).encode()


@settings(max_examples=100)
@given(documents())
def test_nothing_is_lost_on_the_way_out_and_in(raw: bytes) -> None:
    first = stored(raw)
    second = stored(export(first, "cpuprofile"))
    assert kept(second) == kept(first)


def test_a_recording_of_node_comes_back(fixtures: Path) -> None:
    raw = (fixtures / "node.cpuprofile").read_bytes()
    first = stored(raw)
    again = export(first, "cpuprofile")
    assert kept(stored(again)) == kept(first)
    before, after = json.loads(raw), json.loads(again)
    assert after["timeDeltas"][0] == before["timeDeltas"][0]
    assert after["endTime"] - after["startTime"] == before["endTime"] - before["startTime"]


@pytest.mark.parametrize("name", ["go-cpu.pb.gz", "python-cpu.speedscope.json", "rust-cpu.pb"])
def test_other_profiles_become_wall_time_with_all_their_stacks(fixtures: Path, name: str) -> None:
    first = stored((fixtures / name).read_bytes())
    again = export(first, "cpuprofile")
    values, expected = by_names(kept(stored(again)).values), by_names(kept(first).values)
    assert {"wall:wall:nanoseconds:wall:nanoseconds", "wall:samples:count:wall:nanoseconds"} == set(values)
    cpu, samples = (
        next(v for k, v in expected.items() if k.split(":")[1] == kind) for kind in ("cpu", "samples")
    )
    assert values["wall:wall:nanoseconds:wall:nanoseconds"] == cpu
    assert values["wall:samples:count:wall:nanoseconds"] == samples
    document = json.loads(again)
    lasting_ns = round(sum(document["timeDeltas"][1:]) * 1000)
    assert lasting_ns == sum(cpu.values())


def by_names(values: Mapping[tuple[Any, ...], int]) -> dict[str, Counter[tuple[str, ...]]]:
    """By type: values by names of frames; a stack without any is what stands for it in V8's format."""
    found: dict[str, Counter[tuple[str, ...]]] = {}
    for (kind, frames, _), value in values.items():
        names = tuple(frame[0] for frame in frames) or ("(root)",)
        found.setdefault(kind, Counter())[names] += value
    return found


def test_the_tree_is_as_v8_writes_it(fixtures: Path) -> None:
    document = json.loads(export(stored((fixtures / "go-cpu.pb.gz").read_bytes()), "cpuprofile"))
    listed = {node["id"]: node for node in document["nodes"]}
    assert listed[1]["callFrame"] == {
        "functionName": "(root)",
        "scriptId": "0",
        "url": "",
        "lineNumber": -1,
        "columnNumber": -1,
    }
    children = [child for node in listed.values() for child in node["children"]]
    assert sorted(children) == sorted(set(listed) - {1})
    assert len(document["samples"]) == len(document["timeDeltas"])
    assert document["samples"][-1] == 1
    assert set(document["samples"]) <= set(listed)
    for node in listed.values():
        ticks = sum(tick["ticks"] for tick in node.get("positionTicks", ()))
        assert ticks in (0, node["hitCount"])
    spin = next(node for node in listed.values() if node["callFrame"]["functionName"] == "main.spin")
    assert spin["callFrame"]["url"].endswith("main.go")
    assert spin["callFrame"]["lineNumber"] > 0


def test_sizes_are_a_microsecond_a_byte(fixtures: Path) -> None:
    database = stored((fixtures / "go-heap.pb.gz").read_bytes())
    document = json.loads(export(database, "cpuprofile", "inuse_space"))
    inuse = {kind: value for (kind, *_), value in summed(kept(database).values).items()}
    assert sum(document["timeDeltas"][1:]) == inuse["memory:inuse_space:bytes:space:bytes"]
    assert document["startTime"] == pytest.approx(document["endTime"] - sum(document["timeDeltas"]))


def summed(values: Counter[tuple[Any, ...]]) -> Counter[tuple[str]]:
    found: Counter[tuple[str]] = Counter()
    for (kind, *_), value in values.items():
        found[kind,] += value
    return found


@given(st.integers(0, 2**63))
@example(2**50 + 1)
@example(2**53 * 1000 + 999)
def test_times_are_exact_for_who_reads_floats(time_ns: int) -> None:
    parts = _exact_parts(time_ns)
    assert sum(parts) == time_ns
    for part in parts:
        read = json.loads(_microseconds(part))
        assert (read * 1000 if isinstance(read, int) else round(read * 1000)) == part


def test_a_time_to_the_nanosecond_comes_back() -> None:
    nodes = [{"id": 1, "callFrame": {"functionName": "f"}, "hitCount": 1}]
    database = stored(json.dumps({"nodes": nodes, "samples": [1], "timeDeltas": [0], "endTime": 5}).encode())
    assert f'"startTime":{TIME_NS // 1000}.{TIME_NS % 1000},' in export(database, "cpuprofile").decode()
    assert kept(stored(export(database, "cpuprofile"))).time_ns == TIME_NS


def test_what_the_format_cannot_hold_is_refused(fixtures: Path) -> None:
    database = stored((fixtures / "go-cpu.pb.gz").read_bytes())
    with pytest.raises(RequestError, match="format 'cpuprofile' keeps exact stacks"):
        export(database, "cpuprofile", "cpu", filter=FrameFilter(hide="spin"))
    message = profile_pb2.Profile(string_table=[b"", b"samples", b"count"], time_nanos=1)
    message.sample_type.add(type=1, unit=2)
    message.sample.add(value=[2**62])
    with pytest.raises(RequestError, match="the limit is"):
        export(stored(message.SerializeToString()), "cpuprofile")
