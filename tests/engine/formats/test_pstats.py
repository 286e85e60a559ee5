"""Dumps of Python's profilers, and the part of marshal that they are written in."""

from __future__ import annotations

import cProfile
import marshal
import pstats
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import flameduck
from flameduck.engine.formats import Input, detect_format
from flameduck.engine.formats import pstats as reader_of_pstats
from flameduck.engine.formats.marshal_values import MarshalReader
from flameduck.engine.formats.pstats import Pstats
from flameduck.engine.formats.seconds import exact_ns
from flameduck.schema.errors import CorruptProfile
from tests.engine.formats.read_samples import decode, read, reason

READER = Pstats()
MAIN, WORK, SLEEP = ("a.py", 1, "main"), ("a.py", 20, "work"), ("~", 0, "<built-in method time.sleep>")


def dump(stats: dict[Any, Any], version: int = 4) -> bytes:
    return marshal.dumps(stats, version)


@pytest.mark.parametrize("version", [0, 1, 2, 3, 4])
def test_a_function_is_seen_under_its_callers_and_alone_with_the_rest(version: int) -> None:
    stats = {
        MAIN: (1, 1, 0.5, 3.0, {}),
        WORK: (3, 5, 1.25, 2.0, {MAIN: (2, 2, 0.75, 1.5), WORK: (2, 0, 0.25, 0.5)}),
        SLEEP: (4, 4, 1.0, 1.0, {WORK: (4, 4, 1.0, 1.0)}),
    }
    (one,) = read(READER, dump(stats, version))
    main, work = "main a.py:0@1", "work a.py:0@20"
    assert one.samples == {
        ((main,), ()): (1, 500_000_000),
        ((main, work), ()): (2, 750_000_000),
        ((work, work), ()): (2, 250_000_000),
        ((work,), ()): (1, 250_000_000),
        ((work, "<built-in method time.sleep> :0"), ()): (4, 10**9),
    }
    assert (one.name, one.types) == ("wall", ("calls/count", "wall/nanoseconds"))
    assert one.header["default"] == "wall"


def test_callers_with_calls_alone_as_profile_writes_them() -> None:
    (one,) = read(READER, dump({MAIN: (1, 1, 0.5, 1.0, {}), WORK: (3, 3, 0.25, 0.5, {MAIN: 2})}))
    assert one.samples == {
        (("main a.py:0@1",), ()): (1, 500_000_000),
        (("main a.py:0@1", "work a.py:0@20"), ()): (2, 0),
        (("work a.py:0@20",), ()): (1, 250_000_000),
    }


def test_parts_that_are_more_than_the_whole_by_rounding() -> None:
    callers = {MAIN: (1, 1, 3e-9, 0.0), WORK: (1, 1, 2e-9, 0.0)}
    (one,) = read(READER, dump({SLEEP: (2, 2, 4e-9, 0.0, callers)}))
    assert one.totals == {"calls/count": 2, "wall/nanoseconds": 4}
    assert all(values[1] >= 0 for values in one.samples.values())


def test_samples_of_tachyon() -> None:
    stats: dict[Any, Any] = {
        MAIN: (1, 12, 0.001, 0.012, {}),
        WORK: (11, 11, 0.011, 0.011, {MAIN: 11}),
        ("__sampled__",): True,
    }
    raw = dump(stats)
    assert detect_format(raw, "").name == "pstats"
    (one,) = read(READER, raw)
    assert one.samples == {
        (("main a.py:1",), ()): (1, 1_000_000),
        (("work a.py:20",), ()): (11, 11_000_000),
    }
    assert one.types == ("samples/count", "wall/nanoseconds")


def total_ns(path: Path) -> tuple[int, int]:
    """Calls and own time, by Python's own reader of such files."""
    stats = pstats.Stats(str(path))
    own = stats.stats.values()  # type: ignore[attr-defined]
    return stats.total_calls, sum(round(entry[2] * 10**9) for entry in own)  # type: ignore[attr-defined]


