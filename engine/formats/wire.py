"""Protobuf's wire format, as far as telling fields apart.

Source: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from ...schema.errors import CorruptProfile

VARINT, I64, LEN, START_GROUP, END_GROUP, I32 = range(6)
_FIXED_BYTES = {I64: 8, I32: 4}


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """The varint at `at`, and the position after it. Raises `CorruptProfile`."""
    value = shift = 0
    while at < len(data) and shift < 64:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise CorruptProfile(f"broken varint at byte {at}")


def skip_field(data: bytes, at: int) -> int:
    """Where the field at `at` ends, which may be past the end of the data.

    Raises `CorruptProfile` for a group and for a wire type that there is not.
    """
    tag, start = read_varint(data, at)
    if tag & 7 == LEN:
        length, start = read_varint(data, start)
        return start + length
    if tag & 7 == VARINT:
        return read_varint(data, start)[1]
    if tag & 7 in _FIXED_BYTES:
        return start + _FIXED_BYTES[tag & 7]
    raise CorruptProfile(f"wire type {tag & 7} at byte {at}")


def leading_fields(head: bytes, most: int) -> list[tuple[int, int]]:
    """Number and wire type of the first fields of a message of which `head` is the beginning; at most `most`.

    A field that runs past the end of `head` is the last; bytes that are no field count as field 0.
    """
    fields: list[tuple[int, int]] = []
    at = 0
    try:
        while at < len(head) and len(fields) < most:
            tag, _ = read_varint(head, at)
            at = skip_field(head, at)
            fields.append((tag >> 3, tag & 7))
    except CorruptProfile:
        if at + 20 < len(head):
            fields.append((0, 0))
    return fields


def find_fault(data: bytes) -> str:
    """What is wrong with a message that does not parse, as far as its own fields show."""
    at = 0
    try:
        while at < len(data):
            start = at
            at = skip_field(data, at)
            if at > len(data):
                return f"field {read_varint(data, start)[0] >> 3} at byte {start} runs past the end of the message"
    except CorruptProfile as error:
        return str(error)
    return "a field's content is malformed"
