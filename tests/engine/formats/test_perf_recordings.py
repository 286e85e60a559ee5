"""Recordings of perf, counted another way: by the lines that begin a sample, and as FlameGraph's rules fold them."""

from __future__ import annotations

import gzip
import re
from collections import Counter
from pathlib import Path

import pytest

import flameduck
from flameduck.engine.formats import perf_script, perf_text
from flameduck.engine.ingest.decode import DecodeLimits, decode_and_normalise
from flameduck.schema.profile import Upload
from tests.engine.formats.examples import FIXTURES, PERF_TEXTS
from tests.engine.formats.perf_seen import Seen, decode, names, see


@pytest.mark.parametrize("kind", PERF_TEXTS)
def test_pieces_add_up_to_the_whole(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = gzip.decompress((FIXTURES / f"perf-{kind}.txt.gz").read_bytes())
    whole = see(text)
    monkeypatch.setattr(perf_text, "PIECE_BYTES", 5000)
    monkeypatch.setattr(perf_script, "PIECE_BYTES", 3000)
    monkeypatch.setattr(perf_script, "PIECE_SAMPLES", 5)
    pieces = decode(text)
    assert sum(not one.continues for one in pieces) == len(whole)
    assert len(pieces) > len(whole) or kind == "inlined"
    for one, other in zip(whole, see(text), strict=True):
        assert (one.name, one.types, _summed(one)) == (other.name, other.types, _summed(other))


def _summed(seen: Seen) -> dict[str, list[int]]:
    sums: dict[str, list[int]] = {}
    for stack, labels, values in seen.samples:
        known = sums.setdefault(repr((stack, labels)), [0] * len(values))
        known[:] = [one + other for one, other in zip(known, values, strict=True)]
    return sums


def recording(kind: str) -> str:
    return gzip.decompress((FIXTURES / f"perf-{kind}.txt.gz").read_bytes()).decode()


def count_heads(text: str) -> dict[str, tuple[int, int]]:
    """For each event the number of samples and the sum of the periods."""
    found: dict[str, tuple[int, int]] = {}
    for period, event in re.findall(r"^[^\t#\n].* \d+\.\d+: +(?:(\d+) +)?(\S+?):(?: |$)", text, re.MULTILINE):
        count, total = found.get(event, (0, 0))
        found[event] = count + 1, total + int(period or 0)
    return found


@pytest.mark.parametrize("kind", PERF_TEXTS)
def test_recorded_totals(kind: str) -> None:
    text = recording(kind)
    expected = count_heads(text)
    assert sum(count for count, _ in expected.values()) > 5
    seen = {one.labels["event"]: one for one in see(text.encode())}
    assert seen.keys() == expected.keys()
    for event, (count, total) in expected.items():
        assert seen[event].totals[0] == count
        if total:
            assert seen[event].totals[1] == total


@pytest.mark.parametrize("kind", ["cpu", "switch", "node"])
def test_recorded_stacks(kind: str) -> None:
    folded: Counter[str] = Counter()
    for sample in recording(kind).split("\n\n"):
        frames = re.findall(r"^\s+[0-9a-f]+ (.*?)(?:\+0x[0-9a-f]+)? \((.*)\)$", sample, re.MULTILINE)
        if frames:
            folded[";".join(_shown(symbol) for symbol, _ in frames)] += 1
    found: Counter[str] = Counter()
    for one in see(recording(kind).encode()):
        for stack, _, values in one.samples:
            shown = ";".join("?" if name.startswith("0x") else name for name in names(stack))
            found[shown] += values[0]
    assert found == folded


def _shown(symbol: str) -> str:
    script = re.fullmatch(r"JS:[*^~+](\S*) .*", symbol)
    return script[1] or "(anonymous)" if script else "?" if symbol == "[unknown]" else symbol


def test_recorded_switches() -> None:
    """Off-CPU time by thread, added up from the lines alone."""
    left: dict[str, tuple[int, str]] = {}
    expected: Counter[str] = Counter()
    pattern = r"(\d+)\.(\d{6}): sched:sched_switch: prev_comm=(.*) prev_pid=(\d+) .*next_pid=(\d+) "
    for seconds, micros, comm, thread, entered in re.findall(pattern, recording("switch")):
        now_ns = int(seconds + micros) * 1000
        if entered in left:
            since_ns, who = left.pop(entered)
            expected[who] += now_ns - since_ns
        left[thread] = now_ns, comm
    (seen,) = see(recording("switch").encode())
    found: Counter[str] = Counter()
    for _, labels, (_, off_ns) in seen.samples:
        found[str(labels["comm"])] += off_ns
    assert +found == +expected
    assert found["mail (in 1) x"] > 50_000_000


def test_recorded_source_lines_and_names() -> None:
    (clock,) = (one for one in see(recording("fields").encode()) if one.name == "process_cpu")
    frames = {name for stack, _, _ in clock.samples for name, _ in stack}
    order = "shop::Cart<int, std::__cxx11::basic_string<char, std::char_traits<char>, std::allocator<char> > > const&"
    assert f"shop::price({order}, int) checkout.cpp:36" in frames
    assert any(name.startswith(f"shop::spin({order}) checkout.cpp:") for name in frames)
    labels = [labels for _, labels, _ in clock.samples]
    assert all(one.keys() == {"comm", "pid", "tid", "cpu"} for one in labels)


def test_recorded_inlined_calls() -> None:
    (clock,) = see(recording("inlined").encode())
    assert "(inlined)" in recording("inlined")
    frames = {frame for stack, _, _ in clock.samples for frame in stack}
    assert ("__libc_start_main_impl", "") in frames


def test_recorded_kernel_frames_are_told_by_their_mapping() -> None:
    (faults,) = (one for one in see(recording("cpu").encode()) if one.name == "page_faults")
    kernel = {name for stack, _, _ in faults.samples for name, file in stack if file == "[kernel.kallsyms]"}
    assert "load_elf_binary" in kernel
    assert not any(name.startswith("shop::") for name in kernel)


def test_a_file_is_ingested_with_no_flag(tmp_path: Path) -> None:
    connection = flameduck.open("memory://perf-script")
    connection.ingest([FIXTURES / "perf-cpu.txt.gz"], labels={"service_name": "shop"})
    expected = count_heads(recording("cpu"))["cpu-clock"]
    table = connection.sql(
        "SELECT sum(total)::BIGINT AS total FROM profiles WHERE profile_type LIKE 'process_cpu:cpu:%'"
    ).fetchall()
    assert table == [(expected[1],)]
    rows = connection.top(type="process_cpu:cpu").fetchall()
    assert "shop::spin" in str(rows)


@pytest.mark.parametrize("kind", PERF_TEXTS)
def test_a_push_of_a_text_is_taken(kind: str) -> None:
    raw = (FIXTURES / f"perf-{kind}.txt.gz").read_bytes()
    labels = {"service_name": "shop"}
    outcome = decode_and_normalise(
        [Upload(raw, labels, "push", time_ns=1, rules="pyroscope")], DecodeLimits()
    )
    assert outcome.refused == []
    said = [dict(one) for batch, _ in outcome.batches for one in batch.series.column("labels").to_pylist()]
    assert {one["comm"] for one in said} >= {"node" if kind == "node" else "checkout"}
    assert not any("tid" in one for one in said)
