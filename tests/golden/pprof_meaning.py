"""What a pprof means, apart from how it is numbered: for comparing one file with another."""

from __future__ import annotations

import gzip
from collections import Counter
from typing import Any

from flameduck.schema.proto import profile_pb2

Stack = tuple[Any, ...]


def read_pprof(data: bytes) -> profile_pb2.Profile:
    """A pprof from its bytes, compressed or not."""
    message = profile_pb2.Profile()
    message.ParseFromString(gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data)
    return message


def meaning(message: profile_pb2.Profile) -> dict[str, Any]:
    """Metadata, and the multiset (stack, labels) to values; equal samples summed, all-zero ones left out."""
    text = [raw.decode("utf-8", "replace") for raw in message.string_table]
    stacks = _stacks(message, text)
    samples: dict[tuple[Stack, Stack], list[int]] = {}
    for sample in message.sample:
        labels = sorted((text[x.key], text[x.str], x.num, text[x.num_unit]) for x in sample.label)
        key = tuple(stacks[i] for i in sample.location_id), tuple(labels)
        known = samples.setdefault(key, [0] * len(message.sample_type))
        samples[key] = [a + b for a, b in zip(known, sample.value, strict=True)]
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


def _stacks(message: profile_pb2.Profile, text: list[str]) -> dict[int, Stack]:
    """Each location with its mapping and lines; the address only where there are no lines."""
    functions = {
        f.id: (text[f.name], text[f.system_name], text[f.filename], f.start_line) for f in message.function
    }
    mappings = {
        m.id: (
            text[m.filename], text[m.build_id], m.memory_start, m.memory_limit, m.file_offset,
            m.has_functions, m.has_filenames, m.has_line_numbers, m.has_inline_frames,
        )
        for m in message.mapping
    }  # fmt: skip
    return {
        location.id: (
            mappings.get(location.mapping_id),
            location.is_folded,
            tuple((functions[line.function_id], line.line, line.column) for line in location.line)
            or location.address,
        )
        for location in message.location
    }


def totals(message: profile_pb2.Profile) -> Counter[str]:
    """The sum of each sample type."""
    text = [raw.decode("utf-8", "replace") for raw in message.string_table]
    sums: Counter[str] = Counter()
    for sample in message.sample:
        for kind, value in zip(message.sample_type, sample.value, strict=True):
            sums[text[kind.type]] += value
    return sums
