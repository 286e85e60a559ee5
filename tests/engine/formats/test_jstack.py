"""Java's thread dumps."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from tests.engine.formats.decoded_profiles import Profile, read, reason, stored_totals
from tests.engine.formats.text_examples import JSTACK


def only(raw: bytes) -> Profile:
    (profile,) = read("jstack", raw)
    return profile


def test_a_thread() -> None:
    profile = only(JSTACK)
    assert (profile.name, profile.types) == ("threads", [("threads", "count")])
    (sample,) = profile.samples
    assert sample.frames == (("work", "App.java", 4), ("main", "App.java", 9))
    assert sample.labels == {"thread": "worker-1", "daemon": "true", "state": "RUNNABLE"}


FRAMES = {
    "java.lang.Thread.run(java.base@17.0.15/Thread.java:840)": ("java.lang.Thread.run", "Thread.java", 840),
    "java.lang.Object.wait(java.base@17.0.15/Native Method)": ("java.lang.Object.wait", "", 0),
    "S$$Lambda$1/0x00007f4e98000a08.run(Unknown Source)": ("S$$Lambda$1/0x00007f4e98000a08.run", "", 0),
    "app//com.example.Main.<init>(app@1.0/Main.java:3)": ("app//com.example.Main.<init>", "Main.java", 3),
    "k.MainKt.main(Main.kt)": ("k.MainKt.main", "Main.kt", 0),
}


@pytest.mark.parametrize("text", FRAMES)
def test_frames(text: str) -> None:
    (sample,) = only(JSTACK.replace(b"work(App.java:4)", text.encode())).samples
    found = sample.frames[0]
    assert (found[1:], found[0].rpartition(".")[2]) == (FRAMES[text][1:], FRAMES[text][0].rpartition(".")[2])


def test_several_dumps_are_profiles_with_their_times() -> None:
    dated = b"2026-11-27 17:47:14\n" + JSTACK
    profiles = read("jstack", dated + b"log line\n" + dated.replace(b":14", b":15"))
    assert [profile.header["time_nanos"] // 10**9 for profile in profiles] == [1795801634, 1795801635]
    assert [profile.stacks() for profile in profiles] == [{"main;work": 1}] * 2


def test_text_without_a_dump() -> None:
    expected = "no line is as 'Full thread dump OpenJDK 64-Bit Server VM'"
    assert reason("jstack", b"Exception in thread main\n") == expected


def test_a_recording_against_a_plain_count(fixtures: Path) -> None:
    path = fixtures / "java.jstack.txt"
    text = path.read_text()
    profile = only(text.encode())
    threads = re.findall(r'^"(.*)" .*tid=', text, re.M)
    assert sorted(str(sample.labels["thread"]) for sample in profile.samples) == sorted(threads)
    states = Counter(re.findall(r"Thread.State: (.*)$", text, re.M))
    assert Counter(sample.labels["state"] for sample in profile.samples if "state" in sample.labels) == states
    frames = len(re.findall(r"^\tat ", text, re.M))
    assert sum(len(sample.frames) for sample in profile.samples) == frames
    assert stored_totals(path) == {"threads:threads:count:threads:count": len(threads)}
    (spinning,) = (sample for sample in profile.samples if sample.labels["thread"] == 'spin "hot"')
    assert spinning.names[0] == "Checkout.spin"
