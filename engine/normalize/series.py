"""Which series a profile's values belong to: its name, its labels, its profile type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import pyarrow as pa

from ...schema import identity, profile
from ...schema.labels import METRIC_NAME, PROFILE_TYPE, SERVICE_NAME, without_empty
from ...schema.profile import Rules
from .header import ValueType

UNKNOWN_SERVICE = "unknown_service"

_DISPLAY = {
    "samples": "cpu",
    "goroutine": "goroutines",
    "contentions": "mutex_count",
    "delay": "mutex_duration",
}
"""What Pyroscope takes these sample types for when it chooses a name."""

_AMBIGUOUS = "contentions may come from a mutex or from blocking: name the profile to say which"


@dataclass(frozen=True)
class Series:
    """One series: its identity, and the labels it is stored with, by name."""

    series_id: int
    labels: tuple[tuple[str, str], ...]


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
        rows = []
        for series in self.known.values():
            labels = dict(series.labels)
            names = {"service_name": labels[SERVICE_NAME], "name": labels[METRIC_NAME]}
            type_id = {"profile_type": labels[PROFILE_TYPE], "labels": series.labels}
            rows.append({"series_id": series.series_id, **names, **type_id})
        return pa.Table.from_pylist(rows, schema=profile.SERIES)


@lru_cache(maxsize=65_536)
def series_of(labels: tuple[tuple[str, str], ...], value_type: ValueType, period_type: ValueType) -> Series:
    """The series of one sample type of a profile that has these labels, `__name__` and service name included."""
    stored = dict(labels)
    stored |= {"__service_name__": stored[SERVICE_NAME], "__type__": value_type[0], "__unit__": value_type[1]}
    stored |= {"__period_type__": period_type[0], "__period_unit__": period_type[1]}
    stored[PROFILE_TYPE] = ":".join((stored[METRIC_NAME], *value_type, *period_type))
    stored = without_empty(stored)
    stored.setdefault(METRIC_NAME, "")
    return Series(identity.series_id(stored), tuple(stored.items()))


def service_of(labels: Mapping[str, str]) -> str:
    """The service's name, which every series has."""
    return labels.get(SERVICE_NAME) or UNKNOWN_SERVICE


def metric_name(
    sample_types: Sequence[ValueType], rules: Rules, display_names: Mapping[str, str] = _DISPLAY
) -> tuple[str, str]:
    """`__name__` of a profile that nobody named, from its sample types; and a warning, or nothing.

    An agent's `display_names` replace Pyroscope's, all of them.

    Under the verbatim rules contentions stay what they are, since mutex and block profiles look the same.
    """
    names = [name for name, _ in sample_types]
    if "wall" in names:
        return "wall", ""
    if rules == "verbatim" and set(names) <= {"contentions", "delay"}:
        return "contentions", _AMBIGUOUS
    chosen = display_names or _DISPLAY
    shown = [chosen.get(name) or name for name in names]
    return next(filter(None, map(_known_name, shown)), shown[-1] or "unknown"), ""


def _known_name(shown: str) -> str:
    """The usual name of profiles with such a type; empty if there is none."""
    if "cpu" in shown:
        return "process_cpu"
    if "alloc_" in shown or "inuse_" in shown or shown in ("space", "objects"):
        return "memory"
    parts = (("mutex_", "mutex"), ("block_", "block"), ("goroutines", "goroutines"))
    return next((name for part, name in parts if part in shown), "")
