"""Uploads become batches: each is taken or refused by itself, whatever the others are."""

from __future__ import annotations

import gzip
import pickle
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import zstandard

from flameduck.engine.formats import folded_text, pprof
from flameduck.engine.ingest.decode import DecodeLimits, Outcome, decode_and_normalise
from flameduck.engine.normalize.context import DEFAULT_LIMITS
from flameduck.schema.identity import profile_id
from flameduck.schema.profile import RULES, Upload
from flameduck.schema.proto import profile_pb2

LIMITS = DecodeLimits()
FILES = ("go-cpu", "go-heap", "go-mutex", "node-heap")


def message(value: int = 7, time_ns: int = 10**18) -> bytes:
    """A profile of one sample, `main`."""
    made = profile_pb2.Profile(string_table=[b"", b"cpu", b"nanoseconds", b"main"], time_nanos=time_ns)
    made.sample_type.add(type=1, unit=2)
    made.function.add(id=1, name=3)
    made.location.add(id=1).line.add(function_id=1)
    made.sample.add(location_id=[1], value=[value])
    return bytes(made.SerializeToString())


def upload(data: bytes, origin: str = "file", **labels: str) -> Upload:
    return Upload(data, labels, origin)


def totals(outcome: Outcome) -> list[int]:
    """The total of each profile row, in order."""
    return [total for batch, _ in outcome.batches for total in batch.profiles.column("total").to_pylist()]


def test_every_packing_of_a_profile() -> None:
    raw = message()
    packed = [
        raw,
        gzip.compress(raw),
        zstandard.compress(raw),
        gzip.compress(raw[:9]) + gzip.compress(raw[9:]),
    ]
    outcome = decode_and_normalise([upload(data, n=str(n)) for n, data in enumerate(packed)], LIMITS)
    assert (outcome.refused, totals(outcome)) == ([], [7, 7, 7, 7])
    alike = decode_and_normalise([upload(data) for data in packed], LIMITS)
    ids = {one for batch, _ in alike.batches for one in batch.profiles.column("profile_id").to_pylist()}
    assert ids == {profile_id("", {}, raw)}, "a profile is what it holds, not how it is packed"


BAD = {
    "empty": (b"", "the input is empty"),
    "unknown": (b"hello\n", "not a profile of any known format"),
    "corrupt gzip": (gzip.compress(message())[:-5], "gzip: the compressed data ends too early"),
    "corrupt pprof": (message()[:-1], "malformed pprof"),
    "contradiction": (
        message().replace(b"\x0a\x01\x01", b"\x0a\x01\x05"),
        "sample.location_id points at no location",
    ),
    "no time": (message(time_ns=0), "has no time"),
}


def test_refused_uploads_leave_the_others_alone() -> None:
    uploads = [upload(message(1), n="1")]
    for origin, (data, _) in BAD.items():
        uploads += [upload(data, origin), upload(message(2), n=origin)]
    outcome = decode_and_normalise(uploads, LIMITS)
    assert sorted(totals(outcome)) == [1] + [2] * len(BAD)
    refused = {one.origin: one.reason for one in outcome.refused}
    assert refused.keys() == BAD.keys()
    for origin, (_, reason) in BAD.items():
        assert reason in refused[origin]
        assert "\n" not in refused[origin]


def test_the_size_limits() -> None:
    raw = message()
    tight = DecodeLimits(max_inflated_bytes=len(raw) - 1)
    (refused,) = decode_and_normalise([upload(gzip.compress(raw))], tight).refused
    assert refused.reason == f"inflated size: more than the limit of {len(raw) - 1} bytes"
    pushes = DecodeLimits(push=replace(DEFAULT_LIMITS, max_profile_bytes=len(raw) - 1))
    pushed = replace(upload(raw, "push"), rules="pyroscope")
    assert [one.origin for one in decode_and_normalise([upload(raw), pushed], pushes).refused] == ["push"]


def test_both_rules_and_several_formats_at_once() -> None:
    uploads = [
        upload(message()),
        replace(upload(message(8)), rules="pyroscope"),
        replace(upload(b"main;work 3\n"), time_ns=5),
        replace(upload(b"main;work\n"), time_ns=5, input_format="lines"),
        replace(upload(b"main;work 1\n"), time_ns=5, input_format="speech"),
    ]
    outcome = decode_and_normalise(uploads, LIMITS)
    assert sorted(totals(outcome)) == [1, 3, 7, 8]
    rules = [code for batch, _ in outcome.batches for code in batch.profiles.column("rules").to_pylist()]
    assert sorted(rules) == [0, 0, 0, 1]
    assert [one.reason.partition(":")[0] for one in outcome.refused] == ["input format 'speech'"]


def test_a_name_that_is_given() -> None:
    outcome = decode_and_normalise([replace(upload(message()), name="mine"), upload(message())], LIMITS)
    names = {row["name"] for batch, _ in outcome.batches for row in batch.series.to_pylist()}
    assert names == {"mine", "process_cpu"}


def test_ids_depend_on_labels_client_id_and_content() -> None:
    uploads = [
        upload(message()),
        upload(message(), region="eu"),
        upload(message(8)),
        replace(upload(message()), sample_id="x"),
        replace(upload(message()), name="x"),
        upload(message(), "elsewhere", empty=""),
    ]
    outcome = decode_and_normalise(uploads, LIMITS)
    ids = [
        row
        for batch, _ in outcome.batches
        for row in batch.profiles.select(["profile_id", "upload_id"]).to_pylist()
    ]
    assert len(ids) == 6
    assert len({row["profile_id"] for row in ids}) == 5
    assert all(row["profile_id"] == row["upload_id"] for row in ids)


