"""OTLP out: what was stored comes back, read by our reader and by OpenTelemetry's own classes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flameduck.engine.connection import Connection
from flameduck.engine.embedded import open_embedded, open_files
from flameduck.engine.normalize.sample_labels import parse_span_id
from flameduck.engine.settings import Settings
from flameduck.schema.errors import RequestError
from flameduck.schema.profile import Upload
from flameduck.schema.proto import otlp_profiles_pb2 as otlp
from flameduck.schema.request import Exported, ExportRequest, FrameFilter, Selection, TreeQuery
from tests.engine.formats.otlp_totals import read_request, stack_values
from tests.engine.formats.stored_meaning import stored_meaning
from tests.golden.pprof_meaning import read_pprof, totals

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
        for name, value in draw(st.dictionaries(keys, any_values(), max_size=2)).items():
            resource.resource.attributes.add(key=name.encode(), value=value)
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
    """What is stored of a request."""
    return stored_meaning(data)


@pytest.mark.parametrize("linked", ["0000000000000001", "ffffffffffffff00", "ffffffffffffffff"])
def test_a_sample_of_two_spans_keeps_its_span(linked: str) -> None:
    """One in the link, another in an attribute: which one comes first is not stored."""
    attribute = "0123456789abcdef"
    message = otlp.ProfilesData()
    tables = message.dictionary
    tables.string_table.extend([b"", b"span_id"])
    tables.attribute_table.add()
    tables.attribute_table.add(key_strindex=1, value=otlp.AnyValue(string_value=attribute.encode()))
    tables.mapping_table.add()
    tables.location_table.add()
    tables.stack_table.add()
    tables.stack_table.add(location_indices=[0])
    tables.link_table.add()
    tables.link_table.add(span_id=bytes.fromhex(linked))
    made = message.resource_profiles.add().scope_profiles.add().profiles.add(time_unix_nano=1)
    made.sample_type.type_strindex = made.sample_type.unit_strindex = 1
    made.samples.add(stack_index=1, link_index=1, attribute_indices=[1], values=[1])
    data = message.SerializeToString()
    assert kept(exported(data)) == kept(exported(exported(data))) == kept(data)
    ((_, _, _, span_id, _),) = kept(data)["samples"]
    assert span_id == max(map(parse_span_id, (linked, attribute)))


@settings(max_examples=25, deadline=None)
@given(requests())
def test_what_is_stored_comes_back(data: bytes) -> None:
    before = kept(data)
    if len({labels for labels, _ in before["profiles"]}) < len(before["profiles"]):
        return  # One series twice is merged into one profile.
    for format in ("otlp", "otlp-json"):
        once = exported(data, format)
        assert kept(once) == before


@pytest.mark.parametrize("format", ["otlp", "otlp-json"])
@pytest.mark.parametrize("name", ["export.otlp", "java-cpu.otlp"])
def test_recordings_come_back(name: str, format: str) -> None:
    data = (FIXTURES / name).read_bytes()
    assert kept(exported(data, format)) == kept(data)


def test_the_ebpf_profilers_request_comes_back(shared: Callable[[str], Path]) -> None:
    data = shared("data/otlp/otel-ebpf-profile.pb.bin").read_bytes()
    once = exported(data)
    assert kept(once) == kept(data)
    assert stack_values(once) == stack_values(data)


@pytest.mark.parametrize("name", ["go-cpu.pb.gz", "go-heap.pb.gz", "node-wall.pb.gz", "rust-cpu.pb"])
def test_a_pprof_is_read_by_opentelemetrys_classes(name: str) -> None:
    """Stacks and totals of every type, and the first entry of every table is empty."""
    data = (FIXTURES / name).read_bytes()
    once = exported(data)
    message = read_request(once)
    for table in ("mapping", "location", "function", "link", "attribute", "stack"):
        first = getattr(message.dictionary, f"{table}_table")[0]
        assert first == type(first)()
    assert message.dictionary.string_table[0] == ""
    pprof = read_pprof(data)
    found: Counter[str] = Counter()
    for (kind, _), value in stack_values(once).items():
        found[kind.split(":")[0]] += value
    assert found == Counter({kind: value for kind, value in totals(pprof).items() if value})
    before, after = kept(data), kept(once)
    assert len(after["samples"]) == len(before["samples"])
    assert after["stacks"].keys() == before["stacks"].keys()
    assert after["functions"] == before["functions"]
    assert after["labelsets"] == before["labelsets"]
    for rows in (before, after):
        assert {tuple(sorted(row["comments"])) for row in rows["profiles"].values()} == {()}


def test_series_stay_apart_and_their_profiles_add_up(tmp_path: Path) -> None:
    database = open_embedded(str(tmp_path), "anonymous", Settings())
    uploads = [
        Upload(b"main;work %d\n" % value, {"service_name": service, "region": "eu"}, time_ns=T0 + value)
        for service, value in (("a", 1), ("a", 20), ("b", 300))
    ]
    database.ingest(uploads)
    answer = database.ask(ExportRequest(TreeQuery(Selection()), "otlp"))
    assert isinstance(answer, Exported)
    message = read_request(answer.data)
    services = {}
    for resource in message.resource_profiles:
        labels = {pair.key: pair.value.string_value for pair in resource.resource.attributes}
        (profile,) = resource.scope_profiles[0].profiles
        services[labels["service.name"]] = (
            sum(s.values[0] for s in profile.samples),
            profile.time_unix_nano - T0,
        )
        assert labels["region"] == "eu"
    assert services == {"a": (21, 1), "b": (300, 300)}


def test_averages_and_picked_samples(tmp_path: Path) -> None:
    database = open_embedded(str(tmp_path), "anonymous", Settings())
    database.ingest([Upload((FIXTURES / "export.otlp").read_bytes(), {})])
    one = database.ask(ExportRequest(TreeQuery(Selection(span_ids=("00f067aa0ba902b7",))), "otlp"))
    assert isinstance(one, Exported)
    assert sum(stack_values(one.data).values()) == 5
    average = database.ask(ExportRequest(TreeQuery(Selection(), aggregate="avg"), "otlp"))
    assert isinstance(average, Exported)
    assert sum(stack_values(average.data).values()) == 10 + 8192 + 10_000_000


def test_pushed_spans_become_links(tmp_path: Path) -> None:
    database = open_embedded(str(tmp_path), "anonymous", Settings())
    database.ingest([Upload((FIXTURES / "export.otlp").read_bytes(), {}, rules="pyroscope")])
    answer = database.ask(ExportRequest(TreeQuery(Selection()), "otlp"))
    assert isinstance(answer, Exported)
    message = read_request(answer.data)
    spans = {link.span_id.hex() for link in message.dictionary.link_table[1:]}
    assert spans == {"00f067aa0ba902b7", "00f067aa0ba902b8"}


def test_an_empty_selection() -> None:
    answer = exported(
        (FIXTURES / "export.otlp").read_bytes(), "otlp", TreeQuery(Selection("{nothing='here'}"))
    )
    assert not read_request(answer).resource_profiles


def test_frames_cannot_change() -> None:
    with pytest.raises(RequestError, match="'otlp' keeps exact stacks"):
        exported((FIXTURES / "export.otlp").read_bytes(), "otlp", TreeQuery(filter=FrameFilter(hide="main")))


def test_the_json_is_otlps() -> None:
    document = json.loads(exported((FIXTURES / "export.otlp").read_bytes(), "otlp-json"))
    links = document["dictionary"]["linkTable"]
    assert links[0] == {}
    assert {link["traceId"] for link in links[1:]} == {"4bf92f3577b34da6a3ce929d0e0e4736"}
    profiles = [p for r in document["resourceProfiles"] for s in r["scopeProfiles"] for p in s["profiles"]]
    assert {profile["timeUnixNano"] for profile in profiles} == {"1700000000000000000"}
    assert bytes(range(16)).hex() in {profile.get("profileId") for profile in profiles}


def test_the_suffix_names_the_format(tmp_path: Path) -> None:
    with Connection(open_files([Upload((FIXTURES / "export.otlp").read_bytes(), {}, "x", T0)])) as db:
        db.flamegraph(type="samples").save(tmp_path / "out.otlp")
    assert read_request((tmp_path / "out.otlp").read_bytes()).resource_profiles
