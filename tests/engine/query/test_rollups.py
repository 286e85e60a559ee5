"""Rollups answer what samples would, to the last unit, and are read where they can be."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ulid import ULID

import flameduck
from flameduck.engine.compaction import rollup as rolling
from flameduck.engine.compaction import rollup_cells, waiting_rows
from flameduck.engine.compaction.plan import MergeJob
from flameduck.engine.compaction.run import replace_blocks
from flameduck.engine.embedded import StoreDatabase
from flameduck.engine.ingest.decode import DecodeLimits, decode_and_normalise
from flameduck.engine.query import rollups, source, stack_totals
from flameduck.engine.query.opened import OpenBlock
from flameduck.engine.query.stack_totals import TimeRange
from flameduck.engine.storage import table_files
from flameduck.engine.storage.blocks import write_block
from flameduck.engine.storage.builder import BlockBuilder
from flameduck.engine.storage.catalog import Catalog
from flameduck.engine.storage.layout import BlockOrigin
from flameduck.engine.storage.objects import open_objects
from flameduck.schema import tables
from flameduck.schema.block import BlockMeta
from flameduck.schema.catalog import entry_of
from flameduck.schema.errors import UnknownType
from flameduck.schema.profile import Upload
from flameduck.schema.proto import profile_pb2
from tests.engine.ingest.made_profiles import made_profile, problems

MINUTE_NS = 60 * 10**9
HOUR_NS = 60 * MINUTE_NS
HOUR_0 = 486_111 * HOUR_NS
SPAN_NS = 3 * HOUR_NS + 700 * 10**9
KINDS = ["cpu", "samples"]


def upload(chance: random.Random, number: int) -> Upload:
    """A profile of some service and pod at some time of three hours; some have values below zero."""
    profile = profile_pb2.Profile.FromString(made_profile(number % 23))
    # Times on the borders of buckets as well.
    profile.time_nanos = HOUR_0 + chance.choice(
        [chance.randrange(SPAN_NS), chance.randrange(40) * 5 * MINUTE_NS]
    )
    if number % 5 == 0:
        for sample in profile.sample:
            sample.value[1] = -sample.value[1]
    labels = {
        "service_name": chance.choice(["cart", "checkout", "rare"][: 2 + (number % 9 == 0)]),
        "pod": f"pod-{number % 3}",
    }
    return Upload(profile.SerializeToString(), labels, f"made-{number}")


@dataclass(frozen=True)
class Pair:
    """The same profiles in small blocks, and compacted with rollups of every part."""

    plain: Path
    rolled: Path


def make_pair(folder: Path, seed: int, profiles: int, blocks: int) -> Pair:
    chance = random.Random(seed)
    uploads = [upload(chance, number) for number in range(profiles)]
    for name in ("plain", "rolled"):
        objects = open_objects(str(folder / name))
        metas = []
        for start in range(blocks):
            outcome = decode_and_normalise(uploads[start::blocks], DecodeLimits())
            assert not outcome.refused
            builder = BlockBuilder()
            for batch, continues in outcome.batches:
                builder.add(batch, continues)
            metas.append(write_block(objects, builder.build(BlockOrigin(str(ULID()), "anonymous", level=0))))
        Catalog(objects, "anonymous").commit([entry_of(meta) for meta in metas], [], "test")
    with flameduck.open(folder / "rolled") as db:
        assert isinstance(db.database, StoreDatabase)
        store = db.database.blocks
        ulids = tuple(block.ulid for block in store.live_blocks())
        half = len(ulids) // 2
        for some in (ulids[:half], ulids[half:]) if half else (ulids,):
            meta = replace_blocks(store, MergeJob(some, 1), "test")
            assert meta is not None
            assert [one.name for one in meta.rollups] == ["rollup_5m", "rollup_1h"]
    return Pair(folder / "plain", folder / "rolled")


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> list[Pair]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rolling, "SMALLER", 1)
        patch.setattr(rolling, "SMALLER_THAN_NARROWER", 1)
        made = [
            make_pair(tmp_path_factory.mktemp("one"), 1, 60, 1),
            make_pair(tmp_path_factory.mktemp("several"), 2, 90, 4),
        ]
    return made


class Reads:
    """Counts the rollups that are read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rollups: list[str] = []
        read = rollups.rollup_totals

        def counted(block: OpenBlock, scan: rollups.RollupScan) -> stack_totals.StackTotals:
            self.rollups.append(scan.rollup)
            return read(block, scan)

        monkeypatch.setattr(source, "rollup_totals", counted)


