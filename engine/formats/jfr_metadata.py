"""The types of a JFR chunk: a string table, and a tree of elements that describes every event and constant."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from ...schema.errors import CorruptProfile
from .jfr_cursor import Cursor, Field, StringConstant, Type, Types

MAX_VALUES = 4096
"""That one event or constant is made of, lists counted once."""

_MAX_DEPTH = 32
_TIMESPAN = "jdk.jfr.Timespan"


@dataclass
class _Element:
    name: str
    attributes: dict[str, str]
    children: list[_Element] = field(default_factory=list)

    def named(self, name: str) -> Iterator[_Element]:
        return (child for child in self.children if child.name == name)

    def number(self, attribute: str) -> int:
        text = self.attributes.get(attribute, "")
        if not text.lstrip("-").isdecimal() or len(text) > 20:
            raise CorruptProfile(f"metadata: {self.name}.{attribute} {text!r} is not an integer")
        return int(text) & 0xFFFFFFFFFFFFFFFF


def read_types(cursor: Cursor) -> Types:
    """The types by number, from the body of a metadata event: behind its size and its type.

    Raises `CorruptProfile` when it is no such event.
    """
    for _ in range(3):  # start time, duration, number of the metadata
        cursor.integer()
    table = [_text(cursor) for _ in range(cursor.count())]
    root = _element(cursor, table, 0)
    classes = [one for metadata in root.named("metadata") for one in metadata.named("class")]
    names = {one.number("id"): one.attributes.get("name", "") for one in classes}
    types = {one.number("id"): _type(one, names) for one in classes}
    numbers: dict[int, int] = {}
    for type_id in types:
        _count_numbers(types, type_id, numbers, ())
    return types


def _count_numbers(types: Types, type_id: int, known: dict[int, int], within: tuple[int, ...]) -> int:
    """How many values make up one of a type. Raises `CorruptProfile` where that is without end, or nearly so."""
    if type_id in known or type_id not in types:
        return known.get(type_id, 1)
    if type_id in within:
        raise CorruptProfile(f"metadata: type {types[type_id].name} is made of itself")
    inner = [one.type_id for one in types[type_id].fields if not one.constant]
    if len(within) > _MAX_DEPTH:
        raise CorruptProfile(f"metadata: types are nested more than {_MAX_DEPTH} deep")
    count = 1 + sum(_count_numbers(types, one, known, (*within, type_id)) for one in inner)
    if count > MAX_VALUES:
        raise CorruptProfile(f"metadata: type {types[type_id].name} has more than {MAX_VALUES} values")
    known[type_id] = count
    return count


def _text(cursor: Cursor) -> str:
    text = cursor.string()
    return "" if isinstance(text, StringConstant) else text


def _element(cursor: Cursor, table: list[str], depth: int) -> _Element:
    if depth > _MAX_DEPTH:
        raise CorruptProfile(f"metadata: elements are nested more than {_MAX_DEPTH} deep")
    name = _entry(cursor, table)
    attributes = {_entry(cursor, table): _entry(cursor, table) for _ in range(cursor.count())}
    children = [_element(cursor, table, depth + 1) for _ in range(cursor.count())]
    return _Element(name, attributes, children)


def _entry(cursor: Cursor, table: list[str]) -> str:
    number = cursor.integer(4)
    if number >= len(table):
        raise CorruptProfile(f"metadata: string {number} of {len(table)} at byte {cursor.at}")
    return table[number]


def _type(element: _Element, names: dict[int, str]) -> Type:
    return Type(
        element.attributes.get("name", ""), tuple(_field(one, names) for one in element.named("field"))
    )


def _field(element: _Element, names: dict[int, str]) -> Field:
    spans = [
        one.attributes.get("value", "")
        for one in element.named("annotation")
        if names.get(one.number("class")) == _TIMESPAN
    ]
    return Field(
        name=element.attributes.get("name", ""),
        type_id=element.number("class"),
        constant=element.attributes.get("constantPool") == "true",
        array=element.attributes.get("dimension", "0") != "0",
        timespan=spans[0] if spans else "",
    )
