"""Stacks, locations, functions and mappings of an OTLP dictionary, and those of them that some profiles use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ..trie import Ragged
from .otlp_meaning import BUILD_IDS, IS_FOLDED, MAPPING_FLAG, MAPPING_FLAGS
from .otlp_pairs import Pairs
from .otlp_tables import BoolArray, Dictionary, IntArray, as_text, check_indices
from .otlp_texts import Texts
from .profile_columns import kind_of, list_column, struct_column

_NAME, _SYSTEM_NAME, _FILENAME, _START_LINE = range(4)


@dataclass(frozen=True)
class SymbolTables:
    """The tables of a dictionary with texts as numbers of `Texts`; entry 0 of each is there.

    `mapping_texts` are file names and build ids; a mapping that says nothing `is_mapping` not.
    """

    stacks: Ragged
    location_mapping: IntArray
    location_address: IntArray
    is_folded: BoolArray
    lines: Ragged
    line: IntArray
    line_column: IntArray
    functions: tuple[IntArray, IntArray, IntArray, IntArray]
    mapping_numbers: dict[str, IntArray]
    mapping_texts: tuple[IntArray, IntArray]
    mapping_flags: dict[str, BoolArray]
    is_mapping: BoolArray
    pushed: bool


def symbol_tables(dictionary: Dictionary, texts: Texts, pushed: bool) -> SymbolTables:
    """The tables, read by the rules. Pyroscope requires the null entries, elsewhere they may be missing."""
    attributes = _KnownAttributes(dictionary)
    mappings, locations = dictionary.mappings, dictionary.locations
    build_id = _build_ids(dictionary, attributes, texts, pushed)
    filename = texts.of_strings(mappings.filename, "mapping.filename_strindex")
    numbers = {name: getattr(mappings, name) for name in ("memory_start", "memory_limit", "file_offset")}
    is_mapping = (filename != 0) | (build_id != 0) | np.logical_or.reduce([c != 0 for c in numbers.values()])
    flags = {name: attributes.true(mappings.attributes, MAPPING_FLAG + name) for name in MAPPING_FLAGS}
    pad = (lambda column: column) if pushed else _at_least_one
    return SymbolTables(
        stacks=dictionary.stacks if pushed else _one_list(dictionary.stacks),
        location_mapping=pad(locations.mapping),
        location_address=pad(locations.address),
        is_folded=pad(attributes.true(locations.attributes, IS_FOLDED)),
        lines=_padded_lines(dictionary, pushed),
        line=locations.line,
        line_column=np.zeros_like(locations.column) if pushed else locations.column,
        functions=_functions(dictionary, texts, pad),
        mapping_numbers={name: pad(column) for name, column in numbers.items()},
        mapping_texts=(pad(filename), pad(build_id)),
        mapping_flags={name: pad(column) for name, column in flags.items()},
        is_mapping=pad(is_mapping),
        pushed=pushed,
    )


def _at_least_one(column: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return column if len(column) else np.zeros(1, column.dtype)


def _one_list(lists: Ragged) -> Ragged:
    return lists if len(lists.offsets) > 1 else Ragged(lists.values, np.zeros(2, np.int64))


def _padded_lines(dictionary: Dictionary, pushed: bool) -> Ragged:
    lines = Ragged(dictionary.locations.line_function, dictionary.locations.line_offsets)
    return lines if pushed else _one_list(lines)


def _functions(
    dictionary: Dictionary, texts: Texts, pad: Callable[[npt.NDArray[Any]], npt.NDArray[Any]]
) -> tuple[IntArray, IntArray, IntArray, IntArray]:
    """Names as they are shown; where a name was made readable, the system's name is what it was."""
    table = dictionary.functions
    name = texts.of_strings(table.name, "function.name_strindex")
    shown = texts.shown(name)
    system = texts.of_strings(table.system_name, "function.system_name_strindex")
    system = np.where((shown != name) & (system == 0), name, system)
    filename = texts.of_strings(table.filename, "function.filename_strindex")
    return pad(shown), pad(system), pad(filename), pad(table.start_line)


