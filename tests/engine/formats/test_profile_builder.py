"""Profiles put together sample by sample say what was put in."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from flameduck.engine.formats.names import NameReader
from flameduck.engine.formats.profile_builder import Label, MappedFile, ProfileBuilder
from flameduck.engine.formats.profile_columns import ProfileHeader
from flameduck.engine.normalize.context import ProfileContext
from flameduck.engine.normalize.normalise import normalise
from flameduck.schema.errors import CorruptProfile

HEADER = ProfileHeader(
    sample_types=(("samples", "count"), ("cpu", "nanoseconds")),
    period_type=("cpu", "nanoseconds"),
    period=10,
    time_ns=5,
    duration_ns=7,
    comments=("hello",),
    default_sample_type="cpu",
)


def builder() -> ProfileBuilder:
    return ProfileBuilder(HEADER, NameReader(raw=False))


def test_everything_that_was_said_is_there() -> None:
    made = builder()
    module = made.mapping(MappedFile("/bin/app", "abc", 0x1000, 0x2000, 0x10))
    outer, inner = made.function("main", "main.c", 3), made.function("_ZN3app4workEv", "work.c")
    leaf = made.location(((inner, 12, 4), (outer, 9, 0)), module, 2**64 - 1)
    root = made.frame("start")
    label = Label("thread", "one"), Label("bytes", number=-3, unit="B")
    made.add([leaf, root], [1, 10], label)
    made.add((leaf, root), [2, 20], label)
    made.add((root,), [5, 0])
    (row,) = made.to_batch().to_pylist()
    text = row["string_table"].__getitem__
    assert [(text(kind["type"]), text(kind["unit"])) for kind in row["sample_type"]] == [
        (b"samples", b"count"),
        (b"cpu", b"nanoseconds"),
    ]
    assert [(one["location_id"], one["value"]) for one in row["sample"]] == [([1, 2], [3, 30]), ([2], [5, 0])]
    labels = [
        tuple(text(one[key]) for key in ("key", "str", "num_unit")) for one in row["sample"][0]["label"]
    ]
    assert labels == [(b"thread", b"one", b""), (b"bytes", b"", b"B")]
    assert row["sample"][0]["label"][1]["num"] == -3
    assert row["location"][0]["address"] == 2**64 - 1
    lines = [(one["function_id"], one["line"], one["column"]) for one in row["location"][0]["line"]]
    assert lines == [(2, 12, 4), (1, 9, 0)]
    names = [(text(one["name"]), text(one["system_name"]), one["start_line"]) for one in row["function"]]
    assert names[:2] == [(b"main", b"main", 3), (b"app::work()", b"_ZN3app4workEv", 0)]
    assert text(row["mapping"][0]["build_id"]) == b"abc"
    assert (row["time_nanos"], row["duration_nanos"], row["period"]) == (5, 7, 10)
    assert text(row["default_sample_type"]) == b"cpu"


def test_pieces_share_their_symbols() -> None:
    made = builder()
    made.add([made.frame("a")], [1, 1])
    first = made.to_batch()
    made.drop_samples()
    assert made.samples == 0
    made.add([made.frame("b"), made.frame("a")], [2, 2])
    said = [ProfileContext({}, b"i" * 16, b"i" * 16)]
    stacks = [normalise(batch, said, "verbatim").batch.stacks for batch in (first, made.to_batch())]
    assert [len(one["locations"].to_pylist()[0]) for one in stacks] == [1, 2]


def test_what_does_not_fit_is_named() -> None:
    made = builder()
    made.add([made.frame("a")], [2**62, 0])
    made.add([made.frame("a")], [2**62, 0])
    with pytest.raises(CorruptProfile, match=r"^sample.value 9223372036854775808 does not fit 64 bits$"):
        made.to_batch()
    spoilt: list[tuple[Callable[[ProfileBuilder], object], str]] = [
        (lambda one: one.frame("a", line=2**63), "location.line"),
        (lambda one: one.location((), address=-1), "location.address"),
        (lambda one: one.mapping(MappedFile("a", memory_limit=2**64)), "mapping.memory_limit"),
        (lambda one: one.add([1], [1, 1], (Label("n", number=2**63),)), "sample.label.num"),
    ]
    for spoil, field in spoilt:
        made = builder()
        spoil(made)
        with pytest.raises(CorruptProfile, match=f"^{field} does not fit 64 bits$"):
            made.to_batch()
