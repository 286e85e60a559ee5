"""The events of a MOJO stream, one after the other, as sums for each thread and stack.

A sample begins with the event of a stack; the events up to the next one tell its frames and metrics. Events that
are always alike are read by one pattern each, so that no byte is looked at by Python alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from ...schema.errors import CorruptProfile, LimitExceeded

MAGIC = b"MOJ"
NEWEST_VERSION = 5
PIECE_SAMPLES = 250_000
PIECE_FRAMES = 4_000_000
MAX_SYMBOLS = 2_000_000
MAX_DEPTH = 100_000
MAX_REPEATED_FRAMES = 32_000_000
"""A sample can repeat the stack of the sample before it: bytes that cost nothing, and frames that do."""

FrameText = tuple[str, str, int, int]
"""Name, file, line, column."""

_METADATA, _STACK, _FRAME, _INVALID, _REFERENCE, _KERNEL, _GC, _IDLE, _TIME, _MEMORY = range(1, 11)
_STRING, _STRING_REFERENCE, _REPEAT, _TASK, _WAITER, _RUNNING = range(11, 17)

_V = rb"([\x80-\xff]{0,9}[\x00-\x7f])"
_S = rb"([^\x00]*)\x00"
_ONE_REFERENCE = rb"\x05[\x80-\xff]{0,9}[\x00-\x7f]|\x04|\x06[^\x00]*\x00"
_UNKNOWN_STRING = 1
_TAIL_BYTES = 200
_LAST_METADATA = re.compile(rb"\x01(duration)\x00([0-9]{1,15})\x00")


@dataclass
class Samples:
    """Sums of some samples: for (thread, stack) how many, how many busy, their time and busy time in microseconds,
    bytes allocated and freed. `stacks` holds the frames of each stack, root first, by number.
    """

    sums: dict[tuple[int, int], list[int]] = field(default_factory=dict)
    stacks: list[tuple[int, ...]] = field(default_factory=list)
    frames: int = 0


def _patterns(version: int) -> dict[int, re.Pattern[bytes]]:
    thread = _V + (_V if version >= 3 else b"") + _S
    frame = _V * 4 + (_V * 3 if version >= 2 else b"")
    fields = {
        _METADATA: _S + _S,
        _STACK: thread,
        _FRAME: frame,
        _GC: b"",
        _IDLE: b"",
        _TIME: _V,
        _MEMORY: _V,
        _STRING: _V + _S,
        _STRING_REFERENCE: _V,
        _REPEAT: b"",
        _TASK: _V * 3,
        _WAITER: _V * 2,
        _RUNNING: _V,
    }
    found = {kind: re.compile(re.escape(bytes([kind])) + rest) for kind, rest in fields.items()}
    run = re.compile(rb"(?:" + _ONE_REFERENCE + rb"){1,4096}+")
    return found | {_REFERENCE: run, _INVALID: run, _KERNEL: run}


_SINGLE = re.compile(_ONE_REFERENCE)
_NUMBER = re.compile(_V)


def number_of(varint: bytes) -> int:
    """A varint's number."""
    first = varint[0]
    number, shift = first & 0x3F, 6
    for byte in varint[1:]:
        number |= (byte & 0x7F) << shift
        shift += 7
    return -number if first & 0x40 else number


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _said(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


class Stream:
    """One recording. `said` is its metadata, `frames` and `threads` (pid, interpreter, tid) are by number."""

    def __init__(self, raw: bytes) -> None:
        # The duration comes last, and is wanted with the first piece.
        self.said = {_said(key): _said(value) for key, value in _LAST_METADATA.findall(raw[-_TAIL_BYTES:])}
        self.frames: list[FrameText] = []
        self.threads: list[tuple[int, int, int]] = []
        self._raw = raw
        self._strings: dict[tuple[int, int], str] = {}
        self._frame_of_key: dict[tuple[int, int], int] = {}
        self._frame_number: dict[FrameText, int] = {}
        self._thread_number: dict[bytes, int] = {}
        self._stack_number: dict[tuple[int, ...], int] = {}
        self._known_runs: dict[tuple[int, bytes], tuple[int, ...]] = {}
        self._last_stack: dict[int, tuple[int, ...]] = {}
        self._repeated_frames = 0
        self._piece = Samples()
        self._pid = 0
        self._begin(-1)

    def pieces(self) -> Iterator[Samples]:
        """The samples, at least one piece. Raises `CorruptProfile` naming the byte, `LimitExceeded`."""
        version = _NUMBER.match(self._raw, len(MAGIC))
        if version is None or not 1 <= number_of(version[1]) <= NEWEST_VERSION:
            shown = number_of(version[1]) if version else "missing"
            raise CorruptProfile(f"MOJO version {shown}: expected 1 to {NEWEST_VERSION}")
        patterns = _patterns(number_of(version[1]))
        events = {
            _METADATA: self._metadata,
            _STACK: self._stack,
            _FRAME: self._frame,
            _REFERENCE: self._references,
            _INVALID: self._references,
            _KERNEL: self._references,
            _GC: self._collecting,
            _IDLE: self._idle,
            _TIME: self._time_metric,
            _MEMORY: self._memory_metric,
            _STRING: self._string,
            _REPEAT: self._repeat,
            _TASK: self._task,
        }
        raw, at = self._raw, version.end()
        while at < len(raw):
            pattern = patterns.get(raw[at])
            if pattern is None:
                raise CorruptProfile(f"byte {at}: unknown event {raw[at]}")
            found = pattern.match(raw, at)
            if found is None:
                raise CorruptProfile(f"byte {at}: the recording ends within event {raw[at]}")
            read = events.get(raw[at])
            if read is not None:
                read(found)
            at = found.end()
            if len(self._piece.sums) >= PIECE_SAMPLES or self._piece.frames >= PIECE_FRAMES:
                yield self._next_piece()
        self._finish()
        yield self._next_piece()

    def _next_piece(self) -> Samples:
        piece, self._piece = self._piece, Samples()
        self._stack_number.clear()
        self._known_runs.clear()
        return piece

    def _begin(self, thread: int) -> None:
        self._thread = thread
        self._runs: list[bytes] = []
        self._time_us = self._memory_bytes = self._task_frames = 0
        self._is_idle = self._is_collecting = self._repeats = False

    def _metadata(self, event: re.Match[bytes]) -> None:
        if len(self.said) < 1000:
            self.said[_said(event[1])] = _said(event[2])

    def _stack(self, event: re.Match[bytes]) -> None:
        self._finish()
        known = self._thread_number.get(event[0])
        if known is None:
            numbers = [number_of(one) for one in event.groups()[:-1]]
            try:
                tid = int(event[event.re.groups], 16)
            except ValueError:
                raise CorruptProfile(
                    f"byte {event.start()}: thread id {event[event.re.groups][:20]!r}"
                ) from None
            if tid >= 2**63 or max(map(abs, numbers)) >= 2**63:
                raise CorruptProfile(f"byte {event.start()}: a thread id does not fit 64 bits")
            known = self._thread_number[event[0]] = len(self.threads)
            self.threads.append((numbers[0], numbers[1] if len(numbers) > 1 else 0, tid))
            self._check_symbols(event.start())
        self._begin(known)
        self._pid = self.threads[known][0]

    def _string(self, event: re.Match[bytes]) -> None:
        self._strings[self._pid, number_of(event[1])] = _text(event[2])
        self._check_symbols(event.start())

    def _frame(self, event: re.Match[bytes]) -> None:
        key, file_key, name_key, line, *more = map(number_of, event.groups())
        texts = (self._text_of(name_key, event.start()), self._text_of(file_key, event.start()))
        frame = (*texts, max(line, 0), max(more[1], 0) if more else 0)
        number = self._frame_number.setdefault(frame, len(self.frames))
        if number == len(self.frames):
            self.frames.append(frame)
        before = self._frame_of_key.get((self._pid, key), number)
        self._frame_of_key[self._pid, key] = number
        if before != number:
            self._known_runs.clear()
        self._check_symbols(event.start())

    def _text_of(self, key: int, at: int) -> str:
        if key == _UNKNOWN_STRING:
            return "<unknown>"
        found = self._strings.get((self._pid, key), "" if key == 0 else None)
        if found is None:
            raise CorruptProfile(f"byte {at}: no string has the key {key}")
        return found

    def _check_symbols(self, at: int) -> None:
        count = len(self._strings) + len(self._frame_of_key) + len(self.threads)
        if count > MAX_SYMBOLS:
            raise LimitExceeded(f"byte {at}: more than {MAX_SYMBOLS} strings, frames and threads")

    def _references(self, event: re.Match[bytes]) -> None:
        run = event[0]
        if self._task_frames:
            run = self._without_task(run)
        if run:
            self._runs.append(run)

    def _without_task(self, run: bytes) -> bytes:
        """Without the frames of a suspended task, which is no sample of the thread."""
        for one in _SINGLE.finditer(run):
            if not self._task_frames:
                return run[one.start() :]
            self._task_frames -= 1
        return b""

    def _task(self, event: re.Match[bytes]) -> None:
        self._task_frames = max(number_of(event[3]), 0)

    def _collecting(self, event: re.Match[bytes]) -> None:
        self._is_collecting = True

    def _idle(self, event: re.Match[bytes]) -> None:
        self._is_idle = True

    def _repeat(self, event: re.Match[bytes]) -> None:
        self._repeats = True

    def _time_metric(self, event: re.Match[bytes]) -> None:
        self._time_us = number_of(event[1])

    def _memory_metric(self, event: re.Match[bytes]) -> None:
        self._memory_bytes = number_of(event[1])

    def _finish(self) -> None:
        """The sample that went before is complete."""
        if self._thread < 0:
            return
        frames = self._frames_of(b"".join(self._runs))
        if self._repeats:
            frames = self._with_repeated(frames)
        self._last_stack[self._thread] = frames
        if self._is_collecting:
            frames = (*frames, self._special(":GC:"))
        stack = self._stack_number.get(frames)
        if stack is None:
            stack = self._stack_number[frames] = len(self._piece.stacks)
            self._piece.stacks.append(frames)
            self._piece.frames += len(frames)
        sums = self._piece.sums.get((self._thread, stack))
        if sums is None:
            sums = self._piece.sums[self._thread, stack] = [0] * 6
        busy = not self._is_idle
        sums[0] += 1
        sums[1] += busy
        sums[2] += self._time_us
        sums[3] += self._time_us * busy
        sums[4 if self._memory_bytes > 0 else 5] += abs(self._memory_bytes)

    def _frames_of(self, run: bytes) -> tuple[int, ...]:
        known = self._known_runs.get((self._pid, run))
        if known is not None:
            return known
        frames: list[int] = []
        for one in _SINGLE.finditer(run):
            event = one[0]
            if event[0] == _REFERENCE:
                key = number_of(event[1:])
                found = self._frame_of_key.get((self._pid, key))
                if found is None:
                    raise CorruptProfile(f"no frame of process {self._pid} has the key {key}")
            else:
                found = self._special(_text(event[1:-1]) if event[0] == _KERNEL else ":INVALID:")
            frames.append(found)
            if len(frames) > MAX_DEPTH:
                raise LimitExceeded(f"a stack has more than {MAX_DEPTH} frames")
        stack = self._known_runs[self._pid, run] = tuple(frames)
        return stack

    def _special(self, name: str) -> int:
        frame = (name, "", 0, 0)
        number = self._frame_number.setdefault(frame, len(self.frames))
        if number == len(self.frames):
            self.frames.append(frame)
        return number

    def _with_repeated(self, frames: tuple[int, ...]) -> tuple[int, ...]:
        """On top of the stack of the sample before, without the native frames that this one had on top."""
        before = self._last_stack.get(self._thread, ())
        kept = len(before)
        while kept and not _is_python(self.frames[before[kept - 1]][1]):
            kept -= 1
        self._repeated_frames += kept
        if self._repeated_frames > MAX_REPEATED_FRAMES or kept + len(frames) > MAX_DEPTH:
            raise LimitExceeded(
                f"repeated stacks: more than {MAX_REPEATED_FRAMES} frames, or one of {MAX_DEPTH}"
            )
        return before[:kept] + frames


def _is_python(filename: str) -> bool:
    return filename.endswith(".py") or (filename.startswith("<") and filename.endswith(">"))
