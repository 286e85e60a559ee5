"""A call tree as Pyroscope's tree bytes: in pre-order, for each node its name, its own value, its children's number."""

from __future__ import annotations

from dataclasses import dataclass, field

from ....schema.request import Flamegraph


@dataclass(slots=True)
class _Node:
    """A bar and those below it."""

    name: str
    own: int
    children: list[_Node] = field(default_factory=list)


def tree_bytes(graph: Flamegraph) -> bytes:
    """The bytes of a flame graph's tree; none for an empty one."""
    if not graph.total and len(graph.levels) < 2:
        return b""
    names: dict[str, bytes] = {}
    out: list[bytes] = []
    stack = [_root(graph)]
    while stack:
        node = stack.pop()
        name = names.get(node.name)
        if name is None:
            encoded = node.name.encode()
            name = names[node.name] = _uvarint(len(encoded)) + encoded
        out += (name, _uvarint(node.own), _uvarint(len(node.children)))
        stack += node.children
    return b"".join(out)


def _root(graph: Flamegraph) -> _Node:
    """The tree of the bars: a bar's parent is the one above it that it lies under."""
    root = _Node("", 0)
    above: list[tuple[int, int, _Node]] = [(0, graph.total, root)]
    for level in graph.levels[1:]:
        row: list[tuple[int, int, _Node]] = []
        x = at = 0
        for number in range(0, len(level), 4):
            offset, total, own, name = level[number : number + 4]
            x += offset
            while at + 1 < len(above) and x >= above[at + 1][0]:
                at += 1
            node = _Node(graph.names[name], own)
            above[at][2].children.append(node)
            row.append((x, x + total, node))
            x += total
        above = row
    return root


def _uvarint(number: int) -> bytes:
    if 0 <= number < 0x80:
        return _SMALL[number]
    out = bytearray()
    number &= 2**64 - 1
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


_SMALL = [bytes([number]) for number in range(0x80)]
