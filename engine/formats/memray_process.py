"""A process of its own that reads one memray capture, and prints what it holds: the door to memray.

memray trusts its files; a spoilt one can make it crash, take any amount of memory, or never end. So this program
runs beside the reader (`memray.py`), within limits, and imports nothing of this package, so that it starts fast:
`python -I memray_process.py FILE MEMORY_BYTES CPU_SECONDS PIECE_SAMPLES PIECE_FRAMES`.

It prints lines of JSON. A line is an array, its first item tells its kind:

    ["header", start_ns, end_ns, is_aggregated, command_line, pid]
    ["frame", name, file, line]         numbered from 0
    ["labels", tid, thread, allocator]  numbered from 0
    ["samples", samples, frames]        a piece follows, as columns
    ["warning", text]
    ["failed", reason]
    ["end"]

The columns of a piece follow each other with nothing between: for each sample the number of its labels, the number of
its frames, and four values (alloc objects, bytes; in use objects, bytes), all of them int64; then the frames of all
samples, leaf first, as int32.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import sys
from array import array
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from operator import attrgetter
from typing import Any

MAX_RECORDS = 50_000_000
"""Of longer captures what was in use is read and what was allocated is not: that takes about 0.3 s a million."""

_DEALLOCATORS = {"PYMALLOC_FREE", "FREE", "MUNMAP"}
_KEY = ("tid", "allocator", "stack_id")
_NATIVE_KEY = (*_KEY, "native_stack_id", "native_segment_generation")
_NS_PER_US = 1000
_WAITING_FRAMES = 1 << 14

Key = tuple[int, ...]
Sums = dict[Key, list[Any]]
"""One of memray's records, the allocations of all that are like it, their bytes."""


@dataclass(frozen=True)
class Limits:
    """What a capture may take of the machine, and how much of it makes a piece."""

    memory_bytes: int
    cpu_seconds: int
    piece_samples: int
    piece_frames: int


def main(path: str, limits: Limits) -> None:
    """Print one capture."""
    _limit(resource.RLIMIT_AS, limits.memory_bytes)
    _limit(resource.RLIMIT_CPU, limits.cpu_seconds)
    _limit(resource.RLIMIT_CORE, 0)
    # Millions of tuples and no circles: looking for them takes a third of the time.
    gc.disable()
    out = sys.stdout.buffer
    try:
        for piece in _Capture(path, limits).output():
            out.write(piece)
    except (OSError, RuntimeError, ValueError, NotImplementedError) as error:
        out.write(_line("failed", str(error)))
    except MemoryError:
        out.write(_line("failed", f"it needs more than {limits.memory_bytes >> 20} MB of memory"))
    out.flush()


def _limit(kind: int, value: int) -> None:
    """Lower a limit, where the platform lets us."""
    with suppress(OSError, ValueError):
        resource.setrlimit(kind, (value, resource.getrlimit(kind)[1]))


def _line(*items: Any) -> bytes:
    return json.dumps(items).encode() + b"\n"


class _Numbers(dict[Any, int]):
    """Numbers what it is asked for, in that order."""

    def __init__(self) -> None:
        super().__init__()
        self._new: list[Any] = []

    def __missing__(self, one: Any) -> int:
        number = self[one] = len(self)
        self._new.append(one)
        return number

    def take_new(self, kind: str) -> Iterator[bytes]:
        """A line for each that was numbered since the last time."""
        for one in self._new:
            yield _line(kind, *one)
        self._new.clear()


@dataclass
class _Piece:
    """Samples as columns."""

    labels: array[int] = field(default_factory=lambda: array("q"))
    lengths: array[int] = field(default_factory=lambda: array("q"))
    values: array[int] = field(default_factory=lambda: array("q"))
    frames: array[int] = field(default_factory=lambda: array("i"))
    _waiting: list[int] = field(default_factory=list)

    def add(self, labels: int, frames: list[int], values: list[int]) -> None:
        """Add a sample. Raises `ValueError` when a value does not fit 64 bits."""
        try:
            self.values.extend(values)
        except OverflowError:
            raise ValueError(f"sample.value {max(values)} does not fit 64 bits") from None
        self.labels.append(labels)
        self.lengths.append(len(frames))
        self._waiting += frames
        if len(self._waiting) >= _WAITING_FRAMES:
            self._pack()

    @property
    def frame_count(self) -> int:
        """Frames of all samples."""
        return len(self.frames) + len(self._waiting)

    def _pack(self) -> None:
        # An array takes numbers one by one from whatever is no list or array, growing as it goes.
        self.frames.extend(array("i", self._waiting))
        self._waiting.clear()

    def output(self) -> Iterator[bytes]:
        """The line of it, and the columns."""
        self._pack()
        yield _line("samples", len(self.labels), len(self.frames))
        for column in (self.labels, self.lengths, self.values, self.frames):
            yield column.tobytes()


