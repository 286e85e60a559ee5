"""V8's CPU profiles: how long each sample lasted, which line ran, and what the tree must be like."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import flameduck
from flameduck.engine.formats import json_document
from flameduck.engine.formats.v8_nodes import split_by_ticks

from .decoded_stacks import by_frames, by_names, header, read, reason, totals, types_of

COUNT, TIME = ("samples", "count"), ("wall", "nanoseconds")


def node(number: int, name: str, children: list[int] | None = None, **more: Any) -> dict[str, Any]:
    frame = {"functionName": name, "scriptId": "1", "url": f"{name}.js", "lineNumber": 9, "columnNumber": 4}
    return {"id": number, "callFrame": frame, "children": children or []} | more


ROOT = node(1, "(root)", [2])
TREE = [ROOT, node(2, "main", [3, 4]), node(3, "work"), node(4, "rest")]


def document(nodes: list[dict[str, Any]] | None = None, **more: Any) -> bytes:
    return json.dumps({"nodes": nodes or TREE, "startTime": 100, "endTime": 200} | more).encode()


def test_a_sample_lasts_until_the_next_and_the_last_until_the_end() -> None:
    (one,) = read("cpuprofile", document(samples=[3, 3, 4], timeDeltas=[5, 20, 30]))
    assert types_of(one) == [COUNT, TIME]
    assert by_names([one], 0) == {"main;work": 2, "main;rest": 1}
    assert by_names([one], 1) == {"main;work": 50_000, "main;rest": 45_000}
    assert header(one, "duration_nanos") == 100_000
    assert header(one, "time_nanos") == 0
    assert one.rows[0].name == "wall"


def test_samples_that_come_late_are_put_in_their_place() -> None:
    # At 5, 40, 25 microseconds: the last one came late.
    (one,) = read("cpuprofile", document(samples=[3, 2, 4], timeDeltas=[5, 35, -15]))
    assert by_names([one], 1) == {"main;work": 20_000, "main;rest": 15_000, "main": 60_000}


def test_fractions_of_microseconds_are_exact() -> None:
    (one,) = read("cpuprofile", document(samples=[3, 4], timeDeltas=[0, 0.001], endTime=100.0015))
    assert by_names([one], 1) == {"main;work": 1, "main;rest": 1}


def test_without_deltas_there_are_counts() -> None:
    (one,) = read("cpuprofile", document(samples=[3, 3, 4]))
    assert (types_of(one), by_names([one])) == ([COUNT], {"main;work": 2, "main;rest": 1})
    hits = [ROOT, node(2, "main", [3]), node(3, "work", hitCount=7)]
    (one,) = read("cpuprofile", document(hits))
    assert (types_of(one), by_names([one])) == ([COUNT], {"main;work": 7})


def test_without_an_end_the_last_sample_lasts_for_nothing() -> None:
    raw = json.dumps({"nodes": TREE, "samples": [3, 4], "timeDeltas": [5, 20]}).encode()
    (one,) = read("cpuprofile", raw)
    assert by_names([one], 1) == {"main;work": 20_000, "main;rest": 0}


def test_parents_do_as_well_as_children() -> None:
    nodes = [node(3, "work", parent=2), node(2, "main", parent=1), node(1, "(root)")]
    (one,) = read("cpuprofile", document(nodes, samples=[3], timeDeltas=[0]))
    assert by_names([one], 1) == {"main;work": 100_000}


def test_a_root_that_is_on_top_is_a_frame() -> None:
    (one,) = read("cpuprofile", document(samples=[1, 2], timeDeltas=[0, 10]))
    assert by_names([one], 0) == {"(root)": 1, "main": 1}


def test_frames_are_where_their_functions_are_defined() -> None:
    (one,) = read("cpuprofile", document(samples=[3], timeDeltas=[0]))
    assert list(by_frames([one])) == [(("main", "main.js", 10, 5), ("work", "work.js", 10, 5))]
    (row,) = one.batch.to_pylist()
    assert {function["start_line"] for function in row["function"]} == {10}
    unknown = {"functionName": "", "url": "", "lineNumber": -1, "columnNumber": -1}
    (one,) = read("cpuprofile", document([{"id": 1, "callFrame": unknown}], samples=[1], timeDeltas=[0]))
    assert list(by_frames([one])) == [(("(anonymous)", "", 0, 0),)]


def test_ticks_tell_the_lines_that_ran() -> None:
    ticks = [{"line": 12, "ticks": 2}, {"line": 10, "ticks": 1}]
    nodes = [ROOT, node(2, "main", [3]), node(3, "work", hitCount=4, positionTicks=ticks)]
    (one,) = read("cpuprofile", document(nodes, samples=[3, 3, 3, 3], timeDeltas=[0, 10, 10, 10]))
    above = ("main", "main.js", 10, 5)
    own, first = (above, ("work", "work.js", 12, 0)), (above, ("work", "work.js", 10, 5))
    # The sample whose line nobody knows is where the function begins, as is the one of that line.
    assert by_frames([one], 0) == {own: 2, first: 2}
    assert by_frames([one], 1) == {own: 50_000, first: 50_000}


@given(st.integers(0, 2**62), st.lists(st.integers(0, 2**40), min_size=1))
def test_shares_add_up_and_are_fair(value: int, ticks: list[int]) -> None:
    parts = split_by_ticks(value, ticks)
    total = sum(ticks)
    assert sum(parts) == (value if total else 0)
    for part, tick in zip(parts, ticks, strict=True):
        assert abs(part * total - value * tick) <= total


def test_a_start_after_1970_is_a_time() -> None:
    start = 1_700_000_000_000_000
    raw = document(samples=[3], timeDeltas=[0], startTime=start + 0.5, endTime=start + 7)
    (one,) = read("cpuprofile", raw)
    assert header(one, "time_nanos") == start * 1000 + 500


def test_a_recording_of_node(fixtures: Path) -> None:
    raw = (fixtures / "node.cpuprofile").read_bytes()
    said = json.loads(raw)
    decoded = read("cpuprofile", raw)
    deltas = said["timeDeltas"]
    assert min(deltas) >= 0
    assert totals(decoded) == {
        COUNT: sum(node["hitCount"] for node in said["nodes"]),
        TIME: (said["endTime"] - said["startTime"] - deltas[0]) * 1000,
    }
    names: dict[int, str] = {}
    above: dict[int, int] = {}
    for one in said["nodes"]:
        names[one["id"]] = one["callFrame"]["functionName"] or "(anonymous)"
        above |= dict.fromkeys(one.get("children", ()), one["id"])
    expected: Counter[str] = Counter()
    lasting = [*deltas[1:], said["endTime"] - said["startTime"] - sum(deltas)]
    for top, microseconds in zip(said["samples"], lasting, strict=True):
        stack, at = [], top
        while at in above:
            stack.append(names[at])
            at = above[at]
        expected[";".join(reversed(stack))] += microseconds * 1000
    assert by_names(decoded, 1) == expected
    ticked = sum(tick["ticks"] for one in said["nodes"] for tick in one.get("positionTicks", ()))
    assert sum(count for stack, count in by_frames(decoded).items() if stack[-1][2]) >= ticked


def test_a_file_goes_in_with_no_flag(fixtures: Path) -> None:
    with flameduck.open("memory://cpuprofile") as db:
        assert db.ingest([fixtures / "node.cpuprofile"]).refused == ()
        functions = {row["function"]: row["total"] for row in db.top(type="wall:wall").to_dicts()}
    assert functions["spin"] > 0
    assert functions["serve"] > functions["spin"]


def test_long_files_are_read_in_pieces(monkeypatch: pytest.MonkeyPatch, fixtures: Path) -> None:
    raw = (fixtures / "node.cpuprofile").read_bytes()
    whole = read("cpuprofile", raw)
    monkeypatch.setattr(json_document.array_pieces, "__defaults__", (300,))
    monkeypatch.setattr("flameduck.engine.formats.call_nodes.PIECE_FRAMES", 30)
    monkeypatch.setattr("flameduck.engine.formats.sample_pieces.PIECE_FRAMES", 60)
    pieces = read("cpuprofile", raw)
    assert len(pieces) > 2
    assert by_frames(pieces, 1) == by_frames(whole, 1)


BAD: dict[str, tuple[bytes, str]] = {
    "unequal": (
        document(samples=[3], timeDeltas=[]),
        "unequal numbers of samples (1) and timeDeltas (0)",
    ),
    "no such sample": (document(samples=[3, 9], timeDeltas=[0, 0]), "samples[1]: there is no node 9"),
    "far sample": (document(samples=[10**15], timeDeltas=[0]), f"samples[0]: there is no node {10**15}"),
    "no such child": (document([node(1, "a", [7])]), "nodes[0].children: there is no node 7"),
    "no such parent": (document([node(1, "a", parent=7)]), "nodes[0].parent: there is no node 7"),
    "twice": (document([node(1, "a"), node(1, "b")]), "nodes: id 1 occurs twice"),
    "circle": (
        document([node(1, "a", [2]), node(2, "b", [1], hitCount=1)]),
        "a node of the call tree is among its own ancestors",
    ),
    "hits": (document([node(1, "a", hitCount=-1)]), "nodes[0].hitCount -1: expected 0 to 2^53"),
    "id": (
        document([node(2**63, "a")]),
        "JSON: nodes: Expected `int` <= 9223372036854775807 - at `$[0].id`",
    ),
    "line": (
        document([{"id": 1, "callFrame": {"functionName": "f", "lineNumber": 2**40}}]),
        "callFrame of 'f': position 1099511627776 is above 2147483646",
    ),
    "start": (document(startTime=1e300), "startTime: 1E+300 does not fit 64 bits"),
    "deltas": (
        document(samples=[3, 3], timeDeltas=[9e15, 9e15]),
        "timeDeltas: the sum does not fit 64 bits",
    ),
    "delta": (
        document(samples=[3], timeDeltas=["x"]),
        "JSON: timeDeltas: Expected `int | float`, got `str` - at `$[0]`",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files_are_refused(case: str) -> None:
    raw, expected = BAD[case]
    assert reason("cpuprofile", raw) == expected
