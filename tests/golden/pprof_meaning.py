"""What a pprof means, apart from how it is numbered: for comparing one file with another, or with what became of it."""

from __future__ import annotations

import gzip
from collections import Counter
from collections.abc import Hashable, Mapping
from typing import Any

from flameduck.schema.proto import profile_pb2

Stack = tuple[Hashable, ...]
Labels = tuple[tuple[str, str, int, str], ...]
"""Key, text, number and unit of each label, sorted."""


def read_pprof(data: bytes) -> profile_pb2.Profile:
    """A pprof from its bytes, compressed or not."""
    message = profile_pb2.Profile()
    message.ParseFromString(gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data)
    return message


def meaning(message: profile_pb2.Profile) -> dict[str, Any]:
    """Metadata, and the multiset (stack, labels) to values; equal samples summed, all-zero ones left out."""
    text = texts_of(message)
    samples = summed(message, _frames(message, text))
    return {
        "sample_types": [(text[kind.type], text[kind.unit]) for kind in message.sample_type],
        "period_type": (text[message.period_type.type], text[message.period_type.unit]),
        "period": message.period,
        "duration": message.duration_nanos,
        "comments": [text[i] for i in message.comment],
        "default": text[message.default_sample_type],
        "drop": text[message.drop_frames],
        "keep": text[message.keep_frames],
        "doc_url": text[message.doc_url],
        "samples": {key: values for key, values in samples.items() if any(values)},
    }


def texts_of(message: profile_pb2.Profile) -> list[str]:
    """The string table."""
    return [raw.decode("utf-8", "replace") for raw in message.string_table]


def summed(
    message: profile_pb2.Profile, frames: Mapping[int, Hashable]
) -> dict[tuple[Stack, Labels], list[int]]:
    """The values of each distinct stack with its labels, one a sample type; `frames` says what each location is."""
    text = texts_of(message)
    samples: dict[tuple[Stack, Labels], list[int]] = {}
    for sample in message.sample:
        labels = sorted((text[x.key], text[x.str], x.num, text[x.num_unit]) for x in sample.label)
        key = tuple(frames[i] for i in sample.location_id), tuple(labels)
        known = samples.setdefault(key, [0] * len(message.sample_type))
        samples[key] = [a + b for a, b in zip(known, sample.value, strict=True)]
    return samples


def lines_of(message: profile_pb2.Profile) -> dict[int, Stack]:
    """The lines of each location: function, line and column."""
    text = texts_of(message)
    functions = {
        f.id: (text[f.name], text[f.system_name], text[f.filename], f.start_line) for f in message.function
    }
    return {
        location.id: tuple((functions[line.function_id], line.line, line.column) for line in location.line)
        for location in message.location
    }


def _frames(message: profile_pb2.Profile, text: list[str]) -> dict[int, Hashable]:
    """Each location with its mapping and lines; the address only where there are no lines."""
    mappings = {
        m.id: (
            text[m.filename], text[m.build_id], m.memory_start, m.memory_limit, m.file_offset,
            m.has_functions, m.has_filenames, m.has_line_numbers, m.has_inline_frames,
        )
        for m in message.mapping
    }  # fmt: skip
    lines = lines_of(message)
    return {
        location.id: (
            mappings.get(location.mapping_id),
            location.is_folded,
            lines[location.id] or location.address,
        )
        for location in message.location
    }


def totals(message: profile_pb2.Profile) -> Counter[str]:
    """The sum of each sample type's values."""
    text = texts_of(message)
    found: Counter[str] = Counter()
    for sample in message.sample:
        for kind, value in zip(message.sample_type, sample.value, strict=True):
            found[text[kind.type]] += value
    return found
