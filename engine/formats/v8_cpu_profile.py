"""V8's `.cpuprofile`: what `node --cpu-prof`, Chrome's profiler and `console.profile` write.

Source: https://chromedevtools.github.io/devtools-protocol/v8/Profiler/#type-Profile

V8 samples by the clock, idle or not, so the values are wall time; `(idle)`, `(program)` and `(garbage collector)`
are frames of their own. A sample lasts until the next one, the last until the end, as Chrome's panel has it.
"""

from __future__ import annotations

from array import array as Numbers
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

import msgspec
import numpy as np
import numpy.typing as npt

from ...schema.errors import CorruptProfile
from . import Decoded, Failed, Input, Row, one_by_one
from .exact_numbers import IntArray, scaled, scaled_number
from .json_document import ABSENT, Int64, array_pieces, decode_json, is_given
from .json_head import json_paths
from .names import name_reader
from .profile_builder import Labels, ProfileBuilder
from .profile_columns import ProfileHeader
from .sample_pieces import SamplePieces, Tops
from .v8_nodes import CallFrame, V8Nodes, split_by_ticks

METRIC = "wall"
SAMPLE_TYPES = (("samples", "count"), ("wall", "nanoseconds"))
PERIOD_TYPE = ("wall", "nanoseconds")
NS_PER_US = 1000
_STEP = 1_000_000
_EPOCH_NS = 10**18
"""V8 counts from when the machine started; who writes later times than this one (2001) counts from 1970."""

_SHAPES = ({"nodes[].callFrame"}, {"samples", "timeDeltas"}, {"startTime", "timeDeltas"})


class Tick(msgspec.Struct):
    """How many samples had a line of the node's function on top."""

    line: int
    ticks: int
    column: int = 0


class Node(msgspec.Struct, rename="camel"):
    """A call: of what, by whom (or of whom it is a caller), and how often it was on top."""

    id: Int64
    call_frame: CallFrame
    hit_count: int = 0
    parent: Int64 | None = None
    children: list[Int64] | None = None
    position_ticks: list[Tick] | None = None


class Document(msgspec.Struct, rename="camel"):
    """The file. Times are microseconds."""

    nodes: msgspec.Raw = msgspec.Raw(b"[]")
    samples: msgspec.Raw = ABSENT
    time_deltas: msgspec.Raw = ABSENT
    start_time: Decimal = Decimal(0)
    end_time: Decimal | None = None


class CpuProfile:
    """`{"nodes": [{"id": 1, "callFrame": {…}}], "samples": […], "timeDeltas": […]}`."""

    name = "cpuprofile"

    def matches(self, head: bytes, filename: str) -> bool:
        """Whether it is JSON with nodes that have call frames, or samples with time deltas."""
        paths = json_paths(head)
        return any(shape <= paths for shape in _SHAPES)

    def decode(self, inputs: Sequence[Input]) -> Iterator[Decoded | Failed]:
        """Each input is one profile."""
        return one_by_one(inputs, _decode)


def _decode(number: int, one: Input) -> Iterator[Decoded]:
    document = decode_json(one.raw, Document)
    clock = read_clock(document)
    builder = ProfileBuilder(clock.header(is_given(document.time_deltas)), name_reader(one))
    pieces = SamplePieces(builder, Row(number, METRIC))
    yield from read_profile(document, clock, pieces)
    yield from pieces.finish()


@dataclass(frozen=True)
class Clock:
    """When a profile began and ended, in nanoseconds; the end is not always known."""

    start_ns: int
    end_ns: int | None

    def header(self, timed: bool) -> ProfileHeader:
        """The header of a profile, with time as a type if the samples have times."""
        duration_ns = max((self.end_ns or 0) - self.start_ns, 0)
        return ProfileHeader(
            SAMPLE_TYPES if timed else SAMPLE_TYPES[:1],
            PERIOD_TYPE if timed else ("", ""),
            time_ns=self.start_ns if self.start_ns >= _EPOCH_NS else 0,
            duration_ns=min(duration_ns, 2**63 - 1),
            default_sample_type=SAMPLE_TYPES[1][0] if timed else "",
        )


def read_clock(document: Document) -> Clock:
    """The clock of a document. Raises `CorruptProfile`."""
    start_ns = scaled_number(document.start_time, NS_PER_US, "startTime")
    if document.end_time is None:
        return Clock(start_ns, None)
    return Clock(start_ns, scaled_number(document.end_time, NS_PER_US, "endTime"))


def read_profile(
    document: Document, clock: Clock, pieces: SamplePieces, labels: Labels = ()
) -> Iterator[Decoded]:
    """Add the samples of a document to a profile with the header of its clock. Raises `CorruptProfile`."""
    tree = _Tree(pieces.builder)
    for piece in array_pieces(document.nodes):
        tree.add(decode_json(piece, list[Node], "nodes"))
    tree.link()
    samples = _rows(document.samples, tree.nodes)
    counts = np.array(tree.hits, np.int64)
    if not counts.any():
        counts = np.bincount(samples, minlength=len(tree.nodes))
    columns = [counts]
    if is_given(document.time_deltas):
        columns.append(_own_times(samples, _deltas(document.time_deltas), clock, len(tree.nodes)))
    yield from pieces.add_tops(tree.nodes.columns(), tree.by_line(np.stack(columns, axis=1)), labels)