def test_a_recording_goes_into_a_store_with_no_flag(fixtures: Path) -> None:
    file = fixtures / "python-cprofile.pstats"
    calls, own_ns = total_ns(file)
    with flameduck.open("memory://pstats") as db:
        assert not db.ingest([file]).refused
        assert db.flamegraph(type="calls").total == calls > 1000
        assert db.flamegraph(type="wall:wall").total == own_ns
        found = {row["function"]: row["self"] for row in db.top(type="wall:wall").to_dicts()}
        known = pstats.Stats(str(file)).stats  # type: ignore[attr-defined]
        for name in ("spin", "sign", "read_cart", "price"):
            assert found[name] == sum(
                round(tt * 1e9) for (*_, own), (_, _, tt, _, _) in known.items() if own == name
            )


def test_what_this_python_writes(tmp_path: Path) -> None:
    profile = cProfile.Profile()
    profile.runcall(sorted, [3, 1, 2], key=lambda number: -number)
    profile.dump_stats(tmp_path / "x")
    (one,) = read(READER, (tmp_path / "x").read_bytes())
    assert tuple(one.totals.values()) == total_ns(tmp_path / "x")


PYTHON_2 = (
    b"{(\x03\x00\x00\x00t\x04\x00\x00\x00a.pyi\x01\x00\x00\x00t\x04\x00\x00\x00main"
    b"(\x05\x00\x00\x00i\x01\x00\x00\x00i\x01\x00\x00\x00" + b"g" + struct.pack("<d", 0.5) * 1 + b"f\x030.5"
    b"{(\x03\x00\x00\x00R\x00\x00\x00\x00i\x02\x00\x00\x00s\x03\x00\x00\x00topi\x01\x00\x00\x0000"
)


def test_python_2() -> None:
    (one,) = read(READER, PYTHON_2)
    assert one.samples == {
        (("top a.py:0@2", "main a.py:0@1"), ()): (1, 0),
        (("main a.py:0@1",), ()): (0, 500_000_000),
    }


GOOD = dump({MAIN: (1, 1, 0.5, 0.5, {})})
BAD = {
    dump({1: 2}): "byte 6: '1' is not a file, a line and a name",
    dump({MAIN: 5}): "marshal type 'i' is not a tuple",
    dump({MAIN: (1, 2)}): "a function has 2 values; expected 5",
    dump({MAIN: (1, 1, 0.5, 0.5, 7)}): "marshal type 'i' is not a dictionary",
    dump({MAIN: (1, "x", 0.5, 0.5, {})}): "'x' is not a number of calls",
    dump({MAIN: (1, 1, "y", 0.5, {})}): "'y' is not a time",
    dump({MAIN: (1, 1, float("nan"), 0.5, {})}): "main: own time: nan is not a time",
    dump({MAIN: (1, 1, float("inf"), 0.5, {})}): "main: own time: inf is not a time",
    dump({MAIN: (1, 1, 1e300, 0.5, {})}): "main: own time: 1e+300 seconds do not fit 64 bits",
    dump({MAIN: (1, 2**80, 0.5, 0.5, {})}): "an integer does not fit 64 bits",
    dump(
        {MAIN: (1, 2**70, 0.5, 0.5, {})}
    ): "calls 1180591620717411303424 or own time 500000000 do not fit 64 bits",
    dump({("a", 1, b""): 1, frozenset(): 1}): "marshal type 'r' is not a tuple",
    b"{)\x03[": "byte 3: marshal type '[' is not a text, a number or a tuple",
    dump({("a", 1, (1,) * 9): 1}): "a tuple of 9 values; limit 5",
    dump({("a", 1, ((1,),)): 1}): "tuples within tuples",
    b"{r\x07\x00\x00\x00": "byte 6: a reference to value 7, which is not there",
    b"{)\x03s\xff\xff\xff\x7f": "byte 8: 2147483647 bytes are said to follow, 0 do",
    b"{)\x03s\xff\xff\xff\xff": "byte 8: -1 bytes are said to follow, 0 do",
    b"{)\x03f\x01x": "byte 6: b'x' is not a number",
    b"{(\xff\xff\xff\x7f": "a tuple of 2147483647 values; limit 5",
    b"{\xa9\x03r\x00\x00\x00\x00": "a reference to value 0, which is not there",
    b"{": "byte 1: 1 bytes are said to follow, 0 do",
    b"[": "byte 0: marshal type '[' is not a dictionary",
}