QUESTIONS: dict[str, Callable[[Any, dict[str, Any]], object]] = {
    "flamegraph": lambda db, asked: db.flamegraph(max_nodes=0, **asked).data,
    "top": lambda db, asked: sorted(db.top(limit=0, **asked).fetchall()),
    "tree": lambda db, asked: db.tree(**asked).fetchall(),
    "lines": lambda db, asked: sorted(db.top(limit=0, granularity="line", **asked).fetchall()),
    "focus": lambda db, asked: sorted(db.top(limit=0, focus="f1", **asked).fetchall()),
    "folded": lambda db, asked: sorted(db.export(format="folded", **asked).splitlines()),
    "average": lambda db, asked: sorted(db.top(limit=0, aggregate="avg", **asked).fetchall()),
    "delta": lambda db, asked: sorted(db.top(limit=0, delta=True, **asked).fetchall()),
}


def answer(question: Callable[[Any, dict[str, Any]], object], db: object, asked: dict[str, Any]) -> object:
    """The answer, or the words of its refusal: in some ranges there is no profile of a type."""
    try:
        return question(db, asked)
    except UnknownType as error:
        return str(error)


SELECTORS = ["{}", '{service_name="cart"}', '{service_name=~"cart|rare"}', '{pod="pod-1"}', '{pod!="pod-9"}']
moments = st.one_of(
    st.none(),
    st.integers(-10 * MINUTE_NS, SPAN_NS),
    st.integers(-2, 40).map(lambda bucket: bucket * 5 * MINUTE_NS),
    st.integers(-1, 4).map(lambda hour: hour * HOUR_NS),
)


