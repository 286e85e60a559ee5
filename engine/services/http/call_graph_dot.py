"""A call graph for graphviz, with the labels, sizes and colours that readers of google/pprof's graphs know."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from .call_graph import CallGraph, Edge, Node, call_graph

DEFAULT_NODES = 100
SOURCE_NODES = 512
"""Nodes of the call tree that a graph is made of, at least."""

_TIMES = (("ns", 1.0), ("us", 1e3), ("ms", 1e6), ("s", 1e9), ("hrs", 3.6e12))
_SIZES = tuple((unit, float(1024**power)) for power, unit in enumerate(("B", "kB", "MB", "GB", "TB", "PB")))
_SCALES = {
    **dict.fromkeys(("ns", "nanosecond", "nanoseconds"), (_TIMES, 1.0)),
    **dict.fromkeys(("us", "microsecond", "microseconds"), (_TIMES, 1e3)),
    **dict.fromkeys(("ms", "millisecond", "milliseconds"), (_TIMES, 1e6)),
    **dict.fromkeys(("s", "second", "seconds"), (_TIMES, 1e9)),
    **dict.fromkeys(("b", "byte", "bytes"), (_SIZES, 1.0)),
}
_UNITLESS = ("count", "sample", "samples", "unit", "objects")
_ANONYMOUS = re.compile(r"^\(anonymous namespace\)::")
_GO_VERSION = re.compile(r"^(.*?)/v(?:[2-9]|[1-9][0-9]+)([./].*)$")
_SHORT = (
    re.compile(r"^(?:[\w\-\.]+\/)+([^.]+\..+)"),
    re.compile(r"^(?:[a-z]\w*\.)*([A-Z][\w\$]*\.(?:<init>|[a-z][\w\$]*(?:\$\d+)?))(?:(?:\()|$)"),
    re.compile(r"^(?:[_a-zA-Z]\w*\::)+(_*[A-Z]\w*::~?[_a-zA-Z]\w*(?:<.*>)?)"),
)
"""The part of Go's, Java's and C++'s function names that says enough."""


def profile_to_dot(profile: Any, max_nodes: int) -> str:
    """The graph of a pprof with one value; empty for a profile without samples."""
    if not profile.sample:
        return ""
    graph = call_graph(profile, max_nodes or DEFAULT_NODES)
    texts = [text.decode() if isinstance(text, bytes) else text for text in profile.string_table]
    kind, unit = texts[profile.sample_type[0].type], texts[profile.sample_type[0].unit]
    title = next((texts[m.filename] for m in profile.mapping if m.filename), "").rpartition("/")[2]
    values = _Values(graph.total, unit, _common_unit(graph, unit))
    lines = [f'digraph "{_escaped(title) or "unnamed"}" {{', 'node [style=filled fillcolor="#f8f8f8"]']
    lines.append(_legend(graph, title, kind, profile.time_nanos, values))
    numbers = {node.line: number for number, node in enumerate(graph.nodes, start=1)}
    most = max((abs(node.flat) for node in graph.nodes), default=0)
    lines += [_node(node, numbers[node.line], most, values) for node in graph.nodes]
    for edge in graph.edges():
        lines.append(f"N{numbers[edge.caller.line]} -> N{numbers[edge.callee.line]} [{_edge(edge, values)}]")
    return "\n".join([*lines, "}", ""])


@dataclass(frozen=True)
class _Values:
    """How values of a graph are written."""

    total: int
    unit: str
    shown_unit: str

    def text(self, value: int) -> str:
        """A value in the unit of the graph."""
        if self.unit.lower() in _SCALES:
            scale, factor = _SCALES[self.unit.lower()]
            number = value * factor / dict(scale)[self.shown_unit]
        else:
            number = float(value)
        digits = f"{number:.2f}".removesuffix(".00")
        return "0" if digits in ("0", "-0") else digits + self.shown_unit

    def share(self, value: int) -> str:
        """A value in percent of the whole."""
        percent = abs(value / self.total) * 100 if self.total else 0.0
        if 99.95 <= percent <= 100.05:
            return "100%"
        return f"{percent:.2f}%" if percent >= 1 else f"{_two_digits(percent)}%"


def _two_digits(number: float) -> str:
    """Two significant digits, and an exponent of two for tiny ones."""
    return f"{number:.2g}"


def _common_unit(graph: CallGraph, unit: str) -> str:
    """The unit for all values: small enough for the least, with two digits behind the point."""
    if unit.lower() not in _SCALES:
        return "" if unit.lower() in _UNITLESS else unit
    least = min((abs(node.flat) or abs(node.cum) for node in graph.nodes if node.flat or node.cum), default=0)
    low, high = (_scaled_unit(value, unit) for value in (least or graph.total, graph.total))
    if low != high and least * 100 < graph.total:
        return _scaled_unit(100 * least, unit)
    return low