def _rows(array: msgspec.Raw, nodes: V8Nodes) -> npt.NDArray[np.int32]:
    """The row of each sample's node. Short numbers, in memory that grows: there may be millions."""
    rows = Numbers("i")
    for piece in array_pieces(array) if is_given(array) else ():
        ids = np.array(decode_json(piece, list[Int64], "samples"), np.int64)
        rows.frombytes(nodes.rows_of(ids, "samples", len(rows)).astype(np.int32).tobytes())
    return np.frombuffer(rows, np.int32)


def _deltas(array: msgspec.Raw) -> IntArray:
    """The deltas in nanoseconds. Raises `CorruptProfile` when they do not add up within 64 bits."""
    deltas = Numbers("q")
    size = 0.0
    for piece in array_pieces(array):
        found = scaled(decode_json(piece, list[int | float], "timeDeltas"), NS_PER_US, "timeDeltas")
        size += float(np.abs(found.astype(np.float64)).sum())
        deltas.frombytes(found.tobytes())
    if size >= 2.0**63:
        raise CorruptProfile("timeDeltas: the sum does not fit 64 bits")
    return np.frombuffer(deltas, np.int64)


def _own_times(samples: npt.NDArray[np.int32], deltas: IntArray, clock: Clock, nodes: int) -> IntArray:
    """How long each node was on top. Raises `CorruptProfile` when there is not a delta for each sample."""
    weights, order = sample_weights(deltas, len(samples), clock)
    own = np.zeros(nodes, np.int64)
    for start in range(0, len(samples), _STEP):
        part = slice(start, start + _STEP)
        np.add.at(own, samples[part] if order is None else samples[order[part]], weights[part])
    return own


def sample_weights(deltas: IntArray, samples: int, clock: Clock) -> tuple[IntArray, IntArray | None]:
    """How long each sample lasts, in nanoseconds; and the order of the samples in time, None if that is theirs.

    A delta leads from the sample before to its own. V8 hands over some samples late, so that deltas may be negative.
    `deltas` is written over. Raises `CorruptProfile` when there is not a delta for each of the samples.
    """
    if samples != len(deltas):
        raise CorruptProfile(f"unequal numbers of samples ({samples}) and timeDeltas ({len(deltas)})")
    order = None
    if (deltas[1:] < 0).any():
        at = np.cumsum(deltas)
        order = np.argsort(at, kind="stable")
        deltas = np.diff(at[order], prepend=0)
    last = int(deltas.sum())
    end = last if clock.end_ns is None else max(clock.end_ns - clock.start_ns, last)
    if end - last >= 2**63:
        raise CorruptProfile("endTime: the duration does not fit 64 bits")
    # In place and step by step: there may be millions.
    for start in range(0, samples - 1, _STEP):
        stop = min(start + _STEP, samples - 1)
        deltas[start:stop] = deltas[start + 1 : stop + 1]
    deltas[-1:] = end - last
    return deltas, order


class _Tree:
    """The nodes of a document, and what they say beside their frames."""

    def __init__(self, builder: ProfileBuilder) -> None:
        self.nodes = V8Nodes(builder)
        self.hits: list[int] = []
        self._ticks: dict[int, list[Tick]] = {}
        self._links: list[tuple[int, int]] = []
        self._parents: list[tuple[int, int]] = []

    def add(self, nodes: list[Node]) -> None:
        """Add some nodes; whom they call may come later."""
        for node in nodes:
            row = self.nodes.add(node.id, node.call_frame)
            if not 0 <= node.hit_count < 2**53:
                raise CorruptProfile(f"nodes[{row}].hitCount {node.hit_count}: expected 0 to 2^53")
            self.hits.append(node.hit_count)
            if node.position_ticks:
                self._ticks[row] = node.position_ticks
            if node.parent is not None:
                self._parents.append((node.parent, row))
            for child in node.children or ():
                self._links.append((row, child))

    def link(self) -> None:
        """Tell every node its parent. Raises `CorruptProfile` for nodes that are not there."""
        for parent, row in self._parents:
            self.nodes.adopt(self.nodes.row_of(parent, f"nodes[{row}].parent"), row)
        for row, child in self._links:
            self.nodes.adopt(row, self.nodes.row_of(child, f"nodes[{row}].children"))

    def by_line(self, values: IntArray) -> Tops:
        """The nodes that were on top; those whose lines are known once a line."""
        rows = np.flatnonzero(values.any(axis=1))
        plain = rows[~np.isin(rows, list(self._ticks))]
        ends, locations, split = plain.tolist(), self.nodes.locations()[plain].tolist(), []
        for row in np.setdiff1d(rows, plain).tolist():
            places, shares = self._shares(row, max(int(values[row, 0]), 0))
            ends += [row] * len(places)
            locations += places
            split.append(np.array([split_by_ticks(value, shares) for value in values[row].tolist()]).T)
        return Tops(
            np.array(ends, np.int64),
            np.array(locations, np.int64),
            np.concatenate([values[plain], *split]),
        )

    def _shares(self, row: int, count: int) -> tuple[list[int], list[int]]:
        """The lines of a node as locations, and each one's share; samples of no known line have the first line."""
        ticks = [tick for tick in self._ticks[row] if 0 < tick.ticks < 2**53]
        places = [self.nodes.own_line(row, tick.line, tick.column) for tick in ticks]
        shares = [tick.ticks for tick in ticks]
        rest = count - sum(shares)
        if rest > 0 or not shares:
            places.append(self.nodes.own_line(row, 0))
            shares.append(max(rest, 1))
        return places, shares
