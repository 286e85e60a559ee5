"""OTLP profiles read: totals and stacks against OpenTelemetry's own classes, both rule sets, both encodings."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any
from uuid import uuid4

import pytest
from google.protobuf import json_format

import flameduck
from flameduck.engine.formats import (
    Decoded,
    Failed,
    Input,
    detect_format,
    format_named,
    json_document,
    otlp_columns,
    otlp_json,
    otlp_slices,
)
from flameduck.engine.formats.inflate import inflate
from flameduck.engine.ingest.decode import DecodeLimits, decode_and_normalise
from flameduck.schema.profile import Rules, Upload
from flameduck.schema.proto import otlp_profiles_pb2 as otlp
from tests.engine.formats.examples import EXAMPLES, FIXTURES
from tests.engine.formats.otlp_totals import profiles_of, read_request, stack_values
from tests.engine.formats.stored_meaning import stored_meaning
from tests.fuzz.mutations import MUTATIONS, mutant

EBPF = "data/otlp/otel-ebpf-profile.pb.bin"
RECORDED = ("export.otlp", "java-cpu.otlp")
SPAN = "00f067aa0ba902b7"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def stored_stacks(data: bytes) -> Counter[tuple[str, tuple[str, ...]]]:
    """Values by type and stack, as SQL over the stored profile has them."""
    with flameduck.open(f"memory://{uuid4()}") as db:
        report = db.ingest([data])
        assert not report.refused
        rows = db.sql(
            "SELECT profile_type, functions, sum(value)::BIGINT "
            "FROM samples LEFT JOIN stacks USING (stack_id) GROUP BY ALL"
        ).fetchall()
    found: Counter[tuple[str, tuple[str, ...]]] = Counter()
    for profile_type, functions, value in rows:
        found[":".join(profile_type.split(":")[1:3]), tuple(functions or ())] += value
    return found


@pytest.mark.parametrize("name", RECORDED)
def test_stacks_of_recordings(name: str) -> None:
    data = (FIXTURES / name).read_bytes()
    assert stored_stacks(data) == stack_values(data)


def test_stacks_of_the_ebpf_profiler(shared: Callable[[str], Path]) -> None:
    data = shared(EBPF).read_bytes()
    assert len(read_request(data).resource_profiles) == 77
    expected = stack_values(data)
    assert len(expected) > 50
    assert stored_stacks(data) == expected


def test_a_converted_recording_has_the_stacks_of_the_converter() -> None:
    folded = (FIXTURES / "java-cpu.otlp.folded").read_text()
    expected: Counter[tuple[str, ...]] = Counter()
    for line in folded.splitlines():
        stack, _, count = line.rpartition(" ")
        expected[tuple(re.sub(r"_\[.\]$", "", frame) for frame in stack.split(";"))] += int(count)
    found = stored_stacks((FIXTURES / "java-cpu.otlp").read_bytes())
    assert Counter({stack: value for (_, stack), value in found.items()}) == expected


def meaning(data: bytes, rules: Rules = "verbatim") -> dict[str, Any]:
    return stored_meaning(data, rules)


def test_what_becomes_of_an_export() -> None:
    found = meaning((FIXTURES / "export.otlp").read_bytes())
    series = {dict(labels)["__profile_type__"]: dict(labels) for labels, _ in found["profiles"]}
    assert set(series) == {
        "process_cpu:samples:count:cpu:nanoseconds",
        "memory:alloc_space:bytes:space:bytes",
        "off_cpu:off_cpu:nanoseconds::",
    }
    cpu = series["process_cpu:samples:count:cpu:nanoseconds"]
    said = ("service_name", "service.name", "k8s.pod.name", "otel.scope.name", "otel.scope.version")
    assert [cpu[name] for name in said] == [
        "checkout",
        "checkout",
        "checkout-7",
        "checkout.profiler",
        "1.2.0",
    ]
    off_cpu = series["off_cpu:off_cpu:nanoseconds::"]
    assert off_cpu["service_name"] == "unknown_service:kworker"
    assert off_cpu["process.pid"] == "66"
    comments = {dict(labels)["__name__"]: row["comments"] for (labels, _), row in found["profiles"].items()}
    assert comments["process_cpu"] == [f"OTLP profile_id {bytes(range(16)).hex()}"]
    assert comments["memory"] == ["made by export.py"]
    (bare,) = [row for row in found["locations"].values() if not row["lines"]]
    assert bare["address"] == 0x4FFF00
    assert bare["mapping"]["build_id"] == "600dcafe4a110000f2bf38c493f5fb92"
    spans = {key[3] for key in found["samples"]}
    assert spans == {0, *(int.from_bytes(bytes.fromhex(f"00f067aa0ba902b{n}"), "little") for n in (7, 8))}
    assert {key[4] for key in found["samples"]} == {None, bytes.fromhex(TRACE)}
    labels = [tuple(label.values()) for row in found["labelsets"].values() for label in row["labels"]]
    assert ("thread.id", "", 42, "") in labels
    assert ("region", "eu", 0, "") in labels
    assert ("allocation.size", "", 4096, "bytes") in labels
    assert ("span_id", SPAN, 0, "") in labels


def test_spans_can_be_asked_for() -> None:
    with flameduck.open(FIXTURES / "export.otlp") as db:
        found = db.top(type="samples", span_ids=[SPAN]).pl()
        assert dict(zip(found["function"], found["self"], strict=True))["price"] == 5
        assert sum(db.top(type="samples", trace_ids=[TRACE]).pl()["self"]) == 8
        assert sum(db.top(type="samples").pl()["self"]) == 10


def json_of(data: bytes, **how: Any) -> bytes:
    document: str = json_format.MessageToJson(read_request(data), **how)
    return document.encode()


def with_hex_ids(document: bytes) -> bytes:
    """Protobuf's JSON as OTLP has it."""
    import base64

    def to_hex(found: re.Match[bytes]) -> bytes:
        return found[1] + base64.b64decode(found[2]).hex().encode() + b'"'

    return re.sub(
        rb'("(?:traceId|spanId|profileId|trace_id|span_id|profile_id)":\s*")([^"]+)"', to_hex, document
    )


