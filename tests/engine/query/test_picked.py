"""Samples of one span or one trace: in trees, tops and exports, whatever rules stored them."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from flameduck.engine.connection import Connection
from flameduck.engine.embedded import StoreDatabase, open_embedded
from flameduck.engine.query import picked
from flameduck.engine.settings import Settings
from flameduck.schema.errors import RequestError
from flameduck.schema.profile import Rules, Upload
from flameduck.schema.proto import profile_pb2
from flameduck.schema.request import (
    Aggregate,
    Exported,
    ExportRequest,
    Rows,
    Selection,
    SeriesRequest,
    TopRequest,
    TreeQuery,
)

T0 = 1_700_000_000_000_000_000
SPAN_A, SPAN_B = "00f067aa0ba902b7", "ffffffffffffff01"
TRACE_A, TRACE_B = "4bf92f3577b34da6a3ce929d0e0e4736", "ffeeddccbbaa99887766554433221100"

Sample = tuple[str, int, dict[str, str]]
"""Function, value, labels."""

SAMPLES: Sequence[Sample] = [
    ("read", 1, {}),
    ("read", 10, {"span_id": SPAN_A, "trace_id": TRACE_A}),
    ("write", 100, {"span_id": SPAN_A, "trace_id": TRACE_A}),
    ("write", 1000, {"span_id": SPAN_B, "trace_id": TRACE_A}),
    ("write", 10_000, {"profile_id": SPAN_B, "trace_id": TRACE_B}),
    ("write", 100_000, {"span_id": "no span", "trace_id": "no trace"}),
]


def pprof(samples: Sequence[Sample], time_ns: int = T0) -> bytes:
    message = profile_pb2.Profile(time_nanos=time_ns, string_table=[b"", b"cpu", b"nanoseconds"])
    message.sample_type.add(type=1, unit=2)
    known: dict[str, int] = {"": 0}

    def text(value: str) -> int:
        if value not in known:
            known[value] = len(message.string_table)
            message.string_table.append(value.encode())
        return known[value]

    for number, (function, value, labels) in enumerate(samples, start=1):
        message.function.add(id=number, name=text(function))
        message.location.add(id=number).line.add(function_id=number)
        sample = message.sample.add(location_id=[number], value=[value])
        for key, label in labels.items():
            sample.label.add(key=text(key), str=text(label))
    return bytes(message.SerializeToString())


def top(database: StoreDatabase, aggregate: Aggregate = "sum", **picks: Any) -> dict[str, int]:
    answer = database.ask(TopRequest(TreeQuery(Selection(**picks), aggregate=aggregate)))
    assert isinstance(answer, Rows)
    columns = answer.table.column("function").to_pylist(), answer.table.column("self").to_pylist()
    return {function: value for function, value in zip(*columns, strict=True) if value}


@pytest.fixture(params=["verbatim", "pyroscope"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> StoreDatabase:
    rules: Rules = request.param
    opened = open_embedded(str(tmp_path), "anonymous", Settings())
    labels = {"service_name": "s", "__name__": "process_cpu"}
    report = opened.ingest([Upload(pprof(SAMPLES), labels, rules=rules)])
    assert not report.refused
    opened.ingest([Upload(pprof([("other", 1_000_000, {})], T0 + 1), labels, rules=rules)])
    return opened


def test_a_span(database: StoreDatabase) -> None:
    assert top(database, span_ids=(SPAN_A,)) == {"read": 10, "write": 100}
    assert top(database, span_ids=(SPAN_A.upper(), SPAN_B)) == {"read": 10, "write": 11_100}
    assert top(database, span_ids=("1" * 16,)) == {}


def test_a_trace(database: StoreDatabase) -> None:
    assert top(database, trace_ids=(TRACE_A,)) == {"read": 10, "write": 1100}
    assert top(database, trace_ids=(TRACE_B, TRACE_A)) == {"read": 10, "write": 11_100}


def test_all_samples_when_nothing_is_picked(database: StoreDatabase) -> None:
    assert top(database) == {"read": 11, "write": 111_100, "other": 1_000_000}


def test_a_range_and_an_aggregate_still_count(database: StoreDatabase) -> None:
    assert top(database, span_ids=(SPAN_A,), start_ns=T0, end_ns=T0 + 1) == {"read": 10, "write": 100}
    assert top(database, span_ids=(SPAN_A,), start_ns=T0 + 1) == {}
    # The newest profile has no sample of that span.
    assert top(database, "last", span_ids=(SPAN_A,)) == {}
    assert top(database, "avg", span_ids=(SPAN_A,), end_ns=T0 + 1) == {"read": 10, "write": 100}


def test_rows_are_read_in_windows(database: StoreDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picked, "_WINDOW_ROWS", 1)
    assert top(database, trace_ids=(TRACE_A,)) == {"read": 10, "write": 1100}


def test_copies_count_once(tmp_path: Path) -> None:
    opened, other = (open_embedded(str(tmp_path / name), "anonymous", Settings()) for name in ("one", "two"))
    for database in (opened, other):
        database.ingest([Upload(pprof(SAMPLES), {"service_name": "s"})])
    (meta,) = [block.meta for block in other.blocks.live_blocks()]
    for file_name in [*meta.files, "meta.json"]:
        path = f"anonymous/blocks/{meta.ulid}/{file_name}"
        opened.blocks.objects.write(path, other.blocks.objects.read(path))
    opened.blocks.catalog.commit(list(other.blocks.state().blocks.values()), [], "replica")
    assert len(list(opened.blocks.live_blocks())) == 2
    assert top(opened, span_ids=(SPAN_A,)) == {"read": 10, "write": 100}


def test_an_export(tmp_path: Path) -> None:
    opened = open_embedded(str(tmp_path), "anonymous", Settings())
    opened.ingest([Upload(pprof(SAMPLES), {"service_name": "s"})])
    answer = opened.ask(ExportRequest(TreeQuery(Selection(span_ids=(SPAN_A,))), "pprof"))
    assert isinstance(answer, Exported)
    message = profile_pb2.Profile.FromString(gzip.decompress(answer.data))
    assert sorted(sample.value[0] for sample in message.sample) == [10, 100]
    assert all(len(sample.label) == 2 for sample in message.sample)


@pytest.mark.parametrize(
    ("picks", "said"),
    [
        ({"span_ids": (SPAN_A, "xyz")}, "span id 'xyz': expected 16 hexadecimal digits"),
        ({"trace_ids": (SPAN_A,)}, "expected 32 hexadecimal digits"),
        ({"span_ids": (SPAN_A,), "trace_ids": (TRACE_A,)}, "cannot be combined"),
    ],
)
def test_ids_that_are_none(database: StoreDatabase, picks: dict[str, Any], said: str) -> None:
    with pytest.raises(RequestError, match=said):
        top(database, **picks)


def test_whole_profiles_have_no_spans(database: StoreDatabase) -> None:
    with pytest.raises(RequestError, match="choose samples"):
        database.ask(SeriesRequest(Selection(span_ids=(SPAN_A,)), step_ns=10**9))
    with pytest.raises(RequestError, match="delta"):
        database.ask(TopRequest(TreeQuery(Selection(span_ids=(SPAN_A,)), delta=True)))


def test_the_python_api(database: StoreDatabase) -> None:
    found = Connection(database).top("{}", span_ids=[SPAN_A]).pl()
    assert dict(zip(found["function"], found["self"], strict=True)) == {"write": 100, "read": 10}


def test_sql(database: StoreDatabase) -> None:
    rows = Connection(database).sql(f"SELECT sum(value) FROM samples WHERE trace_id = unhex('{TRACE_A}')")
    assert rows.fetchall() == [(1110,)]
