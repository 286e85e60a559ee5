"""Protobuf's wire format, as far as telling fields apart.

Source: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from collections.abc import Iterator

from ...schema.errors import CorruptProfile

VARINT, I64, LEN, START_GROUP, END_GROUP, I32 = range(6)


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """A varint at `at`, and the position after it. Raises `CorruptProfile`."""
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise CorruptProfile(f"pprof: broken varint at byte {at}")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def field_spans(data: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Field number, wire type, and where the field (with its tag) starts and ends, in order.

    Raises `CorruptProfile` where a field runs past the end, or is a group.
    """
    at = 0
    while at < len(data):
        start = at
        tag, at = read_varint(data, at)
        wire_type = tag & 7
        if wire_type == VARINT:
            _, at = read_varint(data, at)
        elif wire_type == LEN:
            length, at = read_varint(data, at)
            at += length
        elif wire_type in (I64, I32):
            at += 8 if wire_type == I64 else 4
        else:
            raise CorruptProfile(f"pprof: wire type {wire_type} at byte {start}")
        if at > len(data):
            raise CorruptProfile(f"pprof: field {tag >> 3} at byte {start} runs past the end")
        yield tag >> 3, wire_type, start, at


def read_fields(head: bytes, most: int) -> Iterator[tuple[int, int]]:
    """Number and wire type of the first fields of a message of which `head` is the beginning.

    A field that `head` cuts off is the last; bytes that are no field yield number 0.
    """
    at = 0
    for _ in range(most):
        if at >= len(head):
            return
        try:
            tag, at = read_varint(head, at)
            wire_type = tag & 7
            yield tag >> 3, wire_type
            if wire_type == VARINT:
                _, at = read_varint(head, at)
            elif wire_type == LEN:
                length, at = read_varint(head, at)
                at += length
            else:
                at += 8 if wire_type == I64 else 4
        except CorruptProfile:
            if at < len(head) - 10:
                yield 0, 0
            return
