"""Austin's text in every mode."""

from __future__ import annotations

import gzip
import random
import time
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import flameduck
from flameduck.engine.formats import Input, detect_format, folded_text
from flameduck.engine.formats.austin import Austin
from tests.engine.formats.read_samples import decode, read, reason

AUSTIN = Austin()
HEAD = "# austin: 3.7.0\n# interval: 10000\n# mode: {}\n\n"
MAIN = "P11;T0:22;/app/a b.py:<module>:9;<frozen x>:C.serve:5"


def text(mode: str, *lines: str, tail: str = "\n# duration: 1020205\n# gc: 0\n") -> bytes:
    return (HEAD.format(mode) + "".join(f"{line}\n" for line in lines) + tail).encode()


STACK = ("<module> /app/a b.py:9", "C.serve <frozen x>:5")
THREAD = (("pid", 11), ("tid", 22))


@pytest.mark.parametrize(("mode", "name", "kind"), [("wall", "wall", "wall"), ("cpu", "process_cpu", "cpu")])
def test_times(mode: str, name: str, kind: str) -> None:
    (one,) = read(AUSTIN, text(mode, f"{MAIN} 10060", f"{MAIN} 9", "P11;T1:23 341"))
    assert one.samples == {
        (STACK, THREAD): (2, 10_069_000),
        ((), (("pid", 11), ("tid", 23), ("interpreter", 1))): (1, 341_000),
    }
    assert (one.name, one.part, one.types) == (name, b"", ("samples/count", f"{kind}/nanoseconds"))
    assert one.header == {
        "time_nanos": 0,
        "duration_nanos": 1_020_205_000,
        "period": 10_000_000,
        "comments": ["austin: 3.7.0"],
        "default": kind,
    }


def test_memory() -> None:
    (one,) = read(AUSTIN, text("memory", f"{MAIN} 4096", f"{MAIN} -1000", f"{MAIN} 4", f"{MAIN} 0"))
    assert one.samples == {(STACK, THREAD): (4100, 1000)}
    assert (one.name, one.types) == ("memory", ("alloc_space/bytes", "free_space/bytes"))
    assert (one.header["period"], one.header["default"]) == (0, "alloc_space")


def test_everything() -> None:
    lines = (f"{MAIN} 100,0,7", f"{MAIN} 50,1,-5", f"{MAIN} 3,0,0")
    wall, cpu, memory = read(AUSTIN, text("full", *lines))
    assert wall.samples == {(STACK, THREAD): (3, 153_000)}
    assert cpu.samples == {(STACK, THREAD): (2, 103_000)}
    assert memory.samples == {(STACK, THREAD): (7, 5)}
    assert [one.part for one in (wall, cpu, memory)] == [b"wall", b"process_cpu", b"memory"]


def test_a_text_without_comments() -> None:
    (one,) = read(AUSTIN, f"{MAIN} 10\n".encode())
    assert one.types == ("samples/count", "wall/nanoseconds")
    assert len(read(AUSTIN, f"{MAIN} 10,1,0\n".encode())) == 3


FRAMES = {
    ":INVALID:": ":INVALID: :0",
    ":GC:": ":GC: :0",
    r"C:\app\a.py:f:3": r"f C:\app\a.py:3",
    "kernel:do_nanosleep:0": "do_nanosleep kernel:0",
    "kernel:do_nanosleep:": "do_nanosleep :0",
    "/lib/libc.so.6:0x7f:0": "0x7f /lib/libc.so.6:0",
    "<string>:<module>:1": "<module> <string>:1",
    "a.py:f:12345678901": "a.py:f:12345678901 :0",
    "P5": "",
    "Px": "Px :0",
    "T:5": "T:5 :0",
    "": " :0",
}


@pytest.mark.parametrize("frame", FRAMES)
def test_frames(frame: str) -> None:
    (one,) = read(AUSTIN, text("wall", f"{MAIN};{frame} 10"))
    ((stack, _),) = one.samples
    assert stack == (*STACK, FRAMES[frame]) if FRAMES[frame] else STACK


BAD = {
    text("wall", f"{MAIN} 10", f"{MAIN} x"): "line 6: metrics 'x' are not one number of up to 18 digits",
    text("wall", f"{MAIN} 1,2,3"): "line 5: metrics '1,2,3' are not one number of up to 18 digits",
    text("full", f"{MAIN} 1,2"): "line 5: metrics '1,2' are not 3 numbers of up to 18 digits",
    text(
        "wall", f"{MAIN} 1", "# x: y", "", f"{MAIN} 1.5"
    ): "line 8: metrics '1.5' are not one number of up to 18 digits",
    text("wall", f"{MAIN} {10**18}"): f"line 5: metrics '{10**18}' are not one number of up to 18 digits",
    text("wall", *[f"{MAIN} {10**18 - 1}"] * 9): "the sum of the times does not fit 64 bits",
    text("memory", *[f"{MAIN} {10**18 - 1}"] * 9): "the sum of the metrics does not fit 64 bits",
    text("odd", f"{MAIN} 1"): "mode 'odd': expected one of wall, cpu, memory, full",
}


