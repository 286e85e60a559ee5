"""py-spy, rbspy and Tachyon: folded stacks whose frames are more than names."""

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
from flameduck.engine.formats.folded import Folded
from flameduck.engine.formats.py_spy import PySpy, Tachyon
from tests.engine.formats.read_samples import Labels, decode, read, reason

PY_SPY, TACHYON = PySpy(), Tachyon()

FRAMES = {
    "serve (app.py:12)": "serve app.py:12",
    "<module> (<frozen site>:616)": "<module> <frozen site>:616",
    "spin.<locals>.<genexpr> (a b/c (d).py:22)": "spin.<locals>.<genexpr> a b/c (d).py:22",
    "operator() (int) (x.cpp:3)": "operator() (int) x.cpp:3",
    "0x7f866c5278ec (libc.so.6)": "0x7f866c5278ec libc.so.6:0",
    "thread_run (libpython3.11.so.1.0)": "thread_run libpython3.11.so.1.0:0",
    "loads (json/decoder.py)": "loads json/decoder.py:0",
    "block in run - /app/a.rb:7": "block in run /app/a.rb:7",
    "<main> - a - b.rb:7": "<main> a - b.rb:7",
    "f (C:\\Program Files (x86)\\a.py:3)": "f C:\\Program Files (x86)\\a.py:3",
    "std::function<void (int)>::operator() (f.h:4)": "std::function<void (int)>::operator() f.h:4",
    "sleep [c function] - (unknown)": "sleep [c function] :0",
    "plain": "plain :0",
    "f(int, char)": "f(int, char) :0",
    "g (12)": "g (12) :0",
    "far (a.py:99999999999)": "far (a.py:99999999999) :0",
    "process one": "process one :0",
    "thread (main)": "thread (main) :0",
    "thread (0xFFFFFFFFFFFFFFFF)": "thread (0xFFFFFFFFFFFFFFFF) :0",
    "": " :0",
}


@pytest.mark.parametrize("frame", FRAMES)
def test_frames(frame: str) -> None:
    (one,) = read(PY_SPY, f"main (m.py:1);{frame};leaf (l.py:2) 3\n".encode())
    assert one.samples == {(("main m.py:1", FRAMES[frame], "leaf l.py:2"), ()): (3,)}
    assert (one.name, one.types) == ("process_cpu", ("samples/count",))


LABELS: dict[str, Labels] = {
    'process 12:"python a.py"': (("pid", 12), ("process", "python a.py")),
    'process 12:""': (("pid", 12), ("process", 0)),
    "thread (34): MainThread": (("tid", 34), ("thread", "MainThread")),
    "thread (34)": (("tid", 34),),
    "thread (0x7F12): my (own): x": (("tid", 0x7F12), ("thread", "my (own): x")),
    'process 1:"a";process 2:"b";thread (3)': (("pid", 2), ("process", "b"), ("tid", 3)),
}


@pytest.mark.parametrize("frames", LABELS)
def test_processes_and_threads_are_labels(frames: str) -> None:
    (one,) = read(PY_SPY, f"{frames};main (m.py:1) 3\n{frames} 1\nmain (m.py:1) 2\n".encode())
    assert one.samples == {
        (("main m.py:1",), LABELS[frames]): (3,),
        ((), LABELS[frames]): (1,),
        (("main m.py:1",), ()): (2,),
    }


def test_a_recording_of_threads_and_processes(fixtures: Path) -> None:
    text = gzip.decompress((fixtures / "python-threads.folded.gz").read_bytes())
    (one,) = read(PY_SPY, text)
    counts = [int(line.rpartition(" ")[2]) for line in text.decode().splitlines()]
    assert one.totals == {"samples/count": sum(counts)}
    said = Counter[str | int]()
    for (_, labels), (count,) in one.samples.items():
        known = dict(labels)
        said[known.get("thread", "")] += count
        assert known["pid"]
        assert str(known["process"]).endswith(("workers.py 0.6 2", "workers.py 0.6 1"))
    assert said["mail"] > 5
    assert said["MainThread"] > 20
    assert len({dict(labels)["pid"] for _, labels in one.samples}) == 2
    assert any(stack[-1].startswith("read_mail workers.py:") for stack, _ in one.samples if stack)


def test_a_recording_goes_into_a_store_with_no_flag(fixtures: Path) -> None:
    file = fixtures / "python-cpu.folded"
    lines = [line.rpartition(" ") for line in file.read_text().splitlines()]
    with flameduck.open("memory://py-spy") as db:
        assert not db.ingest([file]).refused
        assert db.flamegraph(type="samples").total == sum(int(count) for *_, count in lines)
        assert b"<module>;serve;price;" in db.export(format="folded")
        (place,) = db.sql("SELECT DISTINCT filename FROM functions WHERE name = 'spin'").fetchall()
        assert place == ("checkout.py",)


