"""What text formats measure: nothing in the text says it, the name of the application does.

Pyroscope's old clients end the name with a dot and a kind, `checkout.inuse_space`; without one it is CPU time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from ...schema.errors import CorruptProfile
from ...schema.labels import SERVICE_NAME
from . import Input
from .profile_columns import IntArray, ProfileHeader, ValueType

SAMPLE_RATE_HZ = 100
"""Of clients that do not say theirs."""

_PROCESS_CPU, _WALL, _MEMORY, _MUTEX, _BLOCK = "process_cpu", "wall", "memory", "mutex", "block"
APP_NAME = "app_name"
_SAMPLES: ValueType = ("samples", "count")
_MAX_VALUE = 2.0**63


def _kinds() -> Mapping[str, tuple[str, ValueType]]:
    kinds: dict[str, tuple[str, ValueType]] = dict.fromkeys(
        ("cpu", "itimer"), (_PROCESS_CPU, ("cpu", "nanoseconds"))
    )
    wall = ("wall", "seconds", "milliseconds", "microseconds", "nanoseconds")
    kinds |= dict.fromkeys(wall, (_WALL, ("wall", "nanoseconds")))
    objects = (
        "inuse_objects",
        "alloc_objects",
        "alloc_in_new_tlab_objects",
        "alloc_outside_tlab_objects",
        "live",
    )
    kinds |= {kind: (_MEMORY, (kind, "count")) for kind in objects}
    sizes = ("inuse_space", "alloc_space", "alloc_in_new_tlab_bytes", "alloc_outside_tlab_bytes")
    kinds |= {kind: (_MEMORY, (kind, "bytes")) for kind in sizes}
    for name, prefixes in ((_MUTEX, ("mutex",)), (_BLOCK, ("block", "lock"))):
        for prefix in prefixes:
            kinds[f"{prefix}_count"] = (name, ("contentions", "count"))
            kinds[f"{prefix}_duration"] = (name, ("delay", "nanoseconds"))
    kinds["bytes"] = (_MEMORY, ("samples", "bytes"))
    kinds["goroutines"] = ("goroutine", ("goroutines", "count"))
    kinds["exceptions"] = ("exceptions", _SAMPLES)
    return MappingProxyType(kinds)


KINDS = _kinds()
"""By suffix: `__name__` and sample type."""


@dataclass(frozen=True)
class Meaning:
    """What the counts of a text stand for: each is worth `scale` of `value_type`."""

    name: str
    value_type: ValueType = _SAMPLES
    period_type: ValueType = ("", "")
    period: int = 0
    scale: int = 1
    labels: Mapping[str, str] | None = None

    @property
    def header(self) -> ProfileHeader:
        """The same, as a profile says it."""
        return ProfileHeader((self.value_type,), self.period_type, self.period)

    def values(self, counts: IntArray) -> IntArray:
        """What counts are worth. Raises `CorruptProfile` when that does not fit 64 bits."""
        if self.scale > 1 and np.abs(counts.astype(np.float64)).sum() * self.scale >= _MAX_VALUE:
            raise CorruptProfile(f"the counts, times {self.scale}, do not fit 64 bits")
        return counts * self.scale


def named_after(labels: Mapping[str, str], whole: str, app: str) -> Mapping[str, str] | None:
    """The labels with the application as the service's name, or as `app_name` beside a service's own.

    None where nothing changes.
    """
    if labels.get(SERVICE_NAME, whole) != whole:
        return {APP_NAME: app, **labels}
    return None if app == whole else {**labels, SERVICE_NAME: app}


def meaning_of(one: Input) -> Meaning:
    """Samples, as they are; under the pyroscope rules what the service's name ends with, unless `__name__` is given.

    Raises `CorruptProfile` for a name that ends with an unknown kind.
    """
    if one.name or one.rules == "verbatim":
        return Meaning(one.name or _PROCESS_CPU)
    return pushed_meaning(one.labels, one.sample_rate_hz or SAMPLE_RATE_HZ, one.app_name)


def pushed_meaning(said: Mapping[str, str], rate_hz: int, app_name: str = "") -> Meaning:
    """What the application's name ends with, by default the service's; samples of times last a period, unless the
    rate is 0.

    Raises `CorruptProfile` for a name that ends with an unknown kind.
    """
    whole = app_name or said.get(SERVICE_NAME, "")
    app, dot, suffix = whole.rpartition(".")
    kind = suffix if dot else "cpu"
    if kind not in KINDS:
        raise CorruptProfile(f"unknown profile type: {kind} (the last part of the service name {whole!r})")
    name, value_type = KINDS[kind]
    labels = named_after(said, whole, app if dot else whole)
    if name not in (_PROCESS_CPU, _WALL):
        return Meaning(name, value_type, labels=labels)
    if not rate_hz:
        return Meaning(name, labels=labels)
    period_ns = 10**9 // rate_hz
    return Meaning(name, value_type, ("cpu", "nanoseconds"), period_ns, period_ns, labels)
