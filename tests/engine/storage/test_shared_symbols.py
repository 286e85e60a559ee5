"""Builders that share their symbols make the blocks that each makes with its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from ulid import ULID

from flameduck.engine.database import connect
from flameduck.engine.ingest.decode import DecodeLimits, decode_and_normalise
from flameduck.engine.query.opened import OpenBlock
from flameduck.engine.query.run import answer
from flameduck.engine.query.snapshot import Snapshot
from flameduck.engine.storage import numbering
from flameduck.engine.storage.blocks import MemoryBlock
from flameduck.engine.storage.builder import BlockBuilder, CollectedSymbols
from flameduck.engine.storage.layout import TRIES, BlockOrigin, BlockTables, lay_out
from flameduck.schema.proto import profile_pb2
from flameduck.schema.request import Answer, FlamegraphRequest, Selection, TreeQuery
from tests.engine.ingest.made_profiles import made_profile, made_upload

EVERYTHING = FlamegraphRequest(TreeQuery(Selection(profile_type="cpu")))
ORIGIN = BlockOrigin(str(ULID()), "acme")
MINE, THEIRS = range(5, 25), [*range(8), *range(20, 40)]


def add(builder: BlockBuilder, numbers: Sequence[int]) -> None:
    """Profiles, each of a service and with a sample label of its own."""
    for number in numbers:
        profile = profile_pb2.Profile.FromString(made_profile(number))
        text = len(profile.string_table)
        profile.string_table.extend([b"thread", str(number).encode()])
        for sample in profile.sample:
            sample.label.add(key=text, str=text + 1)
        upload = made_upload(number, service_name=f"service-{number:02}")
        outcome = decode_and_normalise([replace(upload, data=profile.SerializeToString())], DecodeLimits())
        ((batch, _),) = outcome.batches
        builder.add(batch)


def graph(built: BlockTables) -> Answer:
    """The flame graph of a block."""
    with connect() as database:
        snapshot = Snapshot({built.meta.ulid: OpenBlock(MemoryBlock(built))}, lambda: database)
        return answer(snapshot, EVERYTHING)


@pytest.mark.parametrize("small_rows", [0, 8, 1 << 11])
def test_a_block_holds_what_its_own_profiles_refer_to(
    small_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Symbols in many chunks, in some, or in one.
    monkeypatch.setattr(numbering, "_SMALL_ROWS", small_rows)
    symbols = CollectedSymbols()
    shared, other, own = BlockBuilder(symbols), BlockBuilder(symbols), BlockBuilder()
    for first, second in zip(MINE, THEIRS, strict=False):
        add(other, [second])
        add(shared, [first])
    add(own, MINE)
    laid_out = lay_out(shared.collected(), ORIGIN)
    built, expected = laid_out.finish(), own.build(ORIGIN)
    assert built.tables["index"].equals(expected.tables["index"])
    for name in ("profiles", "samples"):
        # Stacks and label sets are numbered in order of arrival.
        facts = [field for field in expected.tables[name].column_names if field not in ("stack", "labelset")]
        assert built.tables[name].select(facts).equals(expected.tables[name].select(facts))
    assert set(built.tables["labelsets"].column("labelset_id").to_pylist()) == set(
        expected.tables["labelsets"].column("labelset_id").to_pylist()
    )
    assert graph(built) == graph(expected)
    for part in laid_out.meta.parts:
        alone = laid_out.part_tables(part.part)
        for name in TRIES:
            whole = built.tables[name]
            mine = [number == part.part for number in whole.column("part").to_pylist()]
            assert alone[name].equals(whole.filter(mine))


def test_what_several_builders_collected_is_joined() -> None:
    symbols = CollectedSymbols()
    parts = [BlockBuilder(symbols) for _ in range(3)]
    for number in range(30):
        add(parts[number % 3], [number, number // 2])
    joined, own = BlockBuilder(symbols), BlockBuilder()
    for one in parts:
        joined.add_collection(one.collected())
    add(own, range(30))
    built = joined.build(ORIGIN)
    # A profile that comes again is a copy, whichever builder had it.
    assert built.tables["index"].equals(own.build(ORIGIN).tables["index"])
    assert built.meta.profiles == 2 * 30
