"""OTLP profiles out: exact stacks with mappings, lines and sample labels; a resource for each label set.

The profiles of a series are merged into one, with the earliest time, durations added up and the largest period.
What OTLP has no field for goes where OpenTelemetry's conventions for pprof put it. Our reader makes the same series,
profiles and samples of it again.
"""

from __future__ import annotations

import json

from ....schema.labels import METRIC_NAME, SERVICE_NAME
from ....schema.proto import otlp_profiles_pb2 as otlp
from ...formats.otlp_meaning import (
    COMMENT,
    DEFAULT_TYPE,
    DOC_URL,
    DROP_FRAMES,
    KEEP_FRAMES,
    MADE_LABELS,
    PROFILE_ID,
    SCOPE_NAME,
    SCOPE_VERSION,
    SERVICE,
    name_of,
    service_of,
)
from ..export import Export
from ..export_series import SeriesExport, export_series
from .otlp_json import to_json
from .otlp_tables import TableWriter
from .pprof_mappings import MappingChoice


def write_otlp(export: Export) -> bytes:
    """The selection as a `ProfilesData` in protobuf, which is an export request as well."""
    return bytes(build_otlp(export).SerializeToString(deterministic=True))


def write_otlp_json(export: Export) -> bytes:
    """The same in OTLP's JSON."""
    return json.dumps(to_json(build_otlp(export)), ensure_ascii=False, separators=(",", ":")).encode()


def build_otlp(export: Export) -> otlp.ProfilesData:
    """The message that is written."""
    series, partial = export_series(export, labels=True)
    mappings = dict.fromkeys(mapping for one in series for mapping in one.facts.mappings)
    tables = TableWriter(partial, MappingChoice(partial, list(mappings)))
    message = otlp.ProfilesData()
    profiles = _Resources(message, tables).add_all(series)
    columns = (partial.values.column(name).to_pylist() for name in partial.values.column_names)
    for stack_id, labelset_id, number, value in zip(*columns, strict=True):
        attributes, link = tables.labels(labelset_id)
        profiles[int(number)].samples.add(
            stack_index=tables.stack(stack_id), attribute_indices=attributes, link_index=link, values=[value]
        )
    message.dictionary.CopyFrom(tables.message)
    return message


class _Resources:
    """Adds a profile for each series to a message, those of one label set in one resource."""

    def __init__(self, message: otlp.ProfilesData, tables: TableWriter) -> None:
        self._message = message
        self._tables = tables
        self._scopes: dict[tuple[tuple[str, str], ...], otlp.ScopeProfiles] = {}

    def add_all(self, series: list[SeriesExport]) -> list[otlp.Profile]:
        """The profiles, still without samples, in the order of the series."""
        ordered = sorted(
            range(len(series)), key=lambda n: (_said_labels(series[n]), series[n].kind.type_no, n)
        )
        added = {number: self._add(series[number]) for number in ordered}
        return [added[number] for number in range(len(series))]

    def _add(self, one: SeriesExport) -> otlp.Profile:
        text, facts, kind = self._tables.text, one.facts, one.kind
        profile: otlp.Profile = self._scope(_said_labels(one)).profiles.add(
            time_unix_nano=max(facts.time_ns, 0), duration_nano=max(facts.duration_ns, 0), period=facts.period
        )
        profile.sample_type.type_strindex = text(kind.type)
        profile.sample_type.unit_strindex = text(kind.unit)
        if kind.period_type or kind.period_unit:
            profile.period_type.type_strindex = text(kind.period_type)
            profile.period_type.unit_strindex = text(kind.period_unit)
        ids = [comment for comment in facts.comments if _profile_id(comment)]
        comments = [comment for comment in facts.comments if comment not in ids or len(ids) > 1]
        if len(ids) == 1:
            profile.profile_id = _profile_id(ids[0])
        own = {
            COMMENT: comments,
            DROP_FRAMES: facts.drop_frames,
            KEEP_FRAMES: facts.keep_frames,
            DOC_URL: facts.doc_url,
            DEFAULT_TYPE: facts.default_sample_type if facts.default_sample_type != kind.type else "",
            METRIC_NAME: _unexpected_name(one),
        }
        for key, value in own.items():
            if value:
                profile.attribute_indices.append(self._tables.attribute(key, value))
        return profile

    def _scope(self, labels: tuple[tuple[str, str], ...]) -> otlp.ScopeProfiles:
        known = self._scopes.get(labels)
        if known is not None:
            return known
        resource = self._message.resource_profiles.add()
        added: otlp.ScopeProfiles = resource.scope_profiles.add()
        self._scopes[labels] = added
        for name, value in labels:
            if name in (SCOPE_NAME, SCOPE_VERSION):
                setattr(added.scope, name.rpartition(".")[2], value.encode())
            else:
                pair = resource.resource.attributes.add(key=name.encode())
                pair.value.string_value = value.encode()
        return added


def _said_labels(one: SeriesExport) -> tuple[tuple[str, str], ...]:
    """The labels that become attributes: none that a reader makes again from the others."""
    labels = {name: value for name, value in one.labels if name not in MADE_LABELS and name != METRIC_NAME}
    service = labels.pop(SERVICE_NAME, "")
    if service != service_of(labels):
        labels[SERVICE_NAME if SERVICE in labels else SERVICE] = service
    return tuple(sorted(labels.items()))


def _unexpected_name(one: SeriesExport) -> str:
    kind = one.kind
    name = dict(one.labels).get(METRIC_NAME, "")
    derived = name_of((kind.type, kind.unit), (kind.period_type, kind.period_unit))
    return name if name != derived else ""


def _profile_id(comment: str) -> bytes:
    """The id in a comment of our reader; empty when it is another comment."""
    try:
        return bytes.fromhex(comment.removeprefix(PROFILE_ID)) if comment.startswith(PROFILE_ID) else b""
    except ValueError:
        return b""
