"""The values of Python's marshal format that profiles are made of: texts, numbers, short tuples.

Python's own reader trusts its input: a few bytes make it crash, or take any amount of memory. This one knows no more
kinds than a profile needs, no lists of any length, and no nesting but the one that is asked for.

Source: CPython's Python/marshal.c, versions 0 to 5.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from ...schema.errors import CorruptProfile

Value = str | int | float | tuple["Value", ...] | None

FLAG_REFERENCE = 0x80
MAX_TUPLE = 5
_DIGIT_BITS = 15
_MOST_DIGITS = 5
"""An integer of 64 bits has five digits of 15 bits."""

_INT, _FLOAT, _REFERENCE = b"igr"
_INT32, _FLOAT64 = struct.Struct("<i"), struct.Struct("<d")
_SMALL_TUPLE = ord(")")
_NUMBERS = struct.Struct("<BBBiBiBdBd")
"""A tag and a size, then twice a tag and an integer, twice a tag and a float."""
_LONG_TEXTS = b"stuaA"
_SHORT_TEXTS = b"zZ"
_PLAIN = {ord("N"): None, ord("T"): 1, ord("F"): 0}


class MarshalReader:
    """Reads values one after the other; `at` is the place of the next byte."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self.at = 0
        # Since version 3 any value may be referred to; before that only interned texts, counted by themselves.
        self._values: list[Value] = []
        self._interned: list[str] = []

    def begin_dict(self) -> None:
        """The start of a dictionary."""
        kind = self._byte()
        if kind & ~FLAG_REFERENCE != ord("{"):
            raise self._wrong("a dictionary", kind)
        if kind & FLAG_REFERENCE:
            self._values.append(None)

    def ends_dict(self) -> bool:
        """Whether the dictionary ends here; its end is passed then."""
        if self._raw[self.at : self.at + 1] != b"0":
            return False
        self.at += 1
        return True

    def value(self, depth: int = 2) -> Value:
        """A text, a number, or a tuple of such, at most `depth` within each other."""
        raw, at = self._raw, self.at
        tag = raw[at] if at < len(raw) else self._byte()
        kind = tag & ~FLAG_REFERENCE
        if kind in (_INT, _REFERENCE):
            if at + 5 > len(raw):
                self._take(5)
            self.at = at + 5
            found: Value = _INT32.unpack_from(raw, at + 1)[0]
            if kind == _REFERENCE:
                return self._reference(self._values, found)
        elif kind == _FLOAT and at + 9 <= len(raw):
            self.at = at + 9
            found = _FLOAT64.unpack_from(raw, at + 1)[0]
        else:
            self.at = at + 1
            if kind in b"()":
                return self._tuple(kind, tag != kind, depth)
            if kind == ord("R"):
                return self._reference(self._interned, self._int32())
            found = self._plain(kind)
        if tag != kind:
            self._values.append(found)
        return found

    def begin_tuple(self) -> int:
        """The start of a tuple, and how many values it has."""
        kind = self._byte()
        if kind & ~FLAG_REFERENCE not in b"()":
            raise self._wrong("a tuple", kind)
        if kind & FLAG_REFERENCE:
            self._values.append(None)
        return self._byte() if kind & ~FLAG_REFERENCE == ord(")") else self._int32()

    def numbers(self, size: int) -> tuple[int, int, float, float] | None:
        """The first four values of a tuple, if one of `size` is next that begins with two counts and two times.

        None leaves all as it was: `value` and `begin_tuple` read what is written in another way, more slowly.
        """
        if self.at + _NUMBERS.size > len(self._raw):
            return None
        tag, said, kind, first, other, second, _, time, _, total = found = _NUMBERS.unpack_from(
            self._raw, self.at
        )
        if (tag & ~FLAG_REFERENCE, said, found[6], found[8]) != (_SMALL_TUPLE, size, _FLOAT, _FLOAT):
            return None
        calls, more = self._count(kind, first), self._count(other, second)
        if calls is None or more is None:
            return None
        self.at += _NUMBERS.size
        numbers = (calls, more, time, total)
        if tag != _SMALL_TUPLE:
            self._values.append(numbers)
        self._values += [one for one, flag in ((calls, kind), (more, other)) if flag & FLAG_REFERENCE]
        return numbers

    def _count(self, tag: int, number: int) -> int | None:
        """An integer, or one that is referred to."""
        if tag & ~FLAG_REFERENCE == _INT:
            return number
        if tag == _REFERENCE and 0 <= number < len(self._values):
            found = self._values[number]
            return found if isinstance(found, int) else None
        return None

    def _tuple(self, kind: int, referred: bool, depth: int) -> tuple[Value, ...]:
        size = self._byte() if kind == ord(")") else self._int32()
        if not 0 <= size <= MAX_TUPLE:
            raise CorruptProfile(f"byte {self.at}: a tuple of {size} values; limit {MAX_TUPLE}")
        if depth == 0:
            raise CorruptProfile(f"byte {self.at}: tuples within tuples")
        place = len(self._values)
        if referred:
            self._values.append(None)
        found = tuple(self.value(depth - 1) for _ in range(size))
        if referred:
            self._values[place] = found
        return found

    def _plain(self, kind: int) -> Value:
        if kind in _SHORT_TEXTS or kind in _LONG_TEXTS:
            raw = self._take(self._byte() if kind in _SHORT_TEXTS else self._int32())
            text = raw.decode("utf-8", "surrogateescape")
            if kind == ord("t"):
                self._interned.append(text)
            return text
        if kind == _FLOAT:
            number: float = _FLOAT64.unpack(self._take(8))[0]
            return number
        if kind == ord("l"):
            return self._long()
        if kind == ord("I"):
            return int.from_bytes(self._take(8), "little", signed=True)
        if kind == ord("f"):
            return self._written_float()
        if kind in _PLAIN:
            return _PLAIN[kind]
        if kind == ord("c"):
            raise CorruptProfile(
                f"byte {self.at - 1}: a code object, as python -m profile writes; cProfile does not"
            )
        raise self._wrong("a text, a number or a tuple", kind)

    def _long(self) -> int:
        count = self._int32()
        if abs(count) > _MOST_DIGITS:
            raise CorruptProfile(f"byte {self.at}: an integer does not fit 64 bits")
        number = 0
        for place in range(abs(count)):
            number |= int.from_bytes(self._take(2), "little") << (place * _DIGIT_BITS)
        return -number if count < 0 else number

    def _written_float(self) -> float:
        text = self._take(self._byte())
        try:
            return float(text)
        except ValueError:
            raise CorruptProfile(f"byte {self.at}: {text[:20]!r} is not a number") from None

    def _reference(self, values: Sequence[Value], number: Value) -> Value:
        found = values[number] if isinstance(number, int) and 0 <= number < len(values) else None
        if found is None:
            raise CorruptProfile(f"byte {self.at}: a reference to value {number}, which is not there")
        return found

    def _byte(self) -> int:
        return self._take(1)[0]

    def _int32(self) -> int:
        return int.from_bytes(self._take(4), "little", signed=True)

    def _take(self, count: int) -> bytes:
        found = self._raw[self.at : self.at + max(count, 0)]
        if len(found) != count:
            raise CorruptProfile(f"byte {self.at}: {count} bytes are said to follow, {len(found)} do")
        self.at += count
        return found

    def _wrong(self, expected: str, kind: int) -> CorruptProfile:
        return CorruptProfile(
            f"byte {self.at - 1}: marshal type {chr(kind & ~FLAG_REFERENCE)!r} is not {expected}"
        )
