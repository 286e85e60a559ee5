"""Which series a profile's values belong to: its name, its labels, its profile type."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import pyarrow as pa

from ...schema import identity, profile
from ...schema.labels import METRIC_NAME, PROFILE_TYPE, SERVICE_NAME, without_empty
from ...schema.profile import Rules
from .context import PushLimits

UNKNOWN_SERVICE = "unknown_service"
_NOT_STORED = ("__delta__", "__order__", "__session_id__")
_DISPLAY = {"samples": "cpu", "goroutine": "goroutines", "contentions": "mutex_count", "delay": "mutex_duration"}
_GODELTAPROF = "godeltaprof_"

ValueType = tuple[str, str]


@dataclass(frozen=True)
class Series:
    """One series: its identity, and the labels it is stored with, by name."""

    series_id: int
    labels: tuple[tuple[str, str], ...]

    @property
    def profile_type(self) -> str:
        """The profile type id."""
        return dict(self.labels)[PROFILE_TYPE]


@dataclass
class SeriesTable:
    """The distinct series of a batch."""

    known: dict[int, Series] = field(default_factory=dict)

    def add(self, series: Series) -> int:
        """Remember a series; returns its id."""
        self.known.setdefault(series.series_id, series)
        return series.series_id

    def table(self) -> pa.Table:
        """One row a series."""
        rows: Iterable[Series] = self.known.values()
        columns = list(
            zip(
                *(
                    (s.series_id, dict(s.labels)[SERVICE_NAME], dict(s.labels)[METRIC_NAME], s.profile_type, s.labels)
                    for s in rows
                ),
                strict=True,
            )
        )
        if not columns:
            return profile.SERIES.empty_table()
        return pa.table([pa.array(c, f.type) for c, f in zip(columns, profile.SERIES, strict=True)], schema=profile.SERIES)


def base_labels(labels: Mapping[str, str], name: str) -> dict[str, str]:
    """The labels of all series of an upload: the request's, `__name__`, and a service name in any case."""
    stored = {key: value for key, value in without_empty(labels).items() if key not in _NOT_STORED}
    stored.setdefault(SERVICE_NAME, UNKNOWN_SERVICE)
    stored[METRIC_NAME] = name
    if name.startswith(_GODELTAPROF):
        stored[METRIC_NAME] = name.removeprefix(_GODELTAPROF)
        stored["__name_replaced__"] = name
    return stored


@lru_cache(maxsize=65_536)
def series_of(labels: tuple[tuple[str, str], ...], value_type: ValueType, period_type: ValueType) -> Series:
    """The series of one sample type. `labels` are those of `base_labels`, and of the samples where they count."""
    stored = dict(labels)
    stored |= {"__service_name__": stored[SERVICE_NAME], "__type__": value_type[0], "__unit__": value_type[1]}
    stored |= {"__period_type__": period_type[0], "__period_unit__": period_type[1]}
    stored[PROFILE_TYPE] = ":".join((stored[METRIC_NAME], *value_type, *period_type))
    stored = without_empty(stored)
    return Series(identity.series_id(stored), tuple(stored.items()))


def metric_name(sample_types: Sequence[ValueType], rules: Rules) -> tuple[str, str]:
    """`__name__` of a profile that nobody named, from its sample types; and a warning, or nothing.

    Under the verbatim rules contentions stay what they are, since mutex and block profiles look the same.
    """
    names = [name for name, _ in sample_types]
    if "wall" in names:
        return "wall", ""
    if rules == "verbatim" and set(names) <= {"contentions", "delay"}:
        return "contentions", "contentions may come from mutexes or from blocking: name the profile to say which"
    for name in names:
        shown = _DISPLAY.get(name, name)
        if "cpu" in shown:
            return "process_cpu", ""
        if "alloc_" in shown or "inuse_" in shown or shown in ("space", "objects"):
            return "memory", ""
        for part, result in (("mutex_", "mutex"), ("block_", "block"), ("goroutines", "goroutines")):
            if part in shown:
                return result, ""
    return _DISPLAY.get(names[-1], names[-1]), ""


def label_fault(labels: Sequence[tuple[str, str]], limits: PushLimits) -> str:
    """Why a label set breaks the limits of a push; empty when it does not."""
    if limits.max_label_names and len(labels) > limits.max_label_names:
        return f"profile has {len(labels)} label names; limit {limits.max_label_names}"
    for name, value in labels:
        if limits.max_label_name_bytes and len(name.encode()) > limits.max_label_name_bytes:
            return f"label name {name[:64]!r}… has {len(name.encode())} bytes; limit {limits.max_label_name_bytes}"
        if limits.max_label_value_bytes and len(value.encode()) > limits.max_label_value_bytes:
            return f"label {name!r} has a value of {len(value.encode())} bytes; limit {limits.max_label_value_bytes}"
    return ""
