"""How much time a sample of a JFR recording stands for, as the recorder's settings say."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from .jfr_chunk import Setting
from .jfr_kinds import EXECUTION_SAMPLE, WALL_CLOCK_SAMPLE

DEFAULT_CPU_NS = 10_000_000
DEFAULT_WALL_NS = 50_000_000
"""Of async-profiler, where its settings give none (`interval` 0)."""

_LONGEST_NS = 3600 * 10**9
_UNITS_NS = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_SPAN = re.compile(r"(\d{1,18}) ?(ns|us|ms|s|m|h)", re.ASCII)
_EVENTS = (EXECUTION_SAMPLE, WALL_CLOCK_SAMPLE)


@dataclass(frozen=True)
class Sampling:
    """What the settings say up to a chunk: the event that async-profiler samples at, and periods, 0 for not said."""

    event: str = ""
    interval_ns: int = 0
    wall_ns: int = 0

    def after(self, settings: Iterable[Setting]) -> Sampling:
        """The same with what a further chunk says."""
        found = self
        for one in settings:
            if one.name == "event":
                found = replace(found, event=one.value)
            elif one.name == "interval":
                found = replace(found, interval_ns=_nanoseconds(one.value))
            elif one.name == "wall":
                found = replace(found, wall_ns=_nanoseconds(one.value) or found.wall_ns)
            elif one.name == "period" and one.event in _EVENTS:
                found = replace(found, interval_ns=_span_ns(one.value) or found.interval_ns)
        return found

    @property
    def cpu_period_ns(self) -> int:
        """What a sample on the CPU stands for; where all are by the wall clock, so are those of threads that ran."""
        return self.wall_period_ns if self.event == "wall" else self.interval_ns or DEFAULT_CPU_NS

    @property
    def wall_period_ns(self) -> int:
        """What a sample by the wall clock stands for."""
        if self.event == "wall":
            return self.interval_ns or self.wall_ns or DEFAULT_WALL_NS
        return self.wall_ns or DEFAULT_WALL_NS


def _nanoseconds(text: str) -> int:
    """A number of nanoseconds that is a period, or 0."""
    if not text.isascii() or not text.isdecimal() or len(text) > 18:
        return _span_ns(text)
    return int(text) if int(text) <= _LONGEST_NS else 0


def _span_ns(text: str) -> int:
    """`20 ms` in nanoseconds; 0 for `everyChunk` and whatever else is no period."""
    found = _SPAN.fullmatch(text)
    if found is None:
        return 0
    span_ns = int(found[1]) * _UNITS_NS[found[2]]
    return span_ns if span_ns <= _LONGEST_NS else 0
