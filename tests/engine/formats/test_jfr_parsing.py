"""What a JFR chunk may hold and how it may be written: encodings, constants, events, settings; and what it may not."""

from __future__ import annotations

import re
import struct
from typing import Any

import numpy as np
import pytest

from flameduck.engine.formats import Decoded, Failed, Input, jfr, jfr_chunk
from flameduck.engine.formats.jfr import Jfr
from flameduck.engine.formats.jfr_columns import integers_between
from flameduck.engine.formats.jfr_names import stable_name
from flameduck.schema.proto import jfr_labels_pb2
from tests.engine.formats.jfr_writer import POOLS, TYPES, ChunkWriter, F, chunk, ref, setting
from tests.engine.formats.test_jfr import MS, decode, read, reason

WORK = "app/Main.work:10;app/Main.main:20"
PUT = "java/util/HashMap.put:5;app/Main.main:20"
MAIN = "app/Main.main:0"
"""The stack of which a method is missing and a line is not known."""

EVENTS: list[tuple[str, dict[str, Any]]] = [
    (
        "jdk.ObjectAllocationInNewTLAB",
        {"stackTrace": 1, "allocationSize": 16, "tlabSize": 1000, "objectClass": 2},
    ),
    ("jdk.ObjectAllocationInNewTLAB", {"stackTrace": 1, "allocationSize": 16, "tlabSize": 500}),
    ("jdk.ObjectAllocationOutsideTLAB", {"stackTrace": 2, "allocationSize": 1 << 40}),
    ("jdk.ObjectAllocationSample", {"stackTrace": 3, "weight": 77}),
    ("profiler.LiveObject", {"stackTrace": 1, "allocationSize": 9}),
    ("profiler.Malloc", {"stackTrace": 2, "address": -1, "size": 4096}),
    ("profiler.Free", {"stackTrace": 1, "address": -1}),
    ("jdk.JavaMonitorEnter", {"stackTrace": 1, "duration": 30, "monitorClass": 2, "eventThread": 1}),
    ("jdk.ThreadPark", {"stackTrace": 2, "duration": 50}),
    ("test.Odd", {}),
]
MEANT = {
    "alloc_in_new_tlab_objects": ("memory", {WORK: 2}, {WORK: 1500}),
    "alloc_outside_tlab_objects": ("memory", {PUT: 1}, {PUT: 1 << 40}),
    "alloc_sample_objects": ("memory", {MAIN: 1}, {MAIN: 77}),
    "live": ("memory", {WORK: 1}),
    "malloc_objects": ("memory", {PUT: 1}, {PUT: 4096}),
}


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("version", [(2, 0), (2, 1)])
@pytest.mark.parametrize("encoding", [3, 4, 5])
def test_every_event_in_every_encoding(compressed: bool, version: tuple[int, int], encoding: int) -> None:
    raw = chunk(*EVENTS, compressed=compressed, version=version, encoding=encoding, checkpoints=2)
    found = read(raw)
    assert {kind: (one.name, *one.stacks) for kind, one in found.items() if kind in MEANT} == MEANT
    assert found["contentions"].types == (("contentions", "count"), ("delay", "nanoseconds"))


def test_locks_in_ticks() -> None:
    events = [("jdk.JavaMonitorEnter", {"stackTrace": 1, "duration": 7_000_000_001})]
    raw = chunk(*events, ticks_per_s=2_800_000_000)
    assert read(raw)["contentions"].totals == [1, 2_500_000_000]
    # Pyroscope takes ticks for nanoseconds.
    assert read(raw, rules="pyroscope")["contentions"].totals == [1, 7_000_000_001]


def sample(state: int = 1, stack: int = 1, **more: Any) -> tuple[str, dict[str, Any]]:
    return "jdk.ExecutionSample", {"stackTrace": stack, "state": state, "sampledThread": 1} | more


def wall(state: int, samples: int) -> tuple[str, dict[str, Any]]:
    return "profiler.WallClockSample", {"stackTrace": 1, "state": state, "samples": samples}


