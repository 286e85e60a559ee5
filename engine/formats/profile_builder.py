"""A profile put together sample by sample: for readers that walk their input in Python.

Texts, functions, locations and stacks are kept once; equal samples (same stack, same labels) are summed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from ...schema.errors import CorruptProfile
from ..trie import offsets_of
from .names import NameReader
from .profile_columns import (
    FunctionColumns,
    IntArray,
    LabelColumns,
    LocationColumns,
    MappingColumns,
    ProfileColumns,
    ProfileHeader,
    SampleColumns,
)


class Label(NamedTuple):
    """A label of a sample: a text, or a number with its unit."""

    key: str
    text: str = ""
    number: int = 0
    unit: str = ""


@dataclass(frozen=True)
class MappedFile:
    """A file that was mapped into the process, from `memory_start` to `memory_limit`."""

    filename: str
    build_id: str = ""
    memory_start: int = 0
    memory_limit: int = 0
    file_offset: int = 0


Line = tuple[int, int, int]
"""Function, line, column; function as `ProfileBuilder.function` numbered it."""

Labels = tuple[Label, ...]


class ProfileBuilder:
    """One profile of one or several sample types."""

    def __init__(self, header: ProfileHeader, names: NameReader) -> None:
        self.header = header
        self._names = names
        self._texts: dict[str, int] = {"": 0}
        self._functions: dict[tuple[int, int, int, int], int] = {}
        self._mappings: dict[MappedFile, int] = {}
        self._locations: dict[tuple[int, int, tuple[Line, ...]], int] = {}
        self._samples: dict[tuple[tuple[int, ...], Labels], list[int]] = {}

    @property
    def samples(self) -> int:
        """Distinct samples so far."""
        return len(self._samples)

    def text(self, text: str) -> int:
        """The number of a text."""
        return self._texts.setdefault(text, len(self._texts))

    def function(self, name: str, filename: str = "", start_line: int = 0) -> int:
        """The number of a function; its name is made readable, the system's name is `name`."""
        shown = self.text(self._names.read(name))
        key = (shown, self.text(name), self.text(filename), start_line)
        return self._functions.setdefault(key, len(self._functions) + 1)

    def mapping(self, mapping: MappedFile) -> int:
        """The number of a mapping."""
        return self._mappings.setdefault(mapping, len(self._mappings) + 1)

    def location(self, lines: tuple[Line, ...], mapping: int = 0, address: int = 0) -> int:
        """The number of a location; its lines are innermost first, the address is unsigned."""
        return self._locations.setdefault((mapping, address, lines), len(self._locations) + 1)

    def frame(self, name: str, filename: str = "", line: int = 0, column: int = 0) -> int:
        """The number of a location without address: a function, and a line of it."""
        return self.location(((self.function(name, filename), line, column),))

    def add(self, stack: Iterable[int], values: Sequence[int], labels: Labels = ()) -> None:
        """Add a sample; `stack` lists locations leaf first, `values` has one for each sample type."""
        key = (tuple(stack), labels)
        known = self._samples.get(key)
        if known is None:
            self._samples[key] = list(values)
            return
        for number, value in enumerate(values):
            known[number] += value

    def drop_samples(self) -> None:
        """Forget the samples and keep the symbols: what was built is a piece, and more of the profile follows."""
        self._samples.clear()

    def to_batch(self, header: ProfileHeader | None = None) -> pa.RecordBatch:
        """The profile as one row of schema `profile.DECODED`; `header` in place of the one it began with.

        Raises `CorruptProfile` when a value does not fit 64 bits.
        """
        return self.batch_of(self._sample_columns(), header)

    def batch_of(self, samples: SampleColumns, header: ProfileHeader | None = None) -> pa.RecordBatch:
        """The same of samples that were laid out elsewhere; their locations and texts are those numbered here."""
        # The texts come last: what is laid out before them may add some.
        mappings = self._mapping_columns()
        return ProfileColumns(
            header=header or self.header,
            texts=pa.array(map(_encoded, self._texts), pa.binary()),
            samples=samples,
            locations=self._location_columns(),
            functions=FunctionColumns(*_columns(self._functions, 4, "function.start_line")),
            mappings=mappings,
        ).to_batch()

    def _sample_columns(self) -> SampleColumns:
        types = len(self.header.sample_types)
        stacks = [stack for stack, _ in self._samples]
        flat = list(chain.from_iterable(self._samples.values()))
        try:
            values = np.array(flat, np.int64).reshape(len(stacks), types)
        except OverflowError:
            raise CorruptProfile(f"sample.value {max(flat, key=abs)} does not fit 64 bits") from None
        return SampleColumns(_offsets(stacks), _flat(stacks), values, self._label_columns())

    def _label_columns(self) -> LabelColumns | None:
        lists = [labels for _, labels in self._samples]
        if not any(lists):
            return None
        # Many samples have the very same labels.
        known = {
            place: [
                (self.text(one.key), self.text(one.text), one.number, self.text(one.unit)) for one in labels
            ]
            for place, labels in {id(labels): labels for labels in lists}.items()
        }
        rows = chain.from_iterable(known[id(labels)] for labels in lists)
        return LabelColumns(_offsets(lists), *_columns(rows, 4, "sample.label.num"))

    def _location_columns(self) -> LocationColumns:
        lists = [lines for _, _, lines in self._locations]
        lines = _columns(chain.from_iterable(lists), 3, "location.line")
        mapping = np.array([mapping for mapping, _, _ in self._locations], np.int64)
        address = _unsigned([address for _, address, _ in self._locations], "location.address")
        return LocationColumns(mapping, address, _offsets(lists), *lines)

    def _mapping_columns(self) -> MappingColumns:
        known = list(self._mappings)
        return MappingColumns(
            filename=np.array([self.text(one.filename) for one in known], np.int64),
            build_id=np.array([self.text(one.build_id) for one in known], np.int64),
            memory_start=_unsigned([one.memory_start for one in known], "mapping.memory_start"),
            memory_limit=_unsigned([one.memory_limit for one in known], "mapping.memory_limit"),
            file_offset=_unsigned([one.file_offset for one in known], "mapping.file_offset"),
        )


def _encoded(text: str) -> bytes:
    """UTF-8; bytes that were none come back as they were, what no bytes could give is left for normalising."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def _offsets(lists: Sequence[Sequence[object]]) -> IntArray:
    return offsets_of(np.fromiter(map(len, lists), np.int64, len(lists)))


def _flat(lists: Sequence[Sequence[int]]) -> IntArray:
    return np.fromiter(chain.from_iterable(lists), np.int64)


def _columns(rows: Iterable[Sequence[int]], width: int, field: str) -> list[IntArray]:
    """Rows of numbers as columns. Raises `CorruptProfile` naming the field that may hold a larger one."""
    try:
        table = np.array(list(rows), np.int64).reshape(-1, width)
    except OverflowError:
        raise CorruptProfile(f"{field} does not fit 64 bits") from None
    return [np.ascontiguousarray(table[:, number]) for number in range(width)]


def _unsigned(numbers: Sequence[int], field: str) -> IntArray:
    """The bits of unsigned numbers. Raises `CorruptProfile` for one that is none of 64 bits."""
    try:
        found: IntArray = np.array(numbers, np.uint64).view(np.int64)
    except OverflowError:
        raise CorruptProfile(f"{field} does not fit 64 bits") from None
    return found
