"""OTLP out: what was stored comes back, read by our reader and by OpenTelemetry's own classes."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import (
    ExportProfilesServiceRequest,
)

from flameduck.engine.connection import Connection
from flameduck.engine.embedded import FilesDatabase, open_embedded, open_files
from flameduck.engine.settings import Settings
from flameduck.schema.errors import RequestError
from flameduck.schema.profile import Upload
from flameduck.schema.proto import otlp_profiles_pb2 as otlp
from flameduck.schema.request import Exported, ExportRequest, FrameFilter, Selection, TreeQuery
from tests.engine.formats.stored_meaning import stored_meaning

FIXTURES = Path(__file__).resolve().parents[3] / "fixtures"
T0 = 1_700_000_000_000_000_000


def exported(data: bytes, format: str = "otlp", tree: TreeQuery | None = None) -> bytes:
    database = open_files([Upload(data, {}, "x", T0)])
    answer = database.ask(ExportRequest(tree or TreeQuery(), format))
    assert isinstance(answer, Exported)
    return answer.data


names = st.sampled_from(["main", "work", "read", "_ZN4core3fmt5write17h0123456789abcdefE", "λ", ""])
keys = st.sampled_from(["k8s.pod.name", "thread.name", "span_id", "trace_id", "x"])
small = st.integers(0, 4)
numbers = st.integers(-(2**62), 2**62)
unsigned = st.integers(0, 2**64 - 1)
span = st.binary(min_size=8, max_size=8)
trace = st.binary(min_size=16, max_size=16)


@st.composite
def any_values(draw: st.DrawFn) -> otlp.AnyValue:
    kind = draw(st.sampled_from(["text", "number", "bool", "double", "none"]))
    if kind == "text":
        return otlp.AnyValue(string_value=draw(st.sampled_from(["a", "b", "0123456789abcdef", ""])).encode())
    if kind == "number":
        return otlp.AnyValue(int_value=draw(st.integers(-(2**63), 2**63 - 1)))
    if kind == "bool":
        return otlp.AnyValue(bool_value=draw(st.booleans()))
    return otlp.AnyValue(double_value=draw(st.floats())) if kind == "double" else otlp.AnyValue()


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """Requests whose profiles differ in their labels or types, as those that a store keeps apart."""
    message = otlp.ProfilesData()
    tables = message.dictionary
    tables.string_table.extend(text.encode() for text in ["", *draw(st.lists(names, min_size=4, max_size=4))])
    tables.string_table.extend([b"thread.name", b"span_id", b"process.executable.build_id.gnu", b"ms"])
    tables.attribute_table.add()
    for key in (5, 6, 7, draw(st.integers(0, 8))):
        tables.attribute_table.add(
            key_strindex=key, value=draw(any_values()), unit_strindex=draw(st.sampled_from([0, 8]))
        )
    for _ in range(3):
        tables.function_table.add(
            name_strindex=draw(small),
            system_name_strindex=draw(small),
            filename_strindex=draw(small),
            start_line=draw(numbers),
        )
        tables.mapping_table.add(
            memory_start=draw(unsigned),
            filename_strindex=draw(small),
            attribute_indices=draw(st.lists(small, max_size=2)),
        )
    for _ in range(4):
        location = tables.location_table.add(mapping_index=draw(st.integers(0, 2)), address=draw(unsigned))
        for _ in range(draw(st.integers(0, 2))):
            location.lines.add(
                function_index=draw(st.integers(0, 2)), line=draw(numbers), column=draw(numbers)
            )
    for _ in range(4):
        tables.stack_table.add(location_indices=draw(st.lists(st.integers(0, 3), max_size=4)))
        tables.link_table.add(
            trace_id=draw(st.one_of(trace, st.just(b""))), span_id=draw(st.one_of(span, st.just(b"")))
        )
    for number in range(draw(st.integers(1, 3))):
        resource = message.resource_profiles.add()
        resource.resource.attributes.add(key=b"pod", value=otlp.AnyValue(int_value=number))
        for key, value in draw(st.dictionaries(keys, any_values(), max_size=2)).items():
            resource.resource.attributes.add(key=key.encode(), value=value)
        scope = resource.scope_profiles.add()
        scope.scope.name = draw(st.sampled_from([b"", b"profiler"]))
        for kind in draw(st.lists(st.integers(0, 4), min_size=1, max_size=2, unique=True)):
            _add_profile(draw, scope.profiles.add(), kind)
    return bytes(message.SerializeToString())


def _add_profile(draw: st.DrawFn, profile: otlp.Profile, kind: int) -> None:
    profile.sample_type.type_strindex, profile.sample_type.unit_strindex = kind, kind
    profile.time_unix_nano = draw(st.integers(1, 2**62))
    profile.duration_nano = draw(st.integers(0, 2**62))
    profile.period = draw(numbers)
    profile.period_type.type_strindex = draw(small)
    profile.profile_id = draw(st.one_of(trace, st.just(b"")))
    profile.attribute_indices.extend(draw(st.lists(small, max_size=2)))
    for _ in range(draw(st.integers(0, 4))):
        sample = profile.samples.add(
            stack_index=draw(st.integers(0, 3)),
            link_index=draw(st.integers(0, 3)),
            attribute_indices=draw(st.lists(small, max_size=3)),
            values=draw(st.lists(st.integers(-1000, 2**40), max_size=3)),
        )
        sample.timestamps_unix_nano.extend(draw(st.lists(unsigned, max_size=3)))


def kept(data: bytes) -> dict[str, Any]:
    """What is stored of a request. Of labels, types whose two strings are one name would be one series twice."""
    return stored_meaning(data)


@settings(max_examples=60, deadline=None)
@given(requests())
def test_what_is_stored_comes_back(data: bytes) -> None:
    before = kept(data)
    if len({labels for labels, _ in before["profiles"]}) < len(before["profiles"]):
        return  # One series twice is merged into one profile.
    for format in ("otlp", "otlp-json"):
        once = exported(data, format)
        assert kept(once) == before
        assert exported(once, format) == once