class _Capture:
    """One capture file."""

    def __init__(self, path: str, limits: Limits) -> None:
        from memray import AllocatorType

        self._path = path
        self._limits = limits
        self._allocators = {int(one): one.name for one in AllocatorType}
        self._frames = _Numbers()
        self._labels = _Numbers()

    def output(self) -> Iterator[bytes]:
        """All of it, as it is printed."""
        from memray import FileFormat, FileReader

        with FileReader(self._path) as reader:
            known = reader.metadata
            is_aggregated = known.file_format == FileFormat.AGGREGATED_ALLOCATIONS
            times = [_ns(known.start_time), _ns(known.end_time)]
            yield _line("header", *times, is_aggregated, known.command_line, known.pid)
            names = _NATIVE_KEY if known.has_native_traces else _KEY
            in_use = self._sums(reader.get_high_watermark_allocation_records(merge_threads=False), names)
            allocated: Sums = {}
            if not is_aggregated and known.total_allocations > MAX_RECORDS:
                yield _line(
                    "warning",
                    f"{known.total_allocations} records are more than {MAX_RECORDS}: "
                    "what was allocated was left out, what was in use at the peak was not",
                )
            elif not is_aggregated:
                allocated = self._sums(reader.get_allocation_records(), names)
            yield from self._samples(in_use, allocated, known.has_native_traces)
        yield _line("end")

    def _sums(self, records: Any, names: tuple[str, ...]) -> Sums:
        """Records summed by thread, allocator and stack."""
        sums: Sums = {}
        deallocators = {number for number, name in self._allocators.items() if name in _DEALLOCATORS}
        key_of = attrgetter(*names)
        for record in records:
            if record.allocator in deallocators:
                continue
            key = key_of(record)
            known = sums.get(key)
            if known is None:
                sums[key] = [record, record.n_allocations, record.size]
            else:
                known[1] += record.n_allocations
                known[2] += record.size
        return sums

    def _samples(self, in_use: Sums, allocated: Sums, has_native: bool) -> Iterator[bytes]:
        """The pieces, and before each what is new in it."""
        piece = _Piece()
        number_of = self._frames.__getitem__
        for record, values in _merged(in_use, allocated):
            frames = list(map(number_of, record.hybrid_stack_trace() if has_native else record.stack_trace()))
            if piece.labels and piece.frame_count + len(frames) > self._limits.piece_frames:
                yield from self._finished(piece)
                piece = _Piece()
            piece.add(self._labels[self._labels_of(record)], frames, values)
            if len(piece.labels) >= self._limits.piece_samples:
                yield from self._finished(piece)
                piece = _Piece()
        if piece.labels:
            yield from self._finished(piece)

    def _finished(self, piece: _Piece) -> Iterator[bytes]:
        yield from self._frames.take_new("frame")
        yield from self._labels.take_new("labels")
        yield from piece.output()

    def _labels_of(self, record: Any) -> tuple[int, str, str]:
        name = self._allocators.get(record.allocator, str(record.allocator)).lower()
        return record.tid, record.thread_name, name


def _merged(in_use: Sums, allocated: Sums) -> Iterator[tuple[Any, list[int]]]:
    """A record of each kind and its four values; both sums are emptied, as a record keeps the stack it has shown."""
    while allocated:
        key, (record, count, size_bytes) = allocated.popitem()
        _, *used = in_use.pop(key, (None, 0, 0))
        yield record, [count, size_bytes, *used]
    while in_use:
        _, (record, count, size_bytes) = in_use.popitem()
        yield record, [0, 0, count, size_bytes]


def _ns(time: datetime | None) -> int:
    if time is None:
        return 0
    return round(time.timestamp() * 10**6) * _NS_PER_US


if __name__ == "__main__":
    main(sys.argv[1], Limits(*map(int, sys.argv[2:])))
    # All is printed; to take down what memray and the interpreter hold, piece by piece, is two per cent of the time.
    os._exit(0)
