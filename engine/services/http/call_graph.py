"""A pprof as a graph of source lines and the calls between them, trimmed as google/pprof trims what it draws.

Lines are ranked by how much they tell: a weight spread over many callers or callees says more than a chain does.
Between lines that stay, a dotted edge stands for calls through lines that do not, unless a shorter way shows the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Line(NamedTuple):
    """What makes a node: one line of a function, or an address without one."""

    name: str
    file: str
    line: int
    address: int
    mapping_file: str

    @property
    def shown(self) -> str:
        """The node in a sentence."""
        return " ".join(self.parts(self.file)) or "<unknown>"

    def parts(self, file: str) -> Sequence[str]:
        """Address, name and place, those that there are; `file` in place of its path."""
        found = [f"{self.address:016x}"] if self.address else []
        found += [self.name] if self.name else []
        if self.line:
            found.append(f"{file}:{self.line}")
        elif file:
            found.append(file)
        elif not self.name and self.mapping_file:
            found.append(f"[{self.mapping_file.rpartition('/')[2]}]")
        return found


@dataclass(eq=False)
class Edge:
    """Calls from one node to another; `residual` when something in between is not shown."""

    caller: Node
    callee: Node
    weight: int = 0
    residual: bool = False
    inline: bool = True

    @property
    def rank(self) -> tuple[int, str, str]:
        """Sorts the heaviest first."""
        return -abs(self.weight), self.caller.line.shown, self.callee.line.shown


@dataclass(eq=False)
class Node:
    """A line and its own (`flat`) and whole (`cum`) value."""

    line: Line
    flat: int = 0
    cum: int = 0
    callers: dict[Line, Edge] = field(default_factory=dict)
    callees: dict[Line, Edge] = field(default_factory=dict)

    @property
    def rank(self) -> tuple[int, str, int, Line]:
        """Sorts what tells most first."""
        score = _spread(self.callers, 0) + _spread(self.callees, self.flat)
        return -(int(score * self.cum) + self.flat), self.line.shown, -abs(self.cum), self.line


@dataclass(frozen=True)
class CallGraph:
    """What is drawn: nodes in their order, how many there were, and the value of everything."""

    nodes: Sequence[Node]
    known_nodes: int
    total: int

    def edges(self) -> list[Edge]:
        """Every edge, the heaviest first."""
        return sorted((edge for node in self.nodes for edge in node.callees.values()), key=lambda e: e.rank)


Stack = tuple[Sequence[tuple[Line, bool]], int]
"""Lines, root first, each with whether it was inlined into the one before; and the value."""


def call_graph(profile: Any, max_nodes: int) -> CallGraph:
    """The graph of a pprof's only value, with the `max_nodes` nodes that tell most."""
    stacks = list(_stacks(profile))
    whole = _built(stacks, None)
    ranked = sorted(whole.values(), key=lambda node: node.rank)
    nodes = ranked
    if len(ranked) > max_nodes:
        kept = {node.line for node in ranked[:max_nodes]}
        nodes = sorted(_built(stacks, kept).values(), key=lambda node: node.rank)
    _remove_redundant(nodes)
    return CallGraph(nodes, len(ranked), sum(value for _, value in stacks))


def _stacks(profile: Any) -> Iterator[Stack]:
    texts = [text.decode() if isinstance(text, bytes) else text for text in profile.string_table]
    functions = {function.id: function for function in profile.function}
    files = {mapping.id: texts[mapping.filename] for mapping in profile.mapping}
    places: dict[int, Sequence[tuple[Line, bool]]] = {}
    for location in profile.location:
        lines = [
            Line(
                texts[functions[line.function_id].name],
                texts[functions[line.function_id].filename],
                line.line,
                location.address,
                "",
            )
            for line in reversed(location.line)
        ] or [Line("", "", 0, location.address, files.get(location.mapping_id, ""))]
        places[location.id] = [(line, number > 0) for number, line in enumerate(lines)]
    for sample in profile.sample:
        if sample.value[0]:
            yield (
                [line for location in reversed(sample.location_id) for line in places[location]],
                sample.value[0],
            )


def _built(stacks: Sequence[Stack], kept: set[Line] | None) -> Mapping[Line, Node]:
    """The nodes of some lines (None: of all); a stack counts once for each node and each edge."""
    nodes: dict[Line, Node] = {}
    for lines, value in stacks:
        seen: set[Line] = set()
        called: set[tuple[Line, Line]] = set()
        caller: Node | None = None
        residual = False
        for line, inline in lines:
            if kept is not None and line not in kept:
                residual = True
                continue
            node = nodes.get(line) or nodes.setdefault(line, Node(line))
            if line not in seen:
                seen.add(line)
                node.cum += value
            if caller is not None and node is not caller and (caller.line, line) not in called:
                called.add((caller.line, line))
                edge = caller.callees.get(line) or _connected(caller, node)
                edge.weight += value
                edge.residual |= residual
                edge.inline &= inline
            caller, residual = node, False
        if caller is not None and not residual:
            caller.flat += value
    return nodes


def _connected(caller: Node, callee: Node) -> Edge:
    edge = Edge(caller, callee)
    caller.callees[callee.line] = callee.callers[caller.line] = edge
    return edge


def _spread(edges: Mapping[Line, Edge], own: int) -> float:
    """The entropy of some edges' weights and a node's own; 1 where there is no edge."""
    if not edges:
        return 1
    weights = [abs(edge.weight) for edge in edges.values()]
    total = sum(weights) + own
    shares = [weight / total for weight in (*weights, max(own, 0)) if weight] if total else []
    return -sum(share * math.log2(share) for share in shares)


def _remove_redundant(nodes: Sequence[Node]) -> None:
    """Drop residual edges beside which another way leads, the lightest first."""
    for node in reversed(nodes):
        for edge in sorted(node.callers.values(), key=lambda e: e.rank, reverse=True):
            if not edge.residual:
                # One that weighs more than what is shown of it would confuse.
                break
            if _leads_around(edge):
                del edge.caller.callees[edge.callee.line], edge.callee.callers[edge.caller.line]


def _leads_around(edge: Edge) -> bool:
    """Whether the callee can be reached from the caller by other edges."""
    seen = {edge.callee.line}
    waiting = [edge.callee]
    while waiting:
        for other in waiting.pop().callers.values():
            if other is edge or other.caller.line in seen:
                continue
            if other.caller is edge.caller:
                return True
            seen.add(other.caller.line)
            waiting.append(other.caller)
    return False
