"""Folded stacks: one line a stack, frames root first joined by `;`, a space, a count. And `lines`: no counts.

Lines that start with `#` and empty lines are passed over. The text is read in pieces, each of which becomes more
of the same profile, so that files of any length fit in memory.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ...schema import profile
from ...schema.errors import CorruptProfile
from . import Decoded, Failed

PIECE_BYTES = 16 << 20
_LINE = re.compile(rb"[^\n]*\S [0-9]+\s*")


class Folded:
    """`main;work;read 12`"""

    name = "folded"

    def matches(self, head: bytes, filename: str) -> bool:
        """Whether it is text whose lines all end in a space and an integer."""
        if b"\x00" in head:
            return False
        lines = head.split(b"\n")
        whole = lines[:-1] if len(lines) > 1 else lines
        telling = [line for line in whole if line.strip() and not line.startswith(b"#")]
        return bool(telling) and all(_LINE.fullmatch(line) for line in telling)

    def decode(self, raws: Sequence[bytes]) -> Iterator[Decoded | Failed]:
        """Each input is one profile."""
        yield from _decode(raws, counted=True)


class Lines:
    """One line a sample, without a count; never detected."""

    name = "lines"

    def matches(self, head: bytes, filename: str) -> bool:
        """Never: any text would do."""
        return False

    def decode(self, raws: Sequence[bytes]) -> Iterator[Decoded | Failed]:
        """Each input is one profile."""
        yield from _decode(raws, counted=False)


def _decode(raws: Sequence[bytes], counted: bool) -> Iterator[Decoded | Failed]:
    for number, raw in enumerate(raws):
        try:
            line_number = 1
            for piece, text in enumerate(_pieces(raw)):
                batch = _to_batch(*_stacks(text, counted, line_number))
                yield Decoded(batch, [number], continues=piece > 0)
                line_number += text.count(b"\n")
        except CorruptProfile as error:
            yield Failed(number, str(error))


def _pieces(raw: bytes) -> Iterator[bytes]:
    """The text in pieces that end with a line."""
    start = 0
    while start < len(raw) or not start:
        stop = len(raw)
        if stop - start > PIECE_BYTES:
            newline = raw.rfind(b"\n", start, start + PIECE_BYTES)
            stop = newline + 1 if newline > start else (raw.find(b"\n", start) + 1 or len(raw))
        yield raw[start:stop]
        if stop == len(raw):
            return
        start = stop


def _stacks(text: bytes, counted: bool, first_line: int) -> tuple[pa.Array, npt.NDArray[np.int64]]:
    """The distinct stacks of some lines, as bytes, with their summed counts. Raises `CorruptProfile`."""
    lines = pc.split_pattern(pa.scalar(text, pa.binary()), b"\n").values
    lines = pc.ascii_rtrim_whitespace(_as_text(lines))
    kept = pc.and_(pc.not_equal(lines, ""), pc.invert(pc.starts_with(lines, "#")))
    if counted:
        stacks, counts = _split_counts(lines, kept, first_line)
    else:
        stacks = lines.filter(kept)
        counts = np.ones(len(stacks), np.int64)
    encoded = stacks.dictionary_encode()
    sums = np.zeros(len(encoded.dictionary), np.int64)
    np.add.at(sums, encoded.indices.to_numpy(), counts)
    return encoded.dictionary, sums


def _as_text(lines: pa.Array) -> pa.Array:
    try:
        return lines.cast(pa.string())
    except pa.ArrowInvalid:
        return pa.array([line.decode("utf-8", "replace") for line in lines.to_pylist()], pa.string())


def _split_counts(lines: pa.Array, kept: pa.Array, first_line: int) -> tuple[pa.Array, npt.NDArray[np.int64]]:
    halves = pc.split_pattern(lines.filter(kept), " ", max_splits=1, reverse=True)
    if len(halves) and pc.min(pc.list_value_length(halves)).as_py() < 2:
        bad = int(np.flatnonzero(pc.list_value_length(halves).to_numpy() < 2)[0])
        raise CorruptProfile(f"folded: line {_line_number(kept, bad, first_line)}: expected a stack, a space and a count")
    flat = halves.flatten()
    texts = flat.take(pa.array(np.arange(1, len(flat), 2)))
    try:
        counts = texts.cast(pa.int64()).to_numpy()
    except pa.ArrowInvalid:
        bad = next(i for i, text in enumerate(texts.to_pylist()) if not re.fullmatch(r"-?[0-9]{1,18}", text))
        where = _line_number(kept, bad, first_line)
        raise CorruptProfile(f"folded: line {where}: count {texts[bad].as_py()[:40]!r} is not a 64-bit integer") from None
    return flat.take(pa.array(np.arange(0, len(flat), 2))), counts


def _line_number(kept: pa.Array, row: int, first_line: int) -> int:
    return first_line + int(np.flatnonzero(kept.to_numpy(zero_copy_only=False))[row])


def _to_batch(stacks: pa.Array, counts: npt.NDArray[np.int64]) -> pa.RecordBatch:
    """One pprof-shaped profile: a location and a function for each distinct frame."""
    lists = pc.split_pattern(stacks, ";")
    frames = lists.values.dictionary_encode()
    offsets = lists.offsets.to_numpy().astype(np.int64)
    names = frames.dictionary
    strings = pa.concat_arrays([pa.array([b"", b"samples", b"count"]), names.cast(pa.binary())])
    ids = np.arange(1, len(names) + 1, dtype=np.uint64)
    lengths = np.diff(offsets)
    # Root first in the text, leaf first in a profile.
    last = np.repeat(offsets[:-1] + offsets[1:] - 1, lengths)
    references = frames.indices.to_numpy().astype(np.uint64)[last - np.arange(len(last))] + np.uint64(1)
    row = {
        "sample_type": [[{"type": 1, "unit": 2}]],
        "sample": [_samples(references, offsets, counts)],
        "mapping": [[]],
        "location": [_locations(ids)],
        "function": [_functions(ids)],
        "string_table": [strings],
    }
    columns = []
    for field in profile.DECODED:
        if field.name in ("sample", "location", "function", "string_table"):
            values = row[field.name][0]
            columns.append(pa.ListArray.from_arrays(pa.array([0, len(values)], pa.int32()), values).cast(field.type))
        elif field.name in row:
            columns.append(pa.array(row[field.name], field.type))
        else:
            columns.append(_absent(field.type))
    return pa.RecordBatch.from_arrays(columns, schema=profile.DECODED)


def _absent(kind: pa.DataType) -> pa.Array:
    if pa.types.is_list(kind):
        return pa.array([[]], kind)
    return pa.nulls(1, kind) if pa.types.is_struct(kind) else pa.array([0], kind)


def _samples(references: npt.NDArray[np.uint64], offsets: npt.NDArray[np.int64], counts: npt.NDArray[np.int64]) -> pa.Array:
    kind = profile.DECODED.field("sample").type.value_type
    each = pa.array(np.arange(len(counts) + 1), pa.int32())
    return pa.StructArray.from_arrays(
        [
            pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(references)),
            pa.ListArray.from_arrays(each, pa.array(counts)),
            pa.array([[]] * len(counts), kind.field("label").type),
        ],
        fields=list(kind),
    )


def _locations(ids: npt.NDArray[np.uint64]) -> pa.Array:
    kind = profile.DECODED.field("location").type.value_type
    zeros = np.zeros(len(ids), np.int64)
    line_kind = kind.field("line").type.value_type
    lines = pa.StructArray.from_arrays([pa.array(ids), pa.array(zeros), pa.array(zeros)], fields=list(line_kind))
    each = pa.array(np.arange(len(ids) + 1), pa.int32())
    unsigned = pa.array(zeros.astype(np.uint64))
    return pa.StructArray.from_arrays(
        [pa.array(ids), unsigned, unsigned, pa.ListArray.from_arrays(each, lines), pa.array(zeros.astype(bool))],
        fields=list(kind),
    )


def _functions(ids: npt.NDArray[np.uint64]) -> pa.Array:
    kind = profile.DECODED.field("function").type.value_type
    names = ids.astype(np.int64) + 2
    zeros = np.zeros(len(ids), np.int64)
    return pa.StructArray.from_arrays(
        [pa.array(column) for column in (ids, names, names, zeros, zeros)], fields=list(kind)
    )
