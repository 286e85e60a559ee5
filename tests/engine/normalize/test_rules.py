"""The two ways to read a profile: names, labels, series, limits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from flameduck.engine.normalize.context import DEFAULT_LIMITS, ProfileContext, PushLimits
from flameduck.engine.normalize.normalise import Normalised
from flameduck.engine.normalize.sample_labels import parse_span_id, parse_trace_id
from flameduck.engine.normalize.series import metric_name
from flameduck.engine.normalize.strings import without_go_shape
from flameduck.schema.profile import NormalisedBatch, Rules
from flameduck.schema.proto import profile_pb2

from .meaning import context, normalised
from .profiles import Maker, changed

SPAN, TRACE = "0102030405060708", "000102030405060708090a0b0c0d0e0f"


def push(raw: bytes, said: ProfileContext | None = None, limits: PushLimits = DEFAULT_LIMITS) -> Normalised:
    return normalised([raw], "pyroscope", limits, [said or context(service_name="app")])


def pushed(raw: bytes, said: ProfileContext | None = None) -> NormalisedBatch:
    result = push(raw, said)
    assert result.refused == {}
    return result.batch


def series(batch: NormalisedBatch) -> list[dict[str, str]]:
    """Labels of each profile row's series, in the order of the rows."""
    labels = {row["series_id"]: dict(row["labels"]) for row in batch.series.to_pylist()}
    return [labels[key] for key in batch.profiles.column("series_id").to_pylist()]


def values(batch: NormalisedBatch) -> list[int]:
    found: list[int] = batch.samples.column("value").to_pylist()
    return found


def names(batch: NormalisedBatch) -> set[str]:
    return set(batch.functions.column("name").to_pylist())


def cpu(**labels: str) -> bytes:
    return Maker().sample("a;b", 5, **labels).bytes()


NAMES = [
    (["samples/count", "cpu/nanoseconds"], "process_cpu", "process_cpu"),
    (["samples/count"], "process_cpu", "process_cpu"),
    (["cpu/nanoseconds"], "process_cpu", "process_cpu"),
    (["samples/count", "wall/nanoseconds", "cpu/nanoseconds"], "wall", "wall"),
    (["alloc_objects/count", "alloc_space/bytes"], "memory", "memory"),
    (["objects/count", "space/bytes"], "memory", "memory"),
    (["inuse_objects/count"], "memory", "memory"),
    (["goroutine/count"], "goroutines", "goroutines"),
    (["contentions/count", "delay/nanoseconds"], "contentions", "mutex"),
    (["contentions/count"], "contentions", "mutex"),
    (["threadcreate/count"], "threadcreate", "threadcreate"),
    (["exceptions/count", "lock/nanoseconds"], "lock", "lock"),
]


@pytest.mark.parametrize(("types", "verbatim", "pyroscope"), NAMES)
def test_names_by_sample_type(types: list[str], verbatim: str, pyroscope: str) -> None:
    kinds = [(kind.partition("/")[0], kind.partition("/")[2]) for kind in types]
    found: list[tuple[Rules, str]] = [("verbatim", verbatim), ("pyroscope", pyroscope)]
    assert [metric_name(kinds, rules)[0] for rules, _ in found] == [name for _, name in found]


def test_contentions_that_nobody_named_are_warned_about() -> None:
    raw = Maker("contentions/count", "delay/nanoseconds").sample("a", 1, 2).bytes()
    assert normalised([raw]).warnings == (
        "file0: contentions may come from a mutex or from blocking: name the profile to say which",
    )
    assert normalised([raw], contexts=[context(name="block")]).warnings == ()


@pytest.mark.parametrize("rules", ["verbatim", "pyroscope"])
def test_a_given_name_comes_before_a_label_before_the_types(rules: Rules) -> None:
    def name(said: ProfileContext) -> list[str]:
        found: list[str] = normalised([cpu()], rules, contexts=[said]).batch.series.column("name").to_pylist()
        return found

    assert name(context(__name__="labelled")) == ["labelled"]
    assert name(context(name="given", __name__="labelled")) == ["given"]
    assert name(context()) == ["process_cpu"]


def test_stored_labels() -> None:
    def with_period(message: profile_pb2.Profile) -> None:
        message.period_type.type, message.period_type.unit, message.period = 1, 2, 10_000_000

    assert series(
        pushed(changed(cpu(), with_period), context(service_name="app", region="eu", empty=""))
    ) == [
        {
            "__name__": "process_cpu",
            "__period_type__": "cpu",
            "__period_unit__": "nanoseconds",
            "__profile_type__": "process_cpu:cpu:nanoseconds:cpu:nanoseconds",
            "__service_name__": "app",
            "__type__": "cpu",
            "__unit__": "nanoseconds",
            "region": "eu",
            "service_name": "app",
        }
    ]


