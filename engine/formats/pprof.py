"""pprof: protobuf to Arrow, many profiles a call.

ptars turns a list of messages into one record batch far faster than reading attributes could. It is not hardened:
one bad message loses the whole batch, some panic, and deeply nested groups overrun the stack, which kills the
process. So there are two ways. In the caller's own process every message is first parsed by protobuf, which
refuses all of that. In a worker process, where a death costs little, only large messages are: a small one cannot
nest deep enough for the stack of the thread that decodes it. When a batch fails, protobuf finds the culprit.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any

import pyarrow as pa

from ...schema.errors import CorruptProfile, LimitExceeded
from ...schema.proto import profile_pb2
from . import Decoded, Failed, Input, Row
from .otlp_shape import is_otlp
from .pprof_merge import decode as decode_slowly
from .pprof_merge import parse
from .pprof_slices import slice_profile
from .text import is_text
from .wire import LEN, VARINT, leading_fields

LARGE_BYTES = 32 << 20
"""A larger message is decoded in slices of its samples, to bound memory."""
SLICE_BYTES = 12 << 20
BATCH_BYTES = 16 << 20

WORKER_VARIABLE = "FLAMEDUCK_WORKER"
"""Set in the environment of worker processes."""

_STACK_BYTES = 256 << 20
_SHALLOW_BYTES = 2 << 20
"""A message of this size cannot overrun that stack: a level takes a byte of it, and less than 100 of stack."""

_FIELDS = {(number, LEN) for number in (1, 2, 3, 4, 5, 6, 11, 13)}
_FIELDS |= {(number, VARINT) for number in (7, 8, 9, 10, 12, 13, 14, 15)}
_TELLING_FIELDS = {1, 2, 4, 6}


class Pprof:
    """The protobuf of google/pprof."""

    name = "pprof"

    def matches(self, head: bytes, filename: str) -> bool:
        """Whether the first fields have the numbers and wire types of a profile."""
        if is_text(head) or is_otlp(head):
            return False
        fields = leading_fields(head, most=8)
        return all(field in _FIELDS for field in fields) and any(
            number in _TELLING_FIELDS for number, _ in fields
        )

    def decode(self, inputs: Sequence[Input]) -> Iterator[Decoded | Failed]:
        """Decode messages, in batches of bounded size."""
        group: list[int] = []
        size_bytes = 0
        for number, one in enumerate(inputs):
            if len(one.raw) > LARGE_BYTES:
                yield from _decode_large(number, one.raw)
                continue
            if group and size_bytes + len(one.raw) > BATCH_BYTES:
                yield from _decode_group(inputs, group)
                group, size_bytes = [], 0
            group.append(number)
            size_bytes += len(one.raw)
        yield from _decode_group(inputs, group)


def _decode_large(number: int, raw: bytes) -> Iterator[Decoded | Failed]:
    try:
        for piece, part in enumerate(slice_profile(raw, SLICE_BYTES)):
            parse(part)
            yield Decoded(_decode_one(part), [Row(number)], continues=piece > 0)
    except CorruptProfile as error:
        yield _malformed(number, error)
    except LimitExceeded as error:
        yield Failed(number, str(error))


def _decode_group(inputs: Sequence[Input], numbers: Sequence[int]) -> Iterator[Decoded | Failed]:
    """Some messages in one batch, without those that are bad."""
    in_worker = WORKER_VARIABLE in os.environ
    suspects = [n for n in numbers if not in_worker or len(inputs[n].raw) > _SHALLOW_BYTES]
    bad = _find_bad(inputs, suspects)
    yield from bad.values()
    yield from _decode_checked(inputs, [n for n in numbers if n not in bad])


def _decode_checked(inputs: Sequence[Input], numbers: Sequence[int]) -> Iterator[Decoded | Failed]:
    if not numbers:
        return
    try:
        yield Decoded(_decode_batch([inputs[n].raw for n in numbers]), [Row(n) for n in numbers])
    except _DecoderFailed:
        bad = _find_bad(inputs, numbers)
        yield from bad.values()
        if bad:
            yield from _decode_checked(inputs, [n for n in numbers if n not in bad])
            return
        for number in numbers:
            yield Decoded(_decode_one(inputs[number].raw), [Row(number)])


def _decode_one(raw: bytes) -> pa.RecordBatch:
    """A message that protobuf takes; if ptars does not, it is left out."""
    try:
        return _decode_batch([raw])
    except _DecoderFailed:
        return decode_slowly(raw)


def _malformed(number: int, error: CorruptProfile) -> Failed:
    return Failed(number, f"malformed pprof: {error}")


def _find_bad(inputs: Sequence[Input], numbers: Sequence[int]) -> dict[int, Failed]:
    """The messages that protobuf refuses, and why."""
    bad: dict[int, Failed] = {}
    for number in numbers:
        try:
            parse(inputs[number].raw)
        except CorruptProfile as error:
            bad[number] = _malformed(number, error)
    return bad


class _DecoderFailed(Exception):
    """ptars gave up on a batch; it does not say which message is to blame."""


def _decode_batch(raws: list[bytes]) -> pa.RecordBatch:
    """The messages as rows. Raises `_DecoderFailed`."""
    results: list[pa.RecordBatch] = []

    def work() -> None:
        # A panic of Rust is no Exception; interrupts do not come to this thread.
        with suppress(BaseException), _quiet():
            results.append(_handler().list_to_record_batch(raws))

    _run_on_large_stack(work)
    if not results:
        raise _DecoderFailed
    return results[0]


_starting = threading.Lock()


def _run_on_large_stack(work: Callable[[], None]) -> None:
    """Run on a thread of its own with room for deep recursion; the memory is used only if touched."""
    thread = threading.Thread(target=work, name="pprof")
    with _starting:
        before = threading.stack_size(_STACK_BYTES)
        try:
            thread.start()
        except RuntimeError as error:
            raise _DecoderFailed from error
        finally:
            threading.stack_size(before)
    thread.join()


@contextmanager
def _quiet() -> Iterator[None]:
    """In a worker process, keep what a panic prints from the user's terminal."""
    if WORKER_VARIABLE not in os.environ:
        yield
        return
    kept = os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


@cache
def _handler() -> Any:
    from ptars import HandlerPool

    return HandlerPool([profile_pb2.DESCRIPTOR]).get_for_message(profile_pb2.Profile.DESCRIPTOR)