@pytest.mark.parametrize("rules", ["verbatim", "pyroscope"])
@pytest.mark.parametrize("snake", [False, True])
@pytest.mark.parametrize("hexadecimal", [False, True])
def test_json_means_the_same(rules: Rules, snake: bool, hexadecimal: bool) -> None:
    for name in RECORDED:
        data = (FIXTURES / name).read_bytes()
        document = json_of(data, preserving_proto_field_name=snake)
        document = with_hex_ids(document) if hexadecimal else document
        assert detect_format(document, "x").name == "otlp-json"
        assert meaning(document, rules) == meaning(data, rules)


@pytest.mark.parametrize(("slice_bytes", "frames"), [(60, 1 << 21), (300, 1 << 21), (1 << 30, 10), (100, 5)])
@pytest.mark.parametrize("rules", ["verbatim", "pyroscope"])
def test_a_large_request_is_read_in_slices(
    slice_bytes: int,
    frames: int,
    rules: Rules,
    monkeypatch: pytest.MonkeyPatch,
    shared: Callable[[str], Path],
) -> None:
    data = shared(EBPF).read_bytes()
    whole, document = meaning(data, rules), json_of(data)
    monkeypatch.setattr(otlp_slices, "LARGE_BYTES", 0)
    monkeypatch.setattr(otlp_slices, "SLICE_BYTES", slice_bytes)
    monkeypatch.setattr(otlp_columns, "GROUP_FRAMES", frames)
    monkeypatch.setattr(otlp_json, "PIECE_BYTES", slice_bytes)
    monkeypatch.setattr(otlp_json, "array_pieces", lambda raw: json_document.array_pieces(raw, slice_bytes))
    assert len(list(format_named("otlp").decode([Input(data, rules=rules)]))) > 50
    assert meaning(data, rules) == whole
    assert meaning(document, rules) == whole


