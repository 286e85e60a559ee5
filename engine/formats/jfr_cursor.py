"""Reading a JFR chunk value by value: integers, strings, and values of the types that its metadata describes.

The format is not published; this follows what the JDK's own reader (package `jdk.jfr.internal.consumer`, GPL, read
for facts) and async-profiler write: integers are LEB128 of at most nine bytes, the ninth a whole one, or big-endian
where the chunk says that it is not compressed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...schema.errors import CorruptProfile

WIDTHS: Mapping[str, int] = {"char": 2, "short": 2, "int": 4, "long": 8}
"""Bytes of integers that are not compressed; compressed ones take what they need."""
FIXED: Mapping[str, int] = {"boolean": 1, "byte": 1, "float": 4, "double": 8}
"""Bytes of what is never compressed."""
STRING = "java.lang.String"

_NULL, _EMPTY, _CONSTANT, _UTF8, _CHARS, _LATIN1 = range(6)
_LAST_SHIFT = 56


@dataclass(frozen=True)
class StringConstant:
    """A string that is in the constant pool of strings, by its key."""

    key: int


@dataclass(frozen=True)
class Field:
    """A field of a type: its name, the number of its type, and how it is written.

    `timespan` is the unit of a duration, such as `TICKS`.
    """

    name: str
    type_id: int
    constant: bool = False
    array: bool = False
    timespan: str = ""


@dataclass(frozen=True)
class Type:
    """A type of the metadata: an event, a constant, a struct or a primitive."""

    name: str
    fields: tuple[Field, ...] = ()


Types = Mapping[int, Type]


class Cursor:
    """A place in a recording that moves on; reading past `end` raises `CorruptProfile`."""

    __slots__ = ("_compressed", "_raw", "at", "end")

    def __init__(self, raw: bytes, at: int, end: int, compressed: bool) -> None:
        self._raw = raw
        self.at = at
        self.end = min(end, len(raw))
        self._compressed = compressed

    def integer(self, width: int = 8) -> int:
        """An unsigned integer; `width` counts where integers are not compressed."""
        if not self._compressed:
            return int.from_bytes(self.take(width), "big")
        raw, at, end = self._raw, self.at, self.end
        value = shift = 0
        while at < end:
            byte = raw[at]
            at += 1
            if byte < 0x80 or shift == _LAST_SHIFT:
                self.at = at
                return value | byte << shift
            value |= (byte & 0x7F) << shift
            shift += 7
        raise self._too_early()

    def signed(self) -> int:
        """A 64-bit integer with a sign."""
        value = self.integer()
        return value - (1 << 64) if value >> 63 else value

    def count(self) -> int:
        """How many items follow. Each takes a byte at least, or the count is no count."""
        count = self.integer(4)
        if count > self.end - self.at:
            raise CorruptProfile(
                f"a count of {count} at byte {self.at} has only {self.end - self.at} bytes left"
            )
        return count

    def take(self, size_bytes: int) -> bytes:
        """The next bytes."""
        if size_bytes > self.end - self.at:
            raise self._too_early()
        found = self._raw[self.at : self.at + size_bytes]
        self.at += size_bytes
        return found

    def string(self) -> str | StringConstant:
        """A string, empty for null, or where it is."""
        encoding = self.take(1)[0]
        if encoding in (_NULL, _EMPTY):
            return ""
        if encoding == _CONSTANT:
            return StringConstant(self.integer())
        if encoding == _UTF8:
            return self.take(self.count()).decode("utf-8", "surrogateescape")
        if encoding == _LATIN1:
            return self.take(self.count()).decode("latin-1")
        if encoding == _CHARS:
            return "".join(chr(self.integer(2) & 0xFFFF) for _ in range(self.count()))
        raise CorruptProfile(f"string encoding {encoding} at byte {self.at - 1}: expected 0 to 5")

    def texts(self, count: int) -> dict[int, str | StringConstant]:
        """Keys, each with a string behind it: a pool of symbols, which is read often and long."""
        found: dict[int, str | StringConstant] = {}
        raw, end, compressed = self._raw, self.end, self._compressed
        for _ in range(count):
            key = self.integer()
            at = self.at
            # The usual case at once: compressed integers, UTF-8, fewer than 128 bytes.
            if compressed and at + 2 <= end and raw[at] == _UTF8 and raw[at + 1] < 0x80:
                stop = at + 2 + raw[at + 1]
                if stop > end:
                    raise self._too_early()
                found[key] = raw[at + 2 : stop].decode("utf-8", "surrogateescape")
                self.at = stop
            else:
                found[key] = self.string()
        return found

    def value(self, types: Types, field: Field) -> Any:
        """A field's value: an integer (a key, for a constant), a string, a dict of fields, a list."""
        if not field.array:
            return self._single(types, field)
        items = []
        for _ in range(self.count()):
            at = self.at
            items.append(self._single(types, field))
            if self.at == at:
                break  # items without bytes: there may be any number of them
        return items

    def _single(self, types: Types, field: Field) -> Any:
        return self.integer() if field.constant else self.typed(types, field.type_id)

    def typed(self, types: Types, type_id: int) -> Any:
        """A value of a type, its fields in order."""
        kind = types.get(type_id)
        if kind is None:
            raise CorruptProfile(f"type {type_id}, used at byte {self.at}, is not in the metadata")
        if kind.name in WIDTHS:
            return self.integer(WIDTHS[kind.name])
        if kind.name in FIXED:
            return int.from_bytes(self.take(FIXED[kind.name]), "big")
        if kind.name == STRING:
            return self.string()
        return {one.name: self.value(types, one) for one in kind.fields}

    def _too_early(self) -> CorruptProfile:
        return CorruptProfile(f"a value at byte {self.at} goes beyond its end at byte {self.end}")