@pytest.mark.parametrize("reader", ["numpy", "duckdb"])
def test_every_answer_is_that_of_the_samples(
    pairs: list[Pair], reader: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = Reads(monkeypatch)
    if reader == "duckdb":
        monkeypatch.setattr(stack_totals, "_FEW_ROWS", 0)
    with ExitStack() as stack:
        opened = [
            [stack.enter_context(flameduck.open(path)) for path in (one.plain, one.rolled)] for one in pairs
        ]

        @settings(max_examples=120, deadline=None)
        @given(
            number=st.integers(0, len(pairs) - 1),
            question=st.sampled_from(sorted(QUESTIONS)),
            selector=st.sampled_from(SELECTORS),
            kind=st.sampled_from(KINDS),
            bounds=st.tuples(moments, moments),
        )
        def ask(
            number: int, question: str, selector: str, kind: str, bounds: tuple[int | None, int | None]
        ) -> None:
            start, end = (None if one is None else HOUR_0 + one for one in bounds)
            if start is not None and end is not None and start >= end:
                start, end = end, start + 1
            asked = {"selector": selector, "type": kind, "start": start, "end": end}
            plain, rolled = (answer(QUESTIONS[question], db, asked) for db in opened[number])
            assert rolled == plain

        ask()
    assert set(reads.rollups) == {"rollup_5m", "rollup_1h"}


def test_blocks_with_rollups_hold(pairs: list[Pair]) -> None:
    for pair in pairs:
        assert problems(pair.rolled) == []


def divided(pair: Pair, selector: str, start_ns: int | None, end_ns: int | None) -> rollups.Divided:
    """What is read of the one block of a pair for CPU."""
    from flameduck.engine.query.snapshot import Snapshot, resolve
    from flameduck.schema.request import Selection

    with flameduck.open(pair.rolled) as db:
        assert isinstance(db.database, StoreDatabase)
        (block,) = db.database.blocks.live_blocks()
        snapshot = Snapshot({block.ulid: block}, lambda: pytest.fail("DuckDB was asked"))
        plan = resolve(snapshot, Selection(selector, "cpu", start_ns, end_ns)).plan
        (scan,) = plan.scans
        return rollups.divide(block, scan, TimeRange(start_ns, end_ns))


def times(found: rollups.Divided) -> list[tuple[str, float | None, float | None]]:
    """What is read of the first part, in minutes after the beginning."""

    def minutes(time: TimeRange) -> tuple[float | None, float | None]:
        start, end = (
            None if one is None else (one - HOUR_0) / MINUTE_NS for one in (time.start_ns, time.end_ns)
        )
        return start, end

    read = [(one.rollup, *minutes(one.time)) for one in found.rollups if one.part == 0]
    return read + [("samples", *minutes(time)) for scan, time in found.samples if scan.parts[0].part == 0]


def test_all_of_a_block_is_read_from_its_widest_rollup(pairs: list[Pair]) -> None:
    assert times(divided(pairs[0], "{}", None, None)) == [("rollup_1h", None, None)]
    assert times(divided(pairs[0], "{}", HOUR_0 - HOUR_NS, None)) == [("rollup_1h", None, None)]


def test_a_range_is_whole_buckets_and_edges(pairs: list[Pair]) -> None:
    start, end = HOUR_0 + 49 * MINUTE_NS, HOUR_0 + 126 * MINUTE_NS
    assert times(divided(pairs[0], '{service_name="cart"}', start, end)) == [
        ("rollup_5m", 50, 60),
        ("rollup_1h", 60, 120),
        ("rollup_5m", 120, 125),
        ("samples", 49, 50),
        ("samples", 125, 126),
    ]


@pytest.mark.parametrize(
    ("selector", "minutes", "reason"),
    [
        ('{service_name="cart",pod="pod-1"}', (0, 120), rollups.NOT_EVERY_SERIES),
        ('{service_name="cart"}', (61, 64), rollups.NO_WHOLE_BUCKET),
        ('{service_name="cart"}', (51, 64), rollups.MOSTLY_EDGES),
    ],
)
def test_what_no_rollup_serves_is_read_from_samples(
    pairs: list[Pair], selector: str, minutes: tuple[int, int], reason: str
) -> None:
    start_ns, end_ns = (HOUR_0 + one * MINUTE_NS for one in minutes)
    found = divided(pairs[0], selector, start_ns, end_ns)
    assert found.rollups == ()
    assert [(scan.parts[0].part, time) for scan, time in found.samples] == [(0, TimeRange(start_ns, end_ns))]
    assert found.reasons == ((0, reason),)


def test_copies_are_not_counted_with_rollups(pairs: list[Pair], tmp_path: Path) -> None:
    """Profiles that another block has too are taken away from the sums of one of them."""
    import shutil

    shutil.copytree(pairs[0].rolled, tmp_path / "store")
    with flameduck.open(tmp_path / "store") as db, flameduck.open(pairs[0].plain) as plain:
        assert isinstance(db.database, StoreDatabase)
        expected = db.flamegraph(type="cpu").data
        store = db.database.blocks
        (block,) = store.live_blocks()
        assert isinstance(plain.database, StoreDatabase)
        (other,) = plain.database.blocks.live_blocks()
        shutil.copytree(
            pairs[0].plain / "anonymous" / "blocks" / other.ulid,
            tmp_path / "store" / "anonymous" / "blocks" / other.ulid,
        )
        store.catalog.commit([entry_of(other.meta)], [], "test")
        assert len(store.live_blocks()) == 2
        assert db.flamegraph(type="cpu").data == expected
        assert block.meta.rollups


def test_a_part_of_few_profiles_a_bucket_has_no_rollup(tmp_path: Path) -> None:
    """Profiles of one hour add up in its bucket; one every two hours would be copied."""
    dense, sparse = made_profile(1), made_profile(2)
    uploads = []
    for number in range(40):
        for data, service, step_ns in ((dense, "dense", 60 * 10**9), (sparse, "sparse", 2 * HOUR_NS)):
            profile = profile_pb2.Profile.FromString(data)
            profile.time_nanos = HOUR_0 + number * step_ns
            uploads.append(Upload(profile.SerializeToString(), {"service_name": service}, service))
    with flameduck.open(tmp_path) as db:
        db.ingest(uploads)
        assert isinstance(db.database, StoreDatabase)
        store = db.database.blocks
        meta = replace_blocks(store, MergeJob((store.live_blocks()[0].ulid,)), "test")
        assert meta is not None
        # Two types of six stacks each: eight buckets of five minutes, one of an hour.
        assert [(one.name, one.rows, one.parts) for one in meta.rollups] == [
            ("rollup_5m", 8 * 12, ((0, 0, 96),)),
            ("rollup_1h", 12, ((0, 0, 12),)),
        ]
        assert meta.files["rollup_1h.parquet"].size_bytes < meta.files["rollup_5m.parquet"].size_bytes
    assert problems(tmp_path) == []


def test_no_rollup_is_written_where_none_is_worth_it(tmp_path: Path) -> None:
    with flameduck.open(tmp_path) as db:
        db.ingest([Upload(made_profile(number), {"service_name": "made"}, "made") for number in range(2)])
        assert isinstance(db.database, StoreDatabase)
        store = db.database.blocks
        meta = replace_blocks(store, MergeJob((store.live_blocks()[0].ulid,)), "test")
        assert meta is not None
    assert meta.rollups == ()
    assert not [name for name in meta.files if name.startswith("rollup")]


def test_a_sum_that_no_64_bits_hold_makes_no_rollup(tmp_path: Path) -> None:
    uploads = []
    for number in range(40):
        profile = profile_pb2.Profile.FromString(made_profile(1))
        profile.time_nanos = HOUR_0 + number * 10**9
        for sample in profile.sample:
            sample.value[1] = 2**60
        uploads.append(Upload(profile.SerializeToString(), {"service_name": "made"}, "made"))
    with flameduck.open(tmp_path) as db:
        db.ingest(uploads)
        assert isinstance(db.database, StoreDatabase)
        store = db.database.blocks
        meta = replace_blocks(store, MergeJob((store.live_blocks()[0].ulid,)), "test")
        assert meta is not None
        assert meta.rollups == ()
    assert problems(tmp_path) == []


def many_a_bucket() -> list[Upload]:
    """Profiles of one service in four hours, most of which have two neighbours in their bucket."""
    uploads = []
    for number in range(120):
        profile = profile_pb2.Profile.FromString(made_profile(number % 3))
        profile.time_nanos = HOUR_0 + number * 2 * MINUTE_NS
        uploads.append(Upload(profile.SerializeToString(), {"service_name": "made"}, f"made {number}"))
    return uploads


def rolled_up(folder: Path) -> tuple[BlockMeta, dict[str, pa.Table]]:
    """The rollups of a block of these profiles, without the block's own number."""
    with flameduck.open(folder) as db:
        db.ingest(many_a_bucket())
        assert isinstance(db.database, StoreDatabase)
        store = db.database.blocks
        meta = replace_blocks(store, MergeJob((store.live_blocks()[0].ulid,)), "test")
        assert meta is not None
        block = store.block(meta.ulid).block
        return meta, {one.name: block.table(one.name, tables.ROLLUP.names[1:]) for one in meta.rollups}


def test_an_hour_at_a_time_gives_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rolling, "SMALLER", 1)
    _, whole = rolled_up(tmp_path / "whole")
    assert set(whole) == {"rollup_5m", "rollup_1h"}
    monkeypatch.setattr(rollup_cells, "MOST_CELLS", 1)
    monkeypatch.setattr(waiting_rows, "HELD_ROWS", 20)
    monkeypatch.setattr(table_files, "ROW_GROUP_ROWS", 100)
    monkeypatch.setattr(table_files, "OWN_GROUP_ROWS", 1)
    _, by_hours = rolled_up(tmp_path / "hours")
    assert by_hours == whole
    assert problems(tmp_path / "hours") == []


@pytest.mark.parametrize("held", [1, 10**6])
def test_the_wider_rollup_stands_alone_where_the_narrower_is_too_large(
    tmp_path: Path, held: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting_rows, "HELD_ROWS", held)
    meta, _ = rolled_up(tmp_path)
    assert [one.name for one in meta.rollups] == ["rollup_1h"]
    assert [name for name in meta.files if "waiting" in name] == []


def test_a_part_with_more_stacks_than_fit_has_no_rollup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rolling, "MOST_CELLS", 10)
    assert rolled_up(tmp_path)[0].rollups == ()