class Request:
    """A request with one profile, to be spoilt."""

    def __init__(self) -> None:
        self.message = otlp.ProfilesData.FromString(EXAMPLES["otlp"].good)
        self.resource = self.message.resource_profiles[0]
        self.profile = self.resource.scope_profiles[0].profiles[0]
        self.sample = self.profile.samples[0]
        self.tables = self.message.dictionary

    def text(self, text: str) -> int:
        self.tables.string_table.append(text.encode())
        return len(self.tables.string_table) - 1

    def attribute(self, key: str, value: otlp.AnyValue) -> int:
        if not self.tables.attribute_table:
            self.tables.attribute_table.add()
        self.tables.attribute_table.add(key_strindex=self.text(key), value=value)
        return len(self.tables.attribute_table) - 1

    def types(self, sample: tuple[str, str], period: tuple[str, str] | None, length: int = 1) -> None:
        kind = self.profile.sample_type
        kind.type_strindex, kind.unit_strindex = map(self.text, sample)
        self.profile.ClearField("period_type")
        if period:
            kind = self.profile.period_type
            kind.type_strindex, kind.unit_strindex = map(self.text, period)
        self.profile.period = length

    def decoded(self, rules: Rules = "pyroscope", name: str = "") -> list[Decoded | Failed]:
        return list(format_named("otlp").decode([Input(self.bytes(), rules=rules, name=name)]))

    def reason(self, rules: Rules = "pyroscope") -> str:
        (failed,) = self.decoded(rules)
        assert isinstance(failed, Failed)
        return failed.reason

    def bytes(self) -> bytes:
        return bytes(self.message.SerializeToString())

    def series(self, rules: Rules = "pyroscope") -> list[tuple[dict[str, str], int]]:
        """Labels and value of each sample."""
        found = meaning(self.bytes(), rules)["samples"]
        return sorted(((dict(key[0][0]), value) for key, value in found.items()), key=str)


def text(value: str) -> otlp.AnyValue:
    return otlp.AnyValue(string_value=value.encode())


def test_pushed_cpu_samples_become_time() -> None:
    request = Request()
    request.types(("samples", "count"), ("cpu", "nanoseconds"), 10_000_000)
    ((labels, value),) = request.series()
    assert labels["__profile_type__"] == "process_cpu:cpu:nanoseconds:cpu:nanoseconds"
    assert value == 70_000_000
    ((labels, value),) = request.series("verbatim")
    assert (labels["__profile_type__"], value) == ("process_cpu:samples:count:cpu:nanoseconds", 7)


def test_pushed_waits_are_added_up() -> None:
    request = Request()
    request.types(("off_cpu", "nanoseconds"), None, 0)
    request.sample.values.extend([8, 9])
    ((labels, value),) = request.series()
    assert labels["__profile_type__"] == "off_cpu:off_cpu:nanoseconds::"
    assert value == 24


def test_a_pushed_profile_is_called_after_its_period_type() -> None:
    request = Request()
    request.types(("wall", "nanoseconds"), ("wall", "nanoseconds"), 1)
    assert request.series()[0][0]["__name__"] == "wall"
    request.types(("inuse_space", "bytes"), ("space", "bytes"), 0)
    assert "invalid metric name" in request.reason()
    assert request.decoded(name="memory")[0].rows[0].input == 0  # type: ignore[union-attr]


def test_times_count_where_there_are_no_values() -> None:
    request = Request()
    del request.sample.values[:]
    request.sample.timestamps_unix_nano.extend([5, 6, 7])
    for rules in ("pyroscope", "verbatim"):
        assert request.series(rules)[0][1] == 3
    del request.sample.timestamps_unix_nano[:]
    assert request.reason() == "failed to convert otel profile: sample value is required"
    assert request.series("verbatim") == []


def test_pushed_samples_have_one_value() -> None:
    request = Request()
    request.sample.values.append(3)
    assert request.reason() == "failed to convert otel profile: sample values length mismatch 2 1"
    assert request.series("verbatim")[0][1] == 10
    request.types(("x", "y"), None)
    request.message.resource_profiles[0].scope_profiles[0].profiles[0].period = 0
    assert "invalid metric name" in request.reason()


