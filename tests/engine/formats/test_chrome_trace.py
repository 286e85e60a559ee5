"""Chrome traces: CPU profiles that come in chunks, or duration events nested by thread."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from itertools import accumulate
from pathlib import Path
from random import Random
from typing import Any

import pytest

import flameduck
from flameduck.engine.formats import detect_format, json_document, trace_spans

from .decoded_stacks import by_frames, by_label, by_names, header, read, reason, samples_of, totals, types_of

COUNT, TIME = ("samples", "count"), ("wall", "nanoseconds")


def span(name: str, ts: float, dur: float, **more: Any) -> dict[str, Any]:
    return {"ph": "X", "name": name, "pid": 1, "tid": 2, "ts": ts, "dur": dur} | more


def begin(name: str, ts: float, **more: Any) -> dict[str, Any]:
    return {"ph": "B", "name": name, "pid": 1, "tid": 2, "ts": ts} | more


def end(ts: float, **more: Any) -> dict[str, Any]:
    return {"ph": "E", "pid": 1, "tid": 2, "ts": ts} | more


def trace(*events: dict[str, Any]) -> bytes:
    return json.dumps({"traceEvents": events}).encode()


SPANS: dict[str, tuple[list[dict[str, Any]], dict[str, int]]] = {
    "nested": ([span("a", 0, 10), span("b", 2, 3), span("c", 6, 1)], {"a": 6000, "a;b": 3000, "a;c": 1000}),
    "inner first": ([span("b", 2, 3), span("a", 0, 10)], {"a": 7000, "a;b": 3000}),
    "at once": ([span("b", 0, 3), span("a", 0, 10)], {"a": 7000, "a;b": 3000}),
    "one after the other": ([span("a", 0, 5), span("b", 5, 5)], {"a": 5000, "b": 5000}),
    "gap": ([span("a", 0, 5), span("b", 9, 5)], {"a": 5000, "b": 5000}),
    "outlasting": ([span("a", 0, 10), span("b", 5, 10)], {"a": 5000, "a;b": 5000, "b": 5000}),
    "fractions": ([span("a", 0.5, 1.25), span("b", 0.75, 0.001)], {"a": 1249, "a;b": 1}),
    "marks": ([begin("a", 0), begin("b", 2), end(5), end(10)], {"a": 7000, "a;b": 3000}),
    "marks at once": (
        [begin("a", 0), end(4), begin("b", 4), end(4), begin("c", 4), end(5)],
        {"a": 4000, "c": 1000},
    ),
    "out of order": ([end(10), begin("b", 2), begin("a", 0), end(5)], {"a": 7000, "a;b": 3000}),
    "marks and spans": ([begin("a", 0), span("b", 2, 3), end(10)], {"a": 7000, "a;b": 3000}),
    "end in a span": (
        [begin("a", 0), span("b", 2, 30), end(10), span("c", 40, 1)],
        {"a": 2000, "a;b": 8000, "b": 22_000, "c": 1000},
    ),
    "recursion": ([span("a", 0, 10), span("a", 2, 3)], {"a": 7000, "a;a": 3000}),
    "others": ([span("a", 0, 1), {"ph": "i", "ts": "x"}, {"ph": "b", "name": "q", "ts": 0}], {"a": 1000}),
    "of no length": ([span("a", 0, 0), span("b", 0, 2)], {"b": 2000}),
}


@pytest.mark.parametrize("case", SPANS)
def test_spans(case: str) -> None:
    events, expected = SPANS[case]
    (one,) = read("chrome-trace", trace(*events))
    assert (types_of(one), by_names([one])) == ([TIME], expected)
    assert one.warnings == ()


def test_what_is_not_closed_is_said() -> None:
    (one,) = read("chrome-trace", trace(begin("a", 0), begin("b", 2), span("c", 5, 1)))
    assert by_names([one]) == {"a": 2000, "a;b": 3000, "a;b;c": 1000}
    assert one.warnings == ("2 events of kind B never end: taken to last as long as their threads",)
    (one,) = read("chrome-trace", trace(end(1), begin("a", 2), end(3)))
    assert by_names([one]) == {"a": 1000}
    assert one.warnings == ("1 events of kind E end nothing: left out",)


def test_threads_are_apart_and_have_their_names() -> None:
    names = [
        {"ph": "M", "name": "process_name", "pid": 1, "args": {"name": "Renderer"}},
        {"ph": "M", "name": "thread_name", "pid": 1, "tid": 2, "args": {"name": "Main"}},
        {"ph": "M", "name": "process_labels", "pid": 1, "args": {"labels": [3]}},
    ]
    (one,) = read(
        "chrome-trace", trace(span("a", 0, 5), span("b", 1, 2, tid=3), span("c", 1, 3, pid="x"), *names)
    )
    assert {(stack[0][0], tuple(sorted(labels.items()))) for stack, labels, _ in samples_of(one)} == {
        ("a", (("pid", 1), ("process", "Renderer"), ("thread", "Main"), ("tid", 2))),
        ("b", (("pid", 1), ("process", "Renderer"), ("tid", 3))),
        ("c", (("pid", "x"), ("tid", 2))),
    }


def test_an_array_may_lack_its_end() -> None:
    whole = json.dumps([span("a", 0, 1), span("b", 2, 1)]).encode()
    for raw in (whole, whole[:-1], whole[:-1] + b",\n", b" \n" + whole):
        assert detect_format(raw, "").name == "chrome-trace"
        assert by_names(read("chrome-trace", raw)) == {"a": 1000, "b": 1000}


def test_many_spans_take_as_long_as_they_cover() -> None:
    chance = Random(1)
    spans = [(chance.randrange(10_000), chance.randrange(1, 200)) for _ in range(2000)]
    (one,) = read("chrome-trace", trace(*(span(f"f{at % 7}", ts, dur) for at, (ts, dur) in enumerate(spans))))
    covered = {at for ts, dur in spans for at in range(ts, ts + dur)}
    assert totals([one]) == {TIME: len(covered) * 1000}


def test_overlapping_without_end_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace_spans, "MAX_MOVES", 100)
    raw = trace(*(span("f", at, 100) for at in range(60)))
    assert (
        reason("chrome-trace", raw)
        == "events outlast the one they are in more often than the limit of 100 times"
    )


def test_a_recording_of_py_spy(fixtures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = gzip.decompress((fixtures / "python-chrometrace.json.gz").read_bytes())
    decoded = read("chrome-trace", raw)
    expected: Counter[tuple[tuple[str, str, int, int], ...]] = Counter()
    by_thread: Counter[int] = Counter()
    stacks: dict[int, list[tuple[str, str, int, int]]] = {}
    last: dict[int, int] = {}
    for event in json.loads(raw):
        thread, stack = event["tid"], stacks.setdefault(event["tid"], [])
        if stack:
            expected[tuple(stack)] += (event["ts"] - last[thread]) * 1000
            by_thread[thread] += (event["ts"] - last[thread]) * 1000
        last[thread] = event["ts"]
        if event["ph"] == "B":
            stack.append((event["name"], event["args"]["filename"], event["args"]["line"], 0))
        else:
            assert stack.pop()[0] == event["name"]
    assert by_frames(decoded) == +expected
    assert by_label(decoded, "tid") == by_thread
    assert len(by_thread) == 2
    monkeypatch.setattr(json_document.array_pieces, "__defaults__", (5000,))
    monkeypatch.setattr(trace_spans, "_CHUNK", 10)
    assert by_frames(read("chrome-trace", raw)) == +expected


def profile(ts: int, start: int, **more: Any) -> dict[str, Any]:
    event = {"ph": "P", "name": "Profile", "id": "0x1", "pid": 1, "tid": 2, "ts": ts}
    return event | {"args": {"data": {"startTime": start}}} | more


def chunk(nodes: list[Any], samples: list[int], deltas: list[float], **more: Any) -> dict[str, Any]:
    event = {"ph": "P", "name": "ProfileChunk", "id": "0x1", "pid": 1, "tid": 9, "ts": 5}
    listed = [
        {"id": number, "callFrame": {"functionName": name, "url": "a.js", "lineNumber": 9, "columnNumber": 4}}
        | ({"parent": parent} if parent else {})
        for number, name, parent in nodes
    ]
    data = {"cpuProfile": {"nodes": listed, "samples": samples}, "timeDeltas": deltas}
    return event | {"args": {"data": data | more.pop("data", {})}} | more


FIRST = chunk([(1, "(root)", 0), (2, "main", 1), (3, "work", 2)], [3, 2], [10, 20])


def test_chunks_are_one_profile() -> None:
    second = chunk([(4, "rest", 2)], [4, 3], [30, 40], data={"endTime": 150})
    (one,) = read("chrome-trace", trace(span("x", 0, 9), profile(1, 0), FIRST, second))
    assert types_of(one) == [COUNT, TIME]
    assert by_names([one], 0) == {"main;work": 2, "main": 1, "main;rest": 1}
    assert by_names([one], 1) == {"main;work": (20 + 50) * 1000, "main": 30_000, "main;rest": 40_000}
    assert by_label([one], "tid") == {2: 4}
    assert header(one, "duration_nanos") == 150_000


def test_profiles_are_told_apart_by_process_and_id() -> None:
    others = [
        profile(1, 0, id="0x2", tid=3),
        chunk([(1, "(root)", 0), (2, "other", 1)], [2, 2], [0, 7], id="0x2"),
        profile(1, 0, pid=8),
        chunk([(1, "(root)", 0), (2, "third", 1)], [2, 2], [0, 8], pid=8),
    ]
    (one,) = read("chrome-trace", trace(profile(1, 0), FIRST, *others))
    assert by_names([one], 1) == {"main;work": 20_000, "main": 0, "other": 7000, "third": 8000}
    assert by_label([one], "pid", 1) == {1: 27_000, 8: 8000}


def test_samples_have_lines_and_columns_of_their_own() -> None:
    said = {"lines": [12, 10, 0, 12], "columns": [3, 0, 7, 3]}
    nodes = [(1, "(root)", 0), (2, "main", 1), (3, "work", 2)]
    (one,) = read("chrome-trace", trace(profile(1, 0), chunk(nodes, [3, 3, 3, 3], [0, 1, 2, 4], data=said)))
    main = ("main", "a.js", 10, 5)
    assert by_frames([one], 1) == {
        (main, ("work", "a.js", 12, 3)): 1000,
        (main, ("work", "a.js", 10, 5)): 2000 + 4000,
    }
    assert by_frames([one], 0) == {(main, ("work", "a.js", 12, 3)): 2, (main, ("work", "a.js", 10, 5)): 2}


def test_older_traces_hold_whole_profiles() -> None:
    frame = {"functionName": "main", "url": "", "lineNumber": 1, "columnNumber": 1}
    whole = {"nodes": [{"id": 1, "callFrame": frame}], "startTime": 5, "endTime": 9}
    data = {"cpuProfile": whole | {"samples": [1], "timeDeltas": [1]}}
    event = {"ph": "I", "name": "CpuProfile", "pid": 1, "tid": 2, "ts": 1, "args": {"data": data}}
    (one,) = read("chrome-trace", trace(event))
    assert (by_names([one], 1), by_label([one], "tid")) == ({"main": 3000}, {2: 1})


def test_a_recording_of_chrome(fixtures: Path) -> None:
    path = fixtures / "chrome-trace.json.gz"
    raw = gzip.decompress(path.read_bytes())
    chunks: dict[tuple[int, str], list[dict[str, Any]]] = {}
    for event in json.loads(raw)["traceEvents"]:
        if event["name"] == "ProfileChunk":
            chunks.setdefault((event["pid"], event["id"]), []).append(event["args"]["data"])
    count = time_ns = 0
    for parts in chunks.values():
        deltas = [delta for part in parts for delta in part.get("timeDeltas", ())]
        at = list(accumulate(deltas))
        count += len(deltas)
        # Some samples came late.
        time_ns += (max(at) - min(at)) * 1000
    decoded = read("chrome-trace", raw)
    assert totals(decoded) == {COUNT: count, TIME: time_ns}
    assert set(by_label(decoded, "thread")) == {"CrRendererMain"}
    spinning = [stack for stack in by_frames(decoded) if stack[-1][0] == "spin"]
    assert all(stack[-1][1].endswith("checkout.html") for stack in spinning)
    assert {stack[-1][2] for stack in spinning} >= {10}
    assert ("price", 9) in Counter(frame[0] for frame in max(spinning, key=len)).items()
    with flameduck.open("memory://chrome") as db:
        assert db.ingest([path]).refused == ()
        functions = {row["function"]: row for row in db.top(type="wall:wall").to_dicts()}
    assert functions["spin"]["self"] > 0
    assert functions["price"]["total"] > functions["price"]["self"]


BAD: dict[str, tuple[bytes, str]] = {
    "nothing": (
        trace({"ph": "i", "name": "x"}),
        "the trace has neither a CPU profile nor duration events (ph B, E or X)",
    ),
    "no events": (b'{"traceEvents": null}', "traceEvents is missing"),
    "no time": (trace({"ph": "X", "name": "x"}), "event 'x' of kind 'X': ts is None: expected a number"),
    "time": (trace(span("x", 0, 1) | {"ts": "7"}), "event 'x' of kind 'X': ts is '7': expected a number"),
    "duration": (trace(span("x", 0, -1)), "event 'x': negative dur -1"),
    "unequal": (
        trace(chunk([], [1, 2], [1])),
        "ProfileChunk: unequal numbers of samples (2) and timeDeltas (1)",
    ),
    "no such node": (trace(chunk([], [7], [1])), "ProfileChunk: samples[0]: there is no node 7"),
    "no such parent": (trace(chunk([(1, "a", 5)], [], [])), "ProfileChunk: node.parent: there is no node 5"),
    "file": (
        trace(span("x", 0, 1, args={"filename": 3})),
        "JSON: args of event 'x': Expected `str | null`, got `int` - at `$.filename`",
    ),
    "name": (
        trace(span("x", 0, 1), {"ph": "M", "name": "thread_name", "args": {"name": 3}}),
        "JSON: thread_name: Expected `str`, got `int` - at `$.name`",
    ),
    "too large": (trace(span("x", 1e300, 1)), "ts: 1e+300 does not fit 64 bits"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files_are_refused(case: str) -> None:
    raw, expected = BAD[case]
    assert reason("chrome-trace", raw) == expected
