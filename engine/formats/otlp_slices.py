"""A large OTLP request as several small ones that add up to it: resources, scopes, profiles and samples in slices.

A slice repeats what is said once about the resource, the scope and the profile that it is a part of.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ...schema.errors import CorruptProfile, LimitExceeded
from .wire import LEN, read_varint, skip_field

LARGE_BYTES = 32 << 20
"""A larger request is cut, to bound memory."""
SLICE_BYTES = 8 << 20
MAX_DICTIONARY_BYTES = 256 << 20
MAX_HEAD_BYTES = 1 << 20
"""What is said once about a resource, a scope or a profile that is cut."""
MAX_RUNS = 1_000_000

_RESOURCE_PROFILES, _DICTIONARY = 1 << 3 | LEN, 2 << 3 | LEN
_CHILD = 2 << 3 | LEN
"""What repeats in each message below a request: scopes in resources, profiles in scopes, samples in profiles."""
_PROFILE_LEVEL = 3
_PAYLOAD = 10
"""The number of a profile's field `original_payload`, which is left out."""


@dataclass(frozen=True)
class Slice:
    """A request without dictionary. Its first profile may be more of the last one of the slice before.

    `goes_on` says the same of the slice after it.
    """

    body: bytes
    continues: bool = False
    goes_on: bool = False


@dataclass(frozen=True)
class Cut:
    """A request: the bytes of its dictionary in parts, none if it has no dictionary, and its profiles in slices."""

    dictionary: list[bytes]
    has_resources: bool
    slices: Iterator[Slice]


def cut_request(raw: bytes) -> Cut:
    """The parts of a request. Raises `CorruptProfile` for its own fields, later for those of what is cut.

    Raises `LimitExceeded` when its dictionary is too large to decode.
    """
    limit = SLICE_BYTES if len(raw) > LARGE_BYTES else len(raw) + 1
    dictionary: list[bytes] = []
    total = at = 0
    has_resources = False
    while at < len(raw):
        start, at = at, skip_field(raw, at)
        if at > len(raw):
            raise CorruptProfile(f"the field at byte {start} runs past the end of the message")
        has_resources |= raw[start] == _RESOURCE_PROFILES
        if raw[start] == _DICTIONARY:
            first = read_varint(raw, start + 1)[1]
            total += at - first
            if total > MAX_DICTIONARY_BYTES:
                raise LimitExceeded(f"the dictionary has {total} bytes or more; limit {MAX_DICTIONARY_BYTES}")
            dictionary += _parts(raw, first, at, limit)
    return Cut(dictionary, has_resources, _slices(raw, limit))


def _parts(raw: bytes, start: int, stop: int, limit: int) -> Iterator[bytes]:
    """The fields of a dictionary in messages of about `limit` bytes; at least one."""
    if stop - start <= limit:
        yield raw[start:stop]
        return
    first = at = start
    while at < stop:
        end = skip_field(raw, at)
        if end > stop:
            raise CorruptProfile(f"dictionary: the field at byte {at - start} runs past the end")
        if end - first > limit and at > first:
            yield raw[first:at]
            first = at
        at = end
    yield raw[first:stop]


def _slices(raw: bytes, limit: int) -> Iterator[Slice]:
    continues = False
    for body, goes_on in _cut(raw, 0, len(raw), 0, limit):
        yield Slice(body, continues, goes_on)
        continues = goes_on


def _cut(raw: bytes, start: int, stop: int, level: int, limit: int) -> Iterator[tuple[bytes, bool]]:
    """A message in several, each with the fields that do not repeat; and whether its last profile goes on.

    Level 0 is the request, `_PROFILE_LEVEL` a profile.
    """
    head, runs = _runs(raw, start, stop, level, limit)
    piece = bytearray(head)
    for first, last in runs:
        if last - first > limit and level < _PROFILE_LEVEL:
            if len(piece) > len(head):
                yield bytes(piece), False
                piece = bytearray(head)
            inner = read_varint(raw, first + 1)[1]
            for body, goes_on in _cut(raw, inner, last, level + 1, limit):
                yield bytes(head + raw[first : first + 1] + _varint(len(body)) + body), goes_on
            continue
        if len(piece) > len(head) and len(piece) - len(head) + last - first > limit:
            yield bytes(piece), level == _PROFILE_LEVEL
            piece = bytearray(head)
        piece += raw[first:last]
    if len(piece) > len(head) or not runs:
        yield bytes(piece), False


def _runs(
    raw: bytes, start: int, stop: int, level: int, limit: int
) -> tuple[bytearray, list[tuple[int, int]]]:
    """The fields that do not repeat, joined, and where runs of those that do start and end, each about `limit` long;
    a longer field is alone.
    """
    child = _RESOURCE_PROFILES if level == 0 else _CHILD
    head = bytearray()
    runs: list[tuple[int, int]] = []
    at = first = start
    while at < stop:
        end = _end_of(raw, at, stop)
        if raw[at] != child:
            if at > first:
                runs.append((first, at))
            if level and raw[at] >> 3 != _PAYLOAD:
                head += raw[at:end]
            first = end
        elif end - first > limit and at > first:
            runs.append((first, at))
            first = at
        at = end
        if len(head) > MAX_HEAD_BYTES or len(runs) > MAX_RUNS:
            raise LimitExceeded(f"a profile says more than {MAX_HEAD_BYTES} bytes, or is in {MAX_RUNS} parts")
    if at > first:
        runs.append((first, at))
    return head, runs


def _end_of(raw: bytes, at: int, stop: int) -> int:
    # Ten million samples pass through here, so lengths of one byte are read in place.
    length = raw[at + 1] if at + 1 < stop and raw[at] & 7 == LEN and raw[at] < 0x80 else 0x80
    end = at + 2 + length if length < 0x80 else skip_field(raw, at)
    if end > stop:
        raise CorruptProfile(f"the field at byte {at} runs past the end of its message")
    return end


def _varint(number: int) -> bytes:
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])
