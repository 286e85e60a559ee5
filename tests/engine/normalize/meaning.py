"""What a profile says, found in two ways: by a plain walk over its message, and from the normalised tables."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from flameduck.engine.formats import Decoded, Input
from flameduck.engine.formats.pprof import Pprof
from flameduck.engine.normalize.context import NO_LIMITS, ProfileContext, PushLimits
from flameduck.engine.normalize.normalise import Normalised, normalise
from flameduck.schema.profile import NormalisedBatch, Rules
from flameduck.schema.proto import profile_pb2
from tests.golden.pprof_meaning import Labels, lines_of, summed, texts_of

Meaning = dict[Hashable, int]
"""(profile, sample type, unit, frames leaf first, labels) to value; no zeros."""

TIME_NS = 10**18


def walk(raws: Sequence[bytes], services: Sequence[str]) -> Meaning:
    """The meaning of some messages, one object after the other."""
    found: Meaning = {}
    for number, (raw, service) in enumerate(zip(raws, services, strict=True)):
        message = profile_pb2.Profile.FromString(raw)
        texts = texts_of(message)
        kinds = [(texts[kind.type], texts[kind.unit]) for kind in message.sample_type]
        for (stack, labels), values in summed(message, _frames(message, texts, service)).items():
            for kind, value in zip(kinds, values, strict=True):
                key = (number, *kind, stack, labels)
                found[key] = found.get(key, 0) + value
    return {key: value for key, value in found.items() if value}


def _frames(message: profile_pb2.Profile, texts: Sequence[str], service: str) -> dict[int, Hashable]:
    mappings = {
        m.id: (texts[m.filename], texts[m.build_id], m.memory_start - m.file_offset) for m in message.mapping
    }
    lines = lines_of(message)
    return {
        location.id: (
            *_place(lines[location.id], mappings.get(location.mapping_id), location.address, service),
            location.is_folded,
        )
        for location in message.location
    }


def _place(
    lines: Hashable, mapping: tuple[str, str, int] | None, address: int, service: str
) -> tuple[Hashable, Hashable]:
    """What tells a location from others: file and lines, or where it is in a binary."""
    filename, build_id, shift = mapping or ("", "", 0)
    if lines:
        return filename, lines
    where = ("build", build_id) if build_id else ("file", filename) if filename else ("service", service)
    return where, (address - shift) % 2**64


def rebuild(batch: NormalisedBatch) -> Meaning:
    """The meaning of a batch of verbatim profiles, numbered by their ids' first byte, joined row by row."""
    tables = {name: table.to_pylist() for name, table in batch.tables().items()}
    series = {row["series_id"]: dict(row["labels"]) for row in tables["series"]}
    functions = {
        row["function_id"]: (row["name"], row["system_name"], row["filename"], row["start_line"])
        for row in tables["functions"]
    }
    mappings = {
        row["mapping_id"]: (row["filename"], row["build_id"], row["memory_start"] - row["file_offset"])
        for row in tables["mappings"]
    }
    labelsets: dict[int, Labels] = {0: ()}
    for row in tables["labelsets"]:
        labelsets[row["labelset_id"]] = tuple(
            sorted((x["key"], x["str"], x["num"], x["unit"]) for x in row["labels"])
        )
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
    mappings: Mapping[int, tuple[str, str, int]],
    service: str,
) -> dict[int, Hashable]:
    found: dict[int, Hashable] = {}
    for row in rows:
        mapping = mappings[row["mapping_id"]] if row["mapping_id"] else None
        lines = tuple((functions[x["function_id"]], x["line"], x["column"]) for x in row["lines"])
        found[row["location_id"]] = (*_place(lines, mapping, row["address"], service), row["is_folded"])
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
