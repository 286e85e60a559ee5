"""MOJO: events of austin's binary format, and recordings beside austin's own text of the same kind of run."""

from __future__ import annotations

import gzip
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import flameduck
from flameduck.engine.formats import Input, detect_format, mojo_events
from flameduck.engine.formats.inflate import inflate
from flameduck.engine.formats.mojo import Mojo
from tests.engine.formats.python_examples import MOJO, event, mojo, mojo_frame, varint
from tests.engine.formats.read_samples import decode, read, reason

READER = Mojo()
DEFINED = (mojo_frame(1, "main", 10), mojo_frame(2, "work", 2000))
MAIN, WORK = "main a.py:10:5", "work a.py:2000:5"


def sample(*events: bytes, tid: str = "1f", pid: int = 7) -> bytes:
    return event(2, pid, 0, tid) + b"".join(events)


def refs(*keys: int) -> bytes:
    return b"".join(event(5, key) for key in keys)


@given(st.integers(-(2**66), 2**66))
def test_numbers(number: int) -> None:
    assert mojo_events.number_of(varint(number)) == number


def test_the_number_of_the_specification() -> None:
    assert mojo_events.number_of(b"\xc3\x02") == -131


def test_times_and_threads() -> None:
    raw = mojo(
        [
            sample(*DEFINED, refs(1, 2), event(9, 1000)),
            sample(refs(1, 2), event(9, 500)),
            sample(refs(1), event(9, 3), tid="20"),
            sample(event(9, 2)),
        ],
        mode="wall",
    )
    (one,) = read(READER, raw)
    assert one.samples == {
        ((MAIN, WORK), (("pid", 7), ("tid", 31))): (2, 1_500_000),
        ((MAIN,), (("pid", 7), ("tid", 32))): (1, 3000),
        ((), (("pid", 7), ("tid", 31))): (1, 2000),
    }
    assert (one.name, one.types) == ("wall", ("samples/count", "wall/nanoseconds"))
    assert one.header["period"] == 100_000
    assert one.header["duration_nanos"] == 9000


def test_everything() -> None:
    raw = mojo(
        [
            sample(*DEFINED, refs(1), event(9, 10), event(10, 5)),
            sample(refs(1), event(9, 4), event(8), event(10, -3)),
        ],
        mode="full",
    )
    wall, cpu, memory = read(READER, raw)
    assert (wall.totals, cpu.totals) == (
        {"samples/count": 2, "wall/nanoseconds": 14_000},
        {"samples/count": 1, "cpu/nanoseconds": 10_000},
    )
    assert memory.totals == {"alloc_space/bytes": 5, "free_space/bytes": 3}
    assert [one.part for one in (wall, cpu, memory)] == [b"wall", b"process_cpu", b"memory"]


def test_frames_that_are_none() -> None:
    raw = mojo(
        [sample(*DEFINED, refs(1), event(4), event(6, "do_nanosleep"), event(7), event(9, 1))], mode="wall"
    )
    ((stack, _),) = read(READER, raw)[0].samples
    assert stack == (MAIN, ":INVALID: :0", "do_nanosleep :0", ":GC: :0")


def test_unknown_and_empty_strings() -> None:
    raw = mojo([sample(event(3, 5, 0, 1, 3, 3, 0, 0), refs(5), event(9, 1))], mode="wall")
    ((stack, _),) = read(READER, raw)[0].samples
    assert stack == ("<unknown> :3",)


def test_keys_hold_within_a_process_and_may_be_defined_anew() -> None:
    raw = mojo(
        [
            sample(mojo_frame(1, "one", 1), refs(1), event(9, 1)),
            sample(mojo_frame(1, "other", 1), refs(1), event(9, 10), pid=8),
            sample(refs(1), event(9, 100)),
            sample(mojo_frame(1, "new", 1), refs(1), event(9, 1000)),
        ],
        mode="wall",
    )
    (one,) = read(READER, raw)
    assert {stack[0].split()[0]: values[1] for (stack, _), values in one.samples.items()} == {
        "one": 101_000,
        "other": 10_000,
        "new": 1_000_000,
    }