@pytest.mark.parametrize("raw", BAD)
def test_errors(raw: bytes) -> None:
    assert BAD[raw] in reason(READER, raw)


def test_what_the_module_profile_writes_is_told(tmp_path: Path) -> None:
    (tmp_path / "x.py").write_text("sorted([1])\n")
    subprocess.run([sys.executable, "-m", "profile", "-o", "out", "x.py"], cwd=tmp_path, check=True)
    found = reason(READER, (tmp_path / "out").read_bytes())
    assert found.endswith("a code object, as python -m profile writes; cProfile does not")


@pytest.mark.parametrize("cut", range(len(GOOD)))
def test_every_cut_is_told(cut: int) -> None:
    assert reason(READER, GOOD[:cut])


def test_what_is_told_to_be_pstats() -> None:
    assert detect_format(GOOD, "").name == "pstats"
    for raw in (b'{"a": 1}', b"{(", b"{", b"{)\x03", dump({1: 2}), dump({}), b"{)\x03z\x01az\x01bz\x01c"):
        assert not READER.matches(raw, "x.pstats")


def test_long_dumps_come_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    stats = {
        ("a.py", n, f"f{n}"): (n, n, n / 1024, 1.0, {("a.py", n - 1, f"f{n - 1}"): (n, n, n / 1024, 1.0)})
        for n in range(1, 500)
    }
    (whole,) = read(READER, dump(stats))
    monkeypatch.setattr(reader_of_pstats, "PIECE_SAMPLES", 20)
    assert [one.continues for one in decode(READER, dump(stats))].count(True) > 20
    assert read(READER, dump(stats)) == [whole]


SCALARS = st.text(max_size=300) | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False)


@given(SCALARS | st.tuples(SCALARS, SCALARS) | st.lists(SCALARS, max_size=5).map(tuple), st.integers(0, 4))
def test_values_are_read_as_python_reads_them(value: Any, version: int) -> None:
    raw = marshal.dumps(value, version)
    reader = MarshalReader(raw)
    assert reader.value() == marshal.loads(raw)
    assert reader.at == len(raw)


@given(st.binary(max_size=100))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    READER.matches(data or b"x", "")
    assert list(READER.decode([Input(data), Input(b"{" + data), Input(GOOD[:20] + data)]))


@given(st.floats(-1e9, 1e9))
def test_seconds(seconds: float) -> None:
    from fractions import Fraction

    assert exact_ns(seconds, "x") == round(Fraction(seconds) * 10**9)


def test_seconds_that_are_none() -> None:
    for seconds in (float("nan"), float("inf"), 1e10, -1e300):
        with pytest.raises(CorruptProfile, match="x: "):
            exact_ns(seconds, "x")


def test_reading_is_fast() -> None:
    stats = {
        (f"/app/package/module_{n % 99}.py", n, f"function_{n}"): (
            n,
            n,
            n / 1e6,
            1.0,
            {
                (f"/app/package/module_{m % 99}.py", m, f"function_{m}"): (3, 3, m / 1e6, 1.0)
                for m in range(n, n + 5)
            },
        )
        for n in range(5000)
    }
    raw = dump(stats)
    start = time.process_time()
    decode(READER, raw)
    assert len(raw) / (time.process_time() - start) > 1e6, "bytes a second"
