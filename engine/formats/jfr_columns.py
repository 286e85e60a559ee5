"""Reading many integers of a JFR chunk at once, as columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...schema.errors import CorruptProfile
from .jfr_cursor import FIXED, WIDTHS, Cursor, Field, Types

IntArray = npt.NDArray[np.int64]
ByteArray = npt.NDArray[np.uint8]

LONGEST = 9
"""Bytes of the longest compressed integer."""


@dataclass(frozen=True)
class Bytes:
    """A recording: its bytes twice, and whether integers are compressed."""

    raw: bytes
    array: ByteArray
    compressed: bool

    def cursor(self, at: int, end: int) -> Cursor:
        """A place from which to read value by value."""
        return Cursor(self.raw, at, end, self.compressed)


def integers_between(array: ByteArray, at: int, end: int) -> tuple[IntArray, IntArray]:
    """The compressed integers that lie end to end from `at`, and where each ends; the last may be cut off.

    Where text lies among them, numbers come out of it, and those behind it are wrong.
    """
    window = array[at:end]
    lasts = np.append(np.flatnonzero(window < 0x80), len(window))
    starts = np.concatenate([[0], lasts[:-1] + 1])
    long = np.flatnonzero(lasts - starts >= LONGEST)
    if len(long):
        lasts = np.union1d(lasts, _ninth_bytes(starts[long], lasts[long]))
        starts = np.concatenate([[0], lasts[:-1] + 1])
    whole = lasts < len(window)
    starts, lasts = starts[whole], lasts[whole]
    return _decode(window, starts, lasts - starts + 1), lasts + at + 1


def _ninth_bytes(starts: IntArray, lasts: IntArray) -> IntArray:
    """Runs of bytes that all say that more follow: each ninth is a last one."""
    more = (lasts - starts) // LONGEST
    turn = np.arange(more.sum()) - np.repeat(np.cumsum(more) - more, more)
    found: IntArray = np.repeat(starts, more) + LONGEST * (turn + 1) - 1
    return found


def _decode(window: ByteArray, starts: IntArray, lengths: IntArray) -> IntArray:
    values = (window[starts] & 0x7F).astype(np.uint64)
    longer = np.flatnonzero(lengths > 1)
    for number in range(1, LONGEST):
        if not len(longer):
            break
        byte = window[starts[longer] + number]
        kept = byte if number == LONGEST - 1 else byte & 0x7F
        values[longer] |= kept.astype(np.uint64) << np.uint64(7 * number)
        longer = longer[lengths[longer] > number + 1]
    return values.view(np.int64)


class EventColumns:
    """The same field of many events at once, field after field."""

    def __init__(self, data: Bytes, at: IntArray, ends: IntArray) -> None:
        self._data = data
        self.at = at.copy()
        self._ends = ends

    def field(self, types: Types, field: Field) -> IntArray:
        """A field's values; floats and such are passed over and come out as their bytes' sum."""
        name = "long" if field.constant else types[field.type_id].name
        values = self.integer(WIDTHS[name]) if name in WIDTHS else self._bytes(FIXED[name])
        if (self.at > self._ends).any():
            raise CorruptProfile(
                f"field {field.name}, before byte {int(self.at.max())}, goes beyond its event"
            )
        return values

    def integer(self, width: int) -> IntArray:
        """An integer of each event."""
        if not self._data.compressed:
            return self._bytes(width)
        values = np.zeros(len(self.at), np.uint64)
        more = np.arange(len(self.at))
        for number in range(LONGEST):
            byte = self._data.array.take(self.at[more], mode="clip")
            kept = byte if number == LONGEST - 1 else byte & 0x7F
            values[more] |= kept.astype(np.uint64) << np.uint64(7 * number)
            self.at[more] += 1
            more = more[byte >= 0x80]
            if not len(more):
                break
        return values.view(np.int64)

    def _bytes(self, width: int) -> IntArray:
        values = np.zeros(len(self.at), np.uint64)
        for number in range(width):
            byte = self._data.array.take(self.at + number, mode="clip")
            values = values << np.uint64(8) | byte.astype(np.uint64)
        self.at += width
        return values.view(np.int64)


def is_flat(types: Types, fields: Sequence[Field]) -> bool:
    """Whether fields are plain numbers, so that their columns can be read at once."""
    return all(
        not one.array
        and (one.constant or (one.type_id in types and types[one.type_id].name in {*WIDTHS, *FIXED}))
        for one in fields
    )


def is_integers(types: Types, fields: Sequence[Field]) -> bool:
    """Whether fields are compressed integers one after the other; a boolean looks like one."""
    return is_flat(types, fields) and all(
        one.constant or types[one.type_id].name in {*WIDTHS, "boolean"} for one in fields
    )


def read_fields(
    data: Bytes, types: Types, fields: Sequence[Field], places: tuple[IntArray, IntArray]
) -> Mapping[str, IntArray]:
    """Fields of events that begin and end at `places`, by name. What is no number is left out.

    Raises `CorruptProfile` when an event is too short for its fields.
    """
    if is_flat(types, fields):
        columns = EventColumns(data, *places)
        return {one.name: columns.field(types, one) for one in fields}
    rows = []
    for at, end in zip(*(place.tolist() for place in places), strict=True):
        cursor = data.cursor(at, end)
        rows.append([cursor.value(types, one) for one in fields])
    columns_of = zip(*rows, strict=True) if rows else [()] * len(fields)
    return {
        one.name: np.array(column, np.uint64).view(np.int64)
        for one, column in zip(fields, columns_of, strict=True)
        if all(isinstance(value, int) for value in column)
    }