def test_under_the_pyroscope_rules_it_is_folded_text(fixtures: Path) -> None:
    raw = (fixtures / "python-cpu.folded").read_bytes()
    said = {"rules": "pyroscope", "labels": {"service_name": "app.cpu"}}
    ours, theirs = decode(PY_SPY, raw, **said), decode(Folded(), raw, **said)
    assert [(one.batch, one.rows) for one in ours] == [(one.batch, one.rows) for one in theirs]
    bad = list(PY_SPY.decode([Input(raw, rules="pyroscope"), Input(b"main (a.py:1) x\n", rules="pyroscope")]))
    assert str(bad[-1]) == "Failed(input=1, reason=\"line 1: count 'x' is not a 64-bit integer\")"


TACHYON_TEXT = (
    b"tid:71;app.py:<module>:9;app.py:serve:5;<GC> 12\n"
    b"tid:71;app.py:<module>:9;<string>:a.<locals>.b:1 2\n"
    b"tid:72;<native> 1\n"
)


def test_tachyon() -> None:
    assert detect_format(TACHYON_TEXT, "").name == "tachyon"
    (one,) = read(TACHYON, TACHYON_TEXT)
    assert one.samples == {
        (("<module> app.py:9", "serve app.py:5", "<GC> :0"), (("tid", 71),)): (12,),
        (("<module> app.py:9", "a.<locals>.b <string>:1"), (("tid", 71),)): (2,),
        (("<native> :0",), (("tid", 72),)): (1,),
    }
    assert one.name == "process_cpu"


FOLDED = [
    b"a b;c (d.py:3) 4\nf(int, char) 5\n",
    b"main;work 3\n",
    b"std::vector<int>::at(int);f(x) (y) 5\nmain 1\n",
    b"a - b;c - d 4\n",
    b"tid:1;main;work 5\n",
    b"java/lang/Thread.run:12;app/Main.main:5 4\n",
    b"main;work (1:2);x (libc.so);y 5\n",
    b"process 1;thread 2;x 4\n",
]


@pytest.mark.parametrize("text", FOLDED)
def test_plain_folded_text_stays_folded(text: bytes) -> None:
    assert detect_format(text, "").name == "folded"


TOLD = [
    b"main (a.py:1) 4\n",
    b"thread (12): MainThread;main (a.py:1) 4\n",
    b'process 1:"python x";thread (1);main (a.py:1);f (libc.so.6) 4\n',
    b"<main> - a.rb:1;foo - a.rb:2;sleep [c function] - (unknown) 4\n",
    b"main (a.py:1) 4",
]


@pytest.mark.parametrize("text", TOLD)
def test_texts_of_py_spy_and_rbspy_are_told(text: bytes) -> None:
    assert detect_format(text, "").name == "py-spy"


def test_errors_name_the_line() -> None:
    assert reason(PY_SPY, b"a (b.py:1) 1\na (b.py:1) 1.5\n") == "line 2: count '1.5' is not a 64-bit integer"
    assert reason(TACHYON, b"tid:1;a:b:1 9223372036854775808\n").startswith(
        "line 1: count '92233720368547758"
    )


def test_a_long_text_comes_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "".join(
        f"thread ({n % 7});main (a.py:{n % 50});f{n % 90} (b.py:{n % 30}) {n}\n" for n in range(3000)
    )
    (whole,) = read(PY_SPY, text.encode())
    monkeypatch.setattr(folded_text, "PIECE_BYTES", 1000)
    pieces = decode(PY_SPY, text.encode())
    assert len(pieces) > 20
    assert [one.continues for one in pieces] == [False] + [True] * (len(pieces) - 1)
    assert read(PY_SPY, text.encode()) == [whole]
    assert whole.totals == {"samples/count": sum(range(3000))}


# Which ` (` or ` - ` parts name and file is only told when they hold none.
NAMES = st.text("ab<>.()_é", min_size=1, max_size=6)


@given(st.lists(st.tuples(NAMES, NAMES, st.integers(1, 10**9 - 1), st.integers(0, 10**9)), min_size=1))
def test_what_is_written_is_read(rows: list[tuple[str, str, int, int]]) -> None:
    expected: Counter[tuple[str, ...]] = Counter()
    for name, file, line, count in rows:
        expected["main a.py:1", f"{name} {file}:{line}"] += count
    text = "".join(f"main (a.py:1);{name} ({file}:{line}) {count}\n" for name, file, line, count in rows)
    (one,) = read(PY_SPY, text.encode())
    assert Counter(one.stacks()) == Counter({stack: count for stack, count in expected.items() if count})


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for reader in (PY_SPY, TACHYON):
        reader.matches(data or b"x", "")
        assert list(reader.decode([Input(data)]))


def test_reading_is_fast() -> None:
    source = random.Random(1)
    known = [
        ";".join(
            f"method{source.randint(0, 900)} (package/file.py:{source.randint(1, 99)})" for _ in range(20)
        )
        for _ in range(2000)
    ]
    text = "".join(f"{source.choice(known)} {source.randint(1, 999)}\n" for _ in range(40_000)).encode()
    start = time.process_time()
    decode(PY_SPY, text)
    assert len(text) / (time.process_time() - start) > 10e6, "bytes a second"
