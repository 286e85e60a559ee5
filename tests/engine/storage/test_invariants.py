"""A block that was built holds all that it must; a number that is changed in it is told as what it breaks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flameduck.engine.ingest.decode import DecodeLimits, decode_and_normalise
from flameduck.engine.storage.blocks import MemoryBlock
from flameduck.engine.storage.builder import BlockBuilder
from flameduck.engine.storage.invariants import broken_invariants
from flameduck.engine.storage.layout import BlockOrigin, BlockTables
from flameduck.schema.profile import Upload
from flameduck.schema.proto import profile_pb2
from tests.engine.ingest.made_profiles import made_profile, made_upload

NO_ID = 0xFFFFFFFF


def labelled(number: int) -> Upload:
    """A made profile whose samples have a label each, of a service of its own, in a mapping."""
    profile = profile_pb2.Profile.FromString(made_profile(number))
    profile.string_table.extend([b"thread", b"one", b"two", b"/bin/made"])
    key = len(profile.string_table) - 4
    for at, sample in enumerate(profile.sample):
        sample.label.add(key=key, str=key + 1 + at % 2)
    profile.mapping.add(id=1, filename=key + 3)
    profile.location[0].mapping_id = 1
    return Upload(profile.SerializeToString(), {"service_name": "labelled"}, "labelled")


@pytest.fixture(scope="module")
def built() -> BlockTables:
    uploads = [
        *(made_upload(number, pod=f"pod-{number % 2}") for number in range(4)),
        labelled(1),
        labelled(2),
    ]
    outcome = decode_and_normalise(uploads, DecodeLimits())
    assert not outcome.refused
    builder = BlockBuilder()
    for batch, continues in outcome.batches:
        builder.add(batch, continues)
    return builder.build(BlockOrigin("01KBXQ7ZJ0G3Y5N4WQ8T6M2C1D", "acme"))


def changed(built: BlockTables, name: str, column: str, row: int, value: object) -> MemoryBlock:
    """The same with another value in one place."""
    table = built.tables[name]
    at = table.schema.get_field_index(column)
    field = table.schema.field(at)
    values = table.column(column).to_pylist()
    values[row] = value
    spoilt = table.set_column(at, field, pa.array(values, field.type))
    return MemoryBlock(BlockTables(built.meta, {**built.tables, name: spoilt}))


def problems(block: MemoryBlock) -> list[str]:
    return list(broken_invariants(block))


def test_a_built_block_holds(built: BlockTables) -> None:
    assert built.meta.sample_extras == ("labelset",)
    assert len(built.meta.parts) > 1
    assert problems(MemoryBlock(built)) == []


def test_an_empty_block_holds() -> None:
    assert (
        problems(MemoryBlock(BlockBuilder().build(BlockOrigin("01KBXQ7ZJ0G3Y5N4WQ8T6M2C1D", "acme")))) == []
    )


@pytest.mark.parametrize(
    ("name", "column", "row", "value", "problem"),
    [
        ("samples", "block", 3, 7, "samples: block is not "),
        ("index", "series", 1, 0, "index: series does not count rows"),
        ("locations", "location", 0, 9, "locations: location does not count rows"),
        ("locations", "mapping", 0, 5, "locations: mapping is out of range"),
        ("locations", "location_id", 0, 5, "stacks: stack_id is not that of the locations"),
        ("functions", "name", 0, "zzz", "functions: name is not in order"),
        ("functions", "filename", 0, "other.go", "functions: function_id is not that of the content"),
        ("index", "series_id", 0, 5, "index: series_id is not that of the labels"),
        ("index", "labels", 0, [("pod", "another")], "index: series_id is not that of the labels"),
        ("index", "part", 0, 1, "index: part is not that of the metadata"),
        ("index", "profiles", 0, 77, "index: profiles is not how many a series has"),
        ("index", "samples", 0, 77, "index: samples is not how many a series has"),
        ("index", "min_ts", 0, 0, "index: min_ts is not that of the profiles"),
        ("index", "max_ts", 0, 2**62, "index: max_ts is not that of the profiles"),
        ("profiles", "series", 0, 77, "profiles: series is out of range"),
        ("profiles", "ts", 0, 2**62, "profiles: not sorted by series, ts, profile_id"),
        ("profiles", "part", 0, 1, "profiles: part is not that of the metadata"),
        ("profiles", "start", 1, 0, "profiles: start and n do not divide the samples"),
        ("profiles", "n", 0, 1, "samples: there are more or fewer than profiles say in part 0"),
        ("profiles", "total", 0, 1, "profiles: total is not the sum of the samples in part 0"),
        ("samples", "value", 0, 1, "profiles: total is not the sum of the samples in part 0"),
        ("samples", "part", 0, 1, "samples: part is not that of the profile in part 0"),
        ("samples", "series", 0, 1, "samples: series is not that of the profile in part 0"),
        ("samples", "ts", 0, 1, "samples: ts is not that of the profile in part 0"),
        ("samples", "stack", 0, 10**6, "samples: stack is out of range in part 0"),
        ("samples", "labelset", 0, 77, "samples: labelset is out of range in part 0"),
        ("stacks", "part", 0, 1, "stacks: part is not that of the metadata in part 0"),
        ("stacks", "stack", 0, 1, "stacks: stack does not count rows in part 0"),
        ("stacks", "node", 0, 10**6, "stacks: node is out of range in part 0"),
        ("stacks", "stack_id", 0, 1, "stacks: stack_id is not that of the locations"),
        ("stacktraces", "node", 1, 0, "stacktraces: node does not count rows in part 0"),
        ("stacktraces", "size", 0, 1, "stacktraces: the first row is not a root in part 0"),
        (
            "stacktraces",
            "size",
            1,
            1,
            "stacktraces: size is not one more than that of the children in part 0",
        ),
        ("stacktraces", "parent", 1, 9, "stacktraces: a parent does not come before its child in part 0"),
        ("stacktraces", "location", 1, NO_ID, "stacktraces: location is out of range in part 0"),
        ("stacktraces", "frame", 1, 10**6, "stacktraces: frame is out of range in part 0"),
        ("frames", "function", 1, 10**6, "frames: function is out of range in part 0"),
        ("frames", "depth", 1, 9, "frames: depth is not one more than that of the parent in part 0"),
        (
            "frames",
            "first",
            1,
            False,
            "frames: first is not where a function is on a path for the first time in part 0",
        ),
    ],
)
def test_what_was_changed_is_told(
    built: BlockTables, name: str, column: str, row: int, value: object, problem: str
) -> None:
    found = problems(changed(built, name, column, row, value))
    assert any(one.startswith(problem) for one in found), found


def test_rows_that_are_swapped_are_told(built: BlockTables) -> None:
    table = built.tables["profiles"]
    order = np.arange(len(table))
    order[:2] = [1, 0]
    swapped = MemoryBlock(BlockTables(built.meta, {**built.tables, "profiles": table.take(pa.array(order))}))
    assert "profiles: not sorted by series, ts, profile_id" in problems(swapped)
    order[:2] = [0, 0]
    twice = MemoryBlock(BlockTables(built.meta, {**built.tables, "profiles": table.take(pa.array(order))}))
    assert "profiles: one of them comes twice" in problems(twice)


def test_metadata_that_lies_is_told(built: BlockTables) -> None:
    assert problems(MemoryBlock(replace(built, meta=replace(built.meta, profiles=3)))) == [
        f"meta.json: 3 profiles, where profiles has {built.meta.profiles} rows"
    ]
    first, *rest = built.meta.parts
    parts = (replace(first, stacks=(0, 1)), *rest)
    (problem,) = problems(MemoryBlock(replace(built, meta=replace(built.meta, parts=parts))))
    assert problem.startswith("meta.json: the stacks of parts are not the ")
    parts = (replace(first, part=5), *rest)
    assert problems(MemoryBlock(replace(built, meta=replace(built.meta, parts=parts)))) == [
        "meta.json: parts are not numbered through"
    ]


def test_columns_that_are_missing_or_of_another_kind_are_told(built: BlockTables) -> None:
    def with_table(name: str, table: pa.Table) -> MemoryBlock:
        tables: Mapping[str, pa.Table] = {**built.tables, name: table}
        return MemoryBlock(BlockTables(built.meta, tables))

    stacks = built.tables["stacks"]
    at = stacks.schema.get_field_index("node")
    wide = stacks.set_column(at, "node", stacks.column("node").cast(pa.int64()))
    assert problems(with_table("stacks", wide)) == ["stacks: node is int64 and not uint32"]


CHANGEABLE = (
    "index",
    "profiles",
    "samples",
    "stacks",
    "stacktraces",
    "frames",
    "locations",
    "mappings",
    "labelsets",
)


@given(st.data())
def test_no_change_of_a_number_is_too_much(built: BlockTables, data: st.DataObject) -> None:
    """Whatever is wrong is told, and raises nothing."""
    name = data.draw(st.sampled_from(CHANGEABLE))
    fields = [field for field in built.tables[name].schema if pa.types.is_integer(field.type)]
    field = data.draw(st.sampled_from(fields))
    info = np.iinfo(field.type.to_pandas_dtype())
    row = data.draw(st.integers(0, len(built.tables[name]) - 1))
    value = data.draw(st.integers(int(info.min), int(info.max)) | st.integers(0, 12))
    for problem in problems(changed(built, name, field.name, row, value)):
        assert problem
