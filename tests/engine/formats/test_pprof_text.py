"""Go's text profiles: values as pprof reads them, names as Go comments them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.engine.formats.decoded_profiles import read, reason, stored_totals

HEAP = b"""heap profile: 1: 4096 [3: 12288] @ heap/1048576
1: 4096 [3: 12288] @ 0x401000 0x402000
#\t0x400fff\tmain.readCart+0x20\t\t/src/main.go:12
#\t0x401fff\tmain.main+0x40\t\t\t/src/main.go:5

0: 0 [0: 0] @ 0x403000


# runtime.MemStats
# Alloc = 135392 @ 3
"""

CONTENTION = b"""--- contention:
cycles/second=2000000000
sampling period=10
400 3 @ 0x401000
#\t0x400fff\tsync.(*Mutex).Lock+0x20\tsync/mutex.go:12
"""

TEXTS = ("go-goroutine-text.txt", "go-heap-text.txt", "go-mutex-text.txt", "go-block-text.txt")


@pytest.mark.parametrize("file", TEXTS)
def test_totals_are_what_pprof_reads(fixtures: Path, file: str) -> None:
    expected = json.loads((fixtures / "go_text_totals.json").read_text())[file]
    (profile,) = read("pprof-text", (fixtures / file).read_bytes())
    assert profile.totals() == expected
    stored = {":".join(kind.split(":")[1:3]): total for kind, total in stored_totals(fixtures / file).items()}
    assert stored == {kind.replace("/", ":"): total for kind, total in expected.items()}
    assert any("main." in name for sample in profile.samples for name in sample.names)


def test_sampled_allocations_are_scaled() -> None:
    (profile,) = read("pprof-text", HEAP)
    assert profile.name == "memory"
    assert profile.header["period"] == 524288
    assert profile.header["default"] == "inuse_space"
    sample, empty = profile.samples
    # 1 / (1 - exp(-4096 / 524288)) = 128.50065…
    assert sample.values == (385, 1579015, 128, 526338)
    assert sample.frames == (("main.readCart", "/src/main.go", 12), ("main.main", "/src/main.go", 5))
    assert sample.addresses == (0x400FFF, 0x401FFF)
    assert (empty.values, empty.names) == ((0, 0, 0, 0), ("0x402fff",))


@pytest.mark.parametrize(
    ("title", "values"),
    [
        (b"heap/1048576", (385, 1579015, 128, 526338)),
        (b"heap_v2/524288", (385, 1579015, 128, 526338)),
        (b"heapprofile", (3, 12288, 1, 4096)),
        (b"heap/2", (3, 12288, 1, 4096)),
    ],
)
def test_how_allocations_were_sampled(title: bytes, values: tuple[int, ...]) -> None:
    (profile,) = read("pprof-text", HEAP.replace(b"heap/1048576", title))
    assert profile.samples[0].values == values


@pytest.mark.parametrize(("title", "name"), [(b"contention", "block"), (b"mutex", "mutex")])
def test_contentions_are_scaled(title: bytes, name: str) -> None:
    (profile,) = read("pprof-text", CONTENTION.replace(b"contention", title))
    assert profile.name == name
    assert profile.totals() == {"contentions/count": 30, "delay/nanoseconds": 2000}


def test_a_profile_of_one_s_own() -> None:
    (profile,) = read("pprof-text", b"app/conns profile: total 2\n2 @ 0x10 0x0\n")
    assert (profile.name, profile.types) == ("app/conns", [("app/conns", "count")])
    assert [sample.names for sample in profile.samples] == [("0xf",)]


def test_labels() -> None:
    text = b'goroutine profile: total 2\n2 @ 0x10\n# labels: {"a":"1", "queue":"x y"}\n1 @ 0x10\n# labels: {broken\n'
    (profile,) = read("pprof-text", text)
    assert [sample.labels for sample in profile.samples] == [{"a": "1", "queue": "x y"}, {}]


BAD = {
    b"goroutine profile: total 7\n7 @ main\n": "line 2: '7 @ main' is no record",
    b"goroutine profile: total 7\n\n7 8 @ 0x1\n": "line 3: a record has 2 values, of 1",
    b"heap profile: 1: 2 [3: 4] @ heap/4\n1: 2 @ 0x1\n": "line 2: a record has 2 values, of 4",
    b"goroutine 1 [running]:\n": "the first line is no title as 'goroutine profile: total 7'",
    b"goroutine profile: total 7\n9999999999999999999 @ 0x1\n": (
        "sample.value 9999999999999999999 does not fit 64 bits"
    ),
}


@pytest.mark.parametrize("text", BAD)
def test_texts_that_are_none(text: bytes) -> None:
    assert reason("pprof-text", text) == BAD[text]