@pytest.mark.parametrize("rules", ["verbatim", "pyroscope"])
def test_a_period_type_that_is_missing_leaves_empty_parts_and_no_labels(rules: Rules) -> None:
    raw = Maker("inuse_space/bytes").sample("a", 1).bytes()
    (labels,) = series(normalised([raw], rules, contexts=[context()]).batch)
    assert labels["__profile_type__"] == "memory:inuse_space:bytes::"
    assert labels["service_name"] == labels["__service_name__"] == "unknown_service"
    assert "__period_type__" not in labels


def test_labels_of_the_wire_are_not_stored_after_a_push() -> None:
    extra: dict[str, Any] = {"__delta__": "false", "__order__": "1", "__session_id__": "x"}
    assert extra.keys().isdisjoint(series(pushed(cpu(), context(**extra)))[0])
    assert extra.items() <= series(normalised([cpu()], contexts=[context(**extra)]).batch)[0].items()


def test_delta_profiles_of_go_go_by_their_plain_names() -> None:
    (labels,) = series(pushed(cpu(), context(__name__="godeltaprof_memory")))
    assert (labels["__name__"], labels["__name_replaced__"]) == ("memory", "godeltaprof_memory")
    (labels,) = series(normalised([cpu()], contexts=[context(__name__="godeltaprof_memory")]).batch)
    assert labels["__name__"] == "godeltaprof_memory"


def test_sample_labels_stay_with_their_samples_or_make_series() -> None:
    raw = Maker().sample("a", 1, x="1").sample("a", 2, x="2").sample("a", 4).sample("b", 8, x="1").bytes()
    kept = normalised([raw]).batch
    assert (len(kept.series), len(kept.labelsets), sorted(values(kept))) == (1, 2, [1, 2, 4, 8])
    split = pushed(raw)
    totals = zip(
        (labels.get("x") for labels in series(split)), split.profiles.column("total").to_pylist(), strict=True
    )
    assert set(totals) == {("1", 9), ("2", 2), (None, 4)}
    assert len(split.labelsets) == 0


def test_labels_of_the_series_win_over_those_of_samples() -> None:
    raw = Maker().sample("a", 1, region="us", service_name="other").sample("a", 2).bytes()
    batch = pushed(raw, context(service_name="app", region="eu"))
    assert [(labels["region"], labels["service_name"]) for labels in series(batch)] == [("eu", "app")]
    assert values(batch) == [3], "both are of one series now, and equal"


def test_numeric_labels_are_dropped_from_a_push() -> None:
    raw = Maker().sample("a", 1, bytes=(8, "B")).sample("a", 2, bytes=(16, "B")).bytes()
    batch = pushed(raw)
    assert (len(batch.series), values(batch)) == (1, [3])


def test_span_and_trace_ids_stay_with_the_sample() -> None:
    raw = (
        Maker()
        .sample("a", 1, span_id=SPAN, trace_id=TRACE)
        .sample("a", 2, profile_id=SPAN)
        .sample("a", 4)
        .bytes()
    )
    batch = pushed(raw)
    assert len(batch.series) == 1
    span = int.from_bytes(bytes.fromhex(SPAN), "little")
    rows = {(row["value"], row["span_id"], row["trace_id"]) for row in batch.samples.to_pylist()}
    assert rows == {(1, span, bytes.fromhex(TRACE)), (2, span, None), (4, 0, None)}


@pytest.mark.parametrize("text", ["", "xyz", SPAN + "00", SPAN[:-1] + "g"])
def test_ids_that_are_none(text: str) -> None:
    assert (parse_span_id(text), parse_trace_id(text)) == (0, None)


def test_negative_samples_and_empty_types_are_dropped_from_a_push() -> None:
    raw = Maker("x/count", "y/count").sample("a", 1, -1).sample("b", 2, 0).sample("c", 0, 0).bytes()
    batch = pushed(raw)
    assert (values(batch), [labels["__type__"] for labels in series(batch)]) == ([2], ["x"])
    assert names(batch) == {"b"}
    assert sorted(values(normalised([raw]).batch)) == [-1, 1, 2]


def test_a_push_without_samples_stores_nothing() -> None:
    batch = pushed(Maker().bytes())
    assert (len(batch.profiles), len(batch.series)) == (0, 0)


def dangling(message: profile_pb2.Profile) -> None:
    message.sample[0].location_id[0] = 99


def nameless(message: profile_pb2.Profile) -> None:
    message.location[0].line[0].function_id = 99


def unmapped(message: profile_pb2.Profile) -> None:
    message.location[0].mapping_id = 99


