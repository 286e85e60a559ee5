"""One very large pprof message as several small ones that add up to it: the samples in slices, the rest in each."""

from __future__ import annotations

from collections.abc import Iterator

from .wire import LEN, field_spans

_SAMPLE = 2


def slice_profile(raw: bytes, slice_bytes: int) -> Iterator[bytes]:
    """Messages with at most about `slice_bytes` of samples each; every one has all other fields.

    Raises `CorruptProfile` when the message's own fields do not parse.
    """
    runs = list(_sample_runs(raw, slice_bytes))
    view = memoryview(raw)
    rest: list[memoryview] = []
    at = 0
    for start, stop in runs:
        rest.append(view[at:start])
        at = stop
    rest.append(view[at:])
    shared = b"".join(rest)
    piece: list[memoryview] = []
    size_bytes = 0
    for start, stop in runs:
        if piece and size_bytes + stop - start > slice_bytes:
            yield b"".join([shared, *piece])
            piece, size_bytes = [], 0
        piece.append(view[start:stop])
        size_bytes += stop - start
    yield b"".join([shared, *piece])


def _sample_runs(raw: bytes, slice_bytes: int) -> Iterator[tuple[int, int]]:
    """Where neighbouring samples start and end, in runs of at most about `slice_bytes`."""
    begin = end = -1
    for number, wire_type, start, stop in field_spans(raw):
        if number == _SAMPLE and wire_type == LEN:
            if end == start and stop - begin <= slice_bytes:
                end = stop
                continue
            if begin >= 0:
                yield begin, end
            begin, end = start, stop
    if begin >= 0:
        yield begin, end