@pytest.mark.parametrize("version", [1, 2])
def test_older_versions(version: int) -> None:
    stack = event(2, 7, "1f")
    raw = mojo([stack, mojo_frame(1, "main", 10, version), refs(1), event(9, 1)], "wall", version)
    (one,) = read(READER, raw)
    assert one.samples == {
        (("main a.py:10" if version == 1 else MAIN,), (("pid", 7), ("tid", 31))): (1, 1000)
    }


def test_a_sample_on_top_of_the_one_before() -> None:
    native = event(11, 300, "/lib/x.so") + event(11, 301, "read") + event(3, 9, 300, 301, 0, 0, 0, 0)
    raw = mojo(
        [
            sample(*DEFINED, native, refs(1, 9), event(9, 1)),
            sample(refs(2), event(13), event(9, 10)),
            sample(event(13), event(9, 100)),
            sample(refs(2), event(13), event(9, 1000), tid="99"),
        ],
        "wall",
        version=4,
    )
    (one,) = read(READER, raw)
    assert {stack: values[1] for (stack, _), values in one.samples.items()} == {
        (MAIN, "read /lib/x.so:0"): 1000,
        (MAIN, WORK): 110_000,
        (WORK,): 1_000_000,
    }


def test_suspended_tasks_are_no_samples() -> None:
    task = event(14, 77, 0, 2) + refs(2) + mojo_frame(3, "late", 1) + refs(3)
    raw = mojo([sample(*DEFINED, task, refs(1), event(15, 77, 0), event(16, 77), event(9, 1))], "wall", 5)
    assert list(read(READER, raw)[0].stacks()) == [(MAIN,)]


def refusals() -> dict[str, tuple[bytes, str]]:
    good = sample(*DEFINED, refs(1))
    return {
        "version": (b"MOJ\x09", "MOJO version 9: expected 1 to 5"),
        "event": (mojo([b"\x1f"]), "byte 45: unknown event 31"),
        "end": (mojo([good])[:-1], "the recording ends within event 1"),
        "frame": (mojo([sample(refs(5))]), "no frame of process 7 has the key 5"),
        "string": (mojo([sample(event(3, 1, 50, 51, 1, 1, 1, 1))]), "byte 51: no string has the key 51"),
        "thread": (mojo([event(2, 1, 0, "xyz")]), "byte 45: thread id b'xyz'"),
        "thread number": (mojo([event(2, 1, 0, "f" * 17)]), "byte 45: a thread id does not fit 64 bits"),
        "mode": (mojo([good], mode="odd"), "mode 'odd': expected one of wall, cpu, memory, full"),
        "time": (mojo([good, event(9, 2**65)], "wall"), "sample.value"),
    }


@pytest.mark.parametrize("case", refusals())
def test_errors(case: str) -> None:
    raw, expected = refusals()[case]
    assert expected in reason(READER, raw)


def test_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    deep = mojo([sample(*DEFINED, refs(*[1] * 5000))])
    assert len(next(iter(read(READER, deep, raw_names=True)[0].samples), ((), ()))[0]) in (0, 5000)
    monkeypatch.setattr(mojo_events, "MAX_DEPTH", 4999)
    assert reason(READER, deep) == "a stack has more than 4999 frames"
    monkeypatch.setattr(mojo_events, "MAX_SYMBOLS", 3)
    assert reason(READER, deep).endswith("more than 3 strings, frames and threads")
    monkeypatch.undo()
    monkeypatch.setattr(mojo_events, "MAX_REPEATED_FRAMES", 100)
    growing = mojo([sample(*DEFINED, refs(1), event(13), event(9, 1))] * 50, "wall", 4)
    assert reason(READER, growing).startswith("repeated stacks: more than 100 frames")


