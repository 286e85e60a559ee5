"""speedscope files: stacks, units, names, events; and the same as a Pyroscope server takes them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import flameduck
from flameduck.engine.formats import json_document

from .decoded_stacks import by_frames, by_label, by_names, header, read, reason, totals, types_of

SCHEMA = "https://www.speedscope.app/file-format-schema.json"
SAMPLED = {"type": "sampled", "name": "one", "unit": "none", "startValue": 0, "endValue": 3}
EVENTED = {"type": "evented", "name": "one", "unit": "none", "startValue": 0, "endValue": 3}


def document(*profiles: dict[str, Any], frames: list[Any] | None = None, **more: Any) -> bytes:
    """A file; frames are a to d unless others are given."""
    named = [{"name": name} for name in "abcd"] if frames is None else frames
    return json.dumps({"$schema": SCHEMA, "shared": {"frames": named}, "profiles": profiles} | more).encode()


def sampled(samples: list[list[int]], weights: list[float], **more: Any) -> dict[str, Any]:
    return SAMPLED | {"samples": samples, "weights": weights} | more


def evented(*events: tuple[str, int, float], **more: Any) -> dict[str, Any]:
    listed = [{"type": kind, "frame": frame, "at": at} for kind, frame, at in events]
    return EVENTED | {"events": listed} | more


def test_sampled(shared: Callable[[str], Path]) -> None:
    raw = shared("data/speedscope/two-sampled.speedscope.json").read_bytes()
    (one,) = read("speedscope", raw)
    assert types_of(one) == [("wall", "nanoseconds")]
    assert by_names([one]) == {"a;b;c": 10 * 10**9, "a;b;d": 8 * 10**9, "a;b": 10 * 10**9}
    assert by_label([one], "profile_name") == {"one": 14 * 10**9, "two": 14 * 10**9}
    assert header(one, "duration_nanos") == 14 * 10**9


def test_evented(shared: Callable[[str], Path]) -> None:
    raw = shared("data/speedscope/simple.speedscope.json").read_bytes()
    (one,) = read("speedscope", raw)
    assert types_of(one) == [("samples", "count")]
    assert by_names([one]) == {"a;b;c": 5, "a;b;d": 4, "a;b": 5}


def test_a_recording_of_py_spy(fixtures: Path) -> None:
    path = fixtures / "python-cpu.speedscope.json"
    said = json.loads(path.read_bytes())
    decoded = read("speedscope", path.read_bytes())
    count = sum(len(profile["samples"]) for profile in said["profiles"])
    hundredths = sum(round(weight * 100) for profile in said["profiles"] for weight in profile["weights"])
    assert totals(decoded) == {("samples", "count"): count, ("cpu", "nanoseconds"): hundredths * 10**7}
    threads = {profile["name"]: len(profile["samples"]) for profile in said["profiles"]}
    assert by_label(decoded, "profile_name") == threads
    expected: Counter[tuple[tuple[str, str, int, int], ...]] = Counter()
    frames = [(f["name"], f["file"], f["line"], f["col"] or 0) for f in said["shared"]["frames"]]
    for profile in said["profiles"]:
        for sample in profile["samples"]:
            expected[tuple(frames[at] for at in sample)] += 1
    assert by_frames(decoded) == expected
    assert decoded[0].rows[0].name == "process_cpu"


def test_a_file_goes_in_with_no_flag(fixtures: Path) -> None:
    with flameduck.open("memory://speedscope") as db:
        report = db.ingest([fixtures / "python-cpu.speedscope.json"])
        assert (report.new, report.refused) == (1, ())
        top = db.top(type="cpu").to_dicts()
    assert "spin" in top[0]["function"] or top[0]["function"] == "sign"


UNITS = {
    "nanoseconds": 3,
    "microseconds": 2_500,
    "milliseconds": 2_500_000,
    "seconds": 2_500_000_000,
}


@pytest.mark.parametrize("unit", UNITS)
def test_times_become_nanoseconds(unit: str) -> None:
    weight = 3 if unit == "nanoseconds" else 2.5
    (one,) = read("speedscope", document(sampled([[0]], [weight], unit=unit)))
    assert totals([one]) == {("wall", "nanoseconds"): UNITS[unit]}
    assert one.rows[0].name == "wall"


def test_sizes_and_counts_stay_what_they_are() -> None:
    decoded = read(
        "speedscope",
        document(sampled([[0]], [5], unit="bytes"), sampled([[1]], [2**62]), sampled([[1]], [1])),
    )
    assert [(one.rows[0].name, totals([one])) for one in decoded] == [
        ("memory", {("space", "bytes"): 5}),
        ("process_cpu", {("samples", "count"): 2**62 + 1}),
    ]
    assert len({one.rows[0].part for one in decoded}) == 2


def test_fractions_of_counts_are_rounded_with_a_warning() -> None:
    (one,) = read("speedscope", document(sampled([[0], [1]], [0.5, 1.5])))
    assert by_names([one]) == {"a": 0, "b": 2}
    assert one.warnings == ("profiles[0]: weights that are no whole numbers were rounded",)


def test_times_are_exact() -> None:
    events = [("O", 0, 0.1), ("O", 1, 0.1 + 0.2), ("C", 1, 0.6000000001), ("C", 0, 0.7)]
    (one,) = read("speedscope", document(evented(*events, unit="seconds", startValue=0.1)))
    # 0.1 + 0.2 is 0.30000000000000004, which is 300000000 nanoseconds to the nearest.
    assert by_names([one]) == {"a": 200_000_000 + 100_000_000, "a;b": 300_000_000}
    nanoseconds = 1_700_000_000_000_000_001
    at = [("O", 0, nanoseconds), ("C", 0, nanoseconds + 3)]
    (one,) = read("speedscope", document(evented(*at, unit="nanoseconds", startValue=nanoseconds)))
    assert by_names([one]) == {"a": 3}


def test_a_name_of_ours_is_a_profile_type() -> None:
    kinds = {"memory:inuse_objects:count:space:bytes": "none", "x:delay:nanoseconds::": "nanoseconds"}
    profiles = [
        sampled([[0]], [5], name=f"{kind}{rest}", unit=unit)
        for kind, unit in kinds.items()
        for rest in ("", " Thread 1")
    ]
    decoded = read("speedscope", document(*profiles))
    assert [(one.rows[0].name, types_of(one)) for one in decoded] == [
        ("memory", [("inuse_objects", "count")]),
        ("x", [("delay", "nanoseconds")]),
    ]
    assert by_label(decoded, "profile_name") == {"": 10, "Thread 1": 10}
    (other,) = read("speedscope", document(sampled([[0]], [5], name="a:b:seconds::", unit="none")))
    assert by_label([other], "profile_name") == {"a:b:seconds::": 5}


def test_long_files_come_in_pieces_that_say_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = [[at % 4, (at + 1) % 4] for at in range(500)]
    events = [("O" if at % 2 == 0 else "C", 2, float(at)) for at in range(500)]
    raw = document(
        sampled(samples, list(range(500))), evented(*events), frames=[{"name": f'"{x}[,'} for x in "abcd"]
    )
    whole = read("speedscope", raw)
    monkeypatch.setattr(json_document.array_pieces, "__defaults__", (100,))
    monkeypatch.setattr("flameduck.engine.formats.sample_pieces.PIECE_SAMPLES", 7)
    pieces = read("speedscope", raw)
    assert len(pieces) > 10
    assert [one.continues for one in pieces] == [False] + [True] * (len(pieces) - 1)
    assert by_frames(pieces) == by_frames(whole)


BAD: dict[str, tuple[bytes, str]] = {
    "another schema": (document().replace(SCHEMA.encode(), b"x"), f"$schema is 'x': expected '{SCHEMA}'"),
    "no profiles": (document(), "profiles: there are none"),
    "unequal": (
        document(sampled([[0]], [1, 2])),
        "profiles[0]: unequal numbers of samples (1) and weights (2)",
    ),
    "negative": (document(sampled([[0]], [-1])), "profiles[0].weights: negative weight -1"),
    "frame": (document(sampled([[0, 4]], [1])), "profiles[0].samples: invalid frame 4; there are 4"),
    "frame below": (document(sampled([[-1]], [1])), "profiles[0].samples: invalid frame -1; there are 4"),
    "kind": (document(SAMPLED | {"type": "x"}), "profiles[0].type 'x': expected 'sampled' or 'evented'"),
    "unit": (
        document(sampled([], [], unit="days")),
        "profiles[0].unit 'days': expected one of nanoseconds, microseconds, milliseconds, seconds, bytes, none",
    ),
    "order": (
        document(evented(("O", 0, 2), ("C", 0, 1))),
        "profiles[0].events[1]: events out of order, 1 < 2",
    ),
    "before the start": (
        document(evented(("O", 0, 2), startValue=3)),
        "profiles[0].events[0]: events out of order, 2 < 3",
    ),
    "not on top": (
        document(evented(("O", 0, 1), ("C", 1, 2))),
        "profiles[0].events: closing non-open frame 1 at 2",
    ),
    "nothing open": (document(evented(("C", 1, 2))), "profiles[0].events: no frame is open at 2"),
    "event's frame": (document(evented(("O", 9, 1))), "profiles[0].events: invalid frame 9; there are 4"),
    "too large": (
        document(sampled([[0]], [1e30], unit="seconds")),
        "profiles[0].weights: 1e+30 does not fit 64 bits",
    ),
    "sum too large": (
        document(sampled([[0], [1]], [2**62, 2**62])),
        "sample.value: the sum does not fit 64 bits",
    ),
    "types": (
        document(sampled([["a"]], [1])),  # type: ignore[list-item]
        "JSON: profiles[0].samples: Expected `int`, got `str` - at `$[0][0]`",
    ),
    "cut off": (document(sampled([[0]], [1]))[:-5], "JSON: Input data was truncated"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files_are_refused(case: str) -> None:
    raw, expected = BAD[case]
    assert reason("speedscope", raw) == expected
    # Pushed, numbers count in hundredths, which some of the messages would show.
    if case not in ("sum too large", "before the start"):
        assert reason("speedscope", raw, rules="pyroscope") == expected


def pushed(raw: bytes, service: str = "foo", **said: Any) -> Any:
    return read("speedscope", raw, rules="pyroscope", labels={"service_name": service, "x": "y"}, **said)


def test_pushed_evented(shared: Callable[[str], Path]) -> None:
    (one,) = pushed(shared("data/speedscope/simple.speedscope.json").read_bytes())
    # At 10 kHz, a hundred a unit.
    assert by_names([one]) == {"a;b;c": 500 * 10**5, "a;b;d": 400 * 10**5, "a;b": 500 * 10**5}
    assert (types_of(one), header(one, "period")) == ([("cpu", "nanoseconds")], 10**5)
    assert one.rows[0].labels is None
    assert by_label([one], "profile_name") == {"simple.txt": 1400 * 10**5}


def test_pushed_sampled_of_several(shared: Callable[[str], Path]) -> None:
    (one,) = pushed(shared("data/speedscope/two-sampled.speedscope.json").read_bytes())
    assert (one.rows[0].name, one.rows[0].labels) == ("wall", {"service_name": "foo", "x": "y"})
    assert (types_of(one), header(one, "period")) == ([("wall", "nanoseconds")], 10**7)
    assert by_names([one]) == {"a;b;c": 1000 * 10**7, "a;b;d": 800 * 10**7, "a;b": 1000 * 10**7}
    assert by_label([one], "profile_name") == {"one": 1400 * 10**7, "two": 1400 * 10**7}


def test_pushed_profiles_that_are_equal_are_one() -> None:
    (one,) = pushed(document(sampled([[0]], [1]), sampled([[1]], [2], endValue=9)))
    assert one.rows[0].name == "process_cpu"
    assert by_names([one]) == {"a": 100 * 10**5, "b": 200 * 10**5}
    differ = document(sampled([[0]], [1]), sampled([[1]], [2], startValue=1))
    assert reason("speedscope", differ, rules="pyroscope", labels={"service_name": "foo"}) == (
        "unknown profile type: none (the last part of the service name 'foo.none')"
    )


def test_time_before_an_opening_event_counts_a_hundredth() -> None:
    (one,) = pushed(document(evented(("O", 0, 0), ("O", 1, 3), ("C", 1, 4), ("C", 0, 6))))
    assert by_names([one]) == {"a": (3 + 200) * 10**5, "a;b": 100 * 10**5}


PUSHED = {
    ("seconds", "foo", 0): ("process_cpu", ("cpu", "nanoseconds"), 2_500_000_000, 10**7),
    ("milliseconds", "foo.wall", 0): ("wall", ("wall", "nanoseconds"), 2_500_000, 10**4),
    ("microseconds", "foo", 100): ("process_cpu", ("cpu", "nanoseconds"), 2_500, 10),
    ("nanoseconds", "foo", 0): ("process_cpu", ("cpu", "nanoseconds"), 2, 0),
    ("none", "foo", 1000): ("process_cpu", ("cpu", "nanoseconds"), 250 * 10**6, 10**6),
    ("bytes", "foo.inuse_space", 0): ("memory", ("inuse_space", "bytes"), 2, 0),
    ("bytes", "foo", 0): ("process_cpu", ("samples", "count"), 2, 0),
    ("none", "foo.alloc_objects", 0): ("memory", ("alloc_objects", "count"), 250, 0),
}


@pytest.mark.parametrize(("unit", "service", "rate"), PUSHED)
def test_pushed_units(unit: str, service: str, rate: int) -> None:
    name, kind, value, period = PUSHED[unit, service, rate]
    (one,) = pushed(document(sampled([[0]], [2.5], unit=unit)), service, sample_rate_hz=rate)
    assert (one.rows[0].name, types_of(one), header(one, "period")) == (name, [kind], period)
    assert by_names([one]) == {"a": value}


def test_pushed_names_stay_as_they_are_and_have_no_files() -> None:
    raw = document(sampled([[0]], [1]), frames=[{"name": "_ZN3foo3barEv", "file": "x.cc", "line": 3}])
    (one,) = pushed(raw)
    assert list(by_frames([one])) == [(("_ZN3foo3barEv", "", 0, 0),)]
    (one,) = read("speedscope", raw)
    assert list(by_frames([one])) == [(("foo::bar()", "x.cc", 3, 0),)]


def test_a_profile_that_is_named_has_true_units_also_when_pushed() -> None:
    (one,) = pushed(document(sampled([[0]], [2.5], unit="seconds")), name="block")
    assert totals([one]) == {("wall", "nanoseconds"): 2_500_000_000}
