"""JSON documents read by type, long arrays a piece at a time: the door to msgspec.

A reader declares the fields it uses as `msgspec.Struct`; all else is passed over without becoming objects. A field
declared as `msgspec.Raw` stays bytes until `array_pieces` cuts it into arrays of bounded size.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from ...schema.errors import CorruptProfile

PIECE_BYTES = 8 << 20

T = TypeVar("T")
BoolArray = npt.NDArray[np.bool_]


def decode_json(raw: bytes | memoryview, kind: type[T], where: str = "") -> T:
    """A document, or a part of one found at `where`, as a type. Raises `CorruptProfile` naming the place."""
    try:
        return msgspec.json.decode(raw, type=kind)
    except msgspec.MsgspecError as error:
        raise CorruptProfile(f"JSON: {where}{': ' if where else ''}{error}") from None
    except UnicodeDecodeError:
        raise CorruptProfile("JSON: a text is not valid UTF-8") from None
    except RecursionError:
        raise CorruptProfile("JSON: nested too deep") from None


def array_pieces(array: msgspec.Raw | bytes, piece_bytes: int = PIECE_BYTES) -> Iterator[bytes]:
    """A JSON array as arrays of consecutive items, each of about `piece_bytes` unless one item is longer.

    At least one, all of them together with the same items. What is no array comes as it is.
    """
    # A view: a long document is not held twice.
    raw = memoryview(array)
    start = 1
    if len(raw) > piece_bytes and bytes(raw[:1]) == b"[":
        for comma in _cuts(raw, piece_bytes):
            yield b"[" + raw[start:comma] + b"]"
            start = comma + 1
        yield b"[" + raw[start:]
    else:
        yield bytes(raw)


def _cuts(raw: memoryview, piece_bytes: int) -> Iterator[int]:
    """Commas between items, one for every `piece_bytes` or a little more."""
    depth, in_string, escaped = 0, False, False
    for start in range(0, len(raw), piece_bytes):
        piece = np.frombuffer(raw, np.uint8, min(piece_bytes, len(raw) - start), start)
        quote = piece == ord('"')
        escapes = _escaped(piece == ord("\\"), escaped)
        escaped = bool(escapes[-1])
        quote &= ~escapes[:-1]
        inside = (np.cumsum(quote) + in_string) % 2 == 1
        in_string = bool(inside[-1])
        opening = ((piece == ord("[")) | (piece == ord("{"))) & ~inside
        closing = ((piece == ord("]")) | (piece == ord("}"))) & ~inside
        level = np.cumsum(opening.astype(np.int32) - closing) + depth
        depth = int(level[-1])
        commas = np.flatnonzero((piece == ord(",")) & (level == 1) & ~inside)
        if len(commas):
            yield start + int(commas[-1])


def _escaped(
    backslash: np.ndarray[tuple[int], np.dtype[np.bool_]], first: bool
) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Which bytes follow a backslash that is not escaped itself; one more entry, for the byte after the last."""
    marks = np.zeros(len(backslash) + 1, np.bool_)
    marks[0] = first
    escaping = False
    last = -2
    for at in np.flatnonzero(backslash).tolist():
        escaping = not (escaping if at == last + 1 else marks[at])
        marks[at + 1] = escaping
        last = at
    return marks