def test_samples_come_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = [mojo_frame(key, f"f{key}", key) for key in range(1, 60)]
    events = [
        sample(refs(1, 1 + n % 59, 1 + n % 7), event(9, n), event(10, n - 500), tid=f"{n % 5:x}")
        for n in range(999)
    ]
    raw = mojo([sample(*frames), *events], "full")
    whole = read(READER, raw)
    monkeypatch.setattr(mojo_events, "PIECE_SAMPLES", 50)
    pieces = decode(READER, raw)
    assert [one.continues for one in pieces].count(False) == 3
    assert len(pieces) > 20
    assert read(READER, raw) == whole
    assert whole[0].totals == {"samples/count": 1000, "wall/nanoseconds": sum(range(999)) * 1000}


def test_what_is_told_to_be_mojo() -> None:
    assert detect_format(MOJO, "").name == "mojo"
    for raw in (b"MOJ", b"MOJO", b"MOJITO 5\n", b"MOJ\x00"):
        assert not READER.matches(raw, "x.mojo")


def metrics(raw: bytes, kind: int) -> list[int]:
    """The values of all metrics of a kind, told by walking the events in the plainest way."""
    at, found = 4, []

    def skip_number() -> int:
        nonlocal at
        start = at
        while raw[at] & 0x80:
            at += 1
        at += 1
        return mojo_events.number_of(raw[start:at])

    def skip_text() -> None:
        nonlocal at
        at = raw.index(b"\x00", at) + 1

    shapes = {1: "ss", 2: "nns", 3: "nnnnnnn", 4: "", 5: "n", 6: "s", 7: "", 8: "", 9: "n", 10: "n", 11: "ns"}
    while at < len(raw):
        one = raw[at]
        at += 1
        for field in shapes[one]:
            if field == "s":
                skip_text()
            else:
                value = skip_number()
                found += [value] if one == kind else []
    return found


@pytest.mark.parametrize("mode", ["wall", "cpu", "memory", "full"])
def test_recordings_go_into_a_store_with_no_flag(mode: str, fixtures: Path) -> None:
    file = fixtures / f"austin-{mode}.mojo.gz"
    raw = gzip.decompress(file.read_bytes())
    times, memory = metrics(raw, 9), metrics(raw, 10)
    with flameduck.open(f"memory://mojo-{mode}") as db:
        assert not db.ingest([file]).refused
        found = {kind: db.flamegraph(type=kind).total for kind in db.profile_types()}
        if mode in ("wall", "full"):
            assert found["wall:wall:nanoseconds:wall:nanoseconds"] == sum(times) * 1000
            assert found["wall:samples:count:wall:nanoseconds"] == len(times)
        if mode == "cpu":
            assert found["process_cpu:cpu:nanoseconds:cpu:nanoseconds"] == sum(times) * 1000
        if mode in ("memory", "full"):
            assert found["memory:alloc_space:bytes::"] == sum(one for one in memory if one > 0)
            assert found["memory:free_space:bytes::"] == -sum(one for one in memory if one < 0)
        busy = "fill_cache" if mode == "memory" else "serve"
        places = db.sql(f"SELECT DISTINCT filename FROM functions WHERE name = '{busy}'").fetchall()
        assert [Path(place).name for (place,) in places] == [
            "workers.py" if mode == "memory" else "checkout.py"
        ]


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    assert list(READER.decode([Input(data), Input(b"MOJ\x03" + data), Input(MOJO[:60] + data)]))


def test_hostile_lengths_cost_nothing() -> None:
    start = time.process_time()
    for raw in (b"MOJ\x03" + b"\x02\x01\x01", b"MOJ\x03\x01" + b"x" * 5_000_000, b"MOJ\x03" + b"\xff" * 1000):
        assert reason(READER, raw)
    runs = mojo([sample(*DEFINED, b"\x04" * 5_000_000)])
    assert reason(READER, runs) == "a stack has more than 100000 frames"
    assert time.process_time() - start < 5


def test_reading_is_fast(fixtures: Path) -> None:
    raw = inflate((fixtures / "austin-wall.mojo.gz").read_bytes(), 1 << 20)
    body = raw[raw.index(b"\x02") :] * 300
    start = time.process_time()
    decode(READER, b"MOJ\x03\x01mode\x00wall\x00" + body)
    assert len(body) / (time.process_time() - start) > 5e6, "bytes a second"
