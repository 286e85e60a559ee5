"""The nodes of a tree that is written depth first, each as name, value and number of children: old agents' uploads.

A node is the length of its name (uvarint), the name, its value (uvarint) and the number of its children (uvarint);
its children follow, each with its own. Nothing is believed: a length or a number of children that the input does
not hold ends in an error, and nodes that nest deep cost an entry of a list.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ...schema.errors import CorruptProfile, LimitExceeded
from .wire import read_varint

MAX_VALUE = 2**63 - 1
MAX_NESTING = 1 << 20
"""Nodes below one another: more than a stack has frames, since a node of a trie may be a part of a name."""


@dataclass(frozen=True)
class NodeLimits:
    """Bounds on one node; 0: none but the input's end."""

    name_bytes: int = 0
    children: int = 0


NO_LIMITS = NodeLimits()


def read_nodes(raw: bytes, limits: NodeLimits = NO_LIMITS) -> Iterator[tuple[int, bytes, int]]:
    """How many nodes each node is below the root, its name and its value; parents before their children.

    Raises `CorruptProfile` naming the byte, `LimitExceeded` naming limit and value.
    """
    # How many children are still to come of each node on the way to the one that is read.
    open_nodes = [1]
    at, end = 0, len(raw)
    while open_nodes:
        if not open_nodes[-1]:
            open_nodes.pop()
            continue
        open_nodes[-1] -= 1
        start = at
        length, at = _uvarint(raw, at, end)
        name = raw[at : at + length]
        at += length
        if at > end:
            raise CorruptProfile(f"the name of the node at byte {start} runs past the end of the input")
        value, at = _uvarint(raw, at, end)
        children, at = _uvarint(raw, at, end)
        if value > MAX_VALUE:
            raise CorruptProfile(
                f"the value of the node at byte {start} is {value}, which does not fit 64 bits"
            )
        if limits is not NO_LIMITS:
            _check(limits, start, length, children)
        yield len(open_nodes) - 1, name, value
        open_nodes.append(children)
        if len(open_nodes) > MAX_NESTING:
            raise LimitExceeded(f"the node at byte {start} is more than {MAX_NESTING} nodes below the root")
    if at < end:
        raise CorruptProfile(f"{end - at} bytes follow the last node, at byte {at}")


def _uvarint(raw: bytes, at: int, end: int) -> tuple[int, int]:
    if at >= end:
        raise CorruptProfile(f"the input ends inside a node, at byte {end}")
    byte = raw[at]
    return (byte, at + 1) if byte < 0x80 else read_varint(raw, at)


def _check(limits: NodeLimits, start: int, length: int, children: int) -> None:
    if limits.name_bytes and length > limits.name_bytes:
        raise LimitExceeded(
            f"the node at byte {start} has a name of {length} bytes; limit {limits.name_bytes}"
        )
    if limits.children and children > limits.children:
        raise LimitExceeded(f"the node at byte {start} has {children} children; limit {limits.children}")
