"""Rollups that were written hold; a number that is changed in one is told as what it breaks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ulid import ULID

from flameduck.engine.compaction import rollup
from flameduck.engine.compaction.stream import merge_into
from flameduck.engine.query.opened import OpenBlock
from flameduck.engine.storage.blocks import MemoryBlock
from flameduck.engine.storage.invariants import broken_invariants
from flameduck.engine.storage.layout import BlockOrigin, BlockTables
from flameduck.schema import tables
from flameduck.schema.block import BlockMeta, FileMeta
from tests.engine.compaction.made_blocks import Made
from tests.engine.compaction.made_blocks import built as built_of

MADE: list[Made] = [(number, number // 2, ("cart", "checkout")[number % 2], False) for number in range(12)]
LATER_NS = 500_000 * 3600 * 10**9
WIDTH_NS = tables.ROLLUP_WIDTHS_NS["rollup_5m"]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> BlockTables:
    """A block of level 1 with rollups, in memory."""
    folder = tmp_path_factory.mktemp("block")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rollup, "SMALLER", 1)
        patch.setattr(rollup, "SMALLER_THAN_NARROWER", 1)
        source = OpenBlock(MemoryBlock(built_of(MADE, step_ns=100 * 10**9)))
        meta = merge_into(folder, [source], BlockOrigin(str(ULID()), "acme"))
    found = {path.stem: pq.read_table(path) for path in folder.glob("*.parquet")}
    found.setdefault("labelsets", tables.LABELSETS.empty_table())
    files = {f"{name}.parquet": FileMeta(1, "") for name in found}
    return BlockTables(replace(meta, files=files), found)


def problems(built: BlockTables, meta: BlockMeta | None = None, **changed: pa.Table) -> list[str]:
    found: Mapping[str, pa.Table] = {**built.tables, **changed}
    return list(broken_invariants(MemoryBlock(BlockTables(meta or built.meta, found))))


def with_value(built: BlockTables, column: str, row: int, value: int, name: str = "rollup_5m") -> pa.Table:
    table = built.tables[name]
    at = table.schema.get_field_index(column)
    field = table.schema.field(at)
    values = table.column(column).to_pylist()
    values[row] = value
    return table.set_column(at, field, pa.array(values, field.type))


def test_rollups_that_were_written_hold(built: BlockTables) -> None:
    assert [one.name for one in built.meta.rollups] == ["rollup_5m", "rollup_1h"]
    assert [len(one.parts) for one in built.meta.rollups] == [2, 2]
    assert len(set(built.tables["rollup_5m"].column("bucket").to_pylist())) > 1
    assert problems(built) == []


@pytest.mark.parametrize(
    ("column", "value", "problem"),
    [
        ("block", 7, "block is not {block} everywhere"),
        ("part", 1, "part is not that of the metadata"),
        ("type", 9, "type is out of range in part 0"),
        ("bucket", 7, "bucket is not where a bucket begins in part 0"),
        (
            "bucket",
            LATER_NS,
            "not sorted by type, bucket and stack, each once in part 0",
        ),
        ("stack", 10**6, "stack is out of range in part 0"),
        ("value", 1, "value is not the sum of the samples in part 0"),
    ],
)
@pytest.mark.parametrize("name", ["rollup_5m", "rollup_1h"])
def test_what_was_changed_is_told(
    built: BlockTables, name: str, column: str, value: int, problem: str
) -> None:
    found = problems(built, **{name: with_value(built, column, 0, value, name)})
    assert f"{name}: {problem.format(block=built.meta.block)}" in found


def test_a_value_in_the_wrong_bucket_is_told_by_samples_and_by_profiles(built: BlockTables) -> None:
    table = built.tables["rollup_5m"]
    buckets = table.column("bucket").to_numpy()
    second = int(np.flatnonzero(buckets != buckets[0])[0])
    value = table.column("value").to_pylist()
    value[0], value[second] = value[0] + 5, value[second] - 5
    moved = table.set_column(5, table.schema.field(5), pa.array(value, pa.int64()))
    assert problems(built, rollup_5m=moved) == [
        "rollup_5m: value is not the sum of the samples in part 0",
        "rollup_5m: value does not add up to the totals of the profiles in part 0",
    ]


def test_values_of_two_stacks_that_were_swapped_are_told(built: BlockTables) -> None:
    """The totals are right."""
    table = built.tables["rollup_5m"]
    value = table.column("value").to_pylist()
    first = built.meta.rollups[0].parts[1][1]
    assert value[first] != value[first + 1]
    value[first], value[first + 1] = value[first + 1], value[first]
    swapped = table.set_column(5, table.schema.field(5), pa.array(value, pa.int64()))
    assert problems(built, rollup_5m=swapped) == ["rollup_5m: value is not the sum of the samples in part 1"]


def without_row(built: BlockTables, row: int) -> tuple[BlockMeta, pa.Table]:
    """Without a row of the last part, and metadata that knows it."""
    table = built.tables["rollup_5m"]
    keep = np.ones(len(table), np.bool_)
    keep[row] = False
    first, *others = built.meta.rollups
    *parts, (part, start, end) = first.parts
    changed = replace(first, rows=first.rows - 1, parts=(*parts, (part, start, end - 1)))
    return replace(built.meta, rollups=(changed, *others)), table.filter(pa.array(keep))


def test_rows_that_are_missing_or_too_many_are_told(built: BlockTables) -> None:
    meta, fewer = without_row(built, len(built.tables["rollup_5m"]) - 1)
    assert problems(built, meta, rollup_5m=fewer) == ["rollup_5m: a sample has no row in part 1"]
    assert problems(built, rollup_5m=fewer) == [
        f"meta.json: the rows of parts are not the {len(fewer)} rows of rollup_5m"
    ]
    table = built.tables["rollup_5m"]
    stacks = built.meta.parts[1].stacks
    last = table.slice(len(table) - 1).to_pylist()[0]
    bucket = {**last, "bucket": last["bucket"] + WIDTH_NS, "stack": stacks[1] - stacks[0] - 1, "value": 0}
    more = pa.concat_tables([table, pa.Table.from_pylist([bucket], tables.ROLLUP)])
    first, *others = built.meta.rollups
    *parts, (part, start, end) = first.parts
    changed = replace(first, rows=first.rows + 1, parts=(*parts, (part, start, end + 1)))
    assert problems(built, replace(built.meta, rollups=(changed, *others)), rollup_5m=more) == [
        "rollup_5m: a row has no samples in part 1"
    ]


def test_metadata_and_files_that_disagree_are_told(built: BlockTables) -> None:
    assert problems(built, replace(built.meta, rollups=built.meta.rollups[:1])) == [
        "rollup_1h: it has a file, and meta.json does not list it"
    ]
    first, *others = built.meta.rollups
    far = replace(first, parts=((7, 0, first.rows),))
    assert problems(built, replace(built.meta, rollups=(far, *others))) == [
        "meta.json: the parts of rollup_5m are not parts of the block in order"
    ]
    wide = built.tables["rollup_5m"].set_column(
        5, "value", built.tables["rollup_5m"].column("value").cast(pa.float64())
    )
    assert problems(built, rollup_5m=wide) == ["rollup_5m: value is double and not int64"]


@given(st.data())
def test_no_change_of_a_number_is_too_much(built: BlockTables, data: st.DataObject) -> None:
    """Whatever is wrong is told, and raises nothing."""
    name = data.draw(st.sampled_from(["rollup_5m", "rollup_1h"]))
    field = data.draw(st.sampled_from(list(tables.ROLLUP)))
    info = np.iinfo(field.type.to_pandas_dtype())
    row = data.draw(st.integers(0, len(built.tables[name]) - 1))
    value = data.draw(st.integers(int(info.min), int(info.max)) | st.integers(0, 12))
    spoilt = with_value(built, field.name, row, value, name)
    is_same = spoilt == built.tables[name]
    assert (problems(built, **{name: spoilt}) == []) == is_same