STATES = [sample(1), sample(2), sample(3), sample(9)]


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([*STATES], {"cpu": 20}),
        ([setting("event", "cpu"), *STATES], {"cpu": 20}),
        ([setting("event", "wall"), *STATES], {"cpu": 100, "wall": 200}),
        ([setting("event", "wall"), setting("interval", "20000000"), *STATES], {"cpu": 40, "wall": 80}),
        ([wall(1, 3), wall(2, 4)], {"wall": 350}),
        ([setting("event", "wall"), wall(1, 3), wall(2, 4)], {"wall": 350, "cpu": 150}),
        (
            [setting("event", "cpu"), setting("wall", "100000000"), *STATES, wall(1, 3)],
            {"cpu": 20, "wall": 300},
        ),
        ([setting("interval", "0"), *STATES], {"cpu": 20}),
        ([setting("interval", "2ms"), *STATES], {"cpu": 4}),
        ([setting("period", "20 ms", "jdk.ExecutionSample"), *STATES], {"cpu": 40}),
        ([setting("period", "everyChunk", "jdk.ExecutionSample"), *STATES], {"cpu": 20}),
        ([setting("period", "1 s", "jdk.ThreadPark"), *STATES], {"cpu": 20}),
        ([setting("interval", "99999999999999999"), *STATES], {"cpu": 20}),
        ([setting("interval", None), *STATES], {"cpu": 20}),
    ],
)
def test_time_on_the_cpu_and_by_the_wall(events: list[Any], expected: dict[str, int]) -> None:
    found = read(chunk(*events))
    assert {kind: one.totals for kind, one in found.items()} == {
        kind: [ms * MS] for kind, ms in expected.items()
    }
    said = read(chunk(*events), sample_rate_hz=1000)
    assert said["wall" if "wall" in said else "cpu"].row["period"] == MS


def test_cpu_time_replaces_execution_samples() -> None:
    timed = [("jdk.CPUTimeSample", {"stackTrace": 1, "samplingPeriod": 12 * MS})] * 2
    failed = ("jdk.CPUTimeSample", {"stackTrace": 0, "failed": 1, "samplingPeriod": 12 * MS})
    found = read(chunk(*timed, failed, sample()))["cpu"]
    assert (found.totals, found.row["period"]) == ([24 * MS], 12 * MS)
    assert read(chunk(*timed, sample()), rules="pyroscope")["cpu"].totals == [10 * MS]


def test_stacks_that_are_not_there_or_empty() -> None:
    found = read(chunk(sample(stack=0), sample(stack=99), sample(stack=4), sample(stack=3)))["cpu"]
    assert found.stacks == [{"": 10 * MS, MAIN: 10 * MS}]


def test_without_any_stack() -> None:
    assert read(chunk(sample(), pools={}), rules="pyroscope")["cpu"].stacks == [{}]


def test_settings_may_be_constants() -> None:
    pools = POOLS | {"java.lang.String": {5: ["wall"], 6: ["x"]}}
    found = read(chunk(setting("event", 5), sample(), pools=pools))
    assert set(found) == {"cpu", "wall"}


def test_keys_of_sixty_four_bits() -> None:
    high = (1 << 64) - 1
    pools = {
        "jdk.types.StackTrace": {high: [0, [[high - 1, 3]]]},
        "jdk.types.Method": {high - 1: [high - 2, high - 3, 0]},
        "java.lang.Class": {high - 2: [high - 4, 0]},
        "jdk.types.Symbol": {high - 3: ["run"], high - 4: ["A"]},
        "jdk.types.ThreadState": {high: ["STATE_RUNNABLE"]},
        "java.lang.Thread": {high: ["", "T"]},
    }
    found = read(chunk(sample(high, high, sampledThread=high), pools=pools))["cpu"]
    assert found.stacks == [{"A.run:3": 10 * MS}]
    assert set(found.labels) == {(("thread", "T"),)}


