"""Times of profiles that have none: the first of an id stays, within an hour."""

from __future__ import annotations

from flameduck.engine.services.stamps import REMEMBERED_S, Stamps

S = 10**9
START = 1_790_000_000 * S


def test_the_first_time_of_an_id_stays() -> None:
    stamps = Stamps()
    assert stamps.time_ns("acme", "one", START) == START
    assert stamps.time_ns("acme", "one", START + 59 * 60 * S) == START
    assert stamps.time_ns("acme", "two", START + 1) == START + 1
    stamps.close()


def test_tenants_do_not_share_ids() -> None:
    stamps = Stamps()
    stamps.time_ns("acme", "one", START)
    assert stamps.time_ns("other", "one", START + 5) == START + 5
    stamps.close()


def test_without_an_id_it_is_now() -> None:
    stamps = Stamps()
    assert [stamps.time_ns("acme", "", START + n) for n in range(3)] == [START, START + 1, START + 2]
    stamps.close()


def test_an_id_is_remembered_for_an_hour_and_forgotten_after_two() -> None:
    stamps = Stamps()
    hour_ns = REMEMBERED_S * S
    stamps.time_ns("acme", "first", START)
    late = START + hour_ns - S
    stamps.time_ns("acme", "late", late)
    assert stamps.time_ns("acme", "late", late + hour_ns - S) == late
    assert stamps.time_ns("acme", "first", START + 3 * hour_ns) == START + 3 * hour_ns
    stamps.close()


def test_too_many_ids_push_out_the_oldest() -> None:
    stamps = Stamps(most=10)
    for number in range(25):
        stamps.time_ns("acme", str(number), START + number)
    assert stamps.time_ns("acme", "24", START + 100) == START + 24
    assert stamps.time_ns("acme", "0", START + 100) == START + 100
    stamps.close()
