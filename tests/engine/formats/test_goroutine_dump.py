"""Goroutine dumps: stacks, states, who created whom, crashes."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from tests.engine.formats.decoded_profiles import Profile, read, reason, stored_totals
from tests.engine.formats.text_examples import GOROUTINES


def only(raw: bytes) -> Profile:
    (profile,) = read("goroutine-dump", raw)
    return profile


def test_a_goroutine_is_one_of_its_kind() -> None:
    profile = only(GOROUTINES)
    assert (profile.name, profile.types) == ("goroutine", [("goroutine", "count")])
    assert profile.header["period_type"] == ("goroutine", "count")
    (sample,) = profile.samples
    assert sample.frames == (("app.work", "/src/app/work.go", 12), ("main.main", "/src/app/main.go", 7))
    assert sample.labels == {"state": "chan receive", "wait": (5, "minutes")}


STATES = {
    "running": {"state": "running"},
    "select, 12 minutes, locked to thread": {
        "state": "select",
        "wait": (12, "minutes"),
        "locked_to_thread": "true",
    },
    "select (no cases)": {"state": "select (no cases)"},
    "IO wait, synctest bubble 1": {"state": "IO wait", "state_detail": "synctest bubble 1"},
    'sleep labels:{"a b": "c\\"d", "q": "e"}': {"state": "sleep", "a b": 'c"d', "q": "e"},
    "sleep labels:{broken": {"state": "sleep"},
}


@pytest.mark.parametrize("state", STATES)
def test_states(state: str) -> None:
    raw = GOROUTINES.replace(b"chan receive, 5 minutes", state.encode())
    assert only(raw).samples[0].labels == STATES[state]


FRAMES = {
    "main.(*T).lock(...)\n\tmain.go:3": ("main.(*T).lock", "main.go", 3),
    "main.gen[...]({0xc0000, 0x1}, 0x2?)\n\tmain.go:4 +0x1d fp=0x1 sp=0x2 pc=0x3": (
        "main.gen[...]",
        "main.go",
        4,
    ),
    "main.main.func1.(*T).Do.1(_, 0x0)\n\tC:/src/main.go:5 +0x1": (
        "main.main.func1.(*T).Do.1",
        "C:/src/main.go",
        5,
    ),
    "runtime.goexit()\n\t/go/asm.s:9 +0x1": ("runtime.goexit", "/go/asm.s", 9),
    "...31 frames elided...": ("[31 frames elided]", "", 0),
    "...additional frames elided...": ("[additional frames elided]", "", 0),
}


@pytest.mark.parametrize("text", FRAMES)
def test_frames(text: str) -> None:
    raw = f"goroutine 1 [running]:\n{text}\nmain.main()\n\tmain.go:1\n".encode()
    assert only(raw).samples[0].frames == (FRAMES[text], ("main.main", "main.go", 1))


def test_who_created_it_is_a_label_and_ends_the_stack() -> None:
    raw = GOROUTINES + b"created by main.start.func1 in goroutine 7\n\t/src/main.go:9 +0x3\n"
    (sample,) = only(raw).samples
    assert sample.labels["created_by"] == "main.start.func1"
    assert sample.names == ("app.work", "main.main")
    older = raw.replace(b" in goroutine 7", b"")
    assert only(older).samples[0].labels["created_by"] == "main.start.func1"


def test_windows_lines_and_equal_goroutines() -> None:
    raw = (GOROUTINES + b"\n" + GOROUTINES.replace(b"goroutine 1 ", b"goroutine 22 ")).replace(b"\n", b"\r\n")
    assert only(raw).stacks() == {"main.main;app.work": 2}


CRASH = b"""panic: runtime error: invalid memory address or nil pointer dereference
[signal SIGSEGV: segmentation violation code=0x1 addr=0x0 pc=0x45]

goroutine 7 gp=0xc000002380 m=3 mp=0xc000100008 [running]:
main.main()
\t/src/main.go:7 +0x25

goroutine 8 gp=0xc000002381 m=nil [select]:
runtime.gopark(0x1)
\t/go/proc.go:7

rax    0x0
rip    0x45
exit status 2
"""


def test_a_crash() -> None:
    profile = only(CRASH)
    assert profile.stacks() == {"main.main": 1, "runtime.gopark": 1}
    assert profile.header["comments"] == [
        "panic: runtime error: invalid memory address or nil pointer dereference",
        "[signal SIGSEGV: segmentation violation code=0x1 addr=0x0 pc=0x45]",
    ]


def test_text_without_goroutines() -> None:
    assert reason("goroutine-dump", b"goroutine leak\n") == "no line is as 'goroutine 1 [running]:'"


@pytest.mark.parametrize("file", ["go-goroutine-dump.txt", "go-panic.txt"])
def test_recordings_against_a_plain_count(fixtures: Path, file: str) -> None:
    text = (fixtures / file).read_text()
    profile = only(text.encode())
    states = Counter(
        re.split(r"[,]| labels:", state)[0] for state in re.findall(r"^goroutine \d+ \[(.*)\]:$", text, re.M)
    )
    found: Counter[object] = Counter()
    for sample in profile.samples:
        found[sample.labels["state"]] += sample.values[0]
    assert found == states
    assert stored_totals(fixtures / file) == {"goroutine:goroutine:count:goroutine:count": states.total()}
    calls = len(re.findall(r"^main\.descend\(", text, re.M))
    assert sum(sample.names.count("main.descend") for sample in profile.samples) == calls


def test_the_stacks_are_those_of_the_text_profile(fixtures: Path) -> None:
    """The same process wrote both; the other one names fewer frames of the runtime."""
    dump = only((fixtures / "go-goroutine-dump.txt").read_bytes()).stacks()
    (profile,) = read("pprof-text", (fixtures / "go-goroutine-text.txt").read_bytes())
    mine = {stack: count for stack, count in dump.items() if "main.(*inventory).reserve" in stack}
    theirs = {
        stack: count for stack, count in profile.stacks().items() if "main.(*inventory).reserve" in stack
    }
    assert sum(mine.values()) == sum(theirs.values()) == 3
    labels = [sample.labels.get("queue") for sample in profile.samples]
    assert labels.count("emails") == 1