def test_the_last_constant_of_a_key_counts() -> None:
    later = {"jdk.types.Symbol": {1: ["app/Other"], 2: ["main"], 3: ["work"]}}
    first = ChunkWriter([sample()]).to_bytes()
    second = ChunkWriter([sample()], pools=POOLS | later).to_bytes()
    parts = [one.stacks[0] for one in (read(first)["cpu"], read(second)["cpu"])]
    assert parts == [{WORK: 10 * MS}, {WORK.replace("Main", "Other"): 10 * MS}]


def test_chunks_are_profiles_of_their_own_or_pieces_of_one() -> None:
    raw = b"".join(chunk(setting("event", "cpu"), *EVENTS, sample(), start_ns=start) for start in (5, 6))
    alone = decode(raw)
    assert len({source.part for source, _, _ in alone}) == len(alone) == 16
    assert not any(continues for _, _, continues in alone)
    assert [row["time_nanos"] for _, row, _ in alone] == [5] * 8 + [6] * 8
    pieces = decode(raw, rules="pyroscope")
    assert [continues for _, _, continues in pieces] == [False, True] * 8
    assert [source.part for source, _, _ in pieces[::2]] == [source.part for source, _, _ in pieces[1::2]]


def test_a_long_recording_comes_profile_by_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = chunk(*EVENTS) * 3
    short = list(Jfr().decode([Input(raw)] * 2))
    assert [len(one.rows) for one in short if isinstance(one, Decoded)] == [42]
    monkeypatch.setattr(jfr, "SHORT_BYTES", 1000)
    long = list(Jfr().decode([Input(raw)]))
    assert [len(one.rows) for one in long if isinstance(one, Decoded)] == [1] * 21
    broken = list(Jfr().decode([Input(raw[:-1])]))
    assert [isinstance(one, Failed) for one in broken] == [False] * 14 + [True]


def snapshot() -> bytes:
    made = jfr_labels_pb2.LabelsSnapshot()
    for number, text in {1: b"region", 2: b"eu", 3: b"GET /"}.items():
        made.strings[number] = text
    made.contexts[7].labels[1] = 2
    made.contexts[8].labels[4] = 2  # a name that is not there
    return bytes(made.SerializeToString())


SPAN = {"contextId": 7, "spanId": 0xEF, "spanName": 3, "traceIdHi": 1, "traceIdLo": 2}


def test_labels_of_the_context_and_the_span() -> None:
    events = [sample(**SPAN), sample(contextId=8), sample(contextId=9), sample()]
    found = read(chunk(*events), rules="pyroscope", attachments={"labels": snapshot()})["cpu"]
    everything = (
        ("profile_id", "00000000000000ef"),
        ("region", "eu"),
        ("span_name", "GET /"),
        ("trace_id", "00000000000000010000000000000002"),
    )
    assert found.labels == {everything: 10 * MS, (): 30 * MS}
    assert set(read(chunk(*events), rules="pyroscope")["cpu"].labels) == {()}
    bare = set(read(chunk(*events))["cpu"].labels)
    assert bare == {(everything[0], ("thread", "worker"), everything[3]), (("thread", "worker"),)}


def test_more_checkpoints_than_one() -> None:
    for checkpoints in (1, 2, 5):
        assert read(chunk(sample(), checkpoints=checkpoints))["cpu"].stacks == [{WORK: 10 * MS}]


def test_types_that_are_laid_out_otherwise() -> None:
    types = TYPES | {
        "java.lang.Class": [F("hidden", "byte"), F("name", "java.lang.String")],
        "jdk.types.StackTrace": [F("frames", "jdk.types.StackFrame", array=True), F("truncated", "boolean")],
        "jdk.ExecutionSample": [
            F("note", "java.lang.String"),
            F("many", "jdk.types.Symbol", array=True),
            ref("stackTrace", "jdk.types.StackTrace"),
            ref("state", "jdk.types.ThreadState"),
        ],
    }
    pools = POOLS | {
        "java.lang.Class": {1: [200, "app/Main"]},
        "jdk.types.StackTrace": {1: [[[2, 10], [1, 20]], 0]},
    }
    event = ("jdk.ExecutionSample", {"note": "x", "many": [["a"], ["b"]], "stackTrace": 1, "state": 1})
    found = read(chunk(event, types=types, pools=pools))["cpu"]
    assert found.stacks == [{WORK: 10 * MS}]
    assert found.labels == {(): 10 * MS}


