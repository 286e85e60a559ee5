"""pprof: two decoders that agree, hostile messages that harm nobody, large ones in slices."""

from __future__ import annotations

import gzip
import random
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flameduck.engine.formats import Decoded, Failed, Input, pprof, pprof_merge, pprof_slices
from flameduck.engine.formats.pprof import WORKER_VARIABLE, Pprof
from flameduck.schema import profile
from flameduck.schema.errors import LimitExceeded
from flameduck.schema.proto import profile_columns_pb2, profile_pb2

FIXTURES = ("go-cpu", "go-cpu-v2", "go-heap", "go-mutex", "go-goroutine", "node-wall", "node-heap")


def read(path: Path) -> bytes:
    data = path.read_bytes()
    return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data


def small() -> bytes:
    """A valid message of a few samples with everything in it."""
    message = profile_pb2.Profile(time_nanos=5, duration_nanos=6, period=7, default_sample_type=1, doc_url=2)
    message.string_table.extend([b"", b"cpu", b"nanoseconds", b"main", b"\xff"])
    message.sample_type.add(type=1, unit=2)
    message.period_type.type = 1
    message.comment.extend([3, 4])
    message.mapping.add(id=1, memory_start=4096, filename=3, has_functions=True)
    message.function.add(id=1, name=3, start_line=8)
    message.location.add(id=1, mapping_id=1, address=4097).line.add(function_id=1, line=9, column=2)
    message.location.add(id=2, is_folded=True)
    for number in range(5):
        sample = message.sample.add(location_id=[1, 2][: number % 3], value=[number])
        if number % 2:
            sample.label.add(key=1, str=3)
            sample.label.add(key=1, num=number, num_unit=2)
    return bytes(message.SerializeToString())


def decode(raws: Sequence[bytes]) -> list[Decoded | Failed]:
    return list(Pprof().decode([Input(raw) for raw in raws]))


def batches(raws: Sequence[bytes]) -> list[pa.RecordBatch]:
    found = decode(raws)
    assert not [one for one in found if isinstance(one, Failed)]
    return [one.batch for one in found if isinstance(one, Decoded)]


