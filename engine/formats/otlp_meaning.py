"""What an OTLP profile is called, which labels its series has and what its values mean, under both rule sets.

Verbatim: attributes of resource, scope and profile become labels, types stay. Under the pyroscope rules it is what
a Pyroscope server makes of an export request.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ...schema.errors import CorruptProfile
from ...schema.labels import METRIC_NAME, SERVICE_NAME
from . import Input
from .otlp_tables import Attributes, Dictionary, Plain, ProfileHead, as_pyroscope_text, as_text
from .profile_columns import ProfileHeader, ValueType

SERVICE = "service.name"
UNKNOWN_SERVICE = "unknown_service"
EXECUTABLE = "process.executable.name"
SCOPE_NAME, SCOPE_VERSION = "otel.scope.name", "otel.scope.version"
COMMENT = "pprof.profile.comment"
DROP_FRAMES, KEEP_FRAMES = "pprof.profile.drop_frames", "pprof.profile.keep_frames"
DOC_URL = "pprof.profile.doc_url"
DEFAULT_TYPE = "pprof.scope.default_sample_type"
IS_FOLDED = "pprof.location.is_folded"
MAPPING_FLAGS = ("has_functions", "has_filenames", "has_line_numbers", "has_inline_frames")
MAPPING_FLAG = "pprof.mapping."
"""OpenTelemetry's names for what pprof says and OTLP has no field for."""

BUILD_IDS = tuple(f"process.executable.build_id.{kind}" for kind in ("gnu", "go", "htlhash"))
"""Attributes of a mapping that hold its build id, the best first."""

PROFILE_ID = "OTLP profile_id "
"""How the comment begins that keeps a profile's id."""

MADE_LABELS = frozenset(
    ("__service_name__", "__type__", "__unit__", "__period_type__", "__period_unit__", "__profile_type__")
)
"""Labels that a store makes itself."""

_HEADER_KEYS = frozenset((COMMENT, DROP_FRAMES, KEEP_FRAMES, DOC_URL, DEFAULT_TYPE, METRIC_NAME))
_CPU_SAMPLES = (("samples", "count"), ("cpu", "nanoseconds"))
_OFF_CPU = (("off_cpu", "nanoseconds"), ("", ""))
_DEFAULT_DURATION_NS = 10_000_000_000
_MOST = 2**63 - 1


@dataclass(frozen=True)
class Meaning:
    """One profile: `name`, the labels of its series, what it says once.

    Its values count `factor` times. The values of a sample are added up; without `several` it may have only one.
    """

    name: str
    labels: dict[str, str]
    header: ProfileHeader
    factor: int = 1
    several: bool = True
    drop_frames: str = ""
    keep_frames: str = ""
    doc_url: str = ""

    @property
    def characters(self) -> int:
        """How long all of its texts are together."""
        texts = (*self.labels, *self.labels.values(), *self.header.comments)
        return sum(map(len, (*texts, self.drop_frames, self.keep_frames, self.doc_url)))


def meaning_of(head: ProfileHead, dictionary: Dictionary, one: Input) -> Meaning:
    """What a profile means. Raises `CorruptProfile`."""
    if head.sample_type is None:
        raise CorruptProfile("sample type is missing")
    sample = _value_type(head.sample_type, dictionary, "sample_type")
    period = _value_type(head.period_type or (0, 0), dictionary, "period_type")
    for field, number, least in (
        ("time_unix_nano", head.time_ns, 0),
        ("duration_nano", head.duration_ns, 0),
        ("period", head.period, -_MOST - 1),
    ):
        if not least <= number <= _MOST:
            raise CorruptProfile(f"{field} {number} is not from {least} to {_MOST}")
    return (_pushed if one.rules == "pyroscope" else _verbatim)(head, dictionary, one, (sample, period))


def _value_type(indices: tuple[int, int], dictionary: Dictionary, field: str) -> ValueType:
    kind, unit = indices
    return dictionary.text(kind, f"{field}.type_strindex"), dictionary.text(unit, f"{field}.unit_strindex")


