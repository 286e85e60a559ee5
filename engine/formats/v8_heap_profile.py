"""V8's `.heapprofile`: a sampling heap profile, as `node --heap-prof` and Chrome's memory panel write it.

Source: https://chromedevtools.github.io/devtools-protocol/v8/HeapProfiler/#type-SamplingHeapProfile

Sizes are those that the profiler estimates. Its samples say how many allocations each estimate is made of; those
that were made while the tree was written have no node in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Optional

import msgspec
import numpy as np

from ...schema.errors import CorruptProfile
from . import Decoded, Failed, Input, Row, one_by_one
from .json_document import ABSENT, array_pieces, decode_json, is_given
from .json_head import json_paths
from .names import name_reader
from .profile_builder import ProfileBuilder
from .profile_columns import ProfileHeader
from .sample_pieces import SamplePieces
from .v8_nodes import CallFrame, V8Nodes

_HEADER = ProfileHeader(
    (("samples", "count"), ("inuse_space", "bytes")),
    period_type=("space", "bytes"),
    default_sample_type="inuse_space",
)
_SNAPSHOT = "a heap snapshot or allocation timeline: it holds objects, not stacks; record a sampling heap profile instead"


class Node(msgspec.Struct, rename="camel"):
    """A call, what it allocated that is still in use, and whom it called. Only newer versions number the nodes."""

    call_frame: CallFrame
    self_size: int = 0
    id: int | None = None
    children: Optional[list["Node"]] = None  # noqa: UP045, UP037 - the type is read at run time


class Sample(msgspec.Struct, rename="camel"):
    """An allocation, and the node that made it."""

    size: int
    node_id: int


class Document(msgspec.Struct):
    """The file."""

    head: Node | None = None
    samples: msgspec.Raw = msgspec.Raw(b"[]")
    snapshot: msgspec.Raw = ABSENT


class HeapProfile:
    """`{"head": {"callFrame": {…}, "selfSize": 0, "children": […]}, "samples": […]}`."""

    name = "heapprofile"

    def matches(self, head: bytes, filename: str) -> bool:
        """Whether it is JSON with a head that has sizes; heap snapshots too, to say what they are not."""
        paths = json_paths(head)
        return {"head.callFrame", "head.selfSize"} <= paths or "snapshot.meta.node_fields" in paths

    def decode(self, inputs: Sequence[Input]) -> Iterator[Decoded | Failed]:
        """Each input is one profile."""
        return one_by_one(inputs, _decode)


def _decode(number: int, one: Input) -> Iterator[Decoded]:
    document = decode_json(one.raw, Document)
    if is_given(document.snapshot):
        raise CorruptProfile(_SNAPSHOT)
    if document.head is None:
        raise CorruptProfile("head is missing")
    pieces = SamplePieces(ProfileBuilder(_HEADER, name_reader(one)), Row(number, "memory"))
    nodes = V8Nodes(pieces.builder)
    sizes, numbered = _walk(document.head, nodes)
    # The last entry counts those of nodes that are not in the tree.
    counts = np.zeros(len(nodes) + 1, np.int64)
    for piece in array_pieces(document.samples):
        samples = decode_json(piece, list[Sample], "samples")
        rows = [numbered.get(sample.node_id, len(nodes)) for sample in samples]
        counts += np.bincount(np.array(rows, np.int64), minlength=len(counts))
    if counts[-1]:
        pieces.warn(f"{counts[-1]} samples of nodes that are not in the tree were left out")
    values = np.stack([counts[:-1], np.array(sizes, np.int64)], axis=1)
    ends = np.flatnonzero(values.any(axis=1))
    yield from pieces.add_tree(nodes.columns(), ends, values[ends])
    yield from pieces.finish()


def _walk(head: Node, nodes: V8Nodes) -> tuple[list[int], dict[int, int]]:
    """Add every node; returns their own sizes, and the row of each node that has a number."""
    sizes: list[int] = []
    numbered: dict[int, int] = {}
    waiting = [(head, -1)]
    while waiting:
        node, parent = waiting.pop()
        row = nodes.add(len(sizes), node.call_frame)
        if not 0 <= node.self_size < 2**63:
            raise CorruptProfile(f"selfSize {node.self_size}: expected 0 to 2^63 - 1")
        sizes.append(node.self_size)
        if parent >= 0:
            nodes.adopt(parent, row)
        if node.id is not None:
            numbered[node.id] = row
        waiting += [(child, row) for child in node.children or ()]
    return sizes, numbered
