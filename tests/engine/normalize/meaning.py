"""What a profile says, found in two ways: by a plain walk over its message, and from the normalised tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from flameduck.engine.formats import Decoded, Input
from flameduck.engine.formats.pprof import Pprof
from flameduck.engine.normalize.context import NO_LIMITS, ProfileContext, PushLimits
from flameduck.engine.normalize.normalise import Normalised, normalise
from flameduck.schema.profile import NormalisedBatch, Rules
from flameduck.schema.proto import profile_pb2

Meaning = dict[Hashable, int]
"""(profile, sample type, unit, frames leaf first, labels) to value; no zeros."""

TIME_NS = 10**18


def walk(raws: Sequence[bytes], services: Sequence[str]) -> Meaning:
    """The meaning of some messages, one object after the other."""
    found: Counter[Hashable] = Counter()
    for number, (raw, service) in enumerate(zip(raws, services, strict=True)):
        message = profile_pb2.Profile.FromString(raw)
        texts = [text.decode("utf-8", "replace") for text in message.string_table]
        frames = _frames(message, texts, service)
        for sample in message.sample:
            labels = Counter((texts[x.key], texts[x.str], x.num, texts[x.num_unit]) for x in sample.label)
            stack = tuple(frames[reference] for reference in sample.location_id)
            for kind, value in zip(message.sample_type, sample.value, strict=True):
                found[number, texts[kind.type], texts[kind.unit], stack, frozenset(labels.items())] += value
    return {key: value for key, value in found.items() if value}


def _frames(message: Any, texts: Sequence[str], service: str) -> Mapping[int, Hashable]:
    functions = {
        f.id: (texts[f.name], texts[f.system_name], texts[f.filename], f.start_line) for f in message.function
    }
    mappings = {m.id: m for m in message.mapping}
    frames: dict[int, Hashable] = {}
    for location in message.location:
        mapping = mappings.get(location.mapping_id)
        filename = texts[mapping.filename] if mapping else ""
        lines = tuple((functions[line.function_id], line.line, line.column) for line in location.line)
        if lines:
            frames[location.id] = (filename, location.is_folded, lines)
            continue
        build_id = texts[mapping.build_id] if mapping else ""
        shift = mapping.memory_start - mapping.file_offset if mapping else 0
        where = ("build", build_id) if build_id else ("file", filename) if filename else ("service", service)
        frames[location.id] = (where, location.is_folded, (location.address - shift) % 2**64)
    return frames


def rebuild(batch: NormalisedBatch) -> Meaning:
    """The meaning of a batch of verbatim profiles, numbered by their ids' first byte, joined row by row."""
    tables = {name: table.to_pylist() for name, table in batch.tables().items()}
    series = {row["series_id"]: dict(row["labels"]) for row in tables["series"]}
    functions = {
        row["function_id"]: (row["name"], row["system_name"], row["filename"], row["start_line"])
        for row in tables["functions"]
    }
    mappings = {row["mapping_id"]: row for row in tables["mappings"]}
    labelsets = {0: frozenset[Any]()}
    for row in tables["labelsets"]:
        counted = Counter((x["key"], x["str"], x["num"], x["unit"]) for x in row["labels"])
        labelsets[row["labelset_id"]] = frozenset(counted.items())
    found: dict[Hashable, int] = {}
    samples = iter(tables["samples"])
    for row in tables["profiles"]:
        labels = series[row["series_id"]]
        locations = _locations(tables["locations"], functions, mappings, labels["service_name"])
        stacks = {s["stack_id"]: tuple(locations[x] for x in s["locations"]) for s in tables["stacks"]}
        kind = (labels.get("__type__", ""), labels.get("__unit__", ""))
        own = [next(samples) for _ in range(row["n"])]
        for sample in own:
            key = (row["profile_id"][0], *kind, stacks[sample["stack_id"]], labelsets[sample["labelset_id"]])
            assert key not in found, "equal samples are summed"
            found[key] = sample["value"]
        assert row["total"] == sum(sample["value"] for sample in own)
    assert next(samples, None) is None
    return found


def _locations(
    rows: Sequence[dict[str, Any]],
    functions: Mapping[int, Hashable],
    mappings: Mapping[int, Any],
    service: str,
) -> Mapping[int, Hashable]:
    found: dict[int, Hashable] = {}
    for row in rows:
        mapping = mappings[row["mapping_id"]] if row["mapping_id"] else None
        filename, build_id = (mapping["filename"], mapping["build_id"]) if mapping else ("", "")
        lines = tuple((functions[x["function_id"]], x["line"], x["column"]) for x in row["lines"])
        if lines:
            found[row["location_id"]] = (filename, row["is_folded"], lines)
            continue
        shift = mapping["memory_start"] - mapping["file_offset"] if mapping else 0
        where = ("build", build_id) if build_id else ("file", filename) if filename else ("service", service)
        found[row["location_id"]] = (where, row["is_folded"], (row["address"] - shift) % 2**64)
    return found


def context(number: int = 0, name: str = "", time_ns: int = TIME_NS, **labels: str) -> ProfileContext:
    """What is said about profile `number` of a batch."""
    own_id = bytes([number]) * 16
    return ProfileContext(labels, own_id, own_id, f"file{number}", name, time_ns)


def decode(raws: Sequence[bytes]) -> pa.RecordBatch:
    """Messages that are well-formed as one decoded batch."""
    (decoded,) = Pprof().decode([Input(raw) for raw in raws])
    assert isinstance(decoded, Decoded)
    return decoded.batch


def normalised(
    raws: Sequence[bytes],
    rules: Rules = "verbatim",
    limits: PushLimits = NO_LIMITS,
    contexts: Sequence[ProfileContext] = (),
) -> Normalised:
    """Messages decoded and normalised in one batch; each is of its own service unless `contexts` say otherwise."""
    said = contexts or [context(number, service_name=f"service{number}") for number in range(len(raws))]
    return normalise(decode(raws), said, rules, limits)
