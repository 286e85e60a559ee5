"""What the weights of a speedscope profile stand for: its unit says it, or its name, or who wrote it.

The pyroscope rules are those of a Pyroscope server, which makes weights counts at a sample rate of the unit's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from ...schema.errors import CorruptProfile, LimitExceeded
from ...schema.labels import SERVICE_NAME
from . import Input
from .app_names import SAMPLE_RATE_HZ, pushed_meaning
from .exact_numbers import IntArray, scaled
from .profile_columns import ProfileHeader, ValueType

SCALES: Mapping[str, int] = MappingProxyType(
    {
        "nanoseconds": 1,
        "microseconds": 10**3,
        "milliseconds": 10**6,
        "seconds": 10**9,
        "bytes": 1,
        "none": 1,
    }
)
"""How many nanoseconds, bytes or counts each unit is."""

MAX_MEANINGS = 1000
"""Profiles of one file: one for each unit, or for each name that is a profile type."""

_PUSHED_FACTOR = 100
_PUSHED_RATES_HZ = {
    "nanoseconds": 10**11,
    "microseconds": 10**8,
    "milliseconds": 10**5,
    "seconds": 10**2,
    "none": 10**4,
    "bytes": 0,
}
_CPU_SAMPLERS = ("py-spy", "rbspy")
"""Exporters of which an item is one sample of a running thread."""
_TYPE_ID = re.compile(r"([^\s:]+):([^\s:]*):([^\s:]*):([^\s:]*):([^\s:]*)( .*)?", re.DOTALL)
_NANOSECONDS = "nanoseconds"


@dataclass(frozen=True)
class Said:
    """What a speedscope profile says of itself."""

    name: str
    type: str
    unit: str
    start: int | float


@dataclass(frozen=True)
class Meaning:
    """The profile that weights make: a weight becomes the integer nearest to `scale` of it, each worth `worth`.

    With `counted`, each weight is one sample as well. Of the time before an event that opens a frame only one
    part in `opening_divisor` counts. `labels` replace those of the upload. `lasting` says that weights are times
    which tell how long the profile took.
    """

    name: str
    types: tuple[ValueType, ...]
    scale: int = 1
    worth: int = 1
    period_type: ValueType = ("", "")
    period: int = 0
    counted: bool = False
    opening_divisor: int = 1
    labels: tuple[tuple[str, str], ...] | None = None
    lasting: bool = False
    named: bool = False
    pushed: bool = False

    @property
    def series_labels(self) -> Mapping[str, str] | None:
        """`labels`, as a row has them."""
        return None if self.labels is None else dict(self.labels)

    @property
    def header(self) -> ProfileHeader:
        """The same, as a profile says it."""
        default = self.types[-1][0] if self.counted else ""
        return ProfileHeader(self.types, self.period_type, self.period, default_sample_type=default)

    def values(self, weights: Sequence[int | float], where: str) -> IntArray:
        """Weights as integers. Raises `CorruptProfile` for what does not fit 64 bits."""
        return worth_of(scaled(weights, self.scale, where), self.worth, where)

    def columns(self, values: IntArray) -> IntArray:
        """A row of values for each sample."""
        rows = values.reshape(-1, 1)
        return np.hstack([np.ones_like(rows), rows]) if self.counted else rows

    def label(self, name: str) -> str:
        """What the label of a profile of this name says: the name, less the type in it."""
        found = _TYPE_ID.fullmatch(name) if self.named else None
        return name if found is None else (found[6] or "")[1:]


def worth_of(values: IntArray, worth: int, where: str) -> IntArray:
    """Values times `worth`. Raises `CorruptProfile` when they do not fit 64 bits."""
    if worth != 1 and len(values) and float(np.abs(values).max()) * worth >= 2.0**63:
        raise CorruptProfile(f"{where}: a value times {worth} does not fit 64 bits")
    return values * worth


def meanings_of(one: Input, profiles: Sequence[Said], exporter: str) -> list[Meaning]:
    """What the weights of each profile stand for.

    Raises `CorruptProfile` for unknown units and, pushed, for service names that end with an unknown kind;
    `LimitExceeded` for more than `MAX_MEANINGS` different ones.
    """
    for at, said in enumerate(profiles):
        if said.unit not in SCALES:
            raise CorruptProfile(f"profiles[{at}].unit {said.unit!r}: expected one of {', '.join(SCALES)}")
    if one.rules == "pyroscope" and not one.name:
        several = len(set(profiles)) > 1
        by_unit = {said.unit: said for said in profiles}
        pushed = {unit: _pushed(one, unit, several) for unit in by_unit}
        return [pushed[said.unit] for said in profiles]
    found = [_own(one, said, exporter) for said in profiles]
    if len(set(found)) > MAX_MEANINGS:
        raise LimitExceeded(f"profiles: {len(set(found))} different types; limit {MAX_MEANINGS}")
    return found


def _own(one: Input, said: Said, exporter: str) -> Meaning:
    """True units: what a name of ours says, or what the unit does."""
    typed = _TYPE_ID.fullmatch(said.name)
    if typed is not None and said.unit == (typed[3] if typed[3] in SCALES else "none"):
        name, kind, unit, period_type, period_unit = typed.groups()[:5]
        own = ((kind, unit),)
        lasting = unit == _NANOSECONDS
        return Meaning(name, own, period_type=(period_type, period_unit), lasting=lasting, named=True)
    if said.unit == "none":
        return Meaning("process_cpu", (("samples", "count"),))
    if said.unit == "bytes":
        return Meaning("memory", (("space", "bytes"),))
    scale = SCALES[said.unit]
    if not exporter.startswith(_CPU_SAMPLERS):
        return Meaning("wall", (("wall", _NANOSECONDS),), scale, lasting=True)
    types: tuple[ValueType, ...] = (("cpu", _NANOSECONDS),)
    counted = said.type == "sampled"
    if counted:
        types = (("samples", "count"), *types)
    return Meaning(
        "process_cpu", types, scale, period_type=("cpu", _NANOSECONDS), counted=counted, lasting=True
    )


def _pushed(one: Input, unit: str, several: bool) -> Meaning:
    """What a Pyroscope server takes a unit for: counts of a hundredth each, at a rate of the unit's.

    It keeps that rate in 32 bits, so that nanoseconds all become 0 there; here they stay what they are.
    """
    labels = dict(one.labels)
    service = labels.get(SERVICE_NAME, "")
    app = one.app_name or service
    if several:
        app += f".{unit}"
        # A service's own name stays; one that is the application's goes with it.
        labels[SERVICE_NAME] = app if service in ("", one.app_name or service) else service
    rate_hz = one.sample_rate_hz or SAMPLE_RATE_HZ
    if rate_hz == SAMPLE_RATE_HZ:
        rate_hz = _PUSHED_RATES_HZ[unit]
    meant = pushed_meaning(labels, rate_hz, app)
    scale, worth = (1 if unit == "bytes" else _PUSHED_FACTOR), meant.scale
    if not worth:
        scale = worth = 1
    return Meaning(
        meant.name,
        (meant.value_type,),
        scale,
        worth,
        meant.period_type,
        meant.period,
        opening_divisor=1 if unit == "bytes" else _PUSHED_FACTOR,
        labels=None if meant.labels is None else tuple(meant.labels.items()),
        pushed=True,
    )
