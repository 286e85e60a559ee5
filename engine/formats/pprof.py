"""pprof: protobuf to Arrow, many profiles a call.

ptars turns a list of messages into one record batch far faster than reading attributes could. It loses the
whole batch when one message is bad, so a failing batch is halved until the bad ones stand alone. It also
recurses without bound on nested groups, which can overrun the stack and take the process with it; groups are no
part of the format, so a message that is long enough for that is given to protobuf's own parser first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import pyarrow as pa
from google.protobuf.message import DecodeError

from ...schema.errors import CorruptProfile
from ...schema.proto import profile_pb2
from . import Decoded, Failed
from .pprof_slices import slice_profile
from .wire import read_fields

LARGE_BYTES = 48 << 20
"""A larger message is decoded in slices of its samples, to bound memory."""

_BATCH_BYTES = 24 << 20
_WIRE_TYPES = {1: 2, 2: 2, 3: 2, 4: 2, 5: 2, 6: 2, 7: 0, 8: 0, 9: 0, 10: 0, 11: 2, 12: 0, 13: None, 14: 0, 15: 0}
_TELLING_FIELDS = {1, 2, 4, 6}
_DEEP_BYTES = 96 << 10
"""A smaller message cannot nest deep enough to overrun a stack: a level takes a byte and less than 85 of stack."""


class Pprof:
    """The protobuf of google/pprof."""

    name = "pprof"

    def matches(self, head: bytes, filename: str) -> bool:
        """Whether the first fields have the numbers and wire types of a profile."""
        seen: set[int] = set()
        for number, wire_type in read_fields(head, most=16):
            expected = _WIRE_TYPES.get(number, -1)
            if expected is not None and wire_type != expected:
                return False
            seen.add(number)
        return bool(seen & _TELLING_FIELDS)

    def decode(self, raws: Sequence[bytes]) -> Iterator[Decoded | Failed]:
        """Decode messages, in batches of bounded size."""
        group: list[int] = []
        size_bytes = 0
        for number, raw in enumerate(raws):
            if len(raw) > LARGE_BYTES:
                yield from _decode_large(number, raw)
                continue
            if group and size_bytes + len(raw) > _BATCH_BYTES:
                yield from _decode_some(raws, group)
                group, size_bytes = [], 0
            group.append(number)
            size_bytes += len(raw)
        yield from _decode_some(raws, group)


def _decode_some(raws: Sequence[bytes], numbers: Sequence[int]) -> Iterator[Decoded | Failed]:
    """One batch, or halves of it when something in it is bad."""
    if not numbers:
        return
    try:
        yield Decoded(_to_batch([raws[number] for number in numbers]), numbers)
    except CorruptProfile as error:
        if len(numbers) == 1:
            yield Failed(numbers[0], str(error))
            return
        middle = len(numbers) // 2
        yield from _decode_some(raws, numbers[:middle])
        yield from _decode_some(raws, numbers[middle:])


def _decode_large(number: int, raw: bytes) -> Iterator[Decoded | Failed]:
    try:
        for piece, part in enumerate(slice_profile(raw, LARGE_BYTES // 2)):
            yield Decoded(_to_batch([part]), [number], continues=piece > 0)
    except CorruptProfile as error:
        yield Failed(number, str(error))


def _to_batch(raws: list[bytes]) -> pa.RecordBatch:
    """The messages as rows. Raises `CorruptProfile` when one of them is not a profile."""
    for raw in raws:
        if len(raw) >= _DEEP_BYTES:
            _require_parsable(raw)
    try:
        return _handler().list_to_record_batch(raws)
    except BaseException as error:  # a panic of the decoder is no Exception
        if isinstance(error, KeyboardInterrupt | SystemExit | MemoryError):
            raise
        raise CorruptProfile(f"pprof: {_first_line(error)}") from None


def _require_parsable(raw: bytes) -> None:
    try:
        profile_pb2.Profile.FromString(raw)
    except DecodeError as error:
        raise CorruptProfile(f"pprof: {_first_line(error)}") from None


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


@cache
def _handler() -> Any:
    from ptars import HandlerPool

    return HandlerPool([profile_pb2.DESCRIPTOR]).get_for_message(profile_pb2.Profile.DESCRIPTOR)
