"""CPU profiles inside a trace: V8 hands them out in chunks while it samples, one profile a thread.

Source: V8's `src/profiler/profile-generator.cc` writes them, DevTools' trace engine reads them. A `Profile` event
begins a profile and names the thread; `ProfileChunk` events with the same process and id bring more nodes, samples
and time deltas; newer ones also the line and column of each sample.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import msgspec
import numpy as np

from ...schema.errors import CorruptProfile
from . import Decoded, Row
from .exact_numbers import IntArray, check_sum, scaled, scaled_number
from .json_document import Int64, decode_json
from .names import NameReader
from .profile_builder import ProfileBuilder
from .sample_pieces import SamplePieces, Tops
from .trace_events import NS_PER_US, Event, Id, Threads
from .v8_cpu_profile import METRIC, Clock, Document, read_clock, read_profile, sample_weights
from .v8_nodes import MAX_POSITION, POSITION_BITS, CallFrame, V8Nodes

PROFILE_EVENTS = ("ProfileChunk", "CpuProfile")
_Key = tuple[Id | None, Id | None]


class _Node(msgspec.Struct, rename="camel"):
    id: Int64
    call_frame: CallFrame
    parent: Int64 | None = None


class _Nodes(msgspec.Struct, rename="camel"):
    nodes: list[_Node] | None = None
    samples: list[Int64] | None = None
    time_deltas: list[int | float] | None = None


class _Data(msgspec.Struct, rename="camel"):
    cpu_profile: _Nodes | None = None
    time_deltas: list[int | float] | None = None
    lines: list[Int64] | None = None
    columns: list[Int64] | None = None
    start_time: Decimal | None = None
    end_time: Decimal | None = None


class _WholeData(msgspec.Struct, rename="camel"):
    cpu_profile: Document | None = None


class _Chunk(msgspec.Struct):
    data: _Data = msgspec.field(default_factory=_Data)


class _Whole(msgspec.Struct):
    data: _WholeData = msgspec.field(default_factory=_WholeData)


class ProfileEvents:
    """The profiles of a trace, gathered event by event."""

    def __init__(self, names: NameReader) -> None:
        self._names = names
        self._profiles: dict[_Key, _Streamed] = {}
        self._whole: list[tuple[Event, Document]] = []

    def add(self, event: Event) -> None:
        """Take what belongs to a profile. Raises `CorruptProfile`."""
        if event.name == "CpuProfile":
            document = decode_json(event.args, _Whole, "CpuProfile.args").data.cpu_profile
            if document is not None:
                self._whole.append((event, document))
        elif event.name in ("Profile", "ProfileChunk"):
            key = (event.pid, event.tid if event.id is None else event.id)
            streamed = self._profiles.setdefault(key, _Streamed(event))
            data = decode_json(event.args, _Chunk, f"{event.name}.args").data
            if event.name == "Profile":
                streamed.begin(event, data)
            streamed.add(data)

    def profile(self, number: int, threads: Threads) -> Iterator[Decoded]:
        """All profiles as one, with the thread of each as labels. Raises `CorruptProfile`."""
        clocks = [streamed.clock for streamed in self._profiles.values()]
        clocks += [read_clock(document) for _, document in self._whole]
        header = _around(clocks).header(timed=True)
        pieces = SamplePieces(ProfileBuilder(header, self._names), Row(number, METRIC))
        for streamed in self._profiles.values():
            labels = threads.labels(streamed.thread.pid, streamed.thread.tid)
            nodes, tops = streamed.tops(pieces.builder)
            yield from pieces.add_tops(nodes.columns(), tops, labels)
        for event, document in self._whole:
            labels = threads.labels(event.pid, event.tid)
            yield from read_profile(document, read_clock(document), pieces, labels)
        yield from pieces.finish()


def _around(clocks: list[Clock]) -> Clock:
    """From the first start to the last end."""
    ends = [clock.end_ns for clock in clocks if clock.end_ns is not None]
    start_ns = min((clock.start_ns for clock in clocks), default=0)
    return Clock(start_ns, max(ends, default=None))


class _Streamed:
    """One profile that comes in chunks."""

    def __init__(self, event: Event) -> None:
        self.thread = event
        self._start_ns = 0
        self._end_ns: int | None = None
        self._nodes: list[_Node] = []
        self._samples: list[IntArray] = [np.zeros(0, np.int64)]
        self._deltas: list[IntArray] = [np.zeros(0, np.int64)]
        self._lines: list[IntArray] = [np.zeros(0, np.int64)]
        self._columns: list[IntArray] = [np.zeros(0, np.int64)]

    def begin(self, event: Event, data: _Data) -> None:
        """Learn the thread and the start."""
        self.thread = event
        if data.start_time is not None:
            self._start_ns = scaled_number(data.start_time, NS_PER_US, "Profile.startTime")

    def add(self, data: _Data) -> None:
        """Take a chunk. Raises `CorruptProfile` when its lists are not of one length."""
        if data.end_time is not None:
            self._end_ns = scaled_number(data.end_time, NS_PER_US, "ProfileChunk.endTime")
        part = data.cpu_profile or _Nodes()
        self._nodes += part.nodes or ()
        samples = part.samples or []
        deltas = data.time_deltas if data.time_deltas is not None else part.time_deltas or []
        if len(deltas) != len(samples):
            raise CorruptProfile(
                f"ProfileChunk: unequal numbers of samples ({len(samples)}) and timeDeltas ({len(deltas)})"
            )
        self._samples.append(np.array(samples, np.int64))
        self._deltas.append(scaled(deltas, NS_PER_US, "ProfileChunk.timeDeltas"))
        for column, found in ((data.lines, self._lines), (data.columns, self._columns)):
            whole = column is not None and len(column) == len(samples)
            found.append(np.array(column if whole else [0] * len(samples), np.int64))

    @property
    def clock(self) -> Clock:
        """From the start on, until the last sample if no end was told."""
        if self._end_ns is not None:
            return Clock(self._start_ns, self._end_ns)
        lasted = sum(int(deltas.sum()) for deltas in self._deltas)
        return Clock(self._start_ns, self._start_ns + lasted)

    def tops(self, builder: ProfileBuilder) -> tuple[V8Nodes, Tops]:
        """The nodes; and those on top, once for each line of them. Raises `CorruptProfile`."""
        nodes = V8Nodes(builder)
        for node in self._nodes:
            row = nodes.add(node.id, node.call_frame)
            if node.parent is not None:
                nodes.adopt(nodes.row_of(node.parent, "ProfileChunk: node.parent"), row)
        rows = nodes.rows_of(np.concatenate(self._samples), "ProfileChunk: samples")
        deltas = np.concatenate(self._deltas)
        check_sum(deltas, "ProfileChunk.timeDeltas")
        weights, order = sample_weights(deltas, len(rows), self.clock)
        lines, columns = (_positions(np.concatenate(found)) for found in (self._lines, self._columns))
        if order is not None:
            rows, lines, columns = rows[order], lines[order], columns[order]
        positions, position = np.unique(lines << POSITION_BITS | columns, return_inverse=True)
        distinct, member = np.unique(rows * len(positions) + position, return_inverse=True)
        values = np.zeros((len(distinct), 2), np.int64)
        values[:, 0] = np.bincount(member, minlength=len(distinct))
        np.add.at(values[:, 1], member, weights)
        on_top, place = np.divmod(distinct, max(len(positions), 1))
        at = positions[place]
        spots = zip(
            on_top.tolist(), (at >> POSITION_BITS).tolist(), (at & MAX_POSITION).tolist(), strict=True
        )
        locations = [nodes.own_line(*spot) for spot in spots]
        return nodes, Tops(on_top, np.array(locations, np.int64), values)


def _positions(numbers: IntArray) -> IntArray:
    """Lines or columns, counted from 1; 0 for what is none."""
    return np.where((numbers > 0) & (numbers <= MAX_POSITION), numbers, 0)