def _verbatim(
    head: ProfileHead, dictionary: Dictionary, one: Input, types: tuple[ValueType, ValueType]
) -> Meaning:
    own = dict(_own_attributes(head, dictionary))
    labels: dict[str, str] = {}
    scope = {SCOPE_NAME: head.scope_name, SCOPE_VERSION: head.scope_version}
    of_profile = {key: value for key, value in own.items() if key not in _HEADER_KEYS}
    for attributes in (head.resource, head.scope, scope, of_profile):
        for key, value in attributes.items():
            if key not in MADE_LABELS and key != METRIC_NAME:
                labels.setdefault(key, as_text(value))
    labels[SERVICE_NAME] = labels.get(SERVICE_NAME) or service_of(labels)
    comments = own.get(COMMENT) or []
    header = ProfileHeader(
        sample_types=[types[0]],
        period_type=types[1],
        period=head.period,
        time_ns=head.time_ns,
        duration_ns=head.duration_ns,
        comments=[*map(as_text, comments if isinstance(comments, list) else [comments]), *_id_comment(head)],
        default_sample_type=as_text(own.get(DEFAULT_TYPE)) or types[0][0],
    )
    texts = (as_text(own.get(key)) for key in (DROP_FRAMES, KEEP_FRAMES, DOC_URL))
    name = as_text(own.get(METRIC_NAME)) or name_of(*types)
    return Meaning(name, {**labels, **one.labels}, header, 1, True, *texts)


def _own_attributes(head: ProfileHead, dictionary: Dictionary) -> Iterator[tuple[str, Plain]]:
    """The attributes of the profile itself."""
    table = dictionary.attributes
    for index in reversed(head.attributes):
        if not 0 <= index < len(table.key):
            raise CorruptProfile(
                f"profile.attribute_indices {index} is outside of attribute_table, which has {len(table.key)} entries"
            )
        yield dictionary.text(int(table.key[index]), "attribute.key_strindex"), table.values.plain(index)


def _id_comment(head: ProfileHead) -> list[str]:
    return [f"{PROFILE_ID}{head.profile_id.hex()}"] if any(head.profile_id) else []


def service_of(labels: Attributes) -> str:
    """The service's name where no sample says another."""
    executable = as_text(labels.get(EXECUTABLE))
    return as_text(labels.get(SERVICE)) or f"{UNKNOWN_SERVICE}{f':{executable}' if executable else ''}"


def name_of(sample: ValueType, period: ValueType) -> str:
    """`__name__` of profiles of a type, which OTLP does not say."""
    kind = sample[0]
    if kind == "off_cpu":
        return "off_cpu"
    if "wall" in (kind, period[0]):
        return "wall"
    if "cpu" in kind or period[0] == "cpu":
        return "process_cpu"
    if kind in ("space", "objects") or kind.startswith(("alloc", "inuse", "heap", "live")):
        return "memory"
    for start, name in (
        ("goroutine", "goroutines"),
        ("mutex", "mutex"),
        ("block", "block"),
        ("lock", "block"),
    ):
        if kind.startswith(start):
            return name
    return kind or "unknown"


def _pushed(
    head: ProfileHead, dictionary: Dictionary, one: Input, types: tuple[ValueType, ValueType]
) -> Meaning:
    """The labels in Pyroscope's order: its own, those of the resource, those of the scope; the service comes last."""
    sample, period = types
    has_period = bool(head.period) and head.period_type is not None
    key = (sample, period if has_period else ("", ""))
    name, factor = key[1][0], 1
    if key == _CPU_SAMPLES:
        name, factor, sample = "process_cpu", head.period, ("cpu", "nanoseconds")
    elif key == _OFF_CPU:
        name = "off_cpu"
    if not name and not one.name:
        raise CorruptProfile(
            f"invalid metric name: {sample[0]}:{sample[1]} has no period type to be called after"
        )
    labels = {"__delta__": "false", "__otel__": "true", METRIC_NAME: name}
    for attributes in (head.resource, head.scope):
        for label, value in attributes.items():
            text = as_pyroscope_text(value)
            if text:
                labels.setdefault(label, text)
    if SERVICE_NAME in labels:
        raise CorruptProfile(
            "duplicate_label_names: the attribute service_name is also the name of the service"
        )
    header = ProfileHeader(
        sample_types=[sample],
        period_type=key[1],
        period=head.period if has_period else 0,
        time_ns=head.time_ns,
        duration_ns=head.duration_ns or _DEFAULT_DURATION_NS,
        default_sample_type=sample[0],
    )
    return Meaning(name, {**labels, **one.labels}, header, factor, several=key == _OFF_CPU)
