"""What the events of Linux perf measure: the profile that the samples of one event become.

A sample stands for `period` events. Of clocks the period is nanoseconds, and so it is of the scheduler's delays.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from .profile_columns import ValueType

SAMPLES: ValueType = ("samples", "count")
CPU: ValueType = ("cpu", "nanoseconds")
OFF_CPU: ValueType = ("off_cpu", "nanoseconds")

Weight = Literal["period", "switch"]

_ON_CPU = frozenset({"cpu-clock", "task-clock", "sched:sched_stat_runtime"})
_DELAYS = frozenset(
    {"offcpu-time", *(f"sched:sched_stat_{kind}" for kind in ("sleep", "blocked", "iowait", "wait"))}
)
_CYCLES = frozenset({"cycles", "cpu-cycles"})
SWITCH = "sched:sched_switch"

_PMU = re.compile(r"[\w.-]+/(?P<inner>[^/]+)/[\w:]*")
_MODIFIERS = re.compile(r"[ukhHGpPSDIWebR]*")
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_]+")
"""Neither in a profile's name nor in a sample type, which Pyroscope refuses with a dash."""


@dataclass(frozen=True)
class Measured:
    """What an event's samples become: the profile's `__name__`, what the periods add up to, and how.

    `weight` is `switch` for the scheduler's switches, of which each stands for the time until the thread runs again.
    """

    name: str
    value_type: ValueType
    weight: Weight = "period"


def measured_by(event: str) -> Measured:
    """What an event measures, by perf's name of it; empty where the text does not say the event."""
    base = base_event(event)
    if not base:
        return Measured("process_cpu", ("events", "count"))
    if base in _ON_CPU:
        return Measured("process_cpu", CPU)
    if base in _CYCLES:
        return Measured("process_cpu", ("cycles", "count"))
    if base in _DELAYS:
        return Measured("off_cpu", OFF_CPU)
    if base == SWITCH:
        return Measured("off_cpu", OFF_CPU, "switch")
    name = _NOT_IN_NAMES.sub("_", base.rpartition(":")[2]).strip("_").lower() or "perf_event"
    return Measured(name, (name, "count"))


def base_event(event: str) -> str:
    """The event without its unit and its modifiers: `cpu_core/cycles/u` and `cycles:ppp` are `cycles`."""
    pmu = _PMU.fullmatch(event)
    if pmu:
        terms = pmu["inner"].split(",")
        # `cpu-clock/freq=999/` is an event with terms, `cpu/cycles,period=1/` one of a unit.
        event = event.partition("/")[0] if "=" in terms[0] and "event" not in terms[0] else terms[0]
    before, colon, modifiers = event.rpartition(":")
    return before if colon and before and _MODIFIERS.fullmatch(modifiers) else event


def is_tracepoint(event: str) -> bool:
    """Whether an event is `system:name`, and its line ends with what the kernel printed of it."""
    return ":" in base_event(event)


_NEXT = re.compile(rb" ==> (?:next_comm=.* next_pid=|.*:)([0-9]{1,10})(?: next_prio=| \[)")
_PREVIOUS = re.compile(rb"(?:prev_comm=.* prev_pid=|.*?:)([0-9]{1,10})(?: prev_prio=| \[)")


def read_switch(text: bytes) -> tuple[int, int] | None:
    """The threads that a `sched:sched_switch` took from the CPU and gave it to, in either of its spellings."""
    left, right = _PREVIOUS.match(text), _NEXT.search(text)
    return (int(left[1]), int(right[1])) if left and right else None
