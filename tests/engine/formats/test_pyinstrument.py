"""Sessions of pyinstrument, and the trees that it prints."""

from __future__ import annotations

import gzip
import json
import random
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import flameduck
from flameduck.engine.formats import Input, detect_format, json_document
from flameduck.engine.formats import pyinstrument as reader_of_pyinstrument
from flameduck.engine.formats.pyinstrument import Pyinstrument
from tests.engine.formats.read_samples import decode, read, reason

READER = Pyinstrument()


def session(*records: Any, **more: Any) -> bytes:
    said = {"start_time": 1.5, "duration": 2.25, "min_interval": 0.001, "max_interval": 0.001}
    said |= {"start_call_stack": [], "target_description": "Program: x", "frame_records": records} | more
    return json.dumps(said).encode()


def tree(root: Any) -> bytes:
    return json.dumps({"start_time": 1.5, "duration": 2.25, "sample_count": 3, "root_frame": root}).encode()


def node(name: str, seconds: float, *children: Any, **more: Any) -> dict[str, Any]:
    return {"function": name, "file_path": "a.py", "line_no": 3, "time": seconds, "children": children} | more


def test_a_session() -> None:
    main, work = "main\x00a.py\x001\x01l5", "work\x00b.py\x0020\x01cCart\x01l22"
    thread = "mail\x00<thread>\x00139835532716928"
    (one,) = read(
        READER,
        session(
            [[main, work], 0.5], [[main, work], 0.25], [[thread, main], 1e-9], [[main, "[await]"], 0.125]
        ),
    )
    labels = (("thread", "mail"), ("tid", 139835532716928))
    assert one.samples == {
        (("main a.py:5@1", "Cart.work b.py:22@20"), ()): (2, 750_000_000),
        (("main a.py:5@1",), labels): (1, 1),
        (("main a.py:5@1", "[await] :0"), ()): (1, 125_000_000),
    }
    assert (one.name, one.types) == ("wall", ("samples/count", "wall/nanoseconds"))
    assert one.header == {
        "time_nanos": 1_500_000_000,
        "duration_nanos": 2_250_000_000,
        "period": 1_000_000,
        "comments": ["Program: x"],
        "default": "wall",
    }


def test_a_tree() -> None:
    root = node("main", 1.0, node("work", 0.75, node("[self]", 0.5)), node("work", 0.125, class_name="C"))
    (one,) = read(READER, tree(root))
    assert {stack: value for (stack, _), (value,) in one.samples.items()} == {
        ("main a.py:0@3",): 125_000_000,
        ("main a.py:0@3", "work a.py:0@3"): 250_000_000,
        ("main a.py:0@3", "work a.py:0@3", "[self] a.py:0@3"): 500_000_000,
        ("main a.py:0@3", "C.work a.py:0@3"): 125_000_000,
    }
    assert one.types == ("wall/nanoseconds",)
    assert read(READER, tree(None))[0].samples == {}


def deep(levels: int) -> bytes:
    return b'{"root_frame": ' + b'{"function": "f", "time": 1, "children": [' * levels + b"]}" * levels + b"}"


BAD = {
    session([["main"], "x"]): "JSON: frame_records: Expected `float`, got `str` - at `$[0][1]`",
    session([["main"], 1e300]): "frame_records: time: 1e+300 seconds do not fit 64 bits of nanoseconds",
    session(start_time=1e12): "start_time: 1000000000000.0 seconds do not fit 64 bits of nanoseconds",
    session([["main\x00<thread>\x009999999999999999999"], 1.0]): "sample.label.num does not fit 64 bits",
    tree({"function": "main"}): "JSON: Object missing required field `time` - at `$.root_frame`",
    deep(450): "root_frame: more than 400 levels",
    deep(100_000): "JSON: nested too deep",
}


@pytest.mark.parametrize("case", range(len(BAD)))
def test_errors(case: int) -> None:
    raw, expected = list(BAD.items())[case]
    assert reason(READER, raw) == expected


def test_what_is_told_to_be_of_pyinstrument() -> None:
    for raw in (session([["main"], 0.5]), tree(node("main", 1.0))):
        assert detect_format(raw, "").name == "pyinstrument"
    for raw in (b'{"frame_records": 1}', b'{"root_frame": {"time": 1}}', b"[1, 2]", b"main 1\n"):
        assert not READER.matches(raw, "x.pyisession")


def test_recordings_go_into_a_store_with_no_flag(fixtures: Path) -> None:
    for kind in ("pyisession", "json"):
        file = fixtures / f"python-pyinstrument.{kind}.gz"
        document = json.loads(gzip.decompress(file.read_bytes()))
        if kind == "json":
            total = round(document["root_frame"]["time"] * 1e9)
        else:
            total = sum(round(seconds * 1e9) for _, seconds in document["frame_records"])
        with flameduck.open(f"memory://pyinstrument-{kind}") as db:
            assert not db.ingest([file]).refused
            assert db.flamegraph(type="wall:wall").total == total > 100_000_000
            ((start,),) = db.sql("SELECT DISTINCT epoch_ns(time) FROM profiles").fetchall()
            assert abs(start - document["start_time"] * 1e9) < 2000
            assert b";serve;" in db.export(type="wall:wall", format="folded")


def test_long_sessions_come_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    records = [[[f"main\x00a.py\x001\x01l{n % 9}", f"f{n % 70}\x00b.py\x002"], n / 1024] for n in range(2000)]
    raw = session(*records)
    (whole,) = read(READER, raw)
    monkeypatch.setattr(json_document, "PIECE_BYTES", 2000)
    monkeypatch.setattr(reader_of_pyinstrument, "PIECE_SAMPLES", 100)
    assert [one.continues for one in decode(READER, raw)].count(True) > 10
    assert read(READER, raw) == [whole]


@given(st.binary(max_size=100))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    READER.matches(data or b"x", "")
    assert list(READER.decode([Input(data), Input(session()[:-3] + data)]))


def test_reading_is_fast() -> None:
    source = random.Random(1)
    known = [
        [
            f"method{source.randint(0, 900)}\x00/app/file.py\x001\x01l{source.randint(1, 99)}"
            for _ in range(20)
        ]
        for _ in range(2000)
    ]
    raw = session(*([source.choice(known), source.random()] for _ in range(20_000)))
    start = time.process_time()
    decode(READER, raw)
    assert len(raw) / (time.process_time() - start) > 5e6, "bytes a second"
