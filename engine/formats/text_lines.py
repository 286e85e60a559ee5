"""Text as lines, one after the other and in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator

from ...schema.errors import LimitExceeded

PIECE_BYTES = 8 << 20


def read_lines(raw: bytes, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
    """The lines of `raw[start:stop]` without their ends, which are those of Unix or of Windows.

    Raises `LimitExceeded` for a line longer than `PIECE_BYTES`.
    """
    end = len(raw) if stop is None else stop
    while start < end:
        piece_end = end
        if end - start > PIECE_BYTES:
            piece_end = raw.rfind(b"\n", start, start + PIECE_BYTES) + 1
            if not piece_end:
                raise LimitExceeded(f"line {line_number(raw, start)} is longer than {PIECE_BYTES} bytes")
        piece = raw[start:piece_end]
        start = piece_end
        if b"\r" in piece:
            piece = piece.replace(b"\r\n", b"\n")
        yield from piece.removesuffix(b"\n").split(b"\n")


def line_number(raw: bytes, at: int) -> int:
    """The number of the line that holds a byte, counted from 1."""
    return raw.count(b"\n", 0, at) + 1


def text_of(raw: bytes) -> str:
    """Bytes as text; those that are no UTF-8 stay what they are through `ProfileBuilder.text`."""
    return raw.decode("utf-8", "surrogateescape")
