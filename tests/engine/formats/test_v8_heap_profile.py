"""V8's sampling heap profiles; and what looks like them, but holds no stacks."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import flameduck
from flameduck.engine.formats import detect_format

from .decoded_stacks import by_frames, by_names, read, reason, totals, types_of

COUNT, SIZE = ("samples", "count"), ("inuse_space", "bytes")


def node(name: str, size: int, number: int | None = None, *children: dict[str, Any]) -> dict[str, Any]:
    frame = {"functionName": name, "scriptId": "1", "url": "a.js", "lineNumber": 0, "columnNumber": 2}
    numbered = {} if number is None else {"id": number}
    return {"callFrame": frame, "selfSize": size, "children": list(children)} | numbered


def document(head: dict[str, Any], *samples: tuple[int, int]) -> bytes:
    listed = [{"size": size, "nodeId": at, "ordinal": place} for place, (size, at) in enumerate(samples)]
    return json.dumps({"head": head, "samples": listed}).encode()


def test_sizes_and_samples() -> None:
    head = node("(root)", 0, 1, node("main", 10, 2, node("work", 30, 3)), node("", 5, 4))
    (one,) = read("heapprofile", document(head, (10, 2), (15, 3), (15, 3)))
    assert types_of(one) == [COUNT, SIZE]
    assert by_names([one], 0) == {"main": 1, "main;work": 2, "(anonymous)": 0}
    assert by_names([one], 1) == {"main": 10, "main;work": 30, "(anonymous)": 5}
    assert (("main", "a.js", 1, 3), ("work", "a.js", 1, 3)) in by_frames([one])
    assert one.rows[0].name == "memory"


def test_older_files_number_no_nodes() -> None:
    (one,) = read("heapprofile", json.dumps({"head": node("(root)", 0, None, node("a", 3))}).encode())
    assert by_names([one], 1) == {"a": 3}


def test_samples_that_came_while_the_tree_was_written_are_left_out() -> None:
    (one,) = read("heapprofile", document(node("main", 10, 2), (10, 2), (16, 9)))
    assert by_names([one], 0) == {"main": 1}
    assert one.warnings == ("1 samples of nodes that are not in the tree were left out",)


def test_a_recording_of_node(fixtures: Path) -> None:
    raw = (fixtures / "node.heapprofile").read_bytes()
    said = json.loads(raw)
    sizes: Counter[str] = Counter()
    numbers = set()
    waiting = [(said["head"], "")]
    while waiting:
        one, above = waiting.pop()
        name = one["callFrame"]["functionName"] or "(anonymous)"
        stack = f"{above};{name}" if above else name
        numbers.add(one["id"])
        sizes[stack] += one["selfSize"]
        waiting += [(child, "" if stack == "(root)" else stack) for child in one["children"]]
    decoded = read("heapprofile", raw)
    assert by_names(decoded, 1) == +sizes
    known = [sample for sample in said["samples"] if sample["nodeId"] in numbers]
    assert totals(decoded) == {COUNT: len(known), SIZE: sizes.total()}
    with flameduck.open("memory://heapprofile") as db:
        assert db.ingest([fixtures / "node.heapprofile"]).refused == ()
        top = {row["function"] for row in db.top(type="inuse_space").to_dicts()}
    assert "readCart" in top


def nested(depth: int) -> bytes:
    frame = '{"callFrame":{"functionName":"f"},"selfSize":1,"children":['
    return ('{"head":' + frame * depth + "]}" * depth + "}").encode()


BAD: dict[str, tuple[bytes, str]] = {
    "no head": (b'{"samples": []}', "head is missing"),
    "negative": (document(node("a", -1)), "selfSize -1: expected 0 to 2^63 - 1"),
    "sum": (document(node("a", 2**62, 1, node("b", 2**62))), "sample.value: the sum does not fit 64 bits"),
    "too deep": (nested(100_000), "JSON: nested too deep"),
    "children": (
        b'{"head": {"callFrame": {}, "selfSize": 0, "children": [3]}}',
        "JSON: Expected `object`, got `int` - at `$.head.children[0]`",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files_are_refused(case: str) -> None:
    raw, expected = BAD[case]
    assert reason("heapprofile", raw) == expected


def test_deep_trees_are_read() -> None:
    (one,) = read("heapprofile", nested(200))
    assert len(by_names([one], 1)) == 200


def test_heap_snapshots_and_timelines_hold_no_stacks() -> None:
    raw = b'{"snapshot":{"meta":{"node_fields":["type"],"node_types":[]},"node_count":1},"nodes":[1],"strings":[]}'
    assert detect_format(raw, "").name == "heapprofile"
    assert reason("heapprofile", raw).startswith("a heap snapshot or allocation timeline")
