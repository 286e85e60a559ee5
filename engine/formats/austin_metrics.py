"""What austin measures, whether it says so in text or in its binary format: modes, and the profiles that they give.

A sample has the microseconds since the one before and, in the mode `full`, whether the thread was idle and by how
many bytes the memory of the process grew or shrank meanwhile; in the mode `memory` only the last.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...schema.errors import CorruptProfile
from .profile_columns import ProfileHeader, ValueType

IntArray = npt.NDArray[np.int64]

NS_PER_US = 1000
MAX_DIGITS = 18
_MOST_TOTAL = 2.0**62
_NUMBER = re.compile(r"[0-9]{1,15}")


@dataclass(frozen=True)
class Measure:
    """A profile that comes of a recording: `__name__`, types, and what they are times of."""

    name: str
    sample_types: tuple[ValueType, ...]
    period_type: ValueType = ("", "")


_WALL = Measure("wall", (("samples", "count"), ("wall", "nanoseconds")), ("wall", "nanoseconds"))
_CPU = Measure("process_cpu", (("samples", "count"), ("cpu", "nanoseconds")), ("cpu", "nanoseconds"))
_MEMORY = Measure("memory", (("alloc_space", "bytes"), ("free_space", "bytes")))

MODES: Mapping[str, tuple[Measure, ...]] = {
    "wall": (_WALL,),
    "cpu": (_CPU,),
    "memory": (_MEMORY,),
    "full": (_WALL, _CPU, _MEMORY),
}


def measures_of(mode: str) -> tuple[Measure, ...]:
    """The profiles of a mode. Raises `CorruptProfile` for one that is not known."""
    if mode not in MODES:
        raise CorruptProfile(f"mode {mode[:40]!r}: expected one of {', '.join(MODES)}")
    return MODES[mode]


def header_of(measure: Measure, said: Mapping[str, str]) -> ProfileHeader:
    """The header of a profile; `said` is the metadata of the recording: `interval`, `duration`, `austin`."""
    timed = measure.period_type != ("", "")
    return ProfileHeader(
        sample_types=measure.sample_types,
        period_type=measure.period_type,
        period=_ns(said, "interval") if timed else 0,
        duration_ns=_ns(said, "duration"),
        comments=tuple(f"{key}: {said[key]}" for key in ("austin", "python") if key in said),
        default_sample_type=measure.sample_types[1][0] if timed else measure.sample_types[0][0],
    )


def _ns(said: Mapping[str, str], key: str) -> int:
    """A time in microseconds as nanoseconds; 0 where it is not said."""
    text = said.get(key, "")
    return int(text) * NS_PER_US if _NUMBER.fullmatch(text) else 0


@dataclass(frozen=True)
class Metrics:
    """What samples measured, one entry a sample."""

    time_us: IntArray
    is_idle: IntArray
    memory_bytes: IntArray

    def values(self, measure: Measure) -> IntArray:
        """A row a sample, a column a type. Raises `CorruptProfile` when sums do not fit 64 bits."""
        if measure is _MEMORY:
            grown = np.maximum(self.memory_bytes, 0)
            columns = [grown, grown - self.memory_bytes]
        else:
            counts = np.ones(len(self.time_us), np.int64) if measure is _WALL else 1 - self.is_idle
            columns = [counts, counts * self.time_us if measure is _CPU else self.time_us]
            if np.abs(columns[1].astype(np.float64)).sum() * NS_PER_US >= _MOST_TOTAL:
                raise CorruptProfile("the sum of the times does not fit 64 bits")
            columns[1] = columns[1] * NS_PER_US
        values = np.stack(columns, axis=1)
        if np.abs(values.astype(np.float64)).sum() >= _MOST_TOTAL:
            raise CorruptProfile("the sum of the metrics does not fit 64 bits")
        return values
