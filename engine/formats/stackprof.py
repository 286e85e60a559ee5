"""stackprof's JSON: `stackprof --json`, or what `StackProf.run` gives, as JSON.

`raw` holds runs of equal stacks, root first: how many frames, the frames, how often. Without it, only what functions
took themselves is known, and each becomes a stack of one frame.

Source of the format: the stackprof gem, `ext/stackprof/stackprof.c` and `lib/stackprof/report.rb`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from ...schema.errors import CorruptProfile
from . import Decoded, Failed, Input, Row, one_by_one
from .json_document import array_pieces, decode_json
from .json_head import json_paths
from .names import name_reader
from .piecewise import Piecewise
from .profile_builder import ProfileBuilder
from .profile_columns import IntArray, ProfileHeader, ValueType

_NS_PER_US = 1000
_TELLING = ("gc_samples", "missed_samples")


class _Frame(msgspec.Struct):
    """A function; `lines` has, by line, how many samples it was seen in and in how many it was the leaf."""

    name: str = ""
    file: str | None = None
    line: int | None = None
    samples: int = 0
    lines: dict[str, int | list[int]] | None = None


class _Document(msgspec.Struct):
    mode: str
    frames: dict[str, _Frame]
    interval: int | float = 1
    raw: msgspec.Raw = msgspec.Raw()
    raw_lines: msgspec.Raw = msgspec.Raw()
    raw_timestamp_deltas: msgspec.Raw = msgspec.Raw()
    missed_samples: int = 0


class Stackprof:
    """`{"version": 1.2, "mode": "wall", …, "frames": {…}, "raw": […]}`."""

    name = "stackprof"

    def matches(self, head: bytes, filename: str) -> bool:
        """Whether it is JSON with a mode and stackprof's counters."""
        paths = json_paths(head)
        return "mode" in paths and any(name in paths for name in _TELLING)

    def decode(self, inputs: Sequence[Input]) -> Iterator[Decoded | Failed]:
        """Each input is one profile."""
        return one_by_one(inputs, _read)


@dataclass(frozen=True)
class _Mode:
    """What is sampled: the `__name__`, the types, and what one sample is worth of the second."""

    name: str
    types: tuple[ValueType, ...]
    worth: int = 0

    def values(self, count: int) -> tuple[int, ...]:
        """The values of some samples."""
        return (count, count * self.worth)[: len(self.types)]


def _mode(document: _Document) -> _Mode:
    """Times are in microseconds between samples; of objects, every so many is sampled. Raises `CorruptProfile`."""
    interval = document.interval
    if not (0 <= interval < 2**53 and interval == int(interval)):
        raise CorruptProfile(f"interval is {interval}: expected a whole number")
    samples = ("samples", "count")
    if document.mode in ("cpu", "wall"):
        name = "process_cpu" if document.mode == "cpu" else "wall"
        return _Mode(name, (samples, (document.mode, "nanoseconds")), int(interval) * _NS_PER_US)
    if document.mode == "object":
        return _Mode("memory", (samples, ("alloc_objects", "count")), int(interval))
    return _Mode(document.mode or "process_cpu", (samples,))


def _read(number: int, one: Input) -> Iterator[Decoded]:
    """The pieces of the profile. Raises `CorruptProfile`."""
    document = decode_json(one.raw, _Document)
    mode = _mode(document)
    last = mode.types[-1]
    header = ProfileHeader(
        mode.types,
        period_type=last if mode.worth else ("", ""),
        period=mode.worth,
        duration_ns=_duration_ns(document.raw_timestamp_deltas),
        default_sample_type=last[0],
    )
    builder = ProfileBuilder(header, name_reader(one))
    profile = Piecewise(builder, Row(number, mode.name))
    frames = _Frames(document.frames, builder)
    warnings = []
    if _is_there(document.raw):
        for stack, count in _stacks(document.raw, document.raw_lines):
            profile.add(frames.stack(stack), mode.values(count))
            if profile.full:
                yield profile.cut()
                frames.forget_stacks()
    else:
        warnings.append("stacks were not recorded (raw: true): only what functions took themselves is there")
        for location, count in frames.own_samples():
            profile.add((location,), mode.values(count))
    if document.missed_samples > 0:
        warnings.append(f"{document.missed_samples} samples were missed while recording")
    yield profile.cut(warnings)


