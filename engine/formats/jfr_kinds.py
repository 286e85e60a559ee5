"""What the events of a JFR recording measure: the profiles that they become, as Pyroscope names them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from .profile_columns import ValueType


@dataclass(frozen=True)
class Kind:
    """One profile of a recording: `__name__`, its types, and the period's."""

    key: str
    name: str
    sample_types: tuple[ValueType, ...]
    period_type: ValueType


@dataclass(frozen=True)
class Source:
    """Which fields of an event its samples are made of.

    `value` is the field of the second sample type, the first one counts; `about` is the class that it is about.
    """

    kind: Kind
    value: str = ""
    thread: str = "eventThread"
    about: str = ""


def _counted(key: str, name: str, what: tuple[str, str, str], period_type: ValueType) -> Kind:
    count, sum_of, unit = what
    return Kind(key, name, ((count, "count"), (sum_of, unit)), period_type)


_CPU_TIME, _SPACE = ("cpu", "nanoseconds"), ("space", "bytes")
_DELAY = ("contentions", "delay", "nanoseconds")

CPU = Kind("cpu", "process_cpu", (_CPU_TIME,), _CPU_TIME)
WALL = Kind("wall", "wall", (("wall", "nanoseconds"),), _CPU_TIME)
NEW_TLAB = _counted(
    "tlab", "memory", ("alloc_in_new_tlab_objects", "alloc_in_new_tlab_bytes", "bytes"), _SPACE
)
OUTSIDE_TLAB = _counted(
    "outside_tlab", "memory", ("alloc_outside_tlab_objects", "alloc_outside_tlab_bytes", "bytes"), _SPACE
)
ALLOC_SAMPLE = _counted(
    "alloc_sample", "memory", ("alloc_sample_objects", "alloc_sample_bytes", "bytes"), _SPACE
)
LIVE = Kind("live", "memory", (("live", "count"),), ("objects", "count"))
MALLOC = _counted("malloc", "memory", ("malloc_objects", "malloc_bytes", "bytes"), ("", ""))
MUTEX = _counted("mutex", "mutex", _DELAY, ("mutex", "count"))
BLOCK = _counted("block", "block", _DELAY, ("block", "count"))

EXECUTION_SAMPLE = "jdk.ExecutionSample"
CPU_TIME_SAMPLE = "jdk.CPUTimeSample"
WALL_CLOCK_SAMPLE = "profiler.WallClockSample"

SOURCES: Mapping[str, Source] = MappingProxyType(
    {
        "jdk.ObjectAllocationInNewTLAB": Source(NEW_TLAB, "tlabSize", about="objectClass"),
        "jdk.ObjectAllocationOutsideTLAB": Source(OUTSIDE_TLAB, "allocationSize", about="objectClass"),
        "jdk.ObjectAllocationSample": Source(ALLOC_SAMPLE, "weight", about="objectClass"),
        "jdk.JavaMonitorEnter": Source(MUTEX, "duration", about="monitorClass"),
        "jdk.ThreadPark": Source(BLOCK, "duration", about="parkedClass"),
        "profiler.LiveObject": Source(LIVE, about="objectClass"),
        "profiler.Malloc": Source(MALLOC, "size"),
    }
)
"""Events that always become samples of one kind."""

TIMED_SOURCES: Mapping[str, Source] = MappingProxyType(
    {
        EXECUTION_SAMPLE: Source(CPU, thread="sampledThread"),
        CPU_TIME_SAMPLE: Source(CPU),
        WALL_CLOCK_SAMPLE: Source(WALL, thread="sampledThread"),
    }
)
"""Events of which the recorder's settings and the thread's state say what they become."""