def test_services_of_samples_make_profiles() -> None:
    request = Request()
    for service, value in (("a", 10), ("b", 20), ("a", 30)):
        index = request.attribute("service.name", text(service))
        request.profile.samples.add(stack_index=1, attribute_indices=[index], values=[value])
    request.resource.resource.attributes.add(key=b"process.executable.name", value=text("cart"))
    services: Counter[str] = Counter()
    for labels, value in request.series():
        services[labels["service_name"]] += value
    assert services == {"a": 40, "b": 20, "unknown_service:cart": 7}
    parts = {row.part for one in request.decoded() if isinstance(one, Decoded) for row in one.rows}
    assert len(parts) == 3
    request.resource.resource.attributes.add(key=b"service.name", value=text("shop"))
    assert {labels["service_name"] for labels, _ in request.series()} == {"a", "b", "shop"}
    assert {labels["service_name"] for labels, _ in request.series("verbatim")} == {"shop"}


def test_pushed_attributes_become_labels_in_order() -> None:
    request = Request()
    resource, scope = request.resource.resource, request.resource.scope_profiles[0].scope
    several = otlp.ArrayValue(values=[text("x")]).SerializeToString()
    values = {
        b"k8s.pod": text("one"),
        b"n": otlp.AnyValue(int_value=-3),
        b"list": otlp.AnyValue(array_value=several),
        b"yes": otlp.AnyValue(bool_value=True),
        b"empty": text(""),
        b"__name__": text("mine"),
    }
    for key, value in values.items():
        resource.attributes.add(key=key, value=value)
    scope.attributes.add(key=b"k8s.pod", value=text("two"))
    scope.attributes.add(key=b"only.scope", value=text("s"))
    ((labels, _),) = request.series()
    own = {key: value for key, value in labels.items() if not key.startswith("__")}
    expected = {
        "k8s.pod": "one",
        "n": "-3",
        "list": "x",
        "only.scope": "s",
        "service_name": "unknown_service",
    }
    assert own == expected
    assert labels["__otel__"] == "true"
    assert labels["__name__"] == "samples"
    ((labels, _),) = request.series("verbatim")
    assert labels["yes"] == "true"
    assert labels["list"] == '["x"]'


def test_a_pushed_service_label_is_there_twice() -> None:
    request = Request()
    request.resource.resource.attributes.add(key=b"service_name", value=text("a"))
    assert "duplicate_label_names" in request.reason()
    assert request.series("verbatim")[0][0]["service_name"] == "a"


def test_a_pushed_profile_with_an_attribute_that_is_not_there_vanishes() -> None:
    request = Request()
    request.sample.attribute_indices.append(9)
    assert request.decoded() == []
    assert "sample.attribute_indices 9 is outside of attribute_table" in request.reason("verbatim")


def test_pushed_links_and_attributes_of_samples() -> None:
    request = Request()
    request.tables.link_table.add()
    request.tables.link_table.add(trace_id=bytes.fromhex(TRACE), span_id=bytes.fromhex(SPAN))
    request.sample.link_index = 1
    request.sample.attribute_indices.append(request.attribute("thread.name", text("main")))
    request.sample.attribute_indices.append(request.attribute("thread.id", otlp.AnyValue(int_value=3)))
    request.sample.attribute_indices.append(request.attribute("idle", otlp.AnyValue(bool_value=True)))
    ((key, value),) = meaning(request.bytes(), "pyroscope")["samples"].items()
    assert value == 7
    assert key[3:] == (int.from_bytes(bytes.fromhex(SPAN), "little"), bytes.fromhex(TRACE))
    labels = dict(key[0][0])
    assert (labels["thread.name"], labels["thread.id"]) == ("main", "3")
    assert "idle" not in labels


def test_strings_by_number_in_attributes() -> None:
    request = Request()
    pair = request.resource.resource.attributes.add(key_strindex=request.text("host.name"))
    pair.value.string_value_strindex = request.text("db-1")
    assert request.series("verbatim")[0][0]["host.name"] == "db-1"
    pair.key_strindex = 99
    assert "strindex 99 is outside of string_table" in request.reason("verbatim")


def test_durations_and_times() -> None:
    request = Request()
    ((_, row),) = meaning(request.bytes(), "pyroscope")["profiles"].items()
    assert row["duration_ns"] == 10_000_000_000
    ((_, row),) = meaning(request.bytes(), "verbatim")["profiles"].items()
    assert row["duration_ns"] == 0
    request.profile.time_unix_nano = 2**63
    assert "time_unix_nano 9223372036854775808 is not from 0" in request.reason("verbatim")


