"""Tries and trees of old Pyroscope agents: what they mean is what the agents' own library read in them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import flameduck
from flameduck.engine.formats import Decoded, Failed, Format, Input, stack_tree
from flameduck.engine.formats.agent_trees import Tree, Trie
from flameduck.engine.formats.folded import Folded

FORMATS: dict[str, Format] = {"trie": Trie(), "tree": Tree()}
READERS = pytest.mark.parametrize("name", FORMATS)


def decode(reader: Format, raw: bytes, **said: Any) -> list[Decoded]:
    found = list(reader.decode([Input(raw, **said)]))
    assert not [one for one in found if isinstance(one, Failed)], found
    return [one for one in found if isinstance(one, Decoded)]


def reason(reader: Format, raw: bytes, **said: Any) -> str:
    failed = list(reader.decode([Input(raw, **said)]))[-1]
    assert isinstance(failed, Failed)
    return failed.reason


def stacks(decoded: Sequence[Decoded]) -> Counter[str]:
    """Stacks, root first, and their values."""
    found: Counter[str] = Counter()
    for one in decoded:
        (row,) = one.batch.to_pylist()
        names = {f["id"]: row["string_table"][f["system_name"]] for f in row["function"]}
        frames = {location["id"]: names[location["line"][0]["function_id"]] for location in row["location"]}
        for sample in row["sample"]:
            stack = b";".join(frames[reference] for reference in reversed(sample["location_id"]))
            found[stack.decode()] += sample["value"][0]
    return found


def uvarint(number: int) -> bytes:
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def node(name: bytes, value: int, *children: bytes, said: int | None = None) -> bytes:
    """A node and its children; `said` is the number of children that it claims."""
    count = len(children) if said is None else said
    return uvarint(len(name)) + name + uvarint(value) + uvarint(count) + b"".join(children)


@READERS
@pytest.mark.parametrize("kind", ["cpu", "inuse_space"])
def test_a_recording_means_what_the_agents_library_says(name: str, kind: str, fixtures: Path) -> None:
    text = (fixtures / f"agent-{kind}.{name}.folded").read_bytes()
    expected = stacks(decode(Folded(), text))
    assert sum(expected.values()) > 20
    assert stacks(decode(FORMATS[name], (fixtures / f"agent-{kind}.{name}").read_bytes())) == expected


@READERS
def test_a_recording_is_ingested(name: str, fixtures: Path) -> None:
    text = (fixtures / f"agent-cpu.{name}.folded").read_text()
    total = sum(int(line.rpartition(" ")[2]) for line in text.splitlines())
    with flameduck.open(f"memory://agent-{name}") as store:
        report = store.ingest(
            fixtures / f"agent-cpu.{name}", input_format=name, labels={"service_name": "shop"}
        )
        assert (report.new, report.refused) == (1, ())
        assert store.profile_types() == ["process_cpu:samples:count::"]
        assert store.flamegraph().total == total
        assert store.top(limit=1).to_dicts()[0]["function"] == "main.spin"


TRIES = {
    "one stack": (node(b"", 0, node(b"a;b", 3)), {"a;b": 3}),
    "a name in parts": (
        node(b"", 0, node(b"a;re", 1, node(b"ad", 2), node(b"st;x", 3))),
        {"a;re": 1, "a;read": 2, "a;rest;x": 3},
    ),
    "a frame ends in a node": (
        node(b"", 0, node(b"a", 1, node(b";b", 2, node(b";c", 4)))),
        {"a": 1, "a;b": 2, "a;b;c": 4},
    ),
    "a semicolon ends a node": (
        node(b"", 0, node(b"a;", 0, node(b"b", 2), node(b"c", 3))),
        {"a;b": 2, "a;c": 3},
    ),
    "zero is nothing": (node(b"", 0, node(b"a", 0), node(b"b", 1)), {"b": 1}),
    "a root with text": (node(b"a", 5, node(b";b", 1)), {"a": 5, "a;b": 1}),
    "empty": (node(b"", 0), {}),
    "not ASCII": (node(b"", 0, node("ä;".encode() + b"\xc3", 0, node(b"\xb6", 7))), {"ä;ö": 7}),
    "the largest value": (node(b"", 0, node(b"a", 2**63 - 1)), {"a": 2**63 - 1}),
}
TREES = {
    "one stack": (node(b"", 0, node(b"a", 0, node(b"b", 3))), {"a;b": 3}),
    "own values": (node(b"", 0, node(b"a", 1, node(b"b", 3), node(b"c", 4))), {"a": 1, "a;b": 3, "a;c": 4}),
    "children of one name": (node(b"", 0, node(b"a", 1), node(b"a", 2, node(b"b", 3))), {"a": 3, "a;b": 3}),
    "a semicolon in a name": (node(b"", 0, node(b"a;b", 2)), {"a;b": 2}),
    "a root with a name": (node(b"main", 1, node(b"a", 2)), {"main": 1, "main;a": 2}),
    "empty": (node(b"", 0), {}),
}  # fmt: skip


@pytest.mark.parametrize("case", TRIES)
def test_tries(case: str) -> None:
    raw, expected = TRIES[case]
    assert stacks(decode(Trie(), raw)) == expected


@pytest.mark.parametrize("case", TREES)
def test_trees(case: str) -> None:
    raw, expected = TREES[case]
    assert stacks(decode(Tree(), raw)) == expected


def test_the_value_of_a_trees_root_is_no_stack() -> None:
    (decoded,) = decode(Tree(), node(b"", 9, node(b"a", 1)))
    assert decoded.warnings == ("the root's own value 9 belongs to no stack and was left out",)
    assert stacks([decoded]) == {"a": 1}


@READERS
@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"", "the input ends inside a node, at byte 0"),
        (node(b"", 0, said=1), "the input ends inside a node, at byte 3"),
        (node(b"", 0, node(b"a", 1, said=2**63)), "the input ends inside a node, at byte 16"),
        (uvarint(2**63) + b"a", "the name of the node at byte 0 runs past the end of the input"),
        (b"\xff" * 20, "broken varint at byte"),
        (node(b"", 0, node(b"a", 2**63)), "the value of the node at byte 3 is 9223372036854775808"),
        (node(b"", 0, node(b"a", 2**62), node(b"b", 2**62)), "the sum of the values does not fit 64 bits"),
        (node(b"", 0, node(b"a", 1)) + b"xyz", "3 bytes follow the last node, at byte 7"),
    ],
)
def test_bad_inputs_say_what_and_where(name: str, raw: bytes, expected: str) -> None:
    assert reason(FORMATS[name], raw).startswith(expected)


def chain(length: int, name: bytes, value: int) -> bytes:
    return node(b"", 0, said=1) + node(name, value, said=1) * (length - 1) + node(name, value)


def test_what_nests_without_end_is_refused() -> None:
    assert reason(Tree(), chain(40_000, b"a", 0)) == "a stack has more than 32768 frames"
    assert reason(Trie(), chain(40_000, b";a", 0)) == "a stack has more than 32768 frames"
    assert "nodes below the root" in reason(Trie(), chain(1_100_000, b"", 0))


def test_stacks_of_the_inputs_size_squared_are_refused() -> None:
    """20 000 nodes below one another, all with a value: 200 million frames."""
    assert re.match(
        r"the stacks have 200010000 frames in all; limit 1\d{7}", reason(Tree(), chain(20_000, b"a", 1))
    )


def test_names_that_repeat_without_end_are_refused() -> None:
    """Every node continues the name that 2 000 nodes before it began."""
    assert reason(Trie(), chain(60_000, b"aaaaaaaaaa" * 10, 1)).startswith("the names of frames are too long")


def test_a_servers_limits_hold_for_what_is_pushed() -> None:
    wide, long = node(b"", 0, *[node(b"a", 1)] * 16_001), node(b"", 0, node(b"a" * 65_536, 1))
    pushed = {"rules": "pyroscope", "labels": {"service_name": "shop.cpu"}}
    assert reason(Tree(), wide, **pushed) == "the node at byte 0 has 16001 children; limit 16000"
    assert reason(Tree(), long, **pushed) == "the node at byte 3 has a name of 65536 bytes; limit 65535"
    assert stacks(decode(Tree(), wide)) == {"a": 16_001}
    assert len(next(iter(stacks(decode(Tree(), long))))) == 65_536


@READERS
@pytest.mark.parametrize(
    ("service", "rate", "name_and_type", "value"),
    [
        ("shop", 0, ("process_cpu", "cpu", "nanoseconds"), 70_000_000),
        ("shop.cpu", 1000, ("process_cpu", "cpu", "nanoseconds"), 7_000_000),
        ("shop.wall", 0, ("wall", "wall", "nanoseconds"), 70_000_000),
        ("shop.inuse_space", 100, ("memory", "inuse_space", "bytes"), 7),
    ],
)
def test_what_is_pushed_means_what_the_name_says(
    name: str, service: str, rate: int, name_and_type: tuple[str, str, str], value: int
) -> None:
    raw = node(b"", 0, node(b"a", 7))
    said = {"rules": "pyroscope", "labels": {"service_name": service}, "sample_rate_hz": rate}
    (decoded,) = decode(FORMATS[name], raw, **said)
    (row,) = decoded.batch.to_pylist()
    (kind,) = row["sample_type"]
    texts = row["string_table"]
    found = decoded.rows[0].name, texts[kind["type"]].decode(), texts[kind["unit"]].decode()
    assert (found, row["sample"][0]["value"]) == (name_and_type, [value])
    bad = {"rules": "pyroscope", "labels": {"service_name": "my.service"}}
    assert reason(FORMATS[name], raw, **bad).startswith("unknown profile type: service")


FRAMES = st.lists(st.sampled_from(["a", "ab", "abc", "b", "ba", "über"]), min_size=1, max_size=6).map(
    ";".join
)


def trie_of(counts: dict[str, int]) -> bytes:
    """A trie by bytes, the plainest way: one byte a node."""

    def below(prefix: bytes, keys: list[bytes]) -> bytes:
        heads = sorted({key[len(prefix)] for key in keys if len(key) > len(prefix)})
        children = []
        for head in heads:
            longer = prefix + bytes([head])
            children.append(below(longer, [key for key in keys if key.startswith(longer)]))
        return node(prefix[-1:], values.get(prefix, 0), *children)

    values = {stack.encode(): count for stack, count in counts.items()}
    return below(b"", list(values))


@given(st.dictionaries(FRAMES, st.integers(1, 2**40), max_size=20), st.integers(1, 30))
def test_any_stacks_survive_a_trie_in_pieces_of_any_size(counts: dict[str, int], piece_frames: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stack_tree, "PIECE_FRAMES", piece_frames)
        decoded = decode(Trie(), trie_of(counts))
    assert stacks(decoded) == counts
    assert [one.continues for one in decoded] == [number > 0 for number in range(len(decoded))]
