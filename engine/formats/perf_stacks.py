"""The call chains of `perf script` as stacks of locations; equal texts and equal locations are read once."""

from __future__ import annotations

from .perf_text import Frame, read_frame, with_source
from .runtime_names import placed

_MEMO_BYTES = 64 << 20
_MEMO_LINES = 500_000
"""So much text and so many lines are remembered; then they are forgotten, and what comes again is read again."""

Line = tuple[str, str, int, int]
"""Function, file, first line of the function, line."""

Place = tuple[tuple[Line, ...], str, int]
"""A location: its lines innermost first, the file that is mapped, the address."""


class Stacks:
    """Stacks by number, and the places that they are made of by number."""

    def __init__(self) -> None:
        self.places: list[Place] = []
        self.stacks: list[tuple[int, ...]] = []
        self._place_numbers: dict[Place, int] = {}
        self._stack_numbers: dict[tuple[int, ...], int] = {}
        self._lines: dict[bytes, Frame] = {}
        self._texts: dict[bytes, int] = {}
        self._text_bytes = 0

    def read(self, frames: bytes) -> int:
        """The stack of some lines, leaf first. Raises `ValueError` with the place of the first that is no frame."""
        found = self._texts.get(frames)
        if found is None:
            stack = self._stack(self._frames(frames)) if frames else ()
            found = self._stack_numbers.setdefault(stack, len(self.stacks))
            if found == len(self.stacks):
                self.stacks.append(stack)
            self._text_bytes += len(frames)
            if self._text_bytes > _MEMO_BYTES:
                self._texts.clear()
                self._text_bytes = len(frames)
            self._texts[frames] = found
        return found

    def _frames(self, text: bytes) -> list[Frame]:
        found: list[Frame] = []
        for number, line in enumerate(text.split(b"\n")):
            frame = self._lines.get(line) or read_frame(line)
            if frame is not None:
                if len(self._lines) >= _MEMO_LINES:
                    self._lines.clear()
                self._lines[line] = frame
                found.append(frame)
            elif found and not line.startswith(b"\t"):
                found[-1] = with_source(found[-1], line)
            else:
                raise ValueError(number)
        return found

    def _stack(self, frames: list[Frame]) -> tuple[int, ...]:
        """Inlined calls and the one that they were inlined into, which has the same address, are one place."""
        found: list[int] = []
        inlined: tuple[Line, ...] = ()
        for frame, following in zip(frames, [*frames[1:], None], strict=True):
            lines = (*inlined, *_lines_of(frame))
            more = frame.inlined and following is not None and following.address == frame.address
            inlined = lines if more else ()
            if not more:
                # An address tells places apart only where there is no name.
                found.append(self._place((lines, _text(frame.file), 0 if lines else frame.address)))
        return tuple(found)

    def _place(self, place: Place) -> int:
        found = self._place_numbers.setdefault(place, len(self.places))
        if found == len(self.places):
            self.places.append(place)
        return found


def _lines_of(frame: Frame) -> tuple[Line, ...]:
    if not frame.symbol:
        return ()
    name, source = _text(frame.symbol), _text(frame.source)
    said = None if source else placed(name)
    return ((name, said.filename, said.line, 0) if said else (name, source, 0, frame.line),)


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")
