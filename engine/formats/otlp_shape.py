"""Telling an OTLP request from a pprof: both begin with field 1, a message."""

from __future__ import annotations

from collections.abc import Iterator

from ...schema.errors import CorruptProfile
from .wire import LEN, read_varint, skip_field

_MOST_FIELDS = 8
_RESOURCE_PROFILES, _DICTIONARY = 1, 2
_DEPTH = 2
"""Below a request: resources in it, and scopes in these."""


def is_otlp(head: bytes) -> bool:
    """Whether a message that begins with `head` has the shape of an OTLP request.

    The first field of a pprof holds two numbers, that of a request holds messages of messages: a resource and its
    scopes. Where the dictionary comes first, it has more tables than a sample of a pprof has lists.
    """
    fields = list(_fields(head))
    if not fields or any(number not in (_RESOURCE_PROFILES, _DICTIONARY) for number, _ in fields):
        return False
    resources = [body for number, body in fields if number == _RESOURCE_PROFILES and body]
    if resources:
        return all(_is_container(body, _DEPTH) for body in resources)
    return any(_is_dictionary(body) for number, body in fields if number == _DICTIONARY)


def _is_container(body: bytes, depth: int) -> bool:
    """Whether it is a message of up to three fields, all of them messages or texts, and field 2 is there."""
    fields = list(_fields(body))
    if any(number not in (1, 2, 3) for number, _ in fields):
        return False
    inner = [one for number, one in fields if number == 2]
    return bool(inner) and (depth == 1 or all(_is_container(one, depth - 1) for one in inner if one))


def _is_dictionary(body: bytes) -> bool:
    numbers = [number for number, _ in _fields(body, most=64)]
    return bool(numbers) and all(1 <= number <= 7 for number in numbers) and _more_than_lists(numbers)


def _more_than_lists(numbers: list[int]) -> bool:
    return max(numbers) > 3 or numbers.count(1) > 1 or numbers.count(2) > 1


def _fields(data: bytes, most: int = _MOST_FIELDS) -> Iterator[tuple[int, bytes]]:
    """Numbers and bodies of the first fields; a body may be cut. Field 0 stands for what holds no bytes."""
    at = 0
    try:
        while at < len(data) and most:
            tag, start = read_varint(data, at)
            end = skip_field(data, at)
            if tag & 7 != LEN:
                yield 0, b""
                return
            yield tag >> 3, data[read_varint(data, start)[1] : end]
            at, most = end, most - 1
    except CorruptProfile:
        if at + 20 < len(data):
            yield 0, b""
