"""Duration events of a trace, nested by thread: the time that each stack was the innermost.

Complete events (`X`) say how long they took; others begin (`B`) and end (`E`). An end closes the innermost event
that was begun. What is never ended lasts as long as its thread has events. An event that outlasts the one it is in
goes on without it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import msgspec
import numpy as np

from ...schema.errors import CorruptProfile, LimitExceeded
from . import Decoded, Row
from .call_nodes import GrowingTree
from .exact_numbers import IntArray, scaled
from .json_document import Int64, decode_json
from .names import NameReader
from .profile_builder import ProfileBuilder
from .profile_columns import ProfileHeader
from .sample_pieces import SamplePieces
from .trace_events import NS_PER_US, Event, Id, Threads

METRIC = "wall"
_HEADER = ProfileHeader((("wall", "nanoseconds"),))
_KINDS = {"B": 0, "E": 1, "X": 2}
_BEGIN, _END, _WHOLE = _KINDS.values()
MAX_MOVES = 2_000_000
_CHUNK = 100_000
_NEVER = 2**64
"""Later than any event that ends."""
_MAX_LINE = 2**31 - 1


class _Args(msgspec.Struct):
    """Where the function of an event is; py-spy says so."""

    filename: str | None = None
    line: Int64 | None = None


class SpanEvents:
    """The duration events of a trace as columns: kind, thread, time, duration, frame."""

    def __init__(self, names: NameReader) -> None:
        self._builder = ProfileBuilder(_HEADER, names)
        self._threads: dict[tuple[Id | None, Id | None], int] = {}
        self._frames: dict[tuple[str, bytes], int] = {}
        self._chunks: list[IntArray] = []
        self._plain: list[tuple[int, int, int]] = []
        self._ts: list[int | float] = []
        self._dur: list[int | float] = []

    def add(self, event: Event) -> None:
        """Take a duration event, leave others. Raises `CorruptProfile` for one without a time."""
        kind = _KINDS.get(event.ph)
        if kind is None:
            return
        ts = event.ts
        if ts is None or isinstance(ts, str):
            raise CorruptProfile(
                f"event {event.name!r} of kind {event.ph!r}: ts is {ts!r}: expected a number"
            )
        duration = event.dur or 0
        if duration < 0:
            raise CorruptProfile(f"event {event.name!r}: negative dur {duration}")
        thread = self._threads.setdefault((event.pid, event.tid), len(self._threads))
        self._plain.append((kind, thread, 0 if kind == _END else self._frame(event)))
        self._ts.append(ts)
        self._dur.append(duration)
        if len(self._plain) >= _CHUNK:
            self._pack()

    def _frame(self, event: Event) -> int:
        """The location of an event, by its name, and by what its arguments say of files."""
        args = bytes(event.args)
        key = (event.name or "", args if b'"filename"' in args else b"")
        found = self._frames.get(key)
        if found is None:
            said = decode_json(args, _Args, f"args of event {event.name!r}") if key[1] else _Args()
            line = min(max(said.line or 0, 0), _MAX_LINE)
            found = self._frames[key] = self._builder.frame(key[0], said.filename or "", line)
        return found

    def _pack(self) -> None:
        plain = np.array(self._plain, np.int64).reshape(-1, 3)
        ts = scaled(self._ts, NS_PER_US, "ts")
        dur = scaled(self._dur, NS_PER_US, "dur")
        self._chunks.append(np.column_stack([plain, ts, dur]))
        self._plain, self._ts, self._dur = [], [], []

    def profile(self, number: int, threads: Threads) -> Iterator[Decoded]:
        """All threads as one profile, labelled. Raises `CorruptProfile` if there are no duration events."""
        self._pack()
        table = np.concatenate(self._chunks)
        self._chunks.clear()
        if not len(table):
            raise CorruptProfile("the trace has neither a CPU profile nor duration events (ph B, E or X)")
        pieces = SamplePieces(self._builder, Row(number, METRIC))
        loose = open_ended = 0
        order = _in_time(table)
        bounds = np.searchsorted(table[order, 1], np.arange(len(self._threads) + 1))
        for thread, key in enumerate(self._threads):
            nested = _Nested(table, order[bounds[thread] : bounds[thread + 1]])
            loose, open_ended = loose + nested.loose, open_ended + nested.open_ended
            nodes, ends, own = nested.tree.columns()
            yield from pieces.add_tree(nodes, ends, own.reshape(-1, 1), threads.labels(*key))
        if loose:
            pieces.warn(f"{loose} events of kind E end nothing: left out")
        if open_ended:
            pieces.warn(f"{open_ended} events of kind B never end: taken to last as long as their threads")
        yield from pieces.finish()


def _in_time(table: IntArray) -> IntArray:
    """Rows by thread and time; of those at once, outer ones first: by their place in the file, or the longer first.

    Complete events are written when they end, so that their place says nothing.
    """
    kind, thread, ts, dur = table[:, 0], table[:, 1], table[:, 3], table[:, 4]
    has_marks = np.zeros(int(thread.max()) + 1, np.bool_)
    has_marks[thread[kind != _WHOLE]] = True
    return np.lexsort((np.where(has_marks[thread], 0, -dur), ts, thread))


class _Open(NamedTuple):
    """An event that has not ended: its node in the tree, and when it or one around it ends first."""

    frame: int
    node: int
    end: int
    until: int


class _Nested:
    """The call tree of one thread's events: rows of the table in this order, of which there is one at least."""

    def __init__(self, table: IntArray, order: IntArray) -> None:
        self.tree = GrowingTree()
        self.loose = self._begun = self._moves = 0
        self._open = [_Open(-1, 0, _NEVER, _NEVER)]
        self._last = int(table[order[0], 3])
        for start in range(0, len(order), _CHUNK):
            self._follow(table[order[start : start + _CHUNK]])
        self.open_ended = self._begun
        self._end_until(_NEVER - 1)

    def _follow(self, events: IntArray) -> None:
        kinds, _, frames, ts, dur = (events[:, column].tolist() for column in range(5))
        for kind, frame, at, lasting in zip(kinds, frames, ts, dur, strict=True):
            self._end_until(at)
            self._spend(at)
            if kind == _END:
                self._end_begun(at)
            elif kind == _BEGIN:
                self._push(frame, _NEVER)
                self._begun += 1
            elif lasting:
                self._push(frame, at + lasting)

    def _push(self, frame: int, end: int) -> None:
        above = self._open[-1]
        until = end if end < above.until else above.until
        self._open.append(_Open(frame, self.tree.child(above.node, frame), end, until))

    def _spend(self, until: int) -> None:
        """The time until then belongs to the innermost event."""
        if until > self._last:
            self.tree.own[self._open[-1].node] += until - self._last
            self._last = until

    def _end_until(self, at: int) -> None:
        """Close complete events that are over."""
        while (now := self._open[-1].until) <= at:
            self._spend(now)
            first = len(self._open) - 1
            while self._open[first - 1].until == now:
                first -= 1
            self._close(first, now)

    def _close(self, first: int, now: int) -> None:
        """Close the event at `first` of the open ones; those in it that end later go on without it."""
        closed = self._open[first:]
        del self._open[first:]
        for one in closed[1:]:
            if one.end > now:
                self._moves += 1
                self._push(one.frame, one.end)
        if self._moves > MAX_MOVES:
            raise LimitExceeded(
                f"events outlast the one they are in more often than the limit of {MAX_MOVES} times"
            )

    def _end_begun(self, at: int) -> None:
        """Close the innermost event that was begun."""
        if not self._begun:
            self.loose += 1
            return
        first = len(self._open) - 1
        while self._open[first].end != _NEVER:
            first -= 1
        self._begun -= 1
        self._close(first, at)