@pytest.fixture(params=["caller", "worker"])
def process(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways to decode: in the caller's process and in a worker."""
    monkeypatch.delenv(WORKER_VARIABLE, raising=False)
    if request.param == "worker":
        monkeypatch.setenv(WORKER_VARIABLE, "1")


def agree(raw: bytes) -> None:
    (fast,) = batches([raw])
    assert pprof_merge.decode(raw).equals(fast.cast(profile.DECODED))


@pytest.mark.parametrize("name", FIXTURES)
def test_both_decoders_agree_on_recorded_profiles(fixtures: Path, name: str) -> None:
    agree(read(fixtures / f"{name}.pb.gz"))


def test_both_decoders_agree_on_shared_profiles(shared: Callable[[str], Path]) -> None:
    for path in sorted(shared("data/pprof").iterdir()):
        if path.suffix != ".json":
            agree(read(path))


def test_both_decoders_agree_on_every_field_and_on_nothing() -> None:
    agree(small())
    agree(profile_pb2.Profile(sample_type=[profile_pb2.ValueType()]).SerializeToString())


def test_the_columns_are_those_of_the_messages() -> None:
    for name in ("Sample", "Label", "Mapping", "Location", "Line", "Function"):
        plain, columns = (
            {field.name: field.number for field in getattr(module, name).DESCRIPTOR.fields}
            for module in (profile_pb2, profile_columns_pb2)
        )
        assert plain == columns, name


def nested(depth: int) -> bytes:
    return b"\x13" * depth


HOSTILE = {
    "cut short": small()[:-3],
    "cut in a string": small()[: small().index(b"nanosec") + 3],
    "a length near 2**64": b"\x12" + b"\xff" * 9 + b"\x01abc",
    "a length near 2**63": b"\x12" + b"\xff" * 8 + b"\x7fabc",
    "field 0": small() + b"\x00\x01",
    "a varint without end": small() + b"\x48" + b"\xff" * 11,
    "groups": nested(200_000),
    "many groups": nested(1_500_000),
    "very many groups": nested(5_000_000),
    "groups in a sample": b"\x12\x80\x89\x7a" + nested(2_000_000),
    "the end of a group": small() + b"\x14",
    "wire type 6": small() + b"\x16",
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.usefixtures("process")
def test_a_hostile_message_costs_itself_alone(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    start = time.process_time()
    found = decode([small(), HOSTILE[name], small(), small()])
    assert time.process_time() - start < 5
    failed = [one for one in found if isinstance(one, Failed)]
    assert [one.input for one in failed] == [1]
    assert failed[0].reason.startswith("malformed pprof: ")
    good = [row.input for one in found if isinstance(one, Decoded) for row in one.rows]
    assert sorted(good) == [0, 2, 3]
    assert capfd.readouterr() == ("", "")


@pytest.mark.usefixtures("process")
def test_hostile_messages_only() -> None:
    assert {one.input for one in decode(list(HOSTILE.values())) if isinstance(one, Failed)} == set(
        range(len(HOSTILE))
    )


def test_reasons_say_where() -> None:
    def reason(raw: bytes) -> str:
        (failed,) = decode([raw])
        assert isinstance(failed, Failed)
        return failed.reason

    assert "runs past the end of the message" in reason(small() + b"\x12\x7f")
    assert reason(nested(200_000)) == "malformed pprof: wire type 3 at byte 0"
    assert reason(b"\x12\x02\x0a\x7f") == "malformed pprof: a field's content is malformed"


def test_what_only_ptars_refuses_is_decoded_by_protobuf(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(raws: list[bytes]) -> pa.RecordBatch:
        raise pprof._DecoderFailed

    expected = batches([small()])[0].cast(profile.DECODED)
    monkeypatch.setattr(pprof, "_decode_batch", refuse)
    assert all(batch.equals(expected) for batch in batches([small(), small()]))


@given(st.data())
def test_mutated_messages_agree_or_fail_alike(data: st.DataObject) -> None:
    raw = bytearray(small())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
    found = decode([small(), bytes(raw), small()])
    good = [row.input for one in found if isinstance(one, Decoded) for row in one.rows]
    assert {0, 2} <= set(good)
    if 1 in good:
        agree(bytes(raw))


def test_messages_are_told_by_their_first_fields(fixtures: Path) -> None:
    reader = Pprof()
    assert all(reader.matches(read(fixtures / f"{name}.pb.gz")[: 64 << 10], "") for name in FIXTURES)
    assert reader.matches(small(), "")
    assert reader.matches(small()[: len(small()) // 2], "")
    for other in (
        b"main;work 1\n",
        b"\n\nmain 1\n",
        b"\x7fELF\x02\x01\x01",
        b"PK\x03\x04",
        b'{"a": 1}',
        b"\x00" * 99,
    ):
        assert not reader.matches(other, "cpu.pb.gz"), other


def samples_of(batch: pa.RecordBatch) -> list[object]:
    found: list[object] = batch.column("sample").to_pylist()[0]
    return found


def large(samples: int) -> bytes:
    """A message with samples between, before and after its other fields."""
    source = random.Random(3)
    message = profile_pb2.Profile()
    for _ in range(samples):
        count = source.choice([1, 3, 90])
        message.sample.add(
            location_id=[source.randint(1, 2) for _ in range(count)], value=[source.randint(0, 9)]
        )
    first, second = bytes(message.SerializeToString()), small()
    return second + first + small()[: small().index(b"\x12")] + first


@pytest.mark.parametrize("slice_bytes", [1, 50, 1000, 10**9])
def test_slices_add_up_to_the_message(slice_bytes: int) -> None:
    raw = large(200)
    whole = batches([raw])[0]
    parts = [batches([part])[0] for part in pprof_slices.slice_profile(raw, slice_bytes)]
    assert [sample for part in parts for sample in samples_of(part)] == samples_of(whole)
    without = [name for name in whole.schema.names if name != "sample"]
    assert all(part.select(without).equals(whole.select(without)) for part in parts)
    assert len(parts) == 1 if slice_bytes == 10**9 else len(parts) > 3


def test_a_message_without_samples_is_one_slice() -> None:
    raw = profile_pb2.Profile(time_nanos=3).SerializeToString()
    assert list(pprof_slices.slice_profile(raw, 100)) == [raw]


def test_large_messages_come_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = large(300)
    (whole,) = batches([raw])
    monkeypatch.setattr(pprof, "LARGE_BYTES", len(raw) - 1)
    monkeypatch.setattr(pprof, "SLICE_BYTES", 500)
    found = decode([small(), raw, small(), raw[:-1], nested(len(raw))])
    assert sorted(one.input for one in found if isinstance(one, Failed)) == [3, 4]
    pieces = [one for one in found if isinstance(one, Decoded) and one.rows[0].input == 1]
    assert [one.continues for one in pieces] == [False] + [True] * (len(pieces) - 1)
    assert [sample for one in pieces for sample in samples_of(one.batch)] == samples_of(whole)


def test_too_many_symbols_to_decode_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pprof_slices, "MAX_SHARED_FIELDS", 1000)
    with pytest.raises(LimitExceeded, match="profile has 1500 symbols; limit 1000"):
        list(pprof_slices.slice_profile(b"\x1a\x00" * 1500, 100))
    monkeypatch.setattr(pprof_slices, "MAX_SHARED_BYTES", 100)
    with pytest.raises(LimitExceeded, match="bytes of symbols; limit 100"):
        list(pprof_slices.slice_profile(b"\x32\x7f" + b"x" * 127, 100))


def test_batches_are_cut_by_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pprof, "BATCH_BYTES", 3 * len(small()))
    assert [batch.num_rows for batch in batches([small()] * 8)] == [3, 3, 2]


def test_nothing_heavy_is_loaded_before_it_is_needed() -> None:
    code = "import sys; import flameduck.engine.formats as f; f.format_named('folded'); print('ptars' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "False\n"
