"""Locations are what their ids say, and frames what the locations say; a change in either is told."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest

from flameduck.engine.ingest.decode import DecodeLimits, decode_and_normalise
from flameduck.engine.storage.blocks import MemoryBlock
from flameduck.engine.storage.builder import BlockBuilder
from flameduck.engine.storage.invariants import broken_invariants
from flameduck.engine.storage.layout import BlockOrigin, BlockTables
from flameduck.schema.profile import Upload
from flameduck.schema.proto import profile_pb2

LINED, BY_BUILD_ID, BY_FILE, BY_SERVICE, FOLDED = range(5)


def profile_bytes() -> bytes:
    """One stack through a location of each kind: with two lines, by build id, by file, by service, and folded."""
    texts = ["", "cpu", "nanoseconds", "outer", "inner", "main.go", "/lib/built.so", "b0b0", "/lib/plain.so"]
    profile = profile_pb2.Profile(string_table=[text.encode() for text in texts], time_nanos=10**18, period=1)
    profile.sample_type.add(type=1, unit=2)
    profile.mapping.add(id=1, memory_start=4096, memory_limit=8192, file_offset=16, filename=6, build_id=7)
    profile.mapping.add(id=2, memory_start=8192, memory_limit=99999, filename=8)
    for number, name in ((1, 3), (2, 4)):
        profile.function.add(id=number, name=name, filename=5)
    lined = profile.location.add(id=1, mapping_id=1, address=5000)
    lined.line.add(function_id=2, line=7)
    lined.line.add(function_id=1, line=9)
    profile.location.add(id=2, mapping_id=1, address=5000)
    profile.location.add(id=3, mapping_id=2, address=9000)
    profile.location.add(id=4, address=77)
    profile.location.add(id=5, mapping_id=2, address=9100, is_folded=True)
    profile.sample.add(location_id=[5, 4, 3, 2, 1], value=[3])
    profile.sample.add(location_id=[4, 1], value=[5])
    data: bytes = profile.SerializeToString()
    return data


@pytest.fixture(scope="module")
def built() -> BlockTables:
    """The profile under two services, which own a bare address each."""
    uploads = [
        Upload(profile_bytes(), {"service_name": name, "pod": name}, name) for name in ("cart", "till")
    ]
    outcome = decode_and_normalise(uploads, DecodeLimits())
    assert not outcome.refused
    builder = BlockBuilder()
    for batch, continues in outcome.batches:
        builder.add(batch, continues)
    made = builder.build(BlockOrigin("01KBXQ7ZJ0G3Y5N4WQ8T6M2C1D", "acme"))
    assert len(made.meta.parts) == 2
    assert len(made.tables["locations"]) == 6
    return made


def problems(built: BlockTables, **changed: pa.Table) -> list[str]:
    return list(broken_invariants(MemoryBlock(BlockTables(built.meta, {**built.tables, **changed}))))


def changed(table: pa.Table, column: str, row: int, change: Callable[[object], object]) -> pa.Table:
    at = table.schema.get_field_index(column)
    values = table.column(column).to_pylist()
    before = values[row]
    values[row] = change(before)
    assert values[row] != before
    return table.set_column(at, table.schema.field(at), pa.array(values, table.schema.field(at).type))


def row_of(built: BlockTables, which: int) -> int:
    """The location of a kind; of a service's, the first."""
    rows = built.tables["locations"].to_pylist()
    files = built.tables["mappings"].column("build_id").to_pylist()

    def kind(row: dict[str, object]) -> int:
        if row["lines"]:
            return LINED
        if row["is_folded"]:
            return FOLDED
        mapping = row["mapping"]
        assert isinstance(mapping, int)
        if mapping == 0xFFFFFFFF:
            return BY_SERVICE
        return BY_BUILD_ID if files[mapping] else BY_FILE

    return [kind(row) for row in rows].index(which)


def test_what_was_built_holds(built: BlockTables) -> None:
    assert problems(built) == []


@pytest.mark.parametrize("which", [BY_BUILD_ID, BY_FILE, FOLDED])
def test_another_address_is_told(built: BlockTables, which: int) -> None:
    spoilt = changed(built.tables["locations"], "address", row_of(built, which), lambda at: int(str(at)) + 1)
    assert problems(built, locations=spoilt) == ["locations: location_id is not that of the content"]


def test_the_address_is_an_attribute_where_there_are_lines(built: BlockTables) -> None:
    moved = changed(built.tables["locations"], "address", row_of(built, LINED), lambda at: int(str(at)) + 1)
    assert problems(built, locations=moved) == []


def test_another_address_of_a_service_is_told_where_it_is_used(built: BlockTables) -> None:
    row = row_of(built, BY_SERVICE)
    spoilt = changed(built.tables["locations"], "address", row, lambda at: int(str(at)) + 1)
    (problem,) = problems(built, locations=spoilt)
    assert problem.startswith("locations: location_id is not that of the content and the service in part ")


def test_another_line_is_told(built: BlockTables) -> None:
    def later(lines: object) -> object:
        assert isinstance(lines, list)
        return [{**lines[0], "line": 8}, *lines[1:]]

    spoilt = changed(built.tables["locations"], "lines", row_of(built, LINED), later)
    assert problems(built, locations=spoilt) == ["locations: location_id is not that of the content"]


def test_lines_in_another_order_are_told_by_id_and_by_frames(built: BlockTables) -> None:
    def turned(lines: object) -> object:
        assert isinstance(lines, list)
        return lines[::-1]

    spoilt = changed(built.tables["locations"], "lines", row_of(built, LINED), turned)
    assert problems(built, locations=spoilt) == [
        "locations: location_id is not that of the content",
        "frames: they are not those of the locations in part 0",
        "frames: they are not those of the locations in part 1",
    ]


@pytest.mark.parametrize("column", ["filename", "build_id"])
def test_another_file_is_told(built: BlockTables, column: str) -> None:
    build_ids = built.tables["mappings"].column("build_id").to_pylist()
    row = next(number for number, build_id in enumerate(build_ids) if build_id)
    spoilt = changed(built.tables["mappings"], column, row, lambda name: f"{name}x")
    assert "locations: location_id is not that of the content" in problems(built, mappings=spoilt)


def test_an_id_that_was_changed_with_its_stacks_is_told(built: BlockTables) -> None:
    """A location that claims another's id, so that stacks follow from what is wrong."""
    row = row_of(built, BY_FILE)
    spoilt = changed(built.tables["locations"], "location_id", row, lambda one: int(str(one)) ^ 1)
    assert problems(built, locations=spoilt)[0] == "locations: location_id is not that of the content"


def test_frames_of_another_function_are_told(built: BlockTables) -> None:
    frames = built.tables["frames"]
    functions = built.tables["functions"].column("name").to_pylist()
    inner, outer = functions.index("inner"), functions.index("outer")
    row = frames.column("function").to_pylist().index(inner)
    spoilt = changed(frames, "function", row, lambda _: outer)
    first = changed(spoilt, "first", row, lambda _: False)
    assert problems(built, frames=first) == ["frames: they are not those of the locations in part 0"]


def test_a_node_that_is_shown_as_another_frame_is_told(built: BlockTables) -> None:
    nodes = built.tables["stacktraces"]
    frame = nodes.column("frame").to_numpy()
    row = int(np.flatnonzero(frame > 2)[0])
    spoilt = changed(nodes, "frame", row, lambda _: 1)
    assert problems(built, stacktraces=spoilt) == [
        "stacktraces: frame is not that of the locations in part 0"
    ]
