"""Every push is answered: whatever its bytes do to the decoder, the disk or the threads."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Future, wait
from pathlib import Path

import pytest

from flameduck.engine.execution.inline import InlineExecutor
from flameduck.engine.head.log import LogFile
from flameduck.engine.ingest.decode import DecodeLimits, Outcome, decode_and_normalise
from flameduck.engine.services import decoding, ingester
from flameduck.engine.services.decoding import Refusals
from flameduck.engine.services.ingester import FlushBounds
from flameduck.schema.errors import Overloaded, Unavailable
from flameduck.schema.profile import Upload
from tests.engine.ingest.made_profiles import made_total, made_upload
from tests.engine.services.ingesting import QUEUE_BYTES, TENANT, Rig

WAIT_S = 30


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """No worker processes: they cost seconds, and faults are put into the decoder here."""
    monkeypatch.setattr(decoding, "LocalExecutor", lambda *_, **__: InlineExecutor())


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path)
    made.ingester.start()
    yield made
    made.ingester.stop()


def push(rig: Rig, *numbers: int) -> Refusals:
    refused: Refusals = rig.ingester.push(TENANT, [made_upload(number) for number in numbers]).result(WAIT_S)
    return refused


def test_what_a_decoder_did_not_foresee_costs_its_own_upload(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(uploads: list[Upload], limits: DecodeLimits, owners: list[int]) -> Outcome:
        if any(upload.labels.get("bad") for upload in uploads):
            raise ZeroDivisionError("no decoder should")
        return decode_and_normalise(uploads, limits, owners)

    monkeypatch.setattr(decoding, "decode_and_normalise", broken)
    answer = rig.ingester.push(TENANT, [made_upload(0), made_upload(1, bad="yes"), made_upload(2)])
    (refused,) = answer.result(WAIT_S)
    assert (refused.origin, refused.reason) == ("made-1", "it broke the decoder: ZeroDivisionError")
    assert not push(rig, 3)
    assert rig.total() == made_total([0, 2, 3])
    assert "decoding 0/0/1 failed" in caplog.text


def test_no_worker_can_be_started(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_memory(*_: object) -> Outcome:
        raise OSError(12, "Cannot allocate memory")

    with monkeypatch.context() as patch:
        patch.setattr(decoding, "decode_and_normalise", no_memory)
        with pytest.raises(Unavailable, match="internal error"):
            push(rig, 0)
    assert not push(rig, 0)
    assert rig.total() == made_total([0])


def test_a_commit_that_fails_in_an_unforeseen_way_is_answered_and_the_next_one_works(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(rig.head, "commit", broken)
        with pytest.raises(Unavailable, match="internal error"):
            push(rig, 0)
    assert not push(rig, 0)


def test_a_flush_that_fails_in_an_unforeseen_way_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = Rig(tmp_path, flush=FlushBounds(age_s=0))
    calls: list[int] = []
    whole = rig.ingester._store_closed

    def broken() -> None:
        calls.append(1)
        if len(calls) < 3:
            raise MemoryError
        whole()

    monkeypatch.setattr(rig.ingester, "_store_closed", broken)
    rig.ingester.start()
    assert not push(rig, 0)
    give_up = time.monotonic() + WAIT_S
    while not rig.live() and time.monotonic() < give_up:
        time.sleep(0.05)
    rig.ingester.stop()
    assert len(rig.live()) == 1


@pytest.mark.parametrize("hurried", ["flush", "stop"])
def test_a_flush_rests_between_tenants_until_somebody_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hurried: str
) -> None:
    # Days, for the milliseconds that a tenant takes.
    monkeypatch.setattr(ingester, "_PAUSE", 1e8)
    rig = Rig(tmp_path)
    for tenant in ("acme", "other", "third"):
        rig.commit(0, tenant=tenant)
    rig.head.rotate()
    rig.ingester.start()
    give_up = time.monotonic() + WAIT_S
    while not rig.stored and time.monotonic() < give_up:
        time.sleep(0.01)
    time.sleep(0.1)
    assert rig.stored == ["acme"]
    begun_s = time.monotonic()
    getattr(rig.ingester, hurried)()
    assert time.monotonic() - begun_s < WAIT_S
    assert rig.stored == ["acme", "other", "third"]
    if hurried == "flush":
        rig.ingester.stop()


class SlowDisk(LogFile):
    """Nothing is synced before the test says so."""

    stuck = False

    def sync(self) -> None:
        while SlowDisk.stuck:
            time.sleep(0.005)
        super().sync()


def push_until_refused(rig: Rig, answers: list[Future[Refusals]], wait_s: float = 0.002) -> None:
    """Push 1, 2, 3 and so on, each a moment after the one before or as soon as that is answered."""
    for number in range(1, 10_000):
        answers.append(rig.ingester.push(TENANT, [made_upload(number)]))
        wait(answers[-1:], wait_s)


def test_a_slow_disk_bounds_what_waits_and_answers_all_of_it(tmp_path: Path) -> None:
    rig = Rig(tmp_path, opened=SlowDisk)
    rig.ingester.start()
    assert not push(rig, 0)
    size_bytes = len(made_upload(0).data)
    SlowDisk.stuck = True
    try:
        answers: list[Future[Refusals]] = []
        with pytest.raises(Overloaded, match=rf"bytes of pushes wait; limit {QUEUE_BYTES}"):
            push_until_refused(rig, answers)
        assert sum(not answer.done() for answer in answers) * size_bytes <= QUEUE_BYTES + 64
        assert rig.total() == made_total([0])
    finally:
        SlowDisk.stuck = False
    assert all(not answer.result(WAIT_S) for answer in answers)
    assert not push(rig, 10_000)
    assert rig.total() == made_total([*range(len(answers) + 1), 10_000])
    rig.ingester.stop()


def test_a_full_head_refuses_until_a_flush_made_room(tmp_path: Path) -> None:
    rig = Rig(tmp_path, flush=FlushBounds(head_bytes=20_000))
    rig.ingester.start()
    answers: list[Future[Refusals]] = []
    with pytest.raises(Overloaded, match=r"the head holds \d+ bytes; limit 20000"):
        push_until_refused(rig, answers, wait_s=WAIT_S)
    rig.ingester.flush()
    assert not push(rig, 0)
    assert rig.total() == made_total(range(len(answers) + 1))
    rig.ingester.stop()


def test_after_a_stop_a_push_is_refused_and_all_before_it_are_answered(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.ingester.start()
    answers = [rig.ingester.push(TENANT, [made_upload(number)]) for number in range(10)]
    rig.ingester.stop()
    assert all(not answer.result(0) for answer in answers)
    with pytest.raises(Unavailable, match="stopping"):
        rig.ingester.push(TENANT, [made_upload(11)])
    assert rig.head.tenants() == set()
    assert rig.total() == made_total(range(10))