class _KnownAttributes:
    """Attributes of mappings and locations, looked up by key."""

    def __init__(self, dictionary: Dictionary) -> None:
        self._table = dictionary.attributes
        outside = ~_inside(self._table.key, len(dictionary.strings))
        self._keys = dictionary.strings.take(pa.array(self._table.key, mask=outside))
        self._rows: dict[str, IntArray] = {}

    def with_key(self, key: str) -> IntArray:
        """The rows of the attribute table that have a key."""
        known = self._rows.get(key)
        if known is None:
            hit = pc.fill_null(pc.equal(self._keys, key.encode()), False)
            known = self._rows[key] = np.flatnonzero(hit.to_numpy(zero_copy_only=False))
        return known

    def found(self, lists: Ragged, key: str) -> tuple[IntArray, IntArray]:
        """Which lists of attribute indices hold an attribute of a key, and its row. Bad indices are passed over."""
        rows = self.with_key(key)
        if not len(rows) or not len(lists.values):
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        items = np.flatnonzero(np.isin(lists.values, rows))
        owner = np.searchsorted(lists.offsets, items, side="right") - 1
        return owner, lists.values[items]

    def true(self, lists: Ragged, key: str) -> BoolArray:
        """Which lists hold an attribute that is true."""
        marks = np.zeros(len(lists.offsets) - 1, np.bool_)
        owner, rows = self.found(lists, key)
        yes = [self._table.values.others.get(row) is True for row in rows.tolist()]
        marks[owner[np.array(yes, np.bool_)]] = True
        return marks


def _inside(index: IntArray, size: int) -> BoolArray:
    inside: BoolArray = index.view(np.uint64) < np.uint64(size)
    return inside


def _build_ids(dictionary: Dictionary, attributes: _KnownAttributes, texts: Texts, pushed: bool) -> IntArray:
    """The build id of each mapping as a text, of the best kind that it has; Pyroscope reads GNU's alone."""
    mappings = dictionary.mappings
    numbers = np.zeros(len(mappings.filename), np.int64)
    for key in BUILD_IDS[:1] if pushed else reversed(BUILD_IDS):
        owner, rows = attributes.found(mappings.attributes, key)
        for mapping, row in zip(owner[::-1].tolist(), rows[::-1].tolist(), strict=True):
            numbers[mapping] = texts.number(as_text(dictionary.attributes.values.plain(row)))
    return numbers


