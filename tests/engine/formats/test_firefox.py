"""Firefox profiles: versions, weights, frames, libraries, allocations, and recordings of samply and Firefox."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from flameduck.engine.formats import detect_format, firefox, firefox_stacks, piecewise
from tests.engine.formats.decoded_profiles import Profile, Sample, read, reason, stored_totals
from tests.engine.formats.firefox_documents import document, gecko, plain_stacks, shared_tables, with_meta


def encoded(found: dict[str, Any]) -> bytes:
    return json.dumps(found).encode()


def only(found: dict[str, Any], **said: Any) -> Profile:
    (profile,) = read("firefox", encoded(found), **said)
    return profile


def refusal(found: dict[str, Any]) -> str:
    return reason("firefox", encoded(found))


def test_sizes() -> None:
    profile = only(document())
    assert (profile.name, profile.totals()) == ("memory", {"size/bytes": 7})
    (sample,) = profile.samples
    assert sample.frames == (("work", "", 0), ("main", "main.c", 3))
    assert (sample.addresses, sample.mappings) == ((32, 16), ("", "/opt/app"))
    assert profile.build_ids == {"/opt/app": "abcd"}
    assert sample.labels == {"thread": "worker", "pid": (12, ""), "tid": (13, "")}


def test_counts_are_time_at_the_interval() -> None:
    profile = only(with_meta(document(samples={"weightType": "samples"}), interval=3.333333))
    assert (profile.name, profile.totals()) == ("wall", {"samples/count": 7, "wall/nanoseconds": 23_333_331})
    assert (profile.header["period"], profile.header["default"]) == (3_333_333, "wall")
    unweighted = only(document(samples={"weightType": "samples", "weight": None}))
    assert unweighted.totals() == {"samples/count": 1, "wall/nanoseconds": 1_000_000}


def test_traced_time() -> None:
    profile = only(document(samples={"weightType": "tracing-ms", "weight": [1.000001, 2]}))
    assert (profile.name, profile.totals()) == ("wall", {"wall/nanoseconds": 1_000_001})


@pytest.mark.parametrize(("unit", "cpu_ns"), [("ns", 250), ("µs", 250_000), ("variable CPU cycles", None)])
def test_cpu_clocks(unit: str, cpu_ns: int | None) -> None:
    samples = {"weightType": "samples", "stack": [1, 1, 1], "length": 3, "weight": None}
    samples |= {"threadCPUDelta": [900, 250, None], "time": None, "timeDeltas": [5, 1, 1]}
    profile = only(with_meta(document(samples=samples), sampleUnits={"threadCPUDelta": unit}))
    expected = {"samples/count": 3, "wall/nanoseconds": 3_000_000}
    if cpu_ns is not None:
        expected["cpu/nanoseconds"] = cpu_ns
    assert profile.totals() == expected
    assert profile.name == ("wall" if cpu_ns is None else "process_cpu")


def test_times() -> None:
    timed = with_meta(
        document(), startTime=1795801207181.4697, profilingStartTime=10.5, profilingEndTime=2010.5
    )
    header = only(timed).header
    assert (header["time_nanos"], header["duration_nanos"]) == (1795801207191969700, 2_000_000_000)
    assert only(timed, rules="pyroscope").header["time_nanos"] == 0
    assert only(document(samples={"time": [5, 7.25]})).header["duration_nanos"] == 2_250_000


def test_threads_of_several_weight_types_are_several_profiles() -> None:
    found = document()
    found["threads"] += document(samples={"weightType": "samples"})["threads"]
    assert [profile.totals() for profile in read("firefox", encoded(found))] == [
        {"size/bytes": 7},
        {"samples/count": 7, "wall/nanoseconds": 7_000_000},
    ]


IDS: list[tuple[Any, Any]] = [
    ("12", (12, "")),
    ("12.1", "12.1"),
    (12.0, (12, "")),
    (None, None),
    (2**63, str(2**63)),
    ("x", "x"),
]


@pytest.mark.parametrize(("said", "label"), IDS)
def test_ids_of_processes(said: object, label: object) -> None:
    (sample,) = only(document(pid=said, processName="Web Content")).samples
    assert (sample.labels.get("pid"), sample.labels["process"]) == (label, "Web Content")


def test_strings_that_threads_share() -> None:
    found = document()
    found["shared"] = {"stringArray": found["threads"][0].pop("stringArray")}
    assert only(found).stacks() == {"main;work": 7}


def test_sources_of_newer_versions() -> None:
    found = document(funcTable={"source": [0, None]})
    del found["threads"][0]["funcTable"]["fileName"]
    found["shared"] = {"stringArray": [], "sources": {"length": 1, "uuid": [None], "filename": [2]}}
    assert only(found).samples[0].frames[1] == ("main", "main.c", 3)


def test_tables_that_threads_share() -> None:
    profile = only(shared_tables())
    assert profile.stacks() == {"main;work": 14}
    assert {sample.labels["thread"] for sample in profile.samples} == {"worker", "other"}
    assert {sample.mappings for sample in profile.samples} == {("", "")}


def inlined(depths: list[int], addresses: list[int]) -> Sample:
    frames = {"length": 3, "func": [0, 1, 1], "line": [3, 4, 5], "address": addresses, "inlineDepth": depths}
    found = document(
        stackTable={"length": 3, "prefix": [None, 0, 1], "frame": [0, 1, 2]},
        frameTable=frames,
        funcTable={"resource": [0, 0]},
        samples={"stack": [2, None]},
    )
    (sample,) = only(found).samples
    return sample


def test_inlined_frames_share_a_location() -> None:
    names = (("work", "", 5), ("work", "", 4), ("main", "main.c", 3))
    for depths, addresses, expected in (
        ([0, 1, 2], [16, 16, 16], (16,)),
        ([0, 1, 0], [16, 16, 16], (16, 16)),
        ([0, 1, 1], [16, 16, 16], (16, 16)),
        ([0, 1, 2], [16, 16, 32], (32, 16)),
        ([0, 0, 1], [16, 16, 16], (16, 16)),
    ):
        sample = inlined(depths, addresses)
        assert (sample.frames, sample.addresses) == (names, expected)


def test_an_address_without_a_name_is_one_in_its_library() -> None:
    found = document(stringArray=["main", "0x20", "main.c"], funcTable={"resource": [0, 0]})
    (sample,) = only(found).samples
    assert (sample.names, sample.addresses) == (("main",), (32, 16))
    assert sample.mappings == ("/opt/app", "/opt/app")


def test_a_native_symbol_tells_the_library() -> None:
    symbols = {"length": 1, "libIndex": [0], "address": [16], "name": [1], "functionSize": [None]}
    (sample,) = only(document(nativeSymbols=symbols, frameTable={"nativeSymbol": [None, 0]})).samples
    assert sample.mappings == ("/opt/app", "/opt/app")


def test_allocations() -> None:
    js = {"length": 2, "stack": [1, 1], "weight": [10, 30], "className": ["Array", "Map"]}
    native = {"length": 3, "stack": [0, 0, None], "weight": [100, -40, 5]}
    _, profile = read("firefox", encoded(document(jsAllocations=js, nativeAllocations=native)))
    assert profile.name == "memory"
    assert profile.totals() == {
        "alloc_objects/count": 3,
        "alloc_space/bytes": 140,
        "free_objects/count": 1,
        "free_space/bytes": 40,
    }
    kinds = {
        (sample.labels["heap"], sample.labels.get("class")): sample.values[1] for sample in profile.samples
    }
    assert kinds == {("js", "Array"): 10, ("js", "Map"): 30, ("native", None): 100}


def test_many_stacks_come_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(piecewise, "PIECE_FRAMES", 100)
    count = 300
    found = document(
        stackTable={"length": count, "prefix": [None, *[0] * (count - 1)], "frame": [0, *[1] * (count - 1)]},
        samples={"length": count, "stack": list(range(count)), "time": None, "weight": [1] * count},
    )
    assert only(found).stacks() == {"main": 1, "main;work": count - 1}


def test_the_gecko_format() -> None:
    profile = only(gecko())
    assert profile.totals() == {"samples/count": 6, "wall/nanoseconds": 12_000_000, "cpu/nanoseconds": 10_000}
    assert profile.name == "process_cpu"
    parent = profile.samples[1]
    assert parent.frames == (("price", "file:///page.html", 12), ("(root)", "", 0))
    assert (parent.addresses, parent.mappings) == ((0x1010, 0, 0), ("/lib/libc.so", "", ""))
    # The child's process has no library there.
    assert profile.samples[2].names == ("0x1010", "price", "(root)")


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "a caller after its callee": (
        document(stackTable={"prefix": [None, 1]}),
        "threads[0].stackTable.prefix[1] is 1: expected a row before it, or null",
    ),
    "a cycle": (
        document(stackTable={"prefix": [1, 0]}),
        "threads[0].stackTable.prefix[0] is 1: expected a row before it, or null",
    ),
    "no such frame": (
        document(stackTable={"frame": [0, 7]}),
        "threads[0].stackTable.frame[1] is 7, of 2 rows",
    ),
    "no frame": (document(stackTable={"frame": [0, None]}), "threads[0].stackTable.frame has a null"),
    "no such function": (
        document(frameTable={"func": [0, 2]}),
        "threads[0].frameTable.func[1] is 2, of 2 rows",
    ),
    "no such string": (document(funcTable={"name": [0, 9]}), "threads[0].funcTable.name[1] is 9, of 3 rows"),
    "no such stack": (document(samples={"stack": [5, 0]}), "samples of bytes.stack[0] is 5, of 2 rows"),
    "no such library": (
        document(resourceTable={"lib": [3]}),
        "threads[0].resourceTable.lib[0] is 3, of 1 rows",
    ),
    "a column too short": (
        document(samples={"stack": [1]}),
        "threads[0].samples.stack has 1 entries, the table 2 rows",
    ),
    "a length that lies": (
        document(frameTable={"length": 2**40, "func": None}),
        "threads[0].frameTable.length is 1099511627776, and func is not there",
    ),
    "a text for a number": (
        document(samples={"weight": ["x", 1]}),
        "JSON: threads[0].samples.weight: Expected `float | null`, got `str` - at `$[0]`",
    ),
    "another weight": (
        document(samples={"weightType": "hugs"}),
        "samples.weightType 'hugs': expected samples, tracing-ms or bytes",
    ),
    "too large": (
        document(samples={"weight": [1e30, 1]}),
        "samples of bytes.weight: a value does not fit 64 bits",
    ),
    "too large a sum": (
        document(samples={"stack": [1, 1], "weight": [2**62, 2**62]}),
        "the sum of the samples' values does not fit 64 bits",
    ),
    "no interval": (
        with_meta(document(samples={"weightType": "samples"}), interval=-1),
        "meta.interval is -1.0, no time in milliseconds",
    ),
    "no profile": (
        {"meta": {"interval": 1}, "threads": 5},
        "JSON: Expected `array`, got `int` - at `$.threads`",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_documents_that_are_none(name: str) -> None:
    found, expected = BAD[name]
    assert refusal(found) == expected


def test_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    count = 100
    deep = document(
        stackTable={"length": count, "prefix": [None, *range(count - 1)], "frame": [0] * count},
        samples={"length": count, "stack": list(range(count)), "time": None, "weight": [1] * count},
    )
    assert only(deep).totals() == {"size/bytes": count}
    monkeypatch.setattr(firefox, "_LEAST_FRAMES", 10)
    monkeypatch.setattr(firefox, "_FRAMES_PER_BYTE", 1)
    assert refusal(deep) == "the stacks hold more than 1 frames for every byte of the file"
    monkeypatch.setattr(firefox_stacks, "MAX_DEPTH", 50)
    assert refusal(deep) == "a stack of more than 50 frames"


@pytest.mark.parametrize("file", ["samply.json", "firefox-gecko.json.gz"])
def test_recordings_against_a_plain_walk(fixtures: Path, file: str) -> None:
    raw = (fixtures / file).read_bytes()
    raw = gzip.decompress(raw) if file.endswith(".gz") else raw
    assert detect_format(raw, "").name == "firefox"
    recorded = json.loads(raw)
    profile = only(recorded)
    expected = plain_stacks(recorded)
    assert profile.totals()["samples/count"] == expected.total()
    assert profile.totals()["wall/nanoseconds"] == expected.total() * round(
        recorded["meta"]["interval"] * 10**6
    )
    depths: Counter[int] = Counter()
    for sample in profile.samples:
        depths[len(sample.addresses)] += sample.values[0]
    plain_depths: Counter[int] = Counter()
    for stack, count in expected.items():
        plain_depths[len(stack)] += count
    assert depths == plain_depths
    assert sorted(stored_totals(fixtures / file).values()) == sorted(profile.totals().values())


def test_samply_s_clocks_and_libraries(fixtures: Path) -> None:
    recorded = json.loads((fixtures / "samply.json").read_bytes())
    profile = only(recorded)
    cpu_us = sum(sum(thread["samples"]["threadCPUDelta"][1:]) for thread in recorded["threads"])
    assert profile.totals()["cpu/nanoseconds"] == cpu_us * 1000
    ids = {lib["path"]: lib["codeId"] for lib in recorded["libs"]}
    assert profile.build_ids == {path: ids[path] for path in profile.build_ids}
    assert len(profile.build_ids) > 1
    threads = {sample.labels["tid"] for sample in profile.samples}
    assert len(threads) == 2


def test_firefox_s_scripts(fixtures: Path) -> None:
    (profile,) = read("firefox", gzip.decompress((fixtures / "firefox-gecko.json.gz").read_bytes()))
    script = [sample for sample in profile.samples if "spin" in sample.names]
    assert script
    for sample in script:
        frame = sample.frames[sample.names.index("spin")]
        assert frame[1].endswith("/page.html")
        assert sample.labels["process"] == "file:// Content"
