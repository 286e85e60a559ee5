"""JFR recordings: equal to what the JDK's own tool and Pyroscope read in them."""

from __future__ import annotations

import gzip
import json
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import flameduck
from flameduck.engine.formats import Decoded, Failed, Input, Row
from flameduck.engine.formats.jfr import Jfr
from tests.engine.formats.examples import FIXTURES
from tests.fixtures.programs.record_java import digest_stacks

TOTALS: dict[str, Any] = json.loads((FIXTURES / "jfr_totals.json").read_text())
MS = 1_000_000


@dataclass
class Read:
    """A profile of a recording: stacks are `name:line` joined by `;`, leaf first."""

    source: Row
    types: tuple[tuple[str, str], ...]
    stacks: list[Counter[str]]
    labels: Counter[tuple[tuple[str, str], ...]]
    row: dict[str, Any]

    @property
    def name(self) -> str:
        return self.source.name

    @property
    def totals(self) -> list[int]:
        return [counts.total() for counts in self.stacks]


def decode(raw: bytes, **said: Any) -> list[tuple[Row, dict[str, Any], bool]]:
    """Where each profile comes from, the profile, and whether it continues the one before."""
    found = []
    for one in Jfr().decode([Input(raw, **said)]):
        assert isinstance(one, Decoded), one
        found += [(*pair, one.continues) for pair in zip(one.rows, one.batch.to_pylist(), strict=True)]
    return found


def read(raw: bytes, **said: Any) -> dict[str, Read]:
    """The profiles of a recording by their first type; of several with one, the first."""
    found: dict[str, Read] = {}
    for source, row, _ in decode(raw, **said):
        texts = [text.decode("utf-8", "replace") for text in row["string_table"]]
        names = {function["id"]: texts[function["name"]] for function in row["function"]}
        frames = {
            place["id"]: f"{names[place['line'][0]['function_id']]}:{place['line'][0]['line']}"
            for place in row["location"]
        }
        types = tuple((texts[kind["type"]], texts[kind["unit"]]) for kind in row["sample_type"])
        stacks = [Counter[str]() for _ in types]
        labels: Counter[tuple[tuple[str, str], ...]] = Counter()
        for sample in row["sample"]:
            stack = ";".join(frames[place] for place in sample["location_id"])
            for counts, value in zip(stacks, sample["value"], strict=True):
                counts[stack] += value
            pairs = ((texts[label["key"]], texts[label["str"]]) for label in sample["label"])
            labels[tuple(sorted(pairs))] += sample["value"][0]
        found.setdefault(types[0][0], Read(source, types, stacks, labels, row))
    return found


def reason(raw: bytes, **said: Any) -> str:
    failed = list(Jfr().decode([Input(raw, **said)]))[-1]
    assert isinstance(failed, Failed)
    return failed.reason


def recording(name: str) -> bytes:
    return gzip.decompress((FIXTURES / name).read_bytes())


TYPES = {
    "jdk.ObjectAllocationSample": "alloc_sample_objects",
    "jdk.ObjectAllocationInNewTLAB": "alloc_in_new_tlab_objects",
    "jdk.ObjectAllocationOutsideTLAB": "alloc_outside_tlab_objects",
    "profiler.LiveObject": "live",
    "profiler.Malloc": "malloc_objects",
}


@pytest.mark.parametrize(
    ("file", "event"),
    [(file, event) for file, events in TOTALS.items() for event in events if event in TYPES],
)
def test_counts_and_amounts_equal_what_the_jdk_prints(file: str, event: str) -> None:
    expected = TOTALS[file][event]
    found = read(recording(file))[TYPES[event]]
    assert found.name == "memory"
    assert found.totals == [expected["count"], expected["amount"]][: len(found.types)]
    assert digest_stacks(found.stacks[0]) == expected["stacks"]


@pytest.mark.parametrize(
    "file", [file for file, events in TOTALS.items() if "jdk.JavaMonitorEnter" in events]
)
def test_locks_equal_what_the_jdk_prints(file: str) -> None:
    profiles = [row | {"name": source.name} for source, row, _ in decode(recording(file))]
    events = {"mutex": "jdk.JavaMonitorEnter", "block": "jdk.ThreadPark"}
    found = {
        events[one["name"]]: [sum(sample["value"][number] for sample in one["sample"]) for number in (0, 1)]
        for one in profiles
        if one["name"] in events
    }
    expected = {event: TOTALS[file][event] for event in events.values() if event in TOTALS[file]}
    assert found.keys() == expected.keys()
    for event, (count, delay_ns) in found.items():
        assert count == expected[event]["count"]
        assert abs(delay_ns - expected[event]["amount"]) <= count  # it cuts off, we round