@dataclass(frozen=True)
class UsedSymbols:
    """What some profiles use, each entry once a profile, as the columns of a decoded batch; ids count from 1.

    `sample_locations` lists the ids of each sample's locations.
    """

    sample_locations: Ragged
    locations: Pairs
    functions: Pairs
    mappings: Pairs
    _location_lines: Ragged
    _line_items: IntArray
    _location_mapping: IntArray
    _tables: SymbolTables

    @classmethod
    def of(cls, tables: SymbolTables, owner: IntArray, stack: IntArray, profiles: int) -> UsedSymbols:
        """What the stacks of some samples, each of a profile, come to. Raises `CorruptProfile`."""
        paths = tables.stacks.take(stack)
        count = len(tables.location_mapping)
        check_indices(paths.values, count, "stack.location_indices", "location_table")
        locations = Pairs.of(np.repeat(owner, paths.lengths), paths.values, profiles, count)
        lines = tables.lines.take(locations.entry)
        starts, lengths = tables.lines.offsets[locations.entry], lines.lengths
        items = np.arange(len(lines.values)) + np.repeat(starts - lines.offsets[:-1], lengths)
        functions = len(tables.functions[0])
        check_indices(lines.values, functions, "line.function_index", "function_table")
        used_functions = Pairs.of(np.repeat(locations.owner, lengths), lines.values, profiles, functions)
        mapping = tables.location_mapping[locations.entry]
        check_indices(mapping, len(tables.is_mapping), "location.mapping_index", "mapping_table")
        has = tables.is_mapping[mapping]
        mappings = Pairs.of(locations.owner[has], mapping[has], profiles, len(tables.is_mapping))
        mapping_id = np.zeros(len(mapping), np.int64)
        mapping_id[has] = mappings.places + 1
        return cls(
            Ragged(locations.places + 1, paths.offsets),
            locations,
            used_functions,
            mappings,
            lines,
            items,
            mapping_id,
            tables,
        )

    @property
    def line_count(self) -> int:
        """Lines of all locations."""
        return len(self._line_items)

    def function_texts(self) -> list[IntArray]:
        """The texts of the functions: name, system's name, file."""
        return [column[self.functions.entry] for column in self._tables.functions[:_START_LINE]]

    def mapping_texts(self) -> list[IntArray]:
        """The texts of the mappings: file, build id."""
        return [column[self.mappings.entry] for column in self._tables.mapping_texts]

    def function_column(self, texts: list[IntArray]) -> pa.Array:
        """The functions, given the numbers of their texts in their profiles."""
        known = dict(zip(("name", "system_name", "filename"), texts, strict=True))
        known |= {
            "id": _ids(self.functions),
            "start_line": self._tables.functions[_START_LINE][self.functions.entry],
        }
        return struct_column(kind_of("function"), known, len(self.functions.entry))

    def mapping_column(self, texts: list[IntArray]) -> pa.Array:
        """The mappings, given the numbers of their texts in their profiles."""
        entry = self.mappings.entry
        known: dict[str, npt.NDArray[Any]] = dict(zip(("filename", "build_id"), texts, strict=True))
        known |= {name: column[entry] for name, column in self._tables.mapping_numbers.items()}
        known |= (
            self._pushed_flags()
            if self._tables.pushed
            else {name: column[entry] for name, column in self._tables.mapping_flags.items()}
        )
        return struct_column(kind_of("mapping"), known | {"id": _ids(self.mappings)}, len(entry))

    def _pushed_flags(self) -> dict[str, npt.NDArray[Any]]:
        """Pyroscope's: what all locations of a mapping have in a profile; inlined frames never."""
        has_lines = self._location_lines.lengths > 0
        line_owner = np.repeat(np.arange(len(has_lines)), self._location_lines.lengths)
        function = self._location_lines.values
        lacks = {
            "has_functions": function <= 0,
            "has_line_numbers": self._tables.line[self._line_items] <= 0,
            "has_filenames": (function > 0) & (self._tables.functions[_FILENAME][function] == 0),
        }
        located = self._location_mapping > 0
        mapping = (self._location_mapping - 1 + self.mappings.offsets[self.locations.owner])[located]
        found = {}
        for name, bad_lines in lacks.items():
            bad = ~has_lines
            bad[line_owner[bad_lines]] = True
            flags = np.ones(len(self.mappings.entry), np.bool_)
            flags[mapping[bad[located]]] = False
            found[name] = flags
        return found

    def location_column(self) -> pa.Array:
        """The locations with their lines."""
        kind = kind_of("location")
        line_kind = kind.field("line").type.value_type
        lines = {
            "function_id": self.functions.places + 1,
            "line": self._tables.line[self._line_items],
            "column": self._tables.line_column[self._line_items],
        }
        entry = self.locations.entry
        known = {
            "id": _ids(self.locations),
            "mapping_id": self._location_mapping,
            "address": self._tables.location_address[entry],
            "line": list_column(
                self._location_lines.offsets, struct_column(line_kind, lines, self.line_count)
            ),
            "is_folded": self._tables.is_folded[entry],
        }
        return struct_column(kind, known, len(entry))


def _ids(pairs: Pairs) -> IntArray:
    return np.arange(len(pairs.owner)) - pairs.offsets[pairs.owner] + 1
