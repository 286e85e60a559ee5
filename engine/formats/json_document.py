"""JSON documents read by type, long arrays a piece at a time: the door to msgspec.

A reader declares the fields it uses as `msgspec.Struct`; all else is passed over without becoming objects. A field
declared as `msgspec.Raw` stays bytes until `array_pieces` cuts it into arrays of bounded size.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from ...schema.errors import CorruptProfile

PIECE_BYTES = 8 << 20

T = TypeVar("T")

ABSENT = msgspec.Raw(b"")
"""The default of a field that is left as bytes."""

Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
"""An integer of a document that fits 64 bits; others are refused by place."""
BoolArray = npt.NDArray[np.bool_]
ByteArray = npt.NDArray[np.uint8]


def decode_json(raw: bytes | memoryview, kind: type[T], where: str = "", *, strict: bool = True) -> T:
    """A document, or a part of one found at `where`, as a type. Raises `CorruptProfile` naming the place.

    Unless `strict`, numbers may be written as texts.
    """
    try:
        return msgspec.json.decode(raw, type=kind, strict=strict)
    except msgspec.MsgspecError as error:
        raise CorruptProfile(f"JSON: {where}{': ' if where else ''}{error}") from None
    except UnicodeDecodeError:
        raise CorruptProfile("JSON: a text is not valid UTF-8") from None
    except RecursionError:
        raise CorruptProfile("JSON: nested too deep") from None


def is_given(part: msgspec.Raw) -> bool:
    """Whether a field that was left as bytes is there, and not null."""
    return bytes(memoryview(part)[:4]) not in (b"", b"null")


def array_pieces(array: msgspec.Raw | bytes, piece_bytes: int = PIECE_BYTES) -> Iterator[bytes]:
    """A JSON array as arrays of consecutive items, each of about `piece_bytes` unless one item is longer.

    At least one, all of them together with the same items. What is no array comes as it is.
    """
    raw = memoryview(array)
    start = 1
    if len(raw) > piece_bytes and raw[0] == ord("["):
        for comma in _cuts(raw, piece_bytes):
            yield b"".join((b"[", raw[start:comma], b"]"))
            start = comma + 1
        yield b"".join((b"[", raw[start:]))
    else:
        yield bytes(raw)


def _cuts(raw: memoryview, piece_bytes: int) -> Iterator[int]:
    """Commas between items, one for every `piece_bytes` or a little more."""
    depth, in_string, escaped = 0, False, False
    for start in range(0, len(raw), piece_bytes):
        piece = np.frombuffer(raw, np.uint8, min(piece_bytes, len(raw) - start), start)
        inside, in_string, escaped = _in_strings(piece, in_string, escaped)
        # Bit 5 is all that tells "[" from "{" and "]" from "}".
        folded = piece | 0x20
        opening = (folded == ord("{")) & ~inside
        closing = (folded == ord("}")) & ~inside
        brackets = np.flatnonzero(opening | closing)
        levels = np.append(depth, depth + np.cumsum(np.where(opening[brackets], 1, -1)))
        depth = int(levels[-1])
        bounds = np.concatenate([[0], brackets, [len(piece)]])
        # Between two brackets the level stays the same: the last stretch among the items has the comma.
        for stretch in np.flatnonzero(levels == 1)[::-1].tolist():
            part = slice(int(bounds[stretch]), int(bounds[stretch + 1]))
            commas = np.flatnonzero((piece[part] == ord(",")) & ~inside[part])
            if len(commas):
                yield start + part.start + int(commas[-1])
                break


def _in_strings(piece: ByteArray, in_string: bool, escaped: bool) -> tuple[BoolArray, bool, bool]:
    """Which bytes are inside strings, whether the next byte is, and whether it is escaped."""
    quote = piece == ord('"')
    backslash = piece == ord("\\")
    if escaped or backslash.any():
        escapes = _escaped(backslash, escaped)
        quote &= ~escapes[:-1]
        escaped = bool(escapes[-1])
    inside: BoolArray = np.logical_xor.accumulate(quote) ^ in_string
    return inside, bool(inside[-1]), escaped


def _escaped(backslash: BoolArray, first: bool) -> BoolArray:
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