SAMPLED = {
    "java-jdk17.jfr.gz": ("jdk.ExecutionSample", "cpu", 20 * MS),
    "java-multi.jfr.gz": ("jdk.ExecutionSample", "cpu", 20 * MS),
    "java-agent.jfr.gz": ("jdk.ExecutionSample", "cpu", 10 * MS),
    "java-jdk25.jfr.gz": ("jdk.CPUTimeSample", "cpu", 1),
    "java-wall.jfr.gz": ("profiler.WallClockSample", "wall", 50 * MS),
}


@pytest.mark.parametrize("file", SAMPLED)
def test_time_equals_what_the_jdk_prints_times_the_period(file: str) -> None:
    event, kind, period_ns = SAMPLED[file]
    expected = TOTALS[file][event]
    found = read(recording(file))[kind]
    assert found.types == ((kind, "nanoseconds"),)
    assert found.name == {"cpu": "process_cpu", "wall": "wall"}[kind]
    assert found.totals == [(expected["amount"] or expected["count"]) * period_ns]
    counts = Counter({stack: value // period_ns for stack, value in found.stacks[0].items()})
    assert digest_stacks(counts) == expected["stacks"]
    assert found.row["period"] == (10 * MS if event == "jdk.CPUTimeSample" else period_ns)


def test_wall_beside_cpu_has_a_period_of_its_own() -> None:
    found = read(recording("java-multi.jfr.gz"))
    samples = TOTALS["java-multi.jfr.gz"]["profiler.WallClockSample"]["amount"]
    assert found["wall"].totals == [samples * 100 * MS]
    assert found["wall"].row["period"] == 100 * MS
    assert {label[0] for labels in found["wall"].labels for label in labels} == {"state", "thread"}


def test_a_chunk_has_its_time_and_threads_and_classes() -> None:
    found = read(recording("java-jdk25.jfr.gz"))
    for one in found.values():
        assert abs(one.row["time_nanos"] - 1_795_801_000 * 10**9) < 10**12
        assert 10**9 < one.row["duration_nanos"] < 4 * 10**9
    threads = {value for labels in found["cpu"].labels for key, value in labels if key == "thread"}
    assert {"orders-1", "orders-2"} <= threads
    classes = {
        value for labels in found["alloc_sample_objects"].labels for key, value in labels if key == "class"
    }
    assert "[B" in classes


def test_pyroscope_reads_the_jdks_execution_samples_beside_cpu_time() -> None:
    found = read(recording("java-jdk25.jfr.gz"), rules="pyroscope", sample_rate_hz=50, duration_ns=7)["cpu"]
    assert found.totals == [TOTALS["java-jdk25.jfr.gz"]["jdk.ExecutionSample"]["count"] * 20 * MS]
    assert (found.row["time_nanos"], found.row["duration_nanos"], found.row["period"]) == (0, 7, 20 * MS)
    assert set(found.labels) == {()}


def test_the_agents_labels() -> None:
    labels = gzip.decompress((FIXTURES / "java-agent.labels.pb.gz").read_bytes())
    raw = recording("java-agent.jfr.gz")
    found = read(raw, rules="pyroscope", attachments={"labels": labels}, labels={"service_name": "checkout"})
    cpu = found["cpu"]
    assert (
        {(("region", "eu"),), (("region", "us"),)}
        <= set(cpu.labels)
        <= {
            (("region", "eu"),),
            (("region", "us"),),
            (),
        }
    )
    assert cpu.source.labels == {"service_name": "checkout", "jfr_event": "itimer"}
    bare = read(raw, rules="pyroscope")["cpu"]
    assert bare.stacks == cpu.stacks
    assert set(bare.labels) == {()}


def test_ingest_without_a_flag(tmp_path: Path) -> None:
    shutil.copy(FIXTURES / "java-agent.jfr.gz", tmp_path)
    shutil.copy(FIXTURES / "java-agent.labels.pb.gz", tmp_path)
    shutil.copy(FIXTURES / "java-multi.jfr.gz", tmp_path)
    with flameduck.open("memory://jfr") as db:
        report = db.ingest([tmp_path], labels={"service_name": "checkout"})
        assert (report.new, report.refused) == (5, ())
        assert db.profile_types() == [
            "memory:alloc_in_new_tlab_bytes:bytes:space:bytes",
            "memory:alloc_in_new_tlab_objects:count:space:bytes",
            "mutex:contentions:count:mutex:count",
            "mutex:delay:nanoseconds:mutex:count",
            "process_cpu:cpu:nanoseconds:cpu:nanoseconds",
            "wall:wall:nanoseconds:cpu:nanoseconds",
        ]
        assert "Checkout.spin" in db.top(type="cpu").arrow().column("function").to_pylist()
        regions = db.sql("SELECT DISTINCT unnest(sample_labels).str AS region FROM samples").arrow()
        assert {"eu", "us"} <= set(regions.column("region").to_pylist())
