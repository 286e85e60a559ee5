"""The text of folded stacks as arrays, a piece at a time: all lines of a piece in one pass over its bytes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ...schema.errors import CorruptProfile, LimitExceeded

PIECE_BYTES = 16 << 20

U8Array = npt.NDArray[np.uint8]
IntArray = npt.NDArray[np.int64]

_NEWLINE, _SPACE, _MINUS, _PLUS, _ZERO, _NINE = b"\n -+09"
_MAX_DIGITS = 19
_MAX_COUNT = np.uint64(2**63 - 1)


@dataclass(frozen=True)
class LineRules:
    """What a line is taken for: up to `most_trailing` bytes of `trailing` at its end do not count.

    `comments` are passed over before the first stack; `plus` allows a sign before a count. Nothing is read from a
    line of more than `longest` bytes on (0: such a line is refused).
    """

    comments: bool = True
    trailing: bytes = b" \t\r"
    most_trailing: int = 64
    plus: bool = False
    longest: int = 0


LENIENT = LineRules()
"""For files, which many tools write."""


@dataclass(frozen=True)
class Piece:
    """Some lines of the text: distinct stacks, root first, as bytes, and the sum of their counts.

    `skipped` lines had no count.
    """

    stacks: pa.Array
    counts: IntArray
    skipped: int


@dataclass(frozen=True)
class SplitLines:
    """Some lines of the text, cut at their last space, as bytes; `numbers` are their numbers in the text.

    `skipped` lines had no space.
    """

    stacks: pa.Array
    values: pa.Array
    numbers: IntArray
    skipped: int


def read_pieces(raw: bytes, counted: bool, rules: LineRules = LENIENT) -> Iterator[Piece]:
    """The pieces of a text, at least one. Without `counted`, each line is a stack and counts 1.

    Raises `CorruptProfile` naming the line, `LimitExceeded` for a line without end.
    """
    for lines in _pieces(raw, _skip_comments(raw) if counted and rules.comments else 0, rules):
        yield lines.read(counted)


def split_pieces(raw: bytes) -> Iterator[SplitLines]:
    """The same for texts whose lines end in something else than one count. Raises `LimitExceeded`."""
    for lines in _pieces(raw, _skip_comments(raw), LENIENT):
        yield lines.split()


def _pieces(raw: bytes, at: int, rules: LineRules) -> Iterator[_Lines]:
    end = end_of_lines(raw, rules.longest)
    line_number = 1 + raw.count(b"\n", 0, at)
    while True:
        stop = _end_of_piece(raw, at, end, line_number)
        yield _Lines(raw, (at, stop), line_number, rules)
        if stop >= end:
            return
        line_number += raw.count(b"\n", at, stop)
        at = stop


def _skip_comments(raw: bytes) -> int:
    at = 0
    while raw.startswith(b"#", at) or raw.startswith(b"\n", at):
        at = raw.find(b"\n", at) + 1 or len(raw)
    return at


def end_of_lines(raw: bytes, longest: int) -> int:
    """Where the first line of more than `longest` bytes begins, or where the text ends; 0: lines of any length."""
    at = 0 if longest else len(raw)
    while len(raw) - at > longest:
        newline = raw.rfind(b"\n", at, at + longest + 1)
        if newline < 0:
            return at
        at = newline + 1
    return len(raw)


def _end_of_piece(raw: bytes, at: int, end: int, line_number: int) -> int:
    if end - at <= PIECE_BYTES:
        return end
    newline = raw.rfind(b"\n", at, at + PIECE_BYTES)
    if newline < 0:
        raise LimitExceeded(f"line {line_number} is longer than {PIECE_BYTES} bytes")
    return newline + 1


class _Lines:
    """The lines of a stretch of `raw`: where each begins, and where it ends but for trailing space."""

    def __init__(self, raw: bytes, bounds: tuple[int, int], first_number: int, rules: LineRules) -> None:
        start, stop = bounds
        self._bytes = np.frombuffer(raw, np.uint8, stop - start, start)
        self._first_number = first_number
        self._plus = rules.plus
        trailing_bytes = np.frombuffer(rules.trailing, np.uint8)
        newlines = np.flatnonzero(self._bytes == _NEWLINE)
        self._starts = np.append(0, newlines + 1)
        self._ends = np.append(newlines, len(self._bytes))
        for _ in range(rules.most_trailing):
            last = self._bytes[np.maximum(self._ends - 1, 0)] if len(self._bytes) else np.zeros(1, np.uint8)
            trailing = (self._ends > self._starts) & np.isin(last, trailing_bytes)
            if not trailing.any():
                break
            self._ends[trailing] -= 1

    def read(self, counted: bool) -> Piece:
        """The stacks and their counts."""
        filled = np.flatnonzero(self._ends > self._starts)
        if not counted:
            return _sum(
                self._texts(self._starts[filled], self._ends[filled]), np.ones(len(filled), np.int64), 0
            )
        lines, space = self._last_spaces(filled)
        counts = self._counts(space + 1, lines)
        return _sum(self._texts(self._starts[lines], space), counts, int(len(filled) - len(lines)))

    def split(self) -> SplitLines:
        """The lines cut at their last space."""
        filled = np.flatnonzero(self._ends > self._starts)
        lines, space = self._last_spaces(filled)
        return SplitLines(
            self._texts(self._starts[lines], space),
            self._texts(space + 1, self._ends[lines]),
            lines + self._first_number,
            int(len(filled) - len(lines)),
        )

    def _last_spaces(self, lines: IntArray) -> tuple[IntArray, IntArray]:
        """Those of some lines that hold a space, and where the last one is."""
        spaces = np.flatnonzero(self._bytes == _SPACE)
        before = np.searchsorted(spaces, self._ends[lines]) - 1
        space = np.append(spaces, -1)[before]
        has_space = space >= self._starts[lines]
        return lines[has_space], space[has_space]

    def _texts(self, starts: IntArray, ends: IntArray) -> pa.Array:
        """Some stretches of the bytes, in order, as strings of bytes."""
        if not len(starts):
            return pa.array([], pa.binary())
        # One array of stretches and the gaps between them shares the buffer; every other item is wanted.
        bounds = np.empty(2 * len(starts), np.int32)
        bounds[0::2], bounds[1::2] = starts, ends
        both = pa.Array.from_buffers(
            pa.binary(), len(bounds) - 1, [None, pa.py_buffer(bounds), pa.py_buffer(self._bytes)]
        )
        return both.take(pa.array(np.arange(0, len(bounds), 2)))

    def _counts(self, starts: IntArray, lines: IntArray) -> IntArray:
        """The integers from `starts` to the end of each of `lines`, digit by digit."""
        ends = self._ends[lines]
        first = self._bytes[np.minimum(starts, len(self._bytes) - 1)]
        negative = first == _MINUS
        starts = starts + (negative | (first == _PLUS) if self._plus else negative)
        width = ends - starts
        bad = (width < 1) | (width > _MAX_DIGITS)
        values = np.zeros(len(lines), np.uint64)
        for place in range(min(int(width.max(initial=0)), _MAX_DIGITS)):
            here = np.flatnonzero(width > place)
            digit = self._bytes[starts[here] + place]
            bad[here] |= (digit < _ZERO) | (digit > _NINE)
            values[here] = values[here] * np.uint64(10) + (digit - _ZERO)
        bad |= values > _MAX_COUNT
        if bad.any():
            self._refuse(int(lines[np.flatnonzero(bad)[0]]))
        return np.where(negative, -values.view(np.int64), values.view(np.int64))

    def _refuse(self, line: int) -> None:
        text = self._bytes[self._starts[line] : self._ends[line]].tobytes().rpartition(b" ")[2]
        shown = text[:40].decode("utf-8", "replace")
        raise CorruptProfile(f"line {self._first_number + line}: count {shown!r} is not a 64-bit integer")


def _sum(stacks: pa.Array, counts: IntArray, skipped: int) -> Piece:
    """Equal stacks as one. Raises `CorruptProfile` when counts add up to more than 64 bits hold."""
    if np.abs(counts.astype(np.float64)).sum() >= 2.0**62 and sum(map(abs, counts.tolist())) >= 2**63:
        raise CorruptProfile("the sum of the counts does not fit 64 bits")
    encoded = stacks.dictionary_encode()
    sums = np.zeros(len(encoded.dictionary), np.int64)
    np.add.at(sums, encoded.indices.to_numpy(), counts)
    return Piece(encoded.dictionary, sums, skipped)
