"""Folded stacks and lines: what is a stack, what is a count, what they mean."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flameduck.engine import formats
from flameduck.engine.formats import Decoded, Failed, Format, Input, app_names, folded_text
from flameduck.engine.formats.folded import Folded, Groups, Lines
from flameduck.schema.profile import Rules

FOLDED, LINES = Folded(), Lines()


def decode(text: bytes, reader: Format = FOLDED, **said: Any) -> list[Decoded]:
    found = list(reader.decode([Input(text, **said)]))
    assert not [one for one in found if isinstance(one, Failed)], found
    return [one for one in found if isinstance(one, Decoded)]


def reason(text: bytes, reader: Format = FOLDED, **said: Any) -> str:
    failed = list(reader.decode([Input(text, **said)]))[-1]
    assert isinstance(failed, Failed)
    return failed.reason


def stacks(decoded: Sequence[Decoded]) -> Counter[str]:
    """Stacks, root first, and their summed counts."""
    found: Counter[str] = Counter()
    for one in decoded:
        (row,) = one.batch.to_pylist()
        names = {f["id"]: row["string_table"][f["name"]] for f in row["function"]}
        frames = {location["id"]: names[location["line"][0]["function_id"]] for location in row["location"]}
        for sample in row["sample"]:
            stack = b";".join(frames[reference] for reference in reversed(sample["location_id"]))
            found[stack.decode("utf-8", "replace")] += sample["value"][0]
    return found


TEXTS: dict[str, tuple[bytes, dict[str, int]]] = {
    "plain": (b"main;work;read 3\nmain;work 2\n", {"main;work;read": 3, "main;work": 2}),
    "no newline at the end": (b"a;b 1\na 2", {"a;b": 1, "a": 2}),
    "windows": (b"a;b 1\r\na 2\r\n", {"a;b": 1, "a": 2}),
    "empty lines": (b"\n\na 1\n\n \nb 2\n\n", {"a": 1, "b": 2}),
    "trailing space": (b"a 1 \nb 2\t\n", {"a": 1, "b": 2}),
    "spaces in frames": (b"a b;c (d.py:3) 4\nf(int, char) 5\n", {"a b;c (d.py:3)": 4, "f(int, char)": 5}),
    "a stack twice": (b"a;b 1\nc 1\na;b 2\n", {"a;b": 3, "c": 1}),
    "negative and zero": (b"a -3\nb 0\nc 1\n", {"a": -3, "b": 0, "c": 1}),
    "largest counts": (b"a 9223372036854775807\n", {"a": 2**63 - 1}),
    "leading zeros": (b"a 007\n", {"a": 7}),
    "empty frames": (b"a;;b 1\n;c 2\n", {"a;;b": 1, ";c": 2}),
    "no stack": (b"a 1\n 2\n", {"a": 1, "": 2}),
    "comments first": (b"# austin: 3.7.0\n# interval: 100\n\nP1;T1;main 5\n", {"P1;T1;main": 5}),
    "a frame that begins as a comment": (b"a 1\n#x;y 2\n", {"a": 1, "#x;y": 2}),
    "not UTF-8": (b"caf\xe9;b 1\n", {"caf\ufffd;b": 1}),
    "only comments": (b"# nothing\n", {}),
}


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("piece_bytes", [16 << 20, 40])
def test_texts(name: str, piece_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folded_text, "PIECE_BYTES", piece_bytes)
    text, expected = TEXTS[name]
    assert stacks(decode(text)) == expected


BAD = {
    b"a 1\nb two\n": "line 2: count 'two' is not a 64-bit integer",
    b"a 1\n\n\nb 1.5\n": "line 4: count '1.5' is not a 64-bit integer",
    b"# head\na 1\nb -\n": "line 3: count '-' is not a 64-bit integer",
    b"a 9223372036854775808\n": "line 1: count '9223372036854775808' is not a 64-bit integer",
    b"a 99999999999999999999\n": "line 1: count '99999999999999999999' is not a 64-bit integer",
    b"a 9223372036854775807\nb 1\n": "the sum of the counts does not fit 64 bits",
    b"a \xff\xff\n": "line 1: count '\ufffd\ufffd' is not a 64-bit integer",
}


@pytest.mark.parametrize("text", BAD)
def test_counts_that_are_none(text: bytes) -> None:
    assert reason(text) == BAD[text]


def test_a_bad_line_far_into_a_long_text_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folded_text, "PIECE_BYTES", 1000)
    text = b"main;work 1\n" * 5000 + b"main;work x\n" + b"main;work 1\n" * 5000
    assert reason(text) == "line 5001: count 'x' is not a 64-bit integer"


def test_a_line_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folded_text, "PIECE_BYTES", 100)
    assert reason(b"a 1\n" + b"x" * 101 + b" 1\n") == "line 2 is longer than 100 bytes"


def test_lines_without_a_count_are_told() -> None:
    (one,) = decode(b"a 1\nstray\nb 2\nlost\n")
    assert stacks([one]) == {"a": 1, "b": 2}
    assert one.warnings == ("2 lines without a count were left out",)


def test_a_long_text_comes_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folded_text, "PIECE_BYTES", 1000)
    source = random.Random(1)
    rows = [
        (f"main;f{source.randint(0, 20)};g{source.randint(0, 20)}", source.randint(1, 99))
        for _ in range(2000)
    ]
    pieces = decode("".join(f"{stack} {count}\n" for stack, count in rows).encode())
    assert [one.continues for one in pieces] == [False] + [True] * (len(pieces) - 1)
    assert len(pieces) > 20
    expected: Counter[str] = Counter()
    for stack, count in rows:
        expected[stack] += count
    assert stacks(pieces) == expected


def test_lines_count_themselves() -> None:
    assert stacks(decode(b"a;b\na;b 7\n\na;b\n#c", LINES)) == {"a;b": 2, "a;b 7": 1, "#c": 1}
    assert stacks(decode(b"\n", LINES)) == {}


@given(
    st.lists(
        st.tuples(st.text("ab;(): é", min_size=1).filter(lambda s: s.strip() == s), st.integers(-99, 10**9)),
        min_size=1,
    )
)
def test_what_is_written_is_read(rows: list[tuple[str, int]]) -> None:
    expected: Counter[str] = Counter()
    for stack, count in rows:
        expected[stack] += count
    assert stacks(decode("".join(f"{stack} {count}\n" for stack, count in rows).encode())) == dict(expected)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for reader in (FOLDED, LINES):
        assert list(reader.decode([Input(data)]))


DETECTED = [text for text, _ in TEXTS.values() if text != b"# nothing\n"]
OTHERS = [
    b"",
    b"# nothing\n",
    b"\x0a\x04\x08\x01\x10\x02 1\n",
    b"\x1f\x8b\x08\x00",
    b'{"nodes": 1}',
    b'{\n  "a": 1\n}\n',
    b"[\n 1,\n 2\n]\n",
    b'[{"name": "a", "dur": 1}]',
    b"FLR\x00\x02 1\n",
    b"id,name,value\n1,a,2\n",
    b"just some prose\nwith several lines\nand no counts\n",
    b"perf 1234 [000] 5.5: 1 cycles:\n\tffff main (/bin/x)\n",
]


@pytest.mark.parametrize("text", DETECTED)
def test_folded_texts_are_told(text: bytes) -> None:
    assert FOLDED.matches(text, "")
    assert not LINES.matches(text, "x.lines")


@pytest.mark.parametrize("text", OTHERS)
def test_other_bytes_are_not_taken_for_folded(text: bytes) -> None:
    assert not FOLDED.matches(text, "stacks.folded")


def test_recorded_by_py_spy(fixtures: Path) -> None:
    text = (fixtures / "python-cpu.folded").read_bytes()
    assert FOLDED.matches(text[: 64 << 10], "")
    lines = [line.rpartition(" ") for line in text.decode().splitlines()]
    assert stacks(decode(text)) == {stack: int(count) for stack, _, count in lines}


def meaning(service: str = "", name: str = "", rules: Rules = "pyroscope") -> app_names.Meaning:
    return app_names.meaning_of(Input(b"", {"service_name": service} if service else {}, name, rules))


KINDS = [
    ("app", "process_cpu", ("cpu", "nanoseconds"), 10_000_000, None),
    ("my.app.cpu", "process_cpu", ("cpu", "nanoseconds"), 10_000_000, "my.app"),
    ("app.itimer", "process_cpu", ("cpu", "nanoseconds"), 10_000_000, "app"),
    ("app.wall", "wall", ("wall", "nanoseconds"), 10_000_000, "app"),
    ("app.inuse_objects", "memory", ("inuse_objects", "count"), 1, "app"),
    ("app.alloc_in_new_tlab_bytes", "memory", ("alloc_in_new_tlab_bytes", "bytes"), 1, "app"),
    ("app.live", "memory", ("live", "count"), 1, "app"),
    ("app.bytes", "memory", ("samples", "bytes"), 1, "app"),
    ("app.goroutines", "goroutine", ("goroutines", "count"), 1, "app"),
    ("app.mutex_count", "mutex", ("contentions", "count"), 1, "app"),
    ("app.lock_duration", "block", ("delay", "nanoseconds"), 1, "app"),
    ("app.exceptions", "exceptions", ("samples", "count"), 1, "app"),
]


@pytest.mark.parametrize(("service", "name", "kind", "scale", "app"), KINDS)
def test_the_end_of_an_app_s_name_says_what_counts_mean(
    service: str, name: str, kind: tuple[str, str], scale: int, app: str | None
) -> None:
    found = meaning(service)
    assert (found.name, found.value_type, found.scale) == (name, kind, scale)
    assert found.labels == (None if app is None else {"service_name": app})


def test_an_unknown_end_is_refused_unless_a_name_is_given() -> None:
    assert reason(b"a 1\n", labels={"service_name": "my.service"}, rules="pyroscope").startswith(
        "unknown profile type: service"
    )
    assert meaning("my.service", name="mine") == meaning("my.service", name="mine", rules="verbatim")


def test_counts_become_time_under_the_pyroscope_rules() -> None:
    (one,) = decode(b"a;b 3\n", labels={"service_name": "app.cpu"}, rules="pyroscope")
    assert stacks([one]) == {"a;b": 30_000_000}
    (row,) = one.batch.to_pylist()
    assert row["period"] == 10_000_000
    assert one.rows[0].labels == {"service_name": "app"}
    assert "do not fit 64 bits" in reason(b"a 9223372036854775807\n", rules="pyroscope")


def test_under_the_verbatim_rules_counts_are_samples() -> None:
    (one,) = decode(b"a;b 3\n", labels={"service_name": "app.inuse_space"})
    (row,) = one.batch.to_pylist()
    (kind,) = row["sample_type"]
    assert [row["string_table"][kind[key]] for key in ("type", "unit")] == [b"samples", b"count"]
    assert (row["period_type"], one.rows[0].name) == (None, "process_cpu")


def test_mangled_names_are_made_readable_unless_they_are_wanted_raw() -> None:
    raw = b"main;_ZN3app4work17h0123456789abcdefE 3\n"
    names = {b"main": b"main", b"_ZN3app4work17h0123456789abcdefE": b"app::work"}
    for raw_names in (False, True):
        (one,) = formats.format_named("folded").decode([Input(raw, raw_names=raw_names)])
        assert isinstance(one, Decoded)
        (row,) = one.batch.to_pylist()
        texts = row["string_table"]
        found = {texts[f["system_name"]]: texts[f["name"]] for f in row["function"]}
        assert found == ({name: name for name in names} if raw_names else names)


def test_reading_is_fast() -> None:
    source = random.Random(1)
    known = [
        ";".join(f"package.Class{source.randint(0, 900)}.method" for _ in range(20)) for _ in range(2000)
    ]
    text = "".join(f"{source.choice(known)} {source.randint(1, 999)}\n" for _ in range(40_000)).encode()
    start = time.process_time()
    decode(text)
    assert len(text) / (time.process_time() - start) > 20e6, "bytes a second"


GROUPS: dict[str, tuple[bytes, dict[str, int]]] = {
    "plain": (b"main;work 3\nmain 2\n", {"main;work": 3, "main": 2}),
    "a comment is a stack": (b"# a 1\nb 2\n", {"# a": 1, "b": 2}),
    "a line without a space is nothing": (b"a 1\n\nb\nc\td\n", {"a": 1}),
    "signs": (b"a +1\nb -2\n", {"a": 1, "b": -2}),
    "windows": (b"a 1\r\nb 2\r\n", {"a": 1, "b": 2}),
    "a stack without frames": (b" 5\n", {"": 5}),
    "the longest line": (b"a 1\n" + b"b" * 65_533 + b" 7\nc 2\n", {"a": 1, "b" * 65_533: 7, "c": 2}),
    "a longer line ends the text": (b"a 1\n" + b"b" * 65_534 + b" 7\nc 2\n", {"a": 1}),
    "a longer line at the end": (b"a 1\n" + b"b" * 65_536, {"a": 1}),
    "empty": (b"", {}),
}


@pytest.mark.parametrize("name", GROUPS)
def test_groups_are_read_to_the_letter(name: str) -> None:
    text, expected = GROUPS[name]
    assert stacks(decode(text, Groups())) == expected


@pytest.mark.parametrize(
    "text", [b"a 1 \n", b"a \n", b"a 1\t\n", b"a 1\r\r\n", b"a ++1\n", b"a 1.0\n", b"a +\n"]
)
def test_a_count_of_groups_is_an_integer_and_nothing_else(text: bytes) -> None:
    assert "is not a 64-bit integer" in reason(text, Groups())


def test_what_groups_leave_out_is_said() -> None:
    (decoded,) = decode(b"a 1\nb\n" + b"c" * 70_000 + b" 1\n", Groups())
    assert decoded.warnings == (
        "line 3 is longer than 65535 bytes: it and what follows were left out",
        "1 lines without a count were left out",
    )
