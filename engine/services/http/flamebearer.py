"""Pyroscope's JSON document of a flame graph, as its plain HTTP routes and ad-hoc profiles give it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ....schema.profile_type import parse_profile_type
from ....schema.request import Flamegraph, FlamegraphDiff

_OBJECTS = {"inuse_objects", "alloc_objects", "goroutine", "samples"}
_CPU_HZ, _OTHER_HZ = 1_000_000_000, 100
_STEPS_S = (
    (17.5, 15),
    (25, 20),
    (45, 30),
    (90, 60),
    (210, 120),
    (450, 300),
    (750, 600),
    (1050, 900),
    (1500, 1200),
    (2700, 1800),
    (5400, 3600),
    (9000, 7200),
    (16_200, 10_800),
    (32_400, 21_600),
    (86_400, 43_200),
    (604_800, 86_400),
    (1_814_400, 604_800),
    (3_628_800, 2_592_000),
)
"""A step of up to the first number of seconds is rounded to the second."""
_YEAR_S = 31_536_000
_LEAST_STEP_S = 15
_POINTS = 1500


@dataclass(frozen=True)
class Timeline:
    """Totals in time: the value of `start_s + n * step_s` is `samples[n]`."""

    start_s: int
    step_s: int
    samples: Sequence[int]

    def document(self) -> Mapping[str, Any]:
        """The same as JSON has it."""
        return {
            "startTime": self.start_s,
            "samples": list(self.samples),
            "durationDelta": self.step_s,
            "watermarks": None,
        }


def step_s(start_ms: int, end_ms: int) -> int:
    """How far the points of a timeline are apart."""
    wanted = (end_ms - start_ms) / 1000 / _POINTS
    if wanted < _LEAST_STEP_S:
        return _LEAST_STEP_S
    return next((step for most, step in _STEPS_S if wanted <= most), _YEAR_S)


def timeline(points: Mapping[int, float], start_ms: int, end_ms: int) -> Timeline:
    """Points, by milliseconds, on the grid between two times; what is missing is 0."""
    step = step_s(start_ms, end_ms)
    start, end = start_ms // 1000 // step * step, end_ms // 1000 // step * step
    samples = [0] * max((end - start) // step, 0)
    for at_ms, value in points.items():
        place = (at_ms // 1000 - start) // step
        if 0 <= place < len(samples):
            samples[place] = int(value)
    return Timeline(start, step, samples)


def flamebearer(
    graph: Flamegraph | FlamegraphDiff,
    profile_type: str,
    main: Timeline | None = None,
    groups: Mapping[str, Timeline] | None = None,
) -> dict[str, Any]:
    """The document of a flame graph, or of a diff."""
    diff = isinstance(graph, FlamegraphDiff)
    document: dict[str, Any] = {
        "version": 1,
        "flamebearer": {
            "names": list(graph.names),
            "levels": [list(level) for level in graph.levels],
            "numTicks": graph.total,
            "maxSelf": graph.max_self,
        },
        "metadata": {"format": "double" if diff else "single", "spyName": "", **_units(profile_type)},
        "timeline": None if main is None else main.document(),
        "groups": None if groups is None else {name: one.document() for name, one in groups.items()},
        "heatmap": None,
    }
    if isinstance(graph, FlamegraphDiff):
        document |= {"leftTicks": graph.left_ticks, "rightTicks": graph.right_ticks}
    return document


def _units(profile_type: str) -> Mapping[str, Any]:
    kind = parse_profile_type(profile_type)
    if kind.sample_type == "cpu":
        return {"sampleRate": _CPU_HZ, "units": "samples", "name": kind.sample_type}
    units = "objects" if kind.sample_type in _OBJECTS else kind.sample_unit
    return {"sampleRate": _OTHER_HZ, "units": units, "name": kind.sample_type}
