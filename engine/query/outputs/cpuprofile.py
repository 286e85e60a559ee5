"""V8's `.cpuprofile`, for Chrome's and VS Code's viewers: the call tree, and a sample for each stack.

Source: https://chromedevtools.github.io/devtools-protocol/v8/Profiler/#type-Profile

One profile type is time: a sample lasts as long as its stack's value, a value that is no time one microsecond a
unit. `hitCount` is the number of samples where the selection has it. The last sample is the root's and lasts for
nothing: viewers take a sample to last until the next one. Call frames name functions, so that only of the frame on
top its own line is kept, in `positionTicks`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from ....schema.errors import RequestError
from ....schema.profile_type import parse_profile_type
from ..export import Export, SampleType
from ..profile_facts import ProfileFacts, profile_facts
from .stack_frames import Frame, StackFrames, stack_frames, values_by_stack

_NANOSECONDS = {"nanoseconds": 1, "microseconds": 10**3, "milliseconds": 10**6, "seconds": 10**9}
_NS_PER_US = 1000
_EXACT_NS = 2**50
"""Up to here microseconds with a fraction are exact to the nanosecond as a float."""
_ANONYMOUS = "(anonymous)"

Place = tuple[str, str, int, int]
"""A function: name, file, first line, column there."""


def write_cpuprofile(export: Export) -> bytes:
    """One type of the selection as V8 writes time: the only one that counts no samples, or the one that is named.

    Raises `RequestError` for negative values.
    """
    kind = _measured(export)
    partial = export.locations(labels=False)
    by_type = {key: values for (key, _), values in values_by_stack(partial).items()}
    tree = _Tree(stack_frames(partial))
    scale = _NANOSECONDS.get(parse_profile_type(kind).sample_unit, _NS_PER_US)
    for stack, value in by_type.get(kind, {}).items():
        tree.node_on_top(stack).time_ns += value * scale
    counts = _counts_of(export, kind)
    for stack, count in by_type.get(counts, {}).items():
        tree.node_on_top(stack).hits += count
    return _document(tree, bool(by_type.get(counts)), profile_facts(export)).encode()


def _measured(export: Export) -> str:
    kinds = [kind.profile_type for kind in export.sample_types if not _counts_samples(kind)]
    if len(kinds) == 1:
        return kinds[0]
    return export.resolved.plan.profile_type or "::::"


def _counts_samples(kind: SampleType) -> bool:
    return kind.type in ("samples", "sample") and kind.unit == "count"


def _counts_of(export: Export, kind: str) -> str:
    """The type that counts the samples of a type; empty if the selection has none."""
    name = kind.split(":", maxsplit=1)[0]
    for other in export.sample_types:
        if (
            _counts_samples(other)
            and other.profile_type != kind
            and other.profile_type.startswith(f"{name}:")
        ):
            return other.profile_type
    return ""


@dataclass
class _Node:
    place: Place
    line: int = 0
    time_ns: int = 0
    hits: int = 0
    children: list[int] = field(default_factory=list)


class _Tree:
    """Nodes by parent, function, and for those that were on top the line that ran; node 1 is the root."""

    def __init__(self, known: StackFrames) -> None:
        self._frames = known.frames
        self._flat, self._offsets = known.stacks.values.tolist(), known.stacks.offsets.tolist()
        self._columns = _function_columns(known.frames)
        self._places = [self._place(frame) for frame in known.frames]
        self.nodes = [_Node(("(root)", "", 0, 0))]
        self._known: dict[tuple[int, Place, int], int] = {}

    def node_on_top(self, stack: int) -> _Node:
        """The node that a stack ends at."""
        at, above = 1, 1
        frames = self._flat[self._offsets[stack] : self._offsets[stack + 1]]
        for frame in frames:
            above, at = at, self._child(at, self._places[frame], 0)
        if frames:
            top = self._frames[frames[-1]]
            if top.start_line and top.line not in (0, top.start_line):
                at = self._child(above, self._places[frames[-1]], top.line)
        return self.nodes[at - 1]

    def _place(self, frame: Frame) -> Place:
        first = frame.start_line or frame.line
        column = frame.column if frame.line == first else self._columns.get(_function(frame), 0)
        return frame.name, frame.file, first, column

    def _child(self, parent: int, place: Place, line: int) -> int:
        key = (parent, place, line)
        found = self._known.get(key)
        if found is None:
            self.nodes.append(_Node(place, line))
            found = self._known[key] = len(self.nodes)
            self.nodes[parent - 1].children.append(found)
        return found


def _function(frame: Frame) -> tuple[str, str, int]:
    return frame.name, frame.file, frame.start_line


def _function_columns(frames: list[Frame]) -> dict[tuple[str, str, int], int]:
    """The column of each function that is known by one column alone."""
    found: dict[tuple[str, str, int], set[int]] = {}
    for frame in frames:
        if frame.column and frame.line == frame.start_line:
            found.setdefault(_function(frame), set()).add(frame.column)
    return {function: columns.pop() for function, columns in found.items() if len(columns) == 1}


def _document(tree: _Tree, counted: bool, facts: ProfileFacts) -> str:
    """The file. Put together by hand, because JSON libraries write times as floats, which are too short."""
    samples, deltas, total_ns = [], [], 0
    for number, node in enumerate(tree.nodes, start=1):
        for part_ns in _exact_parts(node.time_ns) if node.time_ns or node.hits else ():
            samples.append(number)
            deltas.append(part_ns)
        if not counted and node.time_ns:
            node.hits = 1
        total_ns += node.time_ns
    before_ns = max(facts.duration_ns - total_ns, 0)
    end_ns = facts.time_ns + before_ns + total_ns
    if end_ns >= 2**63:
        raise RequestError(f"the profile ends {end_ns} ns after 1970: the limit is 2^63 ns")
    scripts: dict[str, int] = {}
    nodes = [_written(number, node, scripts) for number, node in enumerate(tree.nodes, start=1)]
    parts = {
        "nodes": json.dumps(nodes, separators=(",", ":")),
        "startTime": _microseconds(facts.time_ns),
        "endTime": _microseconds(end_ns),
        "samples": json.dumps([*samples, 1] if samples else [], separators=(",", ":")),
        "timeDeltas": f"[{','.join(map(_microseconds, [before_ns, *deltas] if samples else []))}]",
    }
    return "{" + ",".join(f'"{key}":{text}' for key, text in parts.items()) + "}"


def _exact_parts(time_ns: int) -> tuple[int, ...]:
    """A time in parts that are exact for those who read microseconds as floats."""
    rest = time_ns % _NS_PER_US
    return (time_ns - rest, rest) if rest and time_ns >= _EXACT_NS else (time_ns,)


def _microseconds(time_ns: int) -> str:
    whole, rest = divmod(time_ns, _NS_PER_US)
    return f"{whole}.{rest:03}" if rest else str(whole)


def _written(number: int, node: _Node, scripts: dict[str, int]) -> dict[str, Any]:
    name, file, line, column = node.place
    frame = {
        "functionName": "" if name == _ANONYMOUS else name,
        "scriptId": str(scripts.setdefault(file, len(scripts))),
        "url": file,
        "lineNumber": line - 1,
        "columnNumber": column - 1,
    }
    written = {"id": number, "callFrame": frame, "hitCount": node.hits, "children": node.children}
    if node.line:
        written["positionTicks"] = [{"line": node.line, "ticks": max(node.hits, 1)}]
    return written