@pytest.mark.parametrize("change", [dangling, nameless, unmapped])
def test_a_push_loses_the_samples_that_refer_to_nothing(change: Any) -> None:
    batch = pushed(changed(Maker().sample("x", 1).sample("y", 2).bytes(), change))
    assert (values(batch), names(batch)) == ([2], {"y"})


def test_a_push_of_references_to_nothing_only() -> None:
    raw = changed(
        Maker().sample("x", 1).bytes(), lambda m: [m.ClearField("location"), m.ClearField("function")]
    )
    assert len(pushed(raw).profiles) == 0


LIMITS: dict[str, tuple[bytes, dict[str, str], str]] = {
    "samples": (
        Maker().sample("a", 1).sample("b", 1).sample("c", 1).sample("d", 1).bytes(),
        {},
        "profile has 4 samples; limit 3",
    ),
    "labels of a sample": (cpu(a="1", b="2", c="3"), {}, "a sample has 3 labels; limit 2"),
    "labels of a series": (cpu(), {"a": "1", "b": "2", "c": "3"}, "has 5 label names; limit 4"),
    "labels of a split series": (cpu(x="1", y="1"), {"a": "1"}, "has 5 label names; limit 4"),
    "label name": (cpu(), {"n" * 20: "1"}, "has 20 bytes; limit 16"),
    "label value": (cpu(), {"a": "v" * 20}, "label 'a' has a value of 20 bytes; limit 16"),
    "dash": (
        Maker("alloc-samples/count").sample("a", 1).bytes(),
        {},
        "sample type 'alloc-samples' contains -",
    ),
    "text": (cpu().replace(b"\x01b", b"\x01\xff"), {}, "string_table is not valid UTF-8: ff"),
}
TIGHT = PushLimits(
    max_samples=3, max_sample_labels=2, max_label_names=4, max_label_name_bytes=16, max_label_value_bytes=16
)


@pytest.mark.parametrize("name", LIMITS)
def test_limits_of_a_push(name: str) -> None:
    raw, labels, reason = LIMITS[name]
    labelled = context(**dict[str, Any](labels))
    assert reason in push(raw, labelled, TIGHT).refused[0]
    assert normalised([raw], "verbatim", TIGHT, [labelled]).refused == {}, "files have none"


def test_deep_stacks_lose_their_leaves_and_long_texts_their_heads() -> None:
    raw = Maker().sample("root;middle;leaf", 1).bytes()
    limits = replace(DEFAULT_LIMITS, max_stack_depth=2, max_string_bytes=5)
    batch = push(raw, limits=limits).batch
    assert names(batch) == {"root", "iddle"}


GO_NAMES = [
    ("main.F[go.shape.int]", "main.F"),
    ("main.F[go.shape.[]int].func1", "main.F.func1"),
    ("main.(*T[go.shape.string,go.shape.map[string][]int]).M", "main.(*T).M"),
    ("a[go.shape.int].b[go.shape.string]", "a.b"),
    ("main.F[...]", "main.F[...]"),
    ("broken[go.shape.int", "broken[go.shape.int"),
]


@pytest.mark.parametrize(("name", "expected"), GO_NAMES)
def test_shapes_of_go(name: str, expected: str) -> None:
    assert without_go_shape(name) == expected


def same_lines(message: profile_pb2.Profile) -> None:
    for location in message.location:
        location.line[0].line = 5


def test_shapes_of_go_are_removed_from_a_push_and_equal_stacks_summed() -> None:
    raw = Maker().sample("main.F[go.shape.int]", 1).sample("main.F[go.shape.string]", 2).bytes()
    raw = changed(raw, same_lines)
    assert (names(pushed(raw)), values(pushed(raw))) == ({"main.F"}, [3])
    assert len(names(normalised([raw]).batch)) == 2


def test_headers_are_kept() -> None:
    maker = Maker("x/count", "y/count").sample("a", 1, 1)
    message = maker.message
    message.drop_frames, message.keep_frames = maker.text("drop.*"), maker.text("keep.*")
    message.comment.extend([maker.text("one"), maker.text("two")])
    message.default_sample_type, message.doc_url = maker.text("x"), maker.text("https://doc")
    message.period, message.duration_nanos = 7, 9
    for row in normalised([maker.bytes()]).batch.profiles.to_pylist():
        assert (row["drop_frames"], row["keep_frames"], row["comments"]) == (
            "drop.*",
            "keep.*",
            ["one", "two"],
        )
        assert (row["default_sample_type"], row["doc_url"]) == ("x", "https://doc")
        assert (row["period"], row["duration_ns"], row["rules"]) == (7, 9, 0)