def test_mangled_names_are_made_readable() -> None:
    request = Request()
    request.tables.string_table[4] = b"_ZN3foo3barEv"
    names = {(row["name"], row["system_name"]) for row in meaning(request.bytes())["functions"].values()}
    assert ("foo::bar()", "_ZN3foo3barEv") in names
    raw = stored_meaning(request.bytes(), raw_names=True)["functions"].values()
    assert ("_ZN3foo3barEv", "") in {(row["name"], row["system_name"]) for row in raw}
    pushed = meaning(request.bytes(), "pyroscope")["functions"].values()
    assert "_ZN3foo3barEv" in {row["name"] for row in pushed}


SPOILT: list[tuple[Callable[[Request], object], str]] = [
    (lambda r: r.message.ClearField("dictionary"), "no dictionary: an OTLP profiles revision before"),
    (lambda r: r.message.ClearField("resource_profiles"), "there is no profile"),
    (lambda r: r.profile.ClearField("sample_type"), "sample type is missing"),
    (
        lambda r: setattr(r.sample, "stack_index", 5),
        "sample.stack_index 5 is outside of stack_table, which has 2",
    ),
    (lambda r: setattr(r.sample, "stack_index", -1), "sample.stack_index -1 is outside"),
    (lambda r: setattr(r.sample, "link_index", 2), "sample.link_index 2 is outside of link_table"),
    (lambda r: r.tables.stack_table[1].location_indices.append(8), "stack.location_indices 8 is outside"),
    (
        lambda r: setattr(r.tables.location_table[1], "mapping_index", 3),
        "location.mapping_index 3 is outside",
    ),
    (lambda r: setattr(r.tables.location_table[1].lines[0], "function_index", 7), "line.function_index 7"),
    (lambda r: setattr(r.tables.function_table[1], "name_strindex", 70), "function.name_strindex 70"),
    (lambda r: r.profile.attribute_indices.append(1), "profile.attribute_indices 1 is outside"),
    (lambda r: r.sample.values.extend([2**63 - 1]), "sample.values add up to 9223372036854775814"),
]


@pytest.mark.parametrize(("spoil", "said"), SPOILT)
def test_what_cannot_be_read_says_why(spoil: Callable[[Request], object], said: str) -> None:
    request = Request()
    spoil(request)
    assert said in request.reason("verbatim")


def test_what_pyroscope_says() -> None:
    request = Request()
    request.message.ClearField("resource_profiles")
    assert request.reason() == "missing resource profiles"
    request.message.ClearField("dictionary")
    assert request.reason() == "missing profile metadata dictionary"
    request = Request()
    del request.tables.mapping_table[:]
    assert request.reason().startswith("failed to convert otel profile: location.mapping_index 0 is outside")
    assert request.series("verbatim")[0][1] == 7


def test_other_revisions_are_named() -> None:
    request = Request()
    # Field 3 was `location_indices`, packed.
    old = request.profile.SerializeToString() + b"\x1a\x02\x01\x02"
    request.profile.ParseFromString(old)
    assert "before opentelemetry-proto 1.9" in request.reason("verbatim")
    (failed,) = format_named("otlp-json").decode(
        [Input(b'{"resourceProfiles":[{"scopeProfiles":[{"profiles":[{"sample":[]}]}]}],"dictionary":{}}')]
    )
    assert isinstance(failed, Failed)
    assert "before opentelemetry-proto 1.9" in failed.reason


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (b'{"resourceProfiles": [{}], "dictionary": {"stringTable": [1]}}', "stringTable: Expected `str`"),
        (b'{"resourceProfiles": [{}], "dictionary": {"linkTable": [{"traceId": "xyz"}]}}', "is no id of 16 bytes"),
        (b'{"resourceProfiles": 3}', "Expected `array`"),
        (b'{"resourceProfiles": [{"resource": {"attributes": [{"value": {"doubleValue": "x"}}]}, "scopeProfiles": '
         b'[{"profiles": [{}]}]}], "dictionary": {}}', "doubleValue 'x' is no number"),
    ],
)  # fmt: skip
def test_json_that_cannot_be_read_says_where(document: bytes, said: str) -> None:
    (failed,) = format_named("otlp-json").decode([Input(document)])
    assert isinstance(failed, Failed)
    assert said in failed.reason