def test_an_identity_stands_for_bytes_that_are_written_differently() -> None:
    one, other = (replace(upload(message(value)), identity="the same") for value in (7, 8))
    uploads = [one, other, replace(one, identity="another"), replace(one, labels={"region": "eu"})]
    batches = decode_and_normalise(uploads, LIMITS).batches
    ids = [row for batch, _ in batches for row in batch.profiles.column("profile_id").to_pylist()]
    assert (len(ids), len(set(ids))) == (4, 3)


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Long inputs that are not long."""
    monkeypatch.setattr(pprof, "LARGE_BYTES", 20_000)
    monkeypatch.setattr(pprof, "SLICE_BYTES", 3_000)
    monkeypatch.setattr(folded_text, "PIECE_BYTES", 200)


@pytest.mark.usefixtures("small_pieces")
def test_pieces_say_each_symbol_once(fixtures: Path) -> None:
    data = (fixtures / "go-heap.pb.gz").read_bytes()
    outcome = decode_and_normalise([upload(message()), upload(data), upload(b"a;b 1\n" * 200)], LIMITS)
    assert outcome.refused[0].reason.startswith("has no time")
    marks = [continues for _, continues in outcome.batches]
    if len(gzip.decompress(data)) > 20_000:
        assert sum(marks) > 3
    for table in ("stacks", "locations", "functions", "mappings"):
        pieces = [batch for batch, _ in outcome.batches if batch.profiles.column("total").to_pylist() != [7]]
        keys = [key for batch in pieces for key in batch.tables()[table].column(0).to_pylist()]
        assert len(keys) == len(set(keys)), table


@pytest.mark.usefixtures("small_pieces")
def test_a_failure_in_a_late_piece_refuses_the_whole_input() -> None:
    text = replace(upload(b"main;work 1\n" * 100 + b"main;work x\n", "bad"), time_ns=5, input_format="folded")
    good = replace(upload(b"main;work 1\n" * 100, "good"), time_ns=5)
    outcome = decode_and_normalise([text, good], LIMITS)
    assert [one.origin for one in outcome.refused] == ["bad"]
    assert sum(totals(outcome)) == 100
    assert [continues for _, continues in outcome.batches] == [False, *[True] * (len(outcome.batches) - 1)]


def test_an_outcome_survives_the_way_between_processes() -> None:
    labelled = profile_pb2.Profile.FromString(message())
    labelled.string_table.extend([b"span_id", b"0102030405060708"])
    labelled.sample[0].label.add(key=1, str=2)
    labelled.sample[0].label.add(key=4, str=5)
    raws = [message(), labelled.SerializeToString()]
    uploads = [replace(upload(raw), rules=rules) for raw in raws for rules in RULES]
    outcome = decode_and_normalise([*uploads, upload(b"", "bad")], LIMITS)
    again = pickle.loads(pickle.dumps(outcome))
    assert (again.refused, again.warnings) == (outcome.refused, outcome.warnings)
    assert len(again.batches) == len(outcome.batches) > 1
    for (one, more), (other, other_more) in zip(outcome.batches, again.batches, strict=True):
        assert more == other_more
        for name, table in one.tables().items():
            assert other.tables()[name].equals(table), name


def mutants(raws: Sequence[bytes], count: int, seed: int) -> Iterator[bytes]:
    """Messages with a few bytes changed, cut, doubled or inserted."""
    source = random.Random(seed)
    for _ in range(count):
        raw = bytearray(source.choice(raws))
        for _ in range(source.randint(1, 6)):
            if not raw:
                break
            at = source.randrange(len(raw))
            change = source.randrange(5)
            if change == 0:
                raw[at] = source.randrange(256)
            elif change == 1:
                del raw[at : at + source.randint(1, 40)]
            elif change == 2:
                raw[at:at] = raw[at : at + source.randint(1, 40)]
            elif change == 3:
                raw[at:at] = source.randbytes(source.randint(1, 12))
            else:
                raw[at] ^= 1 << source.randrange(8)
        yield bytes(raw)


def check_mutants(fixtures: Path, count: int, seed: int) -> int:
    """Decode mutants among good uploads; returns how many were taken."""
    raws = [gzip.decompress((fixtures / f"{name}.pb.gz").read_bytes()) for name in FILES]
    raws += [message(), message(-5)]
    good = [upload(message(value), "good", n=str(value)) for value in (1, 2, 3)]
    taken = 0
    made = list(mutants(raws, count, seed))
    for start in range(0, count, 20):
        bad = [replace(upload(raw, "mutant"), time_ns=1) for raw in made[start : start + 20]]
        began = time.process_time()
        outcome = decode_and_normalise([good[0], *bad[:10], good[1], *bad[10:], good[2]], LIMITS)
        assert time.process_time() - began < 5
        assert {one.origin for one in outcome.refused} <= {"mutant"}
        taken += len(bad) - len(outcome.refused)
        rows = [
            (dict(series["labels"]).get("n"), row["total"])
            for batch, _ in outcome.batches
            for row in batch.profiles.to_pylist()
            for series in batch.series.to_pylist()
            if series["series_id"] == row["series_id"]
        ]
        assert {("1", 1), ("2", 2), ("3", 3)} <= set(rows)
    return taken


def test_mutants_harm_nobody(fixtures: Path) -> None:
    taken = check_mutants(fixtures, 1000, seed=1)
    assert 50 < taken < 950, "some mutants are fine, some are not"


@pytest.mark.nightly
@pytest.mark.timeout(3600)
def test_a_great_many_mutants_harm_nobody(fixtures: Path) -> None:
    for seed in range(100):
        check_mutants(fixtures, 1000, seed)
