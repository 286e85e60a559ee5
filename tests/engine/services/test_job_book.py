"""The book of jobs: which is next, what a failure costs, and how many there may be. And what there is to do at all."""

from __future__ import annotations

import pytest

from flameduck.engine.compaction.plan import MergePolicy
from flameduck.engine.compaction.retention import Retention
from flameduck.engine.services.job import Amount, JobRules, Step
from flameduck.engine.services.job_book import (
    BY_REQUEST,
    BY_SCHEDULE,
    KEPT,
    LONGEST_PAUSE_S,
    MOST_QUEUED,
    REQUESTS_A_MINUTE,
    JobBook,
)
from flameduck.engine.services.job_plan import plan_kinds
from flameduck.schema.catalog import BlockEntry, CatalogState
from flameduck.schema.errors import Overloaded

HOUR_NS = 3600 * 10**9
SECOND_NS = 10**9


class Clock:
    """Nanoseconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now_ns = HOUR_NS

    def __call__(self) -> int:
        return self.now_ns


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def book(clock: Clock) -> JobBook:
    return JobBook(clock)


def taken(book: JobBook) -> list[tuple[str, str]]:
    """All that is due, in its order."""
    found = []
    while job := book.take():
        found.append((job.tenant, job.kind))
    return found


def test_what_is_quick_comes_first_and_then_what_came_first(book: JobBook, clock: Clock) -> None:
    for tenant, kind in (("b", "sweep"), ("b", "compact"), ("a", "compact"), ("a", "merge"), ("b", "expire")):
        clock.now_ns += 1
        book.add(tenant, kind, BY_SCHEDULE)
    assert taken(book) == [
        ("a", "merge"),
        ("b", "expire"),
        ("b", "compact"),
        ("a", "compact"),
        ("b", "sweep"),
    ]


def test_no_kind_waits_for_ever(book: JobBook, clock: Clock) -> None:
    book.add("a", "sweep", BY_SCHEDULE)
    clock.now_ns += 361 * SECOND_NS
    book.add("a", "merge", BY_SCHEDULE)
    clock.now_ns += 1
    assert taken(book) == [("a", "sweep"), ("a", "merge")]


def test_problems_are_bounded(book: JobBook) -> None:
    job, _ = book.add("a", "sweep", BY_SCHEDULE)
    for number in range(300):
        book.note(job, Step(Amount(), problems={f"B{number}": "no permission"}))
    assert len(job.problems) == 100


def test_there_is_one_of_a_kind(book: JobBook) -> None:
    first, is_new = book.add("a", "compact", BY_SCHEDULE)
    assert is_new
    assert book.add("a", "compact", BY_REQUEST) == (first, False)
    assert book.take() is first
    assert book.add("a", "compact", BY_REQUEST) == (first, False)
    book.finish(first)
    assert book.add("a", "compact", BY_SCHEDULE)[1]


def test_a_job_that_fails_waits_longer_each_time(book: JobBook, clock: Clock) -> None:
    job, _ = book.add("a", "compact", BY_SCHEDULE)
    pauses = []
    for _ in range(15):
        assert book.take() is job
        pauses.append(book.retry(job, "why"))
        assert book.take() is None
        clock.now_ns = job.retry_ns
    assert all(4 * 2**at <= pause <= 6 * 2**at for at, pause in enumerate(pauses[:9]))
    assert all(0.8 * LONGEST_PAUSE_S <= pause <= 1.2 * LONGEST_PAUSE_S for pause in pauses[10:])
    assert (job.attempts, job.error) == (15, "why")
    book.take()
    book.finish(job)
    assert (job.state, job.error, job.retry_ns) == ("done", "", 0)


def test_who_asks_does_not_wait_for_a_failure_to_be_over(book: JobBook) -> None:
    job, _ = book.add("a", "compact", BY_SCHEDULE)
    book.take()
    book.retry(job, "why")
    book.add("a", "compact", BY_SCHEDULE)
    assert book.take() is None
    book.add("a", "compact", BY_REQUEST)
    assert book.take() is job


def test_there_are_not_too_many(book: JobBook, clock: Clock) -> None:
    for number in range(MOST_QUEUED):
        book.add(f"t{number}", "compact", BY_SCHEDULE)
    with pytest.raises(Overloaded, match="1000 jobs wait already"):
        book.add("one-more", "compact", BY_SCHEDULE)
    while job := book.take():
        book.finish(job)
    assert len(book.listed(None, id)) == KEPT
    for _ in range(REQUESTS_A_MINUTE):
        book.finish(book.add("a", "compact", BY_REQUEST)[0])
    with pytest.raises(Overloaded, match="a asked for 10 jobs within a minute"):
        book.add("a", "compact", BY_REQUEST)
    book.add("b", "compact", BY_REQUEST)
    book.add("a", "compact", BY_SCHEDULE)
    clock.now_ns += 61 * SECOND_NS
    book.add("a", "merge", BY_REQUEST)


def test_what_has_more_to_do_lets_others_go_first(book: JobBook, clock: Clock) -> None:
    first, _ = book.add("a", "compact", BY_SCHEDULE)
    clock.now_ns += 1
    second, _ = book.add("b", "compact", BY_SCHEDULE)
    clock.now_ns += 1
    assert book.take() is first
    book.put_back(first)
    assert book.take() is second
    assert book.take() is first
    assert first.attempts == 1


def test_what_is_told(book: JobBook) -> None:
    first, _ = book.add("a", "compact", BY_SCHEDULE)
    book.take()
    book.note(first, Step(Amount(3, 30, 300, 3000), Amount(1, 20, 200, 2000), 1, "X"))
    book.note(first, Step(Amount(), problems={"Y": "is broken"}))
    book.finish(first)
    second, _ = book.add("b", "sweep", BY_REQUEST)
    assert book.listed(None, lambda job: job.ulid) == [second.ulid, first.ulid]
    assert book.listed("a", lambda job: job.ulid) == [first.ulid]
    assert (first.state, first.before, first.after.samples) == ("partly", Amount(3, 30, 300, 3000), 200)
    assert (book.count("queued"), book.count("running")) == (1, 0)


def entry(number: int, hour: int, size_bytes: int = 60) -> BlockEntry:
    start_ns = hour * HOUR_NS
    return BlockEntry(f"B{number:03d}", 0, start_ns, start_ns + 1, 1, 1, size_bytes)


@pytest.mark.parametrize(
    ("entries", "rules", "left_alone", "kinds"),
    [
        ([], {}, (), []),
        # An hour that goes on: eight small blocks become one.
        ([entry(number, 10) for number in range(8)], {}, (), ["merge"]),
        ([entry(number, 10) for number in range(7)], {}, (), []),
        ([entry(number, 10) for number in range(8)], {}, ("B003",), []),
        # One that is over: its level takes them, and they are not merged before.
        ([entry(number, 3) for number in range(8)], {}, (), ["compact"]),
        ([entry(number, 3) for number in range(8)], {"has_levels": False}, (), ["merge", "compact"]),
        ([entry(number, 3) for number in range(2)], {"grace_ns": 9 * HOUR_NS}, (), []),
        ([entry(1, 3), entry(2, 10)], {"retention": Retention(max_age_ns=5 * HOUR_NS)}, (), ["expire"]),
        # What does not hold is given up all the same.
        ([entry(1, 3), entry(2, 10)], {"retention": Retention(max_bytes=60)}, ("B001", "B002"), ["expire"]),
        ([entry(1, 3), entry(2, 10)], {"retention": Retention(11 * HOUR_NS, 120)}, (), []),
    ],
)
def test_what_there_is_to_do(
    entries: list[BlockEntry], rules: dict[str, object], left_alone: tuple[str, ...], kinds: list[str]
) -> None:
    state = CatalogState(1, {one.ulid: one for one in entries})
    said: dict[str, object] = {
        "merge": MergePolicy(),
        "has_levels": True,
        "grace_ns": 0,
        "retention": Retention(),
        "sweep_older_ns": 0,
        **rules,
    }
    assert plan_kinds(state, JobRules(**said), left_alone, 10 * HOUR_NS + 5) == kinds  # type: ignore[arg-type]
