"""The call chains of `perf script` as stacks of locations; equal texts and equal locations are read once."""

from __future__ import annotations

import re

from ...schema.errors import LimitExceeded
from .perf_text import Frame, read_frame, with_source
from .runtime_names import placed

MAX_PLACES = 1_000_000
"""Distinct functions, and addresses without a name, in one text: what is held of them is many times their line."""

_MEMO_BYTES = 64 << 20
_MEMO_LINES = 500_000
"""So much text and so many lines are remembered; then they are forgotten, and what comes again is read again."""

_NAMED = re.compile(rb"\s*[0-9a-f]{1,16} ([^\s\[+(][^\s+(]*)\+0x[0-9a-f]+ \(([/\[][^()]*)\)")
"""The most usual line of a frame. Those that differ in their addresses alone are one place."""

Line = tuple[str, str, int, int]
"""Function, file, first line of the function, line."""

Stack = tuple[int, ...]
"""The places of a call chain, leaf first."""

Place = tuple[tuple[Line, ...], str, int]
"""A location: its lines innermost first, the file that is mapped, the address."""


class NoFrameError(Exception):
    """Line number `place` of a call chain is no frame."""

    def __init__(self, place: int) -> None:
        super().__init__(place)
        self.place = place


class Stacks:
    """Stacks by number, and the places that they are made of by number."""

    def __init__(self) -> None:
        self.places: list[Place] = []
        self.stacks: list[Stack] = []
        self.frames = 0
        """Of all stacks that are held."""
        self._place_numbers: dict[Place, int] = {}
        self._stack_numbers: dict[Stack, int] = {}
        self._lines: dict[bytes, int] = {}
        self._named: dict[tuple[bytes, ...], int] = {}
        self._texts: dict[bytes, int] = {}
        self._text_bytes = 0

    def read(self, frames: bytes) -> int:
        """The stack of some lines, leaf first. Raises `NoFrameError`, `LimitExceeded`."""
        found = self._texts.get(frames)
        if found is None:
            stack = self._stack(frames.split(b"\n")) if frames else ()
            found = self._stack_numbers.setdefault(stack, len(self.stacks))
            if found == len(self.stacks):
                self.stacks.append(stack)
                self.frames += len(stack)
            if len(stack) > 1:
                self._remember(frames, found)
        return found

    def forget_stacks(self) -> None:
        """Forget all stacks, whose numbers begin anew; places keep theirs."""
        self.stacks.clear()
        self.frames = 0
        self._stack_numbers.clear()
        self._texts.clear()
        self._text_bytes = 0

    def _remember(self, frames: bytes, stack: int) -> None:
        self._text_bytes += len(frames)
        if self._text_bytes > _MEMO_BYTES:
            self._texts.clear()
            self._text_bytes = len(frames)
        self._texts[frames] = stack

    def _stack(self, lines: list[bytes]) -> Stack:
        stack = self._plain(lines)
        return self._places_of(_frames(lines)) if stack is None else stack

    def _plain(self, lines: list[bytes]) -> Stack | None:
        """A stack of which each line is a place of its own; None where some line says more of the one above."""
        known = self._lines
        found = []
        for line in lines:
            number = known.get(line)
            if number is None:
                number = self._plain_line(line)
                if number < 0:
                    return None
                if len(known) >= _MEMO_LINES:
                    known.clear()
                known[line] = number
            found.append(number)
        return tuple(found)

    def _plain_line(self, line: bytes) -> int:
        """The place of a line that is a frame, and not inlined; -1 for others."""
        named = _NAMED.fullmatch(line)
        if named:
            said = named.groups()
            number = self._named.get(said)
            if number is not None:
                return number
        frame = read_frame(line)
        if frame is None or frame.inlined:
            return -1
        number = self._place(_place_of(frame, _lines_of(frame)))
        if named:
            self._named[named.groups()] = number
        return number

    def _places_of(self, frames: list[Frame]) -> Stack:
        """Inlined calls and the one that they were inlined into, which has the same address, are one place."""
        found: list[int] = []
        inlined: tuple[Line, ...] = ()
        for frame, following in zip(frames, [*frames[1:], None], strict=True):
            inlined = (*inlined, *_lines_of(frame))
            if not (frame.inlined and following is not None and following.address == frame.address):
                found.append(self._place(_place_of(frame, inlined)))
                inlined = ()
        return tuple(found)

    def _place(self, place: Place) -> int:
        found = self._place_numbers.setdefault(place, len(self.places))
        if found == len(self.places):
            if found >= MAX_PLACES:
                raise LimitExceeded(f"more than {MAX_PLACES} places of code")
            self.places.append(place)
        return found


def _frames(lines: list[bytes]) -> list[Frame]:
    """Lines as frames. Raises `NoFrameError` for the first that is none."""
    found: list[Frame] = []
    for number, line in enumerate(lines):
        frame = read_frame(line)
        if frame is not None:
            found.append(frame)
        elif found and not line.startswith(b"\t"):
            found[-1] = with_source(found[-1], line)
        else:
            raise NoFrameError(number)
    return found


def _place_of(frame: Frame, lines: tuple[Line, ...]) -> Place:
    # An address tells places apart only where there is no name.
    return lines, _text(frame.file), 0 if lines else frame.address


def _lines_of(frame: Frame) -> tuple[Line, ...]:
    if not frame.symbol:
        return ()
    name, source = _text(frame.symbol), _text(frame.source)
    said = None if source else placed(name)
    return ((name, said.filename, said.line, 0) if said else (name, source, 0, frame.line),)


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")