@pytest.mark.parametrize("raw", BAD)
def test_errors(raw: bytes) -> None:
    assert reason(AUSTIN, raw) == BAD[raw]


def test_lines_without_a_metric_are_told() -> None:
    (one,) = decode(AUSTIN, text("wall", f"{MAIN} 10", "stray"))
    assert one.warnings == ("1 lines without a metric were left out",)


DETECTED = [
    text("wall", f"{MAIN} 10"),
    b"# austin: 3.7.0\n# interval: 100\n\nP1;T0:1;a.py:main:5 5\n",
    b"# austin: 3.7.0\n",
    b"P1;T1;a.py:f:1 3\n",
    b"P1;T0:1 3\n",
]
OTHERS = [
    b"main;P1;T0:1 3\n",
    b"Px;T1;a 3\n",
    b"# comment\nmain;work 4\n",
    b"P1;main 4\n",
    b"P1;T0:1\x00 3\n",
]


@pytest.mark.parametrize("raw", DETECTED)
def test_texts_of_austin_are_told(raw: bytes) -> None:
    assert detect_format(raw, "").name == "austin"


@pytest.mark.parametrize("raw", OTHERS)
def test_others_are_not(raw: bytes) -> None:
    assert not AUSTIN.matches(raw, "x.austin")


def summed(lines: list[str], mode: str) -> dict[str, int]:
    """What a recording adds up to, by the words of its lines alone."""
    totals: Counter[str] = Counter()
    for line in lines:
        metrics = [int(one) for one in line.rpartition(" ")[2].split(",")]
        time_us, idle, grown = metrics if mode == "full" else (metrics[0], 0, metrics[0])
        if mode in ("wall", "full"):
            totals["wall:samples:count:wall:nanoseconds"] += 1
            totals["wall:wall:nanoseconds:wall:nanoseconds"] += time_us * 1000
        if mode == "cpu" or (mode == "full" and not idle):
            totals["process_cpu:samples:count:cpu:nanoseconds"] += 1
            totals["process_cpu:cpu:nanoseconds:cpu:nanoseconds"] += time_us * 1000
        if mode in ("memory", "full"):
            totals["memory:alloc_space:bytes::"] += max(grown, 0)
            totals["memory:free_space:bytes::"] += max(-grown, 0)
    return dict(totals)


@pytest.mark.parametrize("mode", ["wall", "cpu", "memory", "full"])
def test_recordings_go_into_a_store_with_no_flag(mode: str, fixtures: Path) -> None:
    file = fixtures / f"austin-{mode}.txt.gz"
    lines = [line for line in gzip.decompress(file.read_bytes()).decode().splitlines() if line[:1] == "P"]
    assert len(lines) > 2
    with flameduck.open(f"memory://austin-{mode}") as db:
        assert not db.ingest([file]).refused
        found = {kind: db.flamegraph(type=kind).total for kind in db.profile_types()}
        assert found == summed(lines, mode)
        busy = "fill_cache" if mode == "memory" else "serve"
        places = db.sql(f"SELECT DISTINCT filename FROM functions WHERE name = '{busy}'").fetchall()
        assert [Path(place).name for (place,) in places] == [
            "workers.py" if mode == "memory" else "checkout.py"
        ]


def test_a_long_text_comes_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [f"P1;T0:{n % 3};a.py:f{n % 90}:{n % 30} {n},{n % 2},{n - 900}" for n in range(2000)]
    raw = text("full", *lines)
    whole = read(AUSTIN, raw)
    monkeypatch.setattr(folded_text, "PIECE_BYTES", 1000)
    pieces = decode(AUSTIN, raw)
    assert [one.continues for one in pieces].count(False) == 3
    assert len(pieces) > 60
    assert read(AUSTIN, raw) == whole
    assert sum(map(sum, (one.totals.values() for one in whole))) > 2000


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    AUSTIN.matches(data or b"x", "")
    assert list(AUSTIN.decode([Input(data)]))
    assert list(AUSTIN.decode([Input(b"P1;T0:2;" + data + b" 1,0,1\n")]))


def test_reading_is_fast() -> None:
    source = random.Random(1)
    known = [
        ";".join(
            f"/app/package/file.py:method{source.randint(0, 900)}:{source.randint(1, 99)}" for _ in range(20)
        )
        for _ in range(2000)
    ]
    lines = [f"P1;T0:2;{source.choice(known)} {source.randint(1, 999)}" for _ in range(40_000)]
    raw = text("wall", *lines)
    start = time.process_time()
    decode(AUSTIN, raw)
    assert len(raw) / (time.process_time() - start) > 10e6, "bytes a second"
