"""What an OTLP profiles request says, as tables, whether it came as protobuf or as JSON.

Indices are those of the request's dictionary, as they came: nothing here has been checked to point at anything.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ...schema.errors import CorruptProfile
from ..trie import Ragged

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

NO_DICTIONARY = (
    "no dictionary: an OTLP profiles revision before opentelemetry-proto 1.7, or no profiles at all"
)
OLD_REVISION = (
    "an OTLP profiles revision before opentelemetry-proto 1.9, whose fields had other numbers and names"
)
MAX_ATTRIBUTE_DEPTH = 16

Plain = str | bool | int | float | bytes | list["Plain"] | dict[str, "Plain"] | None
"""The value of an attribute."""

Attributes = Mapping[str, Plain]
"""Attributes by key, in order; the first of a key counts."""


@dataclass(frozen=True)
class Values:
    """The values of many attributes: a text (bytes), else a number, else one of `others`, by row; else none."""

    text: pa.Array
    number: IntArray
    is_number: BoolArray
    others: Mapping[int, Plain] = field(default_factory=dict)

    def plain(self, row: int) -> Plain:
        """One value."""
        text = self.text[row].as_py()
        if text is not None:
            return str(text, "utf-8", "replace")
        return int(self.number[row]) if self.is_number[row] else self.others.get(row)


@dataclass(frozen=True)
class AttributeTable:
    """The dictionary's attributes; `key` and `unit` are strings."""

    key: IntArray
    unit: IntArray
    values: Values


@dataclass(frozen=True)
class FunctionTable:
    """The dictionary's functions; the first three are strings."""

    name: IntArray
    system_name: IntArray
    filename: IntArray
    start_line: IntArray


@dataclass(frozen=True)
class LocationTable:
    """The dictionary's locations; addresses are the bits of unsigned numbers, `lines` lists rows of what follows."""

    mapping: IntArray
    address: IntArray
    attributes: Ragged
    line_offsets: IntArray
    line_function: IntArray
    line: IntArray
    column: IntArray


@dataclass(frozen=True)
class MappingTable:
    """The dictionary's mappings; numbers of bytes are the bits of unsigned numbers, `filename` is a string."""

    memory_start: IntArray
    memory_limit: IntArray
    file_offset: IntArray
    filename: IntArray
    attributes: Ragged


@dataclass(frozen=True)
class Dictionary:
    """The tables that all profiles of a request share. `strings` are bytes; a link is a trace id and a span id."""

    strings: pa.Array
    functions: FunctionTable
    locations: LocationTable
    stacks: Ragged
    mappings: MappingTable
    attributes: AttributeTable
    links: Sequence[tuple[bytes, bytes]]

    def text(self, index: int, what: str) -> str:
        """One string. Raises `CorruptProfile`."""
        if not 0 <= index < max(len(self.strings), 1):
            raise CorruptProfile(f"{what} {index} is outside of string_table, which has {len(self.strings)}")
        return str(self.strings[index].as_py(), "utf-8", "replace") if len(self.strings) else ""


TypeIndices = tuple[int, int]
"""The strings of a type and its unit."""


@dataclass(frozen=True)
class ProfileHead:
    """What is said once about a profile; `scope` has the attributes of its scope, which has a name and a version."""

    resource: Attributes
    scope: Attributes
    scope_name: str
    scope_version: str
    sample_type: TypeIndices | None
    period_type: TypeIndices | None
    period: int
    time_ns: int
    duration_ns: int
    profile_id: bytes
    attributes: Sequence[int]


@dataclass(frozen=True)
class SampleTable:
    """Samples of several profiles, one after the other; `times` counts the timestamps of each."""

    profile: IntArray
    stack: IntArray
    link: IntArray
    attributes: Ragged
    values: Ragged
    times: IntArray

    def __len__(self) -> int:
        return len(self.stack)

    def take(self, rows: IntArray, profile: IntArray) -> SampleTable:
        """Some samples, of other profiles."""
        return SampleTable(
            profile,
            self.stack[rows],
            self.link[rows],
            self.attributes.take(rows),
            self.values.take(rows),
            self.times[rows],
        )


@dataclass(frozen=True)
class Piece:
    """Some profiles of a request and their samples, which number `heads`; `first` numbers the first in the request.

    `continues` says that the first profile is more of the last one of the piece before.
    """

    heads: Sequence[ProfileHead]
    samples: SampleTable
    first: int = 0
    continues: bool = False


def as_text(value: Plain) -> str:
    """An attribute's value as text: as JSON, but for texts and bytes, which are base64; empty when there is none."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return json.dumps(_jsonable(value), ensure_ascii=False, separators=(",", ":"))


def _jsonable(value: Plain) -> object:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, list):
        return [_jsonable(one) for one in value]
    if isinstance(value, dict):
        return {key: _jsonable(one) for key, one in value.items()}
    return value


def as_pyroscope_text(value: Plain) -> str:
    """What Pyroscope makes of an attribute's value: a text, an integer, or a list of one of these; else nothing."""
    if isinstance(value, list):
        return as_pyroscope_text(value[0]) if len(value) == 1 and not isinstance(value[0], list) else ""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) else ""


def first_of_each(pairs: Sequence[tuple[str, Plain]]) -> Attributes:
    """Attributes of which the first of each key counts."""
    found: dict[str, Plain] = {}
    for key, value in pairs:
        found.setdefault(key, value)
    return found


def check_indices(indices: IntArray, size: int, what: str, table: str) -> None:
    """Raise `CorruptProfile` naming the first of some indices that is outside of a table of `size` entries."""
    outside = indices.view(np.uint64) >= np.uint64(size)
    if outside.any():
        worst = int(indices[np.flatnonzero(outside)[0]])
        raise CorruptProfile(f"{what} {worst} is outside of {table}, which has {size} entries")