def _is_there(raw: msgspec.Raw) -> bool:
    return memoryview(raw)[:4].tobytes() not in (b"", b"null")


def _numbers(raw: msgspec.Raw, where: str) -> IntArray:
    """A list of integers. Raises `CorruptProfile`."""
    try:
        pieces = [np.array(decode_json(piece, list[int], where), np.int64) for piece in array_pieces(raw)]
    except OverflowError:
        raise CorruptProfile(f"{where}: a number does not fit 64 bits") from None
    return np.concatenate(pieces)


def _duration_ns(deltas: msgspec.Raw) -> int:
    """The time that the samples span; 0 when it is not known."""
    if not _is_there(deltas):
        return 0
    duration_us = float(_numbers(deltas, "raw_timestamp_deltas").astype(np.float64).sum())
    return int(duration_us) * _NS_PER_US if 0 <= duration_us < 2**53 / _NS_PER_US else 0


def _stacks(raw: msgspec.Raw, raw_lines: msgspec.Raw) -> Iterator[tuple[tuple[bytes, bytes], int]]:
    """Stacks as the bytes of their frames' ids and lines, and how often each was seen. Raises `CorruptProfile`."""
    ids = _numbers(raw, "raw")
    lines = _numbers(raw_lines, "raw_lines") if _is_there(raw_lines) else np.zeros(0, np.int64)
    if len(lines) not in (0, len(ids)):
        raise CorruptProfile(f"raw_lines has {len(lines)} entries, raw {len(ids)}")
    at = 0
    while at < len(ids):
        depth = int(ids[at])
        last = at + 1 + depth
        if depth < 0 or last >= len(ids):
            raise CorruptProfile(
                f"raw[{at}] is a stack of {depth} frames: {len(ids) - at - 1} numbers are left"
            )
        yield (ids[at + 1 : last].tobytes(), lines[at + 1 : last].tobytes()), int(ids[last])
        at = last + 1


class _Frames:
    """Locations by a frame's id and line."""

    def __init__(self, frames: Mapping[str, _Frame], builder: ProfileBuilder) -> None:
        self._frames = frames
        self._builder = builder
        self._known: dict[tuple[int, int], int] = {}
        self._stacks: dict[tuple[bytes, bytes], tuple[int, ...]] = {}

    def stack(self, stack: tuple[bytes, bytes]) -> tuple[int, ...]:
        """The locations of a stack, leaf first. Raises `CorruptProfile` for a frame that is not in `frames`."""
        known = self._stacks.get(stack)
        if known is None:
            ids = np.frombuffer(stack[0], np.int64)[::-1].tolist()
            lines = np.frombuffer(stack[1], np.int64)[::-1].tolist() or [0] * len(ids)
            known = tuple(self._location(id_, line) for id_, line in zip(ids, lines, strict=True))
            self._stacks[stack] = known
        return known

    def forget_stacks(self) -> None:
        """Those of a piece that is done: others may come."""
        self._stacks.clear()

    def own_samples(self) -> Iterator[tuple[int, int]]:
        """By function and line, the samples in which it was the leaf."""
        for frame in self._frames.values():
            rest = frame.samples
            for line, counts in (frame.lines or {}).items():
                own = counts[1] if isinstance(counts, list) and len(counts) > 1 else 0
                if own and line.isascii() and line.isdigit() and len(line) < 10:
                    rest -= own
                    yield self._place(frame, int(line)), own
            if rest:
                yield self._place(frame, 0), rest

    def _location(self, id_: int, line: int) -> int:
        known = self._known.get((id_, line))
        if known is None:
            frame = self._frames.get(str(id_))
            if frame is None:
                raise CorruptProfile(f"raw has frame {id_}, which is not in frames")
            known = self._known[id_, line] = self._place(frame, line)
        return known

    def _place(self, frame: _Frame, line: int) -> int:
        function = self._builder.function(frame.name, frame.file or "", max(frame.line or 0, 0))
        return self._builder.location(((function, max(line, 0), 0),))