def test_few_bytes_that_mean_very_much_are_refused() -> None:
    request = Request()
    request.tables.stack_table[1].location_indices.extend([1, 2] * 50_000)
    for number in range(300):
        request.profile.samples.add(stack_index=1, values=[number + 1])
    assert "the profiles mean more than" in request.reason("verbatim")


def test_a_long_string_that_is_meant_very_often_is_refused() -> None:
    """As labels of a resource, as nested attributes, as labels of samples, as comments."""
    long = 200_000

    def spoilt() -> tuple[Request, int]:
        request = Request()
        return request, request.text("x" * long)

    request, index = spoilt()
    for number in range(1000):
        pair = request.resource.resource.attributes.add(key=b"%d" % number)
        pair.value.string_value_strindex = index
    assert "mean more than" in request.reason("verbatim")
    request, index = spoilt()
    listed = otlp.ArrayValue(values=[otlp.AnyValue(string_value_strindex=index)] * 1000)
    request.attribute("list", otlp.AnyValue(array_value=listed.SerializeToString()))
    assert "mean more than" in request.reason("verbatim")
    request, index = spoilt()
    for number in range(1000):
        request.attribute(f"{number}", otlp.AnyValue(string_value_strindex=index))
    assert "mean more than" in request.reason("verbatim")
    request, index = spoilt()
    request.profile.attribute_indices.append(request.attribute("pprof.profile.comment", text("y" * long)))
    for _ in range(1000):
        request.resource.scope_profiles[0].profiles.append(request.profile)
    assert "mean more than" in request.reason("verbatim")


def test_a_nested_attribute() -> None:
    value = text("leaf")
    for _ in range(20):
        inner = otlp.ArrayValue(values=[value]).SerializeToString()
        value = otlp.AnyValue(array_value=inner)
    request = Request()
    request.attribute("deep", value)
    assert "nests deeper than 16" in request.reason("verbatim")


def test_pprof_and_otlp_are_told_apart(shared: Callable[[str], Path]) -> None:
    """All recordings of both, and what little mutants still look like."""
    kinds = {
        "otlp": [shared(EBPF).read_bytes(), *EXAMPLES["otlp"].corpus()],
        "pprof": EXAMPLES["pprof"].corpus(),
    }
    kinds["pprof"] += [
        path.read_bytes() for path in sorted(shared("data/pprof").glob("*")) if path.suffix != ".json"
    ]
    kinds["pprof"] += [
        path.read_bytes() for path in sorted(FIXTURES.glob("*.pb*")) if ".labels" not in path.suffixes
    ]
    for name, raws in kinds.items():
        for raw in raws:
            data = inflate(raw, 1 << 30)
            head = data[:65536]
            others = {"otlp", "pprof"} - {name}
            assert [kind for kind in ("otlp", "pprof") if format_named(kind).matches(head, "")] == [name]
            for number in range(5):
                spoilt = mutant([data[:200_000]], MUTATIONS["proto"], Random(number))[:65536]
                if not spoilt:
                    continue
                matching = {kind for kind in ("otlp", "pprof") if format_named(kind).matches(spoilt, "")}
                assert not matching & others or name == "otlp", (name, number)
                assert len(matching) < 2


def test_several_inputs_and_the_command() -> None:
    good = EXAMPLES["otlp"].good
    outcome = decode_and_normalise([Upload(good, {"a": "b"}, "x", 1, name="mine")], DecodeLimits())
    (batch,) = [batch for batch, _ in outcome.batches]
    labels = dict(batch.series.column("labels").to_pylist()[0])
    assert (labels["a"], labels["__name__"], labels["service_name"]) == ("b", "mine", "unknown_service")


def test_profiles_are_counted() -> None:
    data = (FIXTURES / "export.otlp").read_bytes()
    assert len(profiles_of(read_request(data))) == 3
    assert json.loads(json_of(data))["dictionary"]["stringTable"][0] == ""
