"""A profile that contradicts itself is refused with the field and the reason; the others of its batch are not."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
import pytest

from flameduck.schema import identity
from flameduck.schema.proto import profile_pb2

from .meaning import context, normalised, rebuild, walk
from .profiles import Maker, changed, plain

Change = Callable[[profile_pb2.Profile], object]
Message = profile_pb2.Profile


def set_location(message: Message, reference: int) -> None:
    message.sample[1].location_id[0] = reference


def duplicate(message: Message, field: str) -> None:
    items = getattr(message, field)
    items.add().CopyFrom(items[0])


BAD: dict[str, tuple[Change, str]] = {
    "location far away": (lambda m: set_location(m, 99), "sample.location_id points at no location"),
    "location 0": (lambda m: set_location(m, 0), "sample.location_id points at no location"),
    "location beyond 63 bits": (
        lambda m: set_location(m, 2**64 - 1),
        "sample.location_id points at no location",
    ),
    "no locations": (lambda m: m.ClearField("location"), "sample.location_id points at no location"),
    "no functions": (lambda m: m.ClearField("function"), "location.line.function_id points at no function"),
    "function 0 of a line": (
        lambda m: setattr(m.location[0].line[0], "function_id", 0),
        "location.line.function_id points at no function",
    ),
    "mapping": (
        lambda m: setattr(m.location[0], "mapping_id", 7),
        "location.mapping_id points at no mapping",
    ),
    "id 0 of a location": (lambda m: setattr(m.location[0], "id", 0), "a location has the reserved id 0"),
    "id 0 of a function": (lambda m: setattr(m.function[0], "id", 0), "a function has the reserved id 0"),
    "id 0 of a mapping": (lambda m: setattr(m.mapping[0], "id", 0), "a mapping has the reserved id 0"),
    "two locations": (lambda m: duplicate(m, "location"), "two locations have one id"),
    "two functions": (lambda m: duplicate(m, "function"), "two functions have one id"),
    "two mappings": (lambda m: duplicate(m, "mapping"), "two mappings have one id"),
    "too few values": (lambda m: m.sample[0].value.pop(), "another number of values"),
    "too many values": (lambda m: m.sample[2].value.append(4), "another number of values"),
    "no types": (lambda m: m.ClearField("sample_type"), "sample_type is empty"),
    "a type twice": (lambda m: duplicate(m, "sample_type"), "sample_type samples/count is there twice"),
    "no strings": (lambda m: m.ClearField("string_table"), "string_table is empty"),
    "a first string": (lambda m: m.string_table.__setitem__(0, b"x"), "string_table[0] is not empty"),
    "name beyond the table": (
        lambda m: setattr(m.function[0], "name", 99),
        "function.name 99 is outside of string_table",
    ),
    "a negative name": (
        lambda m: setattr(m.function[0], "name", -1),
        "function.name -1 is outside of string_table",
    ),
    "a huge file name": (lambda m: setattr(m.mapping[0], "filename", 2**62), "mapping.filename"),
    "label key": (lambda m: setattr(m.sample[0].label[0], "key", 99), "sample.label.key 99"),
    "unit": (lambda m: setattr(m.sample_type[0], "unit", 99), "sample_type.unit 99"),
    "period": (lambda m: setattr(m.period_type, "unit", 99), "period_type.unit 99"),
    "comment": (lambda m: m.comment.append(99), "comment 99"),
    "default type": (lambda m: setattr(m, "default_sample_type", 99), "default_sample_type 99"),
    "a sum over 64 bits": (
        lambda m: [s.value.__setitem__(0, 2**62) for s in m.sample],
        "sample.value: the sum does not fit 64 bits",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_the_bad_one_alone_is_refused(name: str) -> None:
    change, reason = BAD[name]
    raws = [plain(), changed(plain(), change), plain({"other;stack": 5})]
    result = normalised(raws)
    assert list(result.refused) == [1]
    assert reason in result.refused[1]
    assert rebuild(result.batch) == walk([raws[0], b"", raws[2]], ["service0", "", "service2"])


def test_all_kinds_of_bad_ones_in_one_batch() -> None:
    raws = [plain(), *(changed(plain(), change) for change, _ in BAD.values()), plain()]
    result = normalised(raws)
    assert sorted(result.refused) == list(range(1, len(raws) - 1))
    assert set(result.batch.profiles.column("profile_id").to_pylist()) == {
        b"\0" * 16,
        bytes([len(raws) - 1]) * 16,
    }


def test_a_batch_of_bad_ones_only() -> None:
    result = normalised([changed(plain(), lambda m: set_location(m, 99))] * 3)
    assert sorted(result.refused) == [0, 1, 2]
    assert len(result.batch.profiles) == 0


def test_a_profile_without_any_time() -> None:
    raw = Maker(time_ns=0).sample("a", 1).bytes()
    assert "has no time" in normalised([raw], contexts=[context(time_ns=0)]).refused[0]
    assert normalised([raw], contexts=[context(time_ns=77)]).batch.profiles.column("ts").to_pylist() == [77]


def test_invalid_text_is_replaced_with_a_warning() -> None:
    raw = Maker().sample("naXve", 1).bytes().replace(b"naXve", b"na\xefve")
    result = normalised([raw, plain()])
    assert result.refused == {}
    assert "na\ufffdve" in result.batch.functions.column("name").to_pylist()
    assert result.warnings == ("file0: invalid UTF-8 in string_table was replaced",)


def test_a_stack_too_deep_is_refused_and_quickly() -> None:
    maker = Maker().sample("a", 1)
    maker.message.sample[0].location_id[:] = [1] * 2_000_000
    assert "more than 32768 locations" in normalised([maker.bytes()]).refused[0]


def test_a_location_with_too_many_lines_is_refused_and_quickly() -> None:
    maker = Maker().sample("a", 1)
    for _ in range(20_000):
        maker.message.location[0].line.add(function_id=1)
    assert "more than 10000 lines" in normalised([maker.bytes()]).refused[0]


def test_texts_of_one_hash_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """A crafted collision costs the profile that carries it, not the batch."""
    real = identity.hash_texts

    def colliding(texts: pa.Array) -> object:
        hashes = real(texts)
        evil = [number for number, text in enumerate(texts.to_pylist()) if text in ("evil", "twin")]
        hashes[evil] = 1
        return hashes

    monkeypatch.setattr(identity, "hash_texts", colliding)
    result = normalised([plain(), Maker().sample("evil;twin", 1).bytes()])
    assert result.refused == {1: "two different strings have one hash"}


def test_every_check_names_profiles_of_the_whole_batch() -> None:
    """Numbers in `refused` are positions in the input, also after earlier ones were taken out."""
    raws = [
        changed(plain(), BAD["no strings"][0]),
        plain(),
        changed(plain(), BAD["too few values"][0]),
        plain(),
    ]
    assert sorted(normalised(raws).refused) == [0, 2]
