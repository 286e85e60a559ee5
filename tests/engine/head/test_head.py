"""The head: committed profiles are there at once, after a flush, and after a restart; once each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from ulid import ULID

from flameduck.engine.database import connect
from flameduck.engine.head import generation as generations
from flameduck.engine.head.frames import decode_frame, encode_frame
from flameduck.engine.head.generation import Pieces, TenantRows
from flameduck.engine.head.head import Head, HeadBatch
from flameduck.engine.head.log import Log, LogFile
from flameduck.engine.ingest.decode import DecodeLimits, decode_and_normalise
from flameduck.engine.query.opened import OpenBlock
from flameduck.engine.query.run import answer
from flameduck.engine.query.snapshot import Snapshot
from flameduck.engine.storage.blocks import MemoryBlock
from flameduck.schema.errors import CorruptBlock, Unavailable
from flameduck.schema.profile import NormalisedBatch
from flameduck.schema.request import Flamegraph, FlamegraphRequest, Selection, TreeQuery
from tests.engine.head.test_log import FullDisk
from tests.engine.ingest.made_profiles import START_NS, STEP_NS, made_total, made_upload


def batches(*numbers: int) -> list[NormalisedBatch]:
    outcome = decode_and_normalise([made_upload(number) for number in numbers], DecodeLimits())
    assert not outcome.refused
    return [batch for batch, _ in outcome.batches]


def commit(head: Head, *numbers: int, tenant: str = "acme") -> None:
    errors = head.commit([HeadBatch(tenant, [batch]) for batch in batches(*numbers)])
    assert errors == [None] * len(errors)


def total(head: Head, tenant: str = "acme") -> int:
    with connect() as database:
        snapshot = Snapshot(head.segments(tenant), lambda: database)
        graph = answer(snapshot, FlamegraphRequest(TreeQuery(Selection(profile_type="cpu"))))
    assert isinstance(graph, Flamegraph)
    return graph.total


def profiles_in(head: Head, tenant: str = "acme") -> int:
    """What the outlines have: every profile is a series of its own time."""
    times: set[int] = set()
    for block in head.outlines(tenant).values():
        rows = block.profiles(np.arange(block.meta.series), None, None)
        times.update(rows.ts.tolist())
    return len(times)


def test_a_frame_holds_a_batch() -> None:
    (batch,) = batches(0, 1)
    tenant, (found, again), applied = decode_frame(encode_frame("acme", [batch, batch], 7))
    assert applied == 7
    assert tenant == "acme"
    assert all(again.tables()[name].equals(table) for name, table in batch.tables().items())
    assert all(found.tables()[name].equals(table) for name, table in batch.tables().items())
    with pytest.raises(CorruptBlock, match="version 9"):
        decode_frame(b"\x09" + encode_frame("acme", [batch])[1:])
    for spoilt in (b"", b"\x01", encode_frame("acme", [batch])[:-40]):
        with pytest.raises(CorruptBlock):
            decode_frame(spoilt)


def test_what_is_committed_is_seen_at_once_by_its_tenant(tmp_path: Path) -> None:
    head = Head(tmp_path / "head")
    commit(head, 0)
    assert total(head) == made_total([0])
    commit(head, 1, 2)
    commit(head, 3, tenant="other")
    assert total(head) == made_total(range(3))
    assert total(head, "other") == made_total([3])
    assert head.tenants() == {"acme", "other"}
    assert head.segments("nobody") == {}


def test_many_questions_between_commits_leave_few_blocks(tmp_path: Path) -> None:
    head = Head(tmp_path / "head")
    for number in range(30):
        commit(head, number)
        assert len(head.segments("acme")) <= 9
    assert total(head) == made_total(range(30))


def test_a_retry_counts_once(tmp_path: Path) -> None:
    head = Head(tmp_path / "head")
    for _ in range(3):
        commit(head, 0, 1)
        assert total(head) == made_total([0, 1])


def test_large_builders_are_put_aside_and_joined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generations, "SEGMENT_SAMPLES", 0)
    head = Head(tmp_path / "head")
    for number in range(30):
        # Every second profile comes twice.
        commit(head, number, number // 2)
        assert profiles_in(head) == number + 1
        assert total(head) == made_total(range(number + 1))
        assert profiles_in(head) == number + 1
        assert 1 <= len(head.segments("acme")) <= generations.MOST_SEGMENTS + 1
    (closed,) = head.rotate()
    built = closed.rows("acme").build(str(ULID()), closed.source)
    assert built is not None
    assert total(head) == made_total(range(30))
    whole = Snapshot({built.meta.ulid: OpenBlock(MemoryBlock(built))}, connect)
    graph = answer(whole, FlamegraphRequest(TreeQuery(Selection(profile_type="cpu"))))
    assert isinstance(graph, Flamegraph)
    assert graph.total == made_total(range(30))


def test_segments_answer_as_the_block_that_they_become(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generations, "SEGMENT_SAMPLES", 0)
    head = Head(tmp_path / "head")
    for number in range(4):
        commit(head, number, number + 1)
        segments = head.segments("acme")
    assert len(segments) > 2
    (closed,) = head.rotate()
    built = closed.rows("acme").build(str(ULID()), closed.source)
    assert built is not None
    for request in (
        FlamegraphRequest(TreeQuery(Selection(profile_type="cpu"))),
        FlamegraphRequest(TreeQuery(Selection(profile_type="cpu"), granularity="line")),
    ):
        whole = answer(Snapshot({built.meta.ulid: OpenBlock(MemoryBlock(built))}, connect), request)
        assert answer(Snapshot(segments, connect), request) == whole


def test_samples_of_a_segment_say_what_their_profiles_say(tmp_path: Path) -> None:
    head = Head(tmp_path / "head")
    commit(head, 0, 1, 2)
    (segment,) = head.segments("acme").values()
    profiles = segment.block.table("profiles", ["part", "series", "ts", "start", "n"]).to_pylist()
    columns = ["block", "part", "series", "ts", "stack", "value"]
    samples = segment.block.table("samples", columns).to_pylist()
    assert len(samples) == segment.meta.samples > 0
    for profile in profiles:
        for sample in samples[profile["start"] : profile["start"] + profile["n"]]:
            said = {name: profile[name] for name in ("part", "series", "ts")}
            assert sample == sample | said | {"block": segment.meta.block}
    for first, last in ((1, len(samples) - 1), (2, 3), (2, 2), (len(samples), len(samples))):
        assert segment.block.table("samples", columns, (first, last)).to_pylist() == samples[first:last]


def test_what_is_out_of_range_is_not_laid_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise AssertionError

    head = Head(tmp_path / "head")
    commit(head, 3, 4)
    first_ns, last_ns = START_NS + 3 * STEP_NS, START_NS + 4 * STEP_NS
    with monkeypatch.context() as unused:
        unused.setattr(generations, "lay_out", fail)
        assert head.segments("acme", None, first_ns) == head.segments("acme", last_ns + 1, None) == {}
    assert len(head.segments("acme", last_ns, last_ns + 1)) == 1
    commit(head, 5)
    (before,) = head.segments("acme", None, first_ns).values()
    assert before.meta.max_ts == last_ns
    (after,) = head.segments("acme", last_ns + 1, None).values()
    assert after.meta.max_ts == last_ns + STEP_NS


def test_what_cannot_be_laid_out_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    head = Head(tmp_path / "head")
    commit(head, 0, 1)
    monkeypatch.setattr(generations, "SEGMENT_SAMPLES", 0)
    with monkeypatch.context() as broken:
        broken.setattr(generations, "lay_out", fail)
        with pytest.raises(MemoryError):
            head.segments("acme")
    commit(head, 2)
    assert total(head) == made_total(range(3))
    commit(head, 3)
    (closed,) = head.rotate()
    with monkeypatch.context() as broken:
        broken.setattr(generations, "lay_out", fail)
        with pytest.raises(MemoryError):
            closed.rows("acme").build(str(ULID()), closed.source)
    assert total(head) == made_total(range(4))
    built = closed.rows("acme").build(str(ULID()), closed.source)
    assert built is not None
    # One of samples and one of CPU time each.
    assert built.meta.profiles == 2 * profiles_in(head) == 8


def test_a_closed_generation_is_seen_until_it_is_dropped(tmp_path: Path) -> None:
    head = Head(tmp_path / "head")
    commit(head, 0)
    (generation,) = head.rotate()
    commit(head, 1)
    built = generation.rows("acme").build(str(ULID()), generation.source)
    assert built is not None
    assert built is generation.rows("acme").build(str(ULID()), generation.source)
    assert built.meta.sources == (generation.source,)
    assert total(head) == made_total([0, 1])
    head.drop(generation)
    assert total(head) == made_total([1])
    assert not generation.path.exists()


def test_a_restart_finds_everything(tmp_path: Path) -> None:
    head = Head(tmp_path / "head")
    commit(head, 0, 1)
    total(head)
    commit(head, 2)
    head.rotate()
    commit(head, 3)
    again = Head(tmp_path / "head")
    assert total(again) == made_total(range(4))
    assert again.closed_generations == 2
    commit(again, 4)
    assert total(again) == made_total(range(5))


def test_a_full_disk_leaves_the_head_as_it_was(tmp_path: Path) -> None:
    FullDisk.full = FullDisk.stuck = False
    head = Head(tmp_path / "head", FullDisk)
    commit(head, 0)
    FullDisk.full = True
    with pytest.raises(Unavailable, match="No space left"):
        commit(head, 1)
    assert total(head) == made_total([0])
    FullDisk.full = False
    commit(head, 2)
    assert total(head) == total(Head(tmp_path / "head")) == made_total([0, 2])


def test_a_log_that_broke_is_followed_by_another(tmp_path: Path) -> None:
    FullDisk.full = FullDisk.stuck = False
    head = Head(tmp_path / "head", FullDisk)
    commit(head, 0)
    FullDisk.full = FullDisk.stuck = True
    with pytest.raises(Unavailable):
        commit(head, 1)
    FullDisk.full = FullDisk.stuck = False
    commit(head, 2)
    assert total(head) == total(Head(tmp_path / "head")) == made_total([0, 2])
    assert len(list((tmp_path / "head").glob("*.log"))) == 2


def test_uploads_of_one_commit_share_symbols(tmp_path: Path) -> None:
    head = Head(tmp_path / "head")
    first, second = batches(0), batches(1)
    head.commit([HeadBatch("acme", [one]) for one in (*first, *second)])
    commit(head, 0, 1, 2)
    assert total(head) == made_total(range(3))


def test_a_head_whose_log_could_not_be_made_makes_another_later(tmp_path: Path) -> None:
    FullDisk.full = FullDisk.stuck = False
    head = Head(tmp_path / "head", FullDisk)
    FullDisk.full = True
    for _ in range(3):
        with pytest.raises(Unavailable, match="the log cannot be made: No space left"):
            commit(head, 0)
    FullDisk.full = False
    commit(head, 0)
    assert total(head) == total(Head(tmp_path / "head")) == made_total([0])


def in_pieces(number: int) -> list[NormalisedBatch]:
    """One profile, cut in two as large ones are: the second piece has half of the samples and no symbols."""
    (batch,) = batches(number)
    empty = NormalisedBatch()
    (n,) = set(batch.profiles.column("n").to_pylist())
    half = n // 2
    place = batch.profiles.schema.get_field_index("n")

    def cut(start: int, count: int) -> dict[str, pa.Table]:
        rows = [batch.samples.slice(at * n + start, count) for at in range(len(batch.profiles))]
        counts = pa.array([count] * len(batch.profiles), batch.profiles.schema.field(place).type)
        profiles = batch.profiles.set_column(place, "n", counts)
        return {"samples": pa.concat_tables(rows), "profiles": profiles}

    return [replace(batch, **cut(0, half)), replace(empty, **cut(half, n - half))]


def test_a_profile_in_pieces_is_whole_after_a_restart(tmp_path: Path) -> None:
    head = Head(tmp_path / "head")
    pieces = in_pieces(3)
    assert head.commit([HeadBatch("acme", pieces)]) == [None]
    assert total(head) == made_total([3])
    (path,) = (tmp_path / "head").glob("*.log")
    whole = path.read_bytes()
    assert total(Head(tmp_path / "head")) == made_total([3])
    for cut in range(len(whole) // 4, len(whole), len(whole) // 7):
        path.write_bytes(whole[:cut])
        assert Head(tmp_path / "head").tenants() == set(), cut


def spoilt(batch: NormalisedBatch) -> NormalisedBatch:
    """The batch with another text behind the hash of its first function."""
    names = batch.functions.column("name").to_pylist()
    place = batch.functions.schema.get_field_index("name")
    changed = pa.array(["another", *names[1:]], batch.functions.schema.field(place).type)
    return replace(batch, functions=batch.functions.set_column(place, "name", changed))


def test_a_collision_costs_its_own_batch_alone_and_never_a_restart(tmp_path: Path) -> None:
    head = Head(tmp_path / "head")
    (first,), (other,) = batches(0), batches(1)
    outcomes = head.commit(
        [HeadBatch("acme", [first]), HeadBatch("acme", [spoilt(first)]), HeadBatch("acme", [other])]
    )
    assert [outcome is None for outcome in outcomes] == [True, False, True]
    assert "hash collision" in str(outcomes[1])
    (late,) = head.commit([HeadBatch("acme", [spoilt(other)])])
    assert "hash collision" in str(late)
    assert total(head) == total(Head(tmp_path / "head")) == made_total([0, 1])


def test_a_log_with_more_than_could_be_read_is_set_aside(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    head = Head(tmp_path / "head")
    commit(head, 0)
    commit(head, 1)
    (path,) = (tmp_path / "head").glob("*.log")
    raw = bytearray(path.read_bytes())
    raw[-5] ^= 1
    path.write_bytes(raw)
    again = Head(tmp_path / "head")
    assert "are no whole frame" in caplog.text
    assert total(again) == made_total([0])
    (generation,) = again.rotate()
    again.drop(generation)
    assert [one.name for one in (tmp_path / "head").iterdir()] == [f"{path.stem}.damaged"]
    assert Head(tmp_path / "head").tenants() == set()


def test_a_log_of_a_newer_version_is_named_and_kept(tmp_path: Path) -> None:
    (batch,) = batches(0)
    newer = b"\x03" + encode_frame("acme", [batch])[1:]
    (tmp_path / "head").mkdir()
    path = tmp_path / "head" / f"{ULID()}.log"
    Log(path).append([newer])
    with pytest.raises(CorruptBlock, match=rf"{path.name}: head frame of version 3"):
        Head(tmp_path / "head")
    assert path.exists()


def test_one_broken_generation_does_not_hide_the_other(tmp_path: Path) -> None:
    head = Head(tmp_path / "head")
    commit(head, 0)
    head.rotate()
    commit(head, 1)
    first, _ = sorted((tmp_path / "head").glob("*.log"))
    first.write_bytes(first.read_bytes()[:-3])
    assert total(Head(tmp_path / "head")) == made_total([1])


def test_memory_is_counted_before_and_after_questions(tmp_path: Path) -> None:
    head = Head(tmp_path / "head")
    for number in range(20):
        commit(head, number)
    before = head.size_bytes
    assert before > 1000
    total(head)
    assert head.size_bytes > before / 2
    (generation,) = head.rotate()
    assert head.open_bytes == 0
    head.drop(generation)
    assert head.size_bytes == 0


class AskingDisk(LogFile):
    """Somebody asks while each commit waits for the disk."""

    ask: Callable[[], object] = staticmethod(lambda: None)

    def sync(self) -> None:
        AskingDisk.ask()
        super().sync()


def test_a_question_while_a_commit_waits_for_the_disk_sees_what_was_there(tmp_path: Path) -> None:
    AskingDisk.ask = staticmethod(lambda: None)
    head = Head(tmp_path / "head", AskingDisk)
    commit(head, 0)
    seen: list[int] = []
    AskingDisk.ask = staticmethod(lambda: seen.append(total(head)))
    commit(head, 1, 2)
    commit(head, 0, 1, 2, 3)
    AskingDisk.ask = staticmethod(lambda: None)
    assert seen == [made_total([0]), made_total(range(3))]
    assert total(head) == total(Head(tmp_path / "head")) == made_total(range(4))


def test_questions_between_the_batches_of_a_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lean = TenantRows.lean

    def asked_first(rows: TenantRows, pieces: Pieces) -> Pieces:
        head.segments("acme")
        return lean(rows, pieces)

    head = Head(tmp_path / "head")
    commit(head, 0, 1)
    monkeypatch.setattr(TenantRows, "lean", asked_first)
    commit(head, 0, 1, 2, 3)
    commit(head, 2, 3, 4)
    monkeypatch.undo()
    assert total(head) == total(Head(tmp_path / "head")) == made_total(range(5))
