"""What OpenTelemetry's own classes read in an OTLP request, in terms that ours can be compared with."""

from __future__ import annotations

from collections import Counter
from typing import Any

from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import (
    ExportProfilesServiceRequest,
)

Stack = tuple[str, ...]


def read_request(data: bytes) -> ExportProfilesServiceRequest:
    """The request as OpenTelemetry's classes parse it."""
    message: ExportProfilesServiceRequest = ExportProfilesServiceRequest.FromString(data)
    return message


def profiles_of(message: ExportProfilesServiceRequest) -> list[Any]:
    """All profiles, whoever sent them."""
    return [
        profile
        for resource in message.resource_profiles
        for scope in resource.scope_profiles
        for profile in scope.profiles
    ]


def value_of(sample: Any) -> int:
    """Values add up; times without values count one each."""
    return sum(sample.values) if sample.values else len(sample.timestamps_unix_nano)


def stack_values(data: bytes) -> Counter[tuple[str, Stack]]:
    """Values by type and unit, and by stack, root first; a location without lines is `[file]`."""
    message = read_request(data)
    tables = message.dictionary
    text = tables.string_table
    found: Counter[tuple[str, Stack]] = Counter()
    for profile in profiles_of(message):
        kind = f"{text[profile.sample_type.type_strindex]}:{text[profile.sample_type.unit_strindex]}"
        for sample in profile.samples:
            frames: list[str] = []
            for place in tables.stack_table[sample.stack_index].location_indices:
                location = tables.location_table[place]
                names = [
                    text[tables.function_table[line.function_index].name_strindex] for line in location.lines
                ]
                mapping = tables.mapping_table[location.mapping_index]
                frames += names or [f"[{text[mapping.filename_strindex].rpartition('/')[2]}]"]
            found[kind, tuple(frames[::-1])] += value_of(sample)
    return Counter({key: value for key, value in found.items() if value})
