"""Maps of bpftrace: stacks, keys, values of every kind."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from flameduck.engine.formats import bpftrace as reader
from flameduck.engine.formats import piecewise
from tests.engine.formats.decoded_profiles import Profile, read, reason, stored_totals


def only(text: str) -> Profile:
    (profile,) = read("bpftrace", text.encode())
    return profile


HISTOGRAM = """
[0]                    4 |@@@@          |
[1, 2)                 0 |              |
[512, 1K)              6 |@@@@@@        |"""
LINEAR_HISTOGRAM = """
(..., 0)               2 |@@            |
[10, ...)              1 |@             |"""
VALUES = {"5": 5, "-3": -3, "count 7, average 3, total 21": 7, HISTOGRAM: 10, LINEAR_HISTOGRAM: 3}


@pytest.mark.parametrize("value", VALUES)
def test_values(value: str) -> None:
    profile = only(f"@[\n    work+1\n    main+2\n]: {value}\n\n")
    assert profile.stacks() == {"main;work": VALUES[value]}
    assert (profile.name, profile.types) == ("process_cpu", [("samples", "count")])


FRAMES = {
    "__x64_sys_read+0x12": ("__x64_sys_read", 0, ""),
    "std::map<int, char>::at(int const&)+33": ("std::map<int, char>::at(int const&)", 0, ""),
    "operator new(unsigned long)+12": ("operator new(unsigned long)", 0, ""),
    "_ZN3app4work17h0123456789abcdefE+12": ("app::work", 0, ""),
    "0x7f974507f224": ("0x7f974507f224", 0x7F974507F224, ""),
    "ffffffffb4019501 do_mmap+1": ("do_mmap", 0xFFFFFFFFB4019501, ""),
    "5649feec4090 readline+0 (/opt/bash 5/bash)": ("readline", 0x5649FEEC4090, "/opt/bash 5/bash"),
    "7f12 0x7f12 ([unknown])": ("0x7f12", 0x7F12, "[unknown]"),
}


@pytest.mark.parametrize("text", FRAMES)
def test_frames(text: str) -> None:
    (sample,) = only(f"@[\n\t{text}\n]: 1\n").samples
    assert sample.frames[0][0] == FRAMES[text][0]
    if len(text.split(maxsplit=1)[0]) >= 6:
        assert (sample.addresses[0], sample.mappings[0]) == FRAMES[text][1:]


KERNEL, USER = "\n    vfs_read+1\n    entry_SYSCALL_64_after_hwframe+2\n", "\n    read+1\n    main+2\n"
KEYS = {
    f"{KERNEL}, {USER}, app": ("main;read;entry_SYSCALL_64_after_hwframe;vfs_read", {"comm": "app"}),
    f"{USER}, {KERNEL}": ("main;read;entry_SYSCALL_64_after_hwframe;vfs_read", {}),
    f"app, 12, {USER}": ("main;read", {"comm": "app", "key2": (12, "")}),
    f"{USER}, 12, app, eth0": ("main;read", {"key1": (12, ""), "comm": "app", "key3": "eth0"}),
    f", {USER}, lto cgu.08": ("main;read", {"comm": "lto cgu.08"}),
    f"{KERNEL}, , swapper/0": ("entry_SYSCALL_64_after_hwframe;vfs_read", {"comm": "swapper/0"}),
}


@pytest.mark.parametrize("key", KEYS)
def test_keys(key: str) -> None:
    (sample,) = only(f"@[{key}]: 3\n").samples
    assert (";".join(reversed(sample.names)), sample.labels) == KEYS[key]


def test_every_map_is_a_profile_and_its_name_may_tell_a_unit() -> None:
    entry = "[\n    work+1\n]: 5\n"
    text = "Attaching 1 probe...\n" + "".join(f"@{name}{entry}" for name in ("", "run_us", "bytes", "hits"))
    text += "@all: 20\n@by_comm[app]: 20\n"
    profiles = {
        profile.name: (profile.types, profile.stacks()) for profile in read("bpftrace", text.encode())
    }
    assert profiles == {
        "process_cpu": ([("samples", "count")], {"work": 5}),
        "run_us": ([("time", "nanoseconds")], {"work": 5000}),
        "bytes": ([("size", "bytes")], {"work": 5}),
        "hits": ([("samples", "count")], {"work": 5}),
    }


def test_a_map_that_is_printed_again_and_again_is_one_profile() -> None:
    text = "@a[\n    f+1\n]: 1\n@b[\n    f+1\n]: 2\n\n@a[\n    f+1\n]: 3\n@b[\n    g+1\n]: 4\n"
    a, b = read("bpftrace", text.encode())
    assert (a.stacks(), b.stacks()) == ({"f": 4}, {"f": 2, "g": 4})


def test_an_empty_stack_counts() -> None:
    profile = only("@[\n    f+1\n]: 1\n@[]: 41\n")
    assert profile.stacks() == {"f": 1, "": 41}


def test_many_stacks_come_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(piecewise, "PIECE_FRAMES", 100)
    text = "".join(f"@[\n    f{number}+1\n    main+2\n]: {number}\n" for number in range(200))
    assert only(text).stacks() == {f"main;f{number}": number for number in range(200)}


BAD = {
    "@[\n    f+1\n]: 1\n@[\n    f+1\n]: many\n": "the entry in line 4: value 'many' is no number",
    "@[\n    f+1\n": "the entry in line 1: value '' is no number",
    "@[\n    f+1\n]: 99999999999999999999\n": "the entry in line 1: value '99999999999999999999' is no number",
    "@[\n    f+1\n]: 9223372036854775807\n@[\n    f+1\n]: 1\n": (
        "sample.value 9223372036854775808 does not fit 64 bits"
    ),
    "@a: 5\n": "no map has a stack in its key",
    "".join(f"@m{number}[x]: 1\n" for number in range(300)): "201 maps; limit 200",
}


@pytest.mark.parametrize("text", BAD)
def test_texts_that_are_none(text: str) -> None:
    assert reason("bpftrace", text.encode()) == BAD[text]


def test_an_entry_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "_MOST_LINES", 10)
    assert reason("bpftrace", b"@[\n" + b"    f+1\n" * 20) == "an entry of more than 10 lines"


def test_a_recording(fixtures: Path) -> None:
    """Its map `@all` counts the same events as the others."""
    path = fixtures / "bpftrace.txt"
    text = path.read_text()
    (events,) = map(int, re.findall(r"^@all: (\d+)$", text, re.M))
    profiles = {profile.name: profile for profile in read("bpftrace", text.encode())}
    totals = {name: next(iter(profile.totals().values())) for name, profile in profiles.items()}
    assert totals == {
        "process_cpu": events,
        "kernel": events,
        "run_ns": events * 10101010,
        "late_ns": events,
    }
    assert sum(stored_totals(path).values()) == sum(totals.values())
    by_name: Counter[str] = Counter()
    for sample in profiles["process_cpu"].samples:
        assert sample.labels == {"comm": "checkout"}
        by_name.update(dict.fromkeys(set(sample.names), sample.values[0]))
    user: Counter[str] = Counter()
    for sample in profiles["run_ns"].samples:
        user.update(dict.fromkeys(set(sample.names), sample.values[0] // 10101010))
    assert user["spin"] > 0
    assert {name: by_name[name] for name in user} == user
