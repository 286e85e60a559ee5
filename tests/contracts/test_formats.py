"""What every format does: it knows its own, decodes to the common schema, and lets a bad input fall alone."""

from __future__ import annotations

import gzip
import importlib.metadata
import sys
import types
from collections.abc import Iterator, Sequence
from importlib.metadata import EntryPoint

import numpy as np
import pytest

from flameduck.engine import formats
from flameduck.engine.formats import FORMATS, Decoded, Failed, Format, Input, Row, detect_format, format_named
from flameduck.engine.formats.inflate import inflate
from flameduck.engine.normalize.context import ProfileContext
from flameduck.engine.normalize.normalise import normalise
from flameduck.schema import profile
from flameduck.schema.errors import UnknownFormat
from tests.engine.formats.examples import EXAMPLES, FIXTURES


def test_every_format_has_an_example() -> None:
    assert EXAMPLES.keys() == FORMATS.keys()


@pytest.fixture(params=FORMATS)
def name(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    pytest.importorskip(EXAMPLES[found].needs)
    return found


def decode(name: str, raws: Sequence[bytes]) -> tuple[list[Decoded], list[Failed]]:
    found = list(format_named(name).decode([Input(raw) for raw in raws]))
    return [one for one in found if isinstance(one, Decoded)], [
        one for one in found if isinstance(one, Failed)
    ]


def test_a_format_is_called_as_the_table_says(name: str) -> None:
    assert format_named(name).name == name


def test_an_example_is_detected(name: str) -> None:
    example = EXAMPLES[name]
    matches = format_named(name).matches(example.good, "")
    assert matches == example.detected
    if matches:
        assert detect_format(example.good, "whatever.bin").name == name


@pytest.mark.parametrize(
    ("name", "recording"),
    [(name, file) for name, one in EXAMPLES.items() if one.detected for file in one.recordings],
)
def test_a_recording_is_detected(name: str, recording: str) -> None:
    raw = inflate((FIXTURES / recording).read_bytes(), 1 << 30)
    assert detect_format(raw, "whatever.bin").name == name


def test_batches_have_the_common_schema(name: str) -> None:
    good, failed = decode(name, [EXAMPLES[name].good] * 3)
    assert failed == []
    assert [row.input for one in good for row in one.rows] == [0, 1, 2]
    for one in good:
        one.batch.validate(full=True)
        assert one.batch.cast(profile.DECODED).num_rows == len(one.rows)
        for field, column in zip(profile.DECODED, one.batch.columns, strict=True):
            if field.name != "period_type":
                assert column.null_count == 0, field.name
            if field.name in ("sample", "mapping", "location", "function", "string_table"):
                offsets = column.offsets.to_numpy()
                assert (offsets[0], offsets[-1]) == (0, len(column.values)), f"{field.name} is a slice"


def test_a_batch_can_be_normalised(name: str) -> None:
    good, _ = decode(name, [EXAMPLES[name].good])
    said = [ProfileContext({}, b"i" * 16, b"i" * 16, time_ns=1)]
    batch = normalise(good[0].batch, said, "verbatim").batch
    assert batch.samples.column("value").to_pylist()[0] == EXAMPLES[name].value
    assert len(set(batch.samples.column("stack_id").to_pylist())) == 1
    names = dict(zip(*(batch.functions.column(c).to_pylist() for c in ("function_id", "name")), strict=True))
    lines = {row["location_id"]: row["lines"][0]["function_id"] for row in batch.locations.to_pylist()}
    (stack,) = batch.stacks.column("locations").to_pylist()
    assert tuple(names[lines[location]] for location in stack) == EXAMPLES[name].stack


def test_a_bad_input_falls_alone(name: str) -> None:
    example = EXAMPLES[name]
    good, failed = decode(name, [example.good, example.bad, example.good])
    assert [one.input for one in failed] == [1]
    assert failed[0].reason
    assert "\n" not in failed[0].reason
    assert sorted(row.input for one in good for row in one.rows if row.input != 1) == [0, 2]


def test_random_bytes_do_no_harm(name: str) -> None:
    source = np.random.default_rng(1)
    raws = [source.bytes(size) for size in (1, 2, 3, 10, 1000, 100_000)]
    for raw in raws:
        format_named(name).matches(raw, "")
    good, failed = decode(name, raws)
    assert {row.input for one in good for row in one.rows} | {one.input for one in failed} == set(
        range(len(raws))
    )


def test_no_inputs(name: str) -> None:
    assert decode(name, []) == ([], [])


@pytest.mark.parametrize(
    "raw", [b"", b"\x00" * 50, b"\x7fELF", b"hello\n", gzip.compress(b"x"), b'{"a": [1, 2]}']
)
def test_bytes_of_no_format(raw: bytes) -> None:
    with pytest.raises(UnknownFormat):
        detect_format(raw, "cpu.pb.gz")


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UnknownFormat, match="'nope': expected one of pprof, "):
        format_named("nope")


class Shouting:
    """A plug-in: the text `main;work` in capitals."""

    name = "shouting"

    def matches(self, head: bytes, filename: str) -> bool:
        return head.startswith(b"MAIN")

    def decode(self, inputs: Sequence[Input]) -> Iterator[Decoded | Failed]:
        for number, one in enumerate(inputs):
            (inner,) = format_named("folded").decode([Input(one.raw.lower() + b" 1")])
            assert isinstance(inner, Decoded)
            yield Decoded(inner.batch, [Row(number)])


@pytest.fixture
def plug_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    module = types.ModuleType("flameduck_shouting")
    module.Shouting = Shouting  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    point = EntryPoint("shouting", "flameduck_shouting:Shouting", formats.ENTRY_POINTS)
    monkeypatch.setattr(
        importlib.metadata, "entry_points", lambda group: [point] if group == formats.ENTRY_POINTS else []
    )
    forget_plug_ins()
    yield
    forget_plug_ins()


def forget_plug_ins() -> None:
    formats._installed.cache_clear()
    formats._load_installed.cache_clear()


@pytest.mark.usefixtures("plug_in")
def test_an_installed_format_is_found_by_content_and_by_name() -> None:
    found: list[Format] = [detect_format(b"MAIN;WORK", ""), format_named("shouting")]
    assert [one.name for one in found] == ["shouting", "shouting"]
    with pytest.raises(UnknownFormat, match=", shouting"):
        format_named("nope")