def test_events_without_the_field_that_is_summed() -> None:
    types = TYPES | {"profiler.Malloc": [ref("stackTrace", "jdk.types.StackTrace")]}
    assert read(chunk(("profiler.Malloc", {"stackTrace": 2}), types=types))["malloc_objects"].totals == [1, 0]
    types = TYPES | {"profiler.Malloc": [F("size", "long")]}
    raw = chunk(("profiler.Malloc", {"size": 2}), ("profiler.LiveObject", {"stackTrace": 1}), types=types)
    assert read(raw).keys() == {"live"}


def test_no_samples() -> None:
    assert reason(chunk(setting("event", "cycles"))) == "the recording holds no samples"


GOOD = chunk(sample())


def changed(at: int, data: bytes) -> bytes:
    return GOOD[:at] + data + GOOD[at + len(data) :]


def number(value: int) -> bytes:
    return struct.pack(">q", value)


BAD = {
    "cut short": (
        GOOD[:-1],
        rf"chunk 1 at byte 0: its size is {len(GOOD)} bytes of which {len(GOOD) - 1} are there",
    ),
    "no header": (GOOD[:50], "chunk 1 at byte 0: its header ends after 50 of 68 bytes"),
    "something behind": (GOOD + b"FLR", rf"chunk 2 at byte {len(GOOD)}: its header ends after 3 of 68 bytes"),
    "another magic": (
        GOOD + GOOD.replace(b"FLR\0", b"XLR\0"),
        "it begins with b'XLR.x00' in place of b'FLR.x00'",
    ),
    "version": (changed(4, b"\0\1\0\0"), "version 1.0: only 2.0 and 2.1 are read"),
    "unfinished": (changed(8, number(0)), "it was not finished: its size is not filled in"),
    "negative size": (changed(8, number(-5)), "its size is -5 bytes of which"),
    "constants": (changed(16, number(1 << 40)), "its constants are at 1099511627776, outside of its"),
    "metadata": (changed(24, number(-1)), "its metadata are at -1, outside of its"),
    "metadata elsewhere": (changed(24, number(70)), "chunk 1 at byte 0: "),
    "no ticks": (changed(56, number(0)), "it has 0 ticks a second"),
    "no metadata": (GOOD[:68] + b"\0" + GOOD[69:], "no metadata at byte 68"),
    "an event beyond the end": (
        GOOD[:8] + number(len(GOOD) - 2) + GOOD[16:-2],
        "goes beyond the chunk's end",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_recordings_say_what_is_wrong(name: str) -> None:
    raw, text = BAD[name]
    assert re.search(text, reason(raw))


def test_types_made_of_themselves() -> None:
    types = TYPES | {"test.Loop": [F("again", "test.Loop")]}
    assert (
        reason(chunk(sample(), types=types))
        == "chunk 1 at byte 0: metadata: type test.Loop is made of itself"
    )
    wide = {f"test.T{depth}": [F(f"f{n}", f"test.T{depth + 1}") for n in range(10)] for depth in range(9)}
    many = TYPES | wide | {"test.T9": [F("x", "int")]}
    assert "has more than 4096 values" in reason(chunk(sample(), types=many))


def test_constants_of_a_type_that_is_not_there() -> None:
    writer = ChunkWriter([sample()], types=TYPES | {"zz": [F("x", "int")]}, pools=POOLS | {"zz": {1: [4]}})
    type_id = writer.number("zz")
    broken = writer.to_bytes().replace(str(type_id).encode(), b"999")
    assert f"constants of type {type_id}, which is not in the metadata" in reason(broken)


def test_values_that_do_not_fit() -> None:
    events = [("jdk.ObjectAllocationSample", {"stackTrace": 1, "weight": (1 << 63) - 1})] * 2
    assert reason(chunk(*events)) == (
        "chunk 1 at byte 0: the sum of the samples' values does not fit 64 bits"
    )
    samples = [wall(1, (1 << 31) - 1)] * 200
    assert reason(chunk(*samples, setting("wall", "3600000000000"))) == (
        "chunk 1 at byte 0: the samples, times 3600000000000 ns, do not fit 64 bits"
    )


NAMES = {
    "jdk/internal/reflect/GeneratedMethodAccessor31": "jdk/internal/reflect/GeneratedMethodAccessor_",
    "org/example/OrderService$$Lambda$669.0x0000000800fd7318": "org/example/OrderService$$Lambda_",
    "Fib$$Lambda.0x00007ffa600c4da0": "Fib$$Lambda_",
    "Fib$$Lambda$14/1234": "Fib$$Lambda_",
    "Fib$$Lambda12": "Fib$$Lambda_",
    "Fib$$Lambda$14": "Fib$$Lambda$14",
    "kafka/log/LogValidator$$$Lambda$900/0x0000000840": "kafka/log/LogValidator$$$Lambda_",
    "libzstd-jni-1.5.1-16931311898282279136.so": "libzstd-jni-_.so",
    "./tmp/libzstd-jni-1.5.1-16931311898282279136.so (deleted)": "libzstd-jni-_.so",
    "./tmp/libamazonCorrettoCryptoProvider109b39cf33c563eb.so": "libamazonCorrettoCryptoProvider_.so",
    "./tmp/amazonCorrettoCryptoProviderNativeLibraries.7382c2f79097f415/libcrypto.so (deleted)": (
        "libamazonCorrettoCryptoProvider_.so"
    ),
    "libasyncProfiler-linux-x64-17b9a1d8156277a98ccc871afa9a8f69215f92.so": "libasyncProfiler-_.so",
    "libasyncProfiler-linux-x64-27b9a1d8156277a98ccc871afa9a8f69215f92.so": (
        "libasyncProfiler-linux-x64-27b9a1d8156277a98ccc871afa9a8f69215f92.so"
    ),
    "java/util/HashMap": "java/util/HashMap",
    "libjvm.so": "libjvm.so",
}


@pytest.mark.parametrize("name", NAMES)
def test_names_without_what_differs_from_process_to_process(name: str) -> None:
    assert stable_name(name) == NAMES[name]


def test_integers_as_columns_equal_integers_one_by_one() -> None:
    source = np.random.default_rng(1)
    writer = ChunkWriter()
    numbers = [
        int(n) >> int(s)
        for n, s in zip(source.integers(0, 1 << 63, 5000), source.integers(0, 63, 5000), strict=True)
    ]
    numbers += [(1 << 64) - 1, (1 << 63) + 5, (1 << 56) - 1, 1 << 56, 0] * 50
    source.shuffle(numbers)
    raw = b"".join(map(writer.integer, numbers))
    values, ends = integers_between(np.frombuffer(raw, np.uint8), 0, len(raw))
    assert values.view(np.uint64).tolist() == numbers
    assert ends.tolist() == np.cumsum([len(writer.integer(one)) for one in numbers]).tolist()
    assert integers_between(np.frombuffer(b"\xff" * 20, np.uint8), 0, 20)[1].tolist() == [9, 18]


def test_a_chunk_of_many_events_is_read_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    events = [setting("event", "wall"), *EVENTS, *STATES, *EVENTS, wall(1, 3), *STATES]
    whole = read(chunk(*events))
    monkeypatch.setattr(jfr_chunk, "MAX_EVENTS", 3)
    parts = read(chunk(*events))
    assert parts.keys() == whole.keys()
    for kind, one in parts.items():
        assert (one.stacks, one.labels) == (whole[kind].stacks, whole[kind].labels), kind
