"""One very large pprof message as several small ones that add up to it: the samples in slices, the rest in each."""

from __future__ import annotations

from array import array
from collections.abc import Iterator

from ...schema.errors import CorruptProfile, LimitExceeded
from .wire import LEN, skip_field

MAX_SHARED_BYTES = 192 << 20
MAX_SHARED_FIELDS = 4_000_000
"""Symbols of one profile, whose decoded form takes several times their bytes."""

_SAMPLE_TAG = 2 << 3 | LEN


def slice_profile(raw: bytes, slice_bytes: int) -> Iterator[bytes]:
    """Messages with about `slice_bytes` of samples each; every one has all other fields. At least one.

    Raises `CorruptProfile` when the message's own fields do not parse, `LimitExceeded` when it has too many
    symbols to decode at once.
    """
    runs, shared = _runs(raw, slice_bytes)
    if len(shared) > MAX_SHARED_BYTES:
        raise LimitExceeded(f"profile has {len(shared)} bytes of symbols; limit {MAX_SHARED_BYTES}")
    piece = bytearray(shared)
    for start, stop in zip(runs[0::2], runs[1::2], strict=True):
        if len(piece) - len(shared) >= slice_bytes:
            yield bytes(piece)
            piece = bytearray(shared)
        piece += raw[start:stop]
    yield bytes(piece)


def _runs(raw: bytes, slice_bytes: int) -> tuple[array[int], bytearray]:
    """Where runs of neighbouring samples start and end, by turns, none much longer than `slice_bytes`; and all
    other fields, joined.
    """
    runs = array("q")
    shared = bytearray()
    at = other = fields = 0
    end = len(raw)
    while at < end:
        if raw[at] != _SAMPLE_TAG:
            at = skip_field(raw, at)
            fields += 1
            continue
        shared += raw[other:at]
        runs.append(at)
        at = other = _end_of_run(raw, at, min(at + slice_bytes, end))
        runs.append(at)
    if at > end:
        raise CorruptProfile("a field runs past the end of the message")
    if fields > MAX_SHARED_FIELDS:
        raise LimitExceeded(f"profile has {fields} symbols; limit {MAX_SHARED_FIELDS}")
    shared += raw[other:]
    return runs, shared


def _end_of_run(raw: bytes, at: int, limit: int) -> int:
    """Where the samples from `at` on end, as far as they begin before `limit`."""
    while at < limit and raw[at] == _SAMPLE_TAG:
        # Ten million samples pass through here, so lengths of one byte are read in place.
        length = raw[at + 1] if at + 1 < limit else 0x80
        if length < 0x80:
            at += 2 + length
        else:
            at = skip_field(raw, at)
    return at