def _scaled_unit(value: int, unit: str) -> str:
    scale, factor = _SCALES[unit.lower()]
    fitting = [name for name, size in scale if abs(value) * factor >= size]
    return fitting[-1] if fitting else ("s" if scale is _TIMES else "B")


def _legend(graph: CallGraph, title: str, kind: str, time_ns: int, values: _Values) -> str:
    shown = sum(node.flat for node in graph.nodes)
    lines = [f"File: {title}"] if title else []
    lines.append(f"Type: {kind}")
    if time_ns:
        at = datetime.fromtimestamp(time_ns // 10**9, UTC)
        hour = f"{at.hour % 12 or 12}:{at.minute:02d}{'pm' if at.hour >= 12 else 'am'}"
        lines.append(f"Time: {at:%b} {at.day}, {at.year} at {hour} (UTC)")
    lines.append(
        f"Showing nodes accounting for {values.text(shown)}, {values.share(shown)} of {values.text(values.total)} total"
    )
    if len(graph.nodes) < graph.known_nodes:
        lines.append(f"Showing top {len(graph.nodes)} nodes out of {graph.known_nodes}")
    label = "".join(_escaped(line) + "\\l" for line in lines)
    tooltip = f' tooltip="{_escaped(title)}"' if title else ""
    return f'subgraph cluster_L {{ "{_escaped(lines[0])}" [shape=box fontsize=16 label="{label}"{tooltip}] }}'


def _node(node: Node, number: int, most: int, values: _Values) -> str:
    own, whole = values.text(node.flat), values.text(node.cum)
    label = _broken_name(node) + (f"{own} ({values.share(node.flat)})" if node.flat else "0")
    if node.cum != node.flat:
        label += ("\\n" if node.flat else " ") + f"of {whole} ({values.share(node.cum)})"
    size = 8 + (math.ceil(16 * math.sqrt(abs(node.flat) / most)) if most and node.flat else 0)
    share = node.cum / abs(values.total) if values.total else 0.0
    return (
        f'N{number} [label="{label}" id="node{number}" fontsize={size} shape=box '
        f'tooltip="{_escaped(node.line.shown)} ({whole})" color="{_colour(share, False)}" '
        f'fillcolor="{_colour(share, True)}"]'
    )


def _edge(edge: Edge, values: _Values) -> str:
    text = values.text(edge.weight)
    inline = "\\n (inline)" if edge.inline else ""
    words = [f'label=" {text}{inline}"']
    if values.total:
        for name, most in (("weight", 100), ("penwidth", 5)):
            size = 1 + min(abs(edge.weight * most // values.total), most)
            words += [f"{name}={size}"] if size > 1 else []
        words.append(f'color="{_colour(edge.weight / abs(values.total), False)}"')
    arrow = "..." if edge.residual else "->"
    tooltip = f'"{_escaped(edge.caller.line.shown)} {arrow} {_escaped(edge.callee.line.shown)} ({text})"'
    words += [f"tooltip={tooltip}", f"labeltooltip={tooltip}"]
    words += ['style="dotted"'] if edge.residual else []
    return " ".join(words)


def _broken_name(node: Node) -> str:
    """The short name over several lines, and the file without its directory."""
    short = node.line._replace(name=_short_name(node.line.name))
    parts: Sequence[str] = [_escaped(part) for part in short.parts(node.line.file.rpartition("/")[2])]
    if short.name:
        broken = _escaped(short.name).replace("::", "\\n").replace("[...]", "[…]").replace(".", "\\n")
        parts = [broken if part == _escaped(short.name) else part for part in parts]
    return "\\n".join(parts or ["<unknown>"]) + "\\n"


def _short_name(name: str) -> str:
    name = _GO_VERSION.sub(r"\1\2", _ANONYMOUS.sub("", name))
    found = next((match for pattern in _SHORT if (match := pattern.match(name))), None)
    return found.group(1) if found else name


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\l")


def _colour(share: float, background: bool) -> str:
    """From grey for nothing to red for everything (green below nothing): little differences show at the low end."""
    shift, saturation, value = 0.7, 0.1 if background else 1.0, 0.93 if background else 0.7
    share = max(-1.0, min(1.0, share))
    if abs(share) < 0.2:
        saturation *= abs(share) / 0.2
    grown = share
    if share > 0:
        grown = share ** (1.0 - shift)
    elif share < 0:
        grown = -((-share) ** (1.0 - shift))
    red, green, blue = _mixed(grown, saturation, value)
    return f"#{int(red * 255):02x}{int(green * 255):02x}{int(blue * 255):02x}"


def _mixed(share: float, saturation: float, value: float) -> tuple[float, float, float]:
    if share < 0:
        return value * (1 + share * saturation), value, value * (1 - saturation)
    return value, value * (1 - share * saturation), value * (1 - saturation)
