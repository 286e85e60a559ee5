"""Merging leaves every answer as it was, whatever was in which block how often; and says what does not add up."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ulid import ULID

import flameduck
from flameduck.engine.compaction import part as parts
from flameduck.engine.compaction import tries
from flameduck.engine.compaction.stream import merge_into
from flameduck.engine.query.opened import OpenBlock
from flameduck.engine.storage import spill, table_cursor
from flameduck.engine.storage.blocks import MemoryBlock
from flameduck.engine.storage.layout import BlockOrigin, BlockTables
from flameduck.schema.errors import CorruptBlock, Unavailable
from flameduck.schema.proto import profile_pb2
from tests.engine.compaction.made_blocks import Made, built, merge_all, store_of, upload
from tests.engine.ingest.made_profiles import START_NS, STEP_NS, answers, problems

profiles = st.lists(
    st.tuples(st.integers(0, 20), st.integers(0, 3), st.sampled_from(["cart", "checkout"]), st.booleans()),
    min_size=1,
    max_size=8,
    unique=True,
)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(every=profiles, data=st.data())
def test_every_answer_stays(every: list[Made], data: st.DataObject, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any split into blocks, replicas and orders, merged once or twice, a few samples at a time."""
    portions = st.lists(st.sampled_from(every), min_size=1, unique=True)
    blocks = [*data.draw(st.lists(portions, max_size=4)), every]
    monkeypatch.setattr(parts, "PIECE_SAMPLES", data.draw(st.sampled_from([1, 7, 10**6])))
    monkeypatch.setattr(parts, "HELD_SAMPLES", data.draw(st.sampled_from([0, 10**6])))
    monkeypatch.setattr(tries, "FOLD_NODES", data.draw(st.sampled_from([1, 30, 10**6])))
    monkeypatch.setattr(table_cursor, "BATCH_ROWS", data.draw(st.sampled_from([1, 17, 10**6])))
    with TemporaryDirectory() as folder:
        once = store_of(Path(folder, "once"), [every])
        several = store_of(Path(folder, "several"), data.draw(st.permutations(blocks)))
        expected = answers(once)
        assert answers(several) == expected
        merge_all(several)
        assert answers(several) == expected
        store_of(several, data.draw(st.lists(portions, max_size=2)))
        merge_all(several)
        assert answers(several) == expected
        assert problems(several) == []
        with flameduck.open(several) as db:
            (block,) = db.blocks().to_dicts()
            assert block["profiles"] == 2 * len(every)


def test_profiles_without_samples_stay(tmp_path: Path) -> None:
    """First, last, and alone in a block."""
    nothing = upload((0, 0, "cart", False))
    profile = profile_pb2.Profile.FromString(nothing.data)
    del profile.sample[:]
    with flameduck.open(tmp_path) as db:
        for number, empty in enumerate((True, False, True, False, True)):
            profile.time_nanos = START_NS + number * STEP_NS
            data = profile.SerializeToString() if empty else upload((number, number, "cart", True)).data
            assert db.ingest(data, labels={"service_name": "cart"}).new == 1
        expected = answers(tmp_path)
        merge_all(tmp_path)
        assert answers(tmp_path) == expected
        assert db.blocks().to_dicts()[0]["profiles"] == 2 * 5
    assert problems(tmp_path) == []


def test_stacks_are_numbered_by_use(tmp_path: Path) -> None:
    # Every 17th made profile has the same stacks.
    made = [(1, 0, "cart", False), (2, 1, "cart", False), (19, 2, "cart", False), (36, 3, "cart", False)]
    blocks = [OpenBlock(MemoryBlock(built([one]))) for one in made]
    merge_into(tmp_path, blocks, BlockOrigin(str(ULID()), "anonymous"))
    samples = pq.read_table(tmp_path / "samples.parquet").to_pylist()
    stacks = [row["stack"] for row in samples if row["part"] == 0]
    uses = [stacks.count(stack) for stack in range(max(stacks) + 1)]
    assert uses == sorted(uses, reverse=True)
    # A profile of each of two types.
    assert set(uses) == {2 * 3, 2 * 1}


def test_a_sum_that_does_not_add_up_is_no_block(tmp_path: Path) -> None:
    good, bad = built([(0, 0, "cart", False)]), built([(1, 1, "cart", False)])
    samples = bad.tables["samples"]
    at = samples.schema.get_field_index("value")
    values = samples.column("value").to_pylist()
    values[0] += 1
    spoilt = samples.set_column(at, samples.schema.field(at), pa.array(values, pa.int64()))
    blocks = [
        OpenBlock(MemoryBlock(one))
        for one in (good, BlockTables(bad.meta, {**bad.tables, "samples": spoilt}))
    ]
    with pytest.raises(
        CorruptBlock, match=f"block {bad.meta.ulid}: the samples of a profile at .* add up to"
    ):
        merge_into(tmp_path, blocks, BlockOrigin(str(ULID()), "anonymous"))


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    block = OpenBlock(MemoryBlock(built([(0, 0, "cart", False)])))
    with pytest.raises(Unavailable, match="nowhere"):
        merge_into(tmp_path / "nowhere", [block], BlockOrigin(str(ULID()), "anonymous"))
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable, match="file"), spill.work_directory(str(tmp_path / "file")):
        raise AssertionError


def test_work_that_was_abandoned_is_removed(tmp_path: Path) -> None:
    with spill.work_directory(str(tmp_path)) as mine:
        (mine / "samples.parquet").write_text("half")
        # As a process leaves it that is killed: there, and locked by nobody.
        abandoned = tmp_path / f"{spill._PREFIX}gone"
        abandoned.mkdir()
        (abandoned / "samples.parquet").write_text("half")
        (tmp_path / "other").mkdir()
        with spill.work_directory(str(tmp_path)) as again:
            assert sorted(tmp_path.iterdir()) == sorted([mine, again, tmp_path / "other"])
            assert list(mine.iterdir())
    assert list(tmp_path.iterdir()) == [tmp_path / "other"]
