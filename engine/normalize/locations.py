"""Locations of a batch by content.

With lines, a location is its mapping's file and the lines, in order; its address is an attribute, so that a
rebuild makes no new stacks. Without lines it is an address in a file: the file is known by its build id, or else
by its name, or else by the service that ran it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from ...schema import identity, profile
from .chains import Chains
from .columns import BoolArray, Column, Distinct, IntArray, U64Array, distinct_apart, gather, list_array
from .functions import Functions, require_same
from .ids import Ids
from .mappings import Mappings
from .strings import Strings

MAX_LINES = 10_000
"""Inlined calls at one address; a limit on work, far beyond what compilers do."""

_LINED, _BY_BUILD_ID, _BY_FILE, _BY_SERVICE = (np.uint64(n) for n in range(1, 5))


@dataclass(frozen=True)
class Lines:
    """The lines of all locations, per location, with the row and the hash of each line's function."""

    column: Column
    function_row: IntArray
    function_hash: U64Array

    def structs(self, items: IntArray) -> pa.Array:
        """Some lines as they are stored."""
        columns = (self.function_hash, self.column.numbers("line"), self.column.numbers("column"))
        fields = [pa.array(column[items]) for column in columns]
        return pa.StructArray.from_arrays(fields, ["function_id", "line", "column"])


@dataclass(frozen=True)
class Locations:
    """The location rows of all profiles. `broken` marks those that refer to what is not there."""

    column: Column
    ids: Ids
    hash: U64Array
    known: Distinct
    mapping_hash: U64Array
    lines: Lines
    broken: BoolArray | None

    def table(self, used: IntArray) -> tuple[pa.Table, IntArray]:
        """The locations at the `used` rows, each once, with the address and the mapping of the first; and the rows
        of their functions.
        """
        rows = self.known.firsts(used)
        items, offsets = gather(self.lines.column.offsets[rows], self.lines.column.lengths[rows])
        columns = [
            self.hash[rows],
            self.mapping_hash[rows],
            self.column.numbers("address")[rows],
            pa.array(self.column.numbers("is_folded")[rows]),
            list_array(offsets, self.lines.structs(items)),
        ]
        return pa.table(columns, schema=profile.LOCATIONS), self.lines.function_row[items]


@dataclass(frozen=True)
class Context:
    """What locations refer to; `service_hash` is of each profile's service name, `owners` whose each profile is.
    `lenient` marks what refers to nothing instead of refusing its profile.
    """

    functions: Functions
    mappings: Mappings
    strings: Strings
    service_hash: U64Array
    lenient: bool
    owners: IntArray


def read_locations(batch: pa.RecordBatch, context: Context) -> Locations:
    """The locations of a batch. Raises `BadProfiles`."""
    column = Column.of(batch.column("location"))
    ids = Ids(column, "location")
    lines, bad_lines = _read_lines(column, context)
    mapping_row, bad_mapping = _mapping_rows(column, context)
    who = _identify(column, lines, mapping_row, context)
    hashes = who.hash(_chain(lines))
    known = distinct_apart(hashes, column, context.owners)
    _verify(known, column, who, lines)
    mapping_hash = np.append(context.mappings.hash, np.uint64(0))[mapping_row]
    # Where none is broken there must be no marks: they send every frame of every sample through a look-up.
    broken = [marks for marks in (bad_lines, bad_mapping) if marks is not None and marks.any()]
    return Locations(
        column, ids, hashes, known, mapping_hash, lines, np.logical_or.reduce(broken) if broken else None
    )


def _read_lines(column: Column, context: Context) -> tuple[Lines, BoolArray | None]:
    lines = column.nested("line")
    column.refuse_rows(lines.lengths > MAX_LINES, f"a location has more than {MAX_LINES} lines")
    bounds = lines.offsets[column.offsets]
    found = context.functions.ids.find(lines.numbers("function_id"), bounds)
    broken = None
    if found.bad is not None:
        broken = np.zeros(len(lines.lengths), np.bool_)
        broken[lines.owner[found.bad]] = True
        if not context.lenient:
            column.refuse_rows(broken, "location.line.function_id points at no function")
    rows = found.rows(np.diff(bounds))
    # A line of no function has hash 0; only the lenient rules come so far with one.
    if found.bad is not None:
        rows[found.bad] = -1
    return Lines(lines, rows, np.append(context.functions.hash, np.uint64(0))[rows]), broken


def _mapping_rows(column: Column, context: Context) -> tuple[IntArray, BoolArray | None]:
    """The row of each location's mapping, -1 where it has none."""
    wanted: U64Array = column.numbers("mapping_id")
    found = context.mappings.ids.find(wanted, column.offsets)
    rows = found.rows(column.lengths)
    if found.bad is None:
        return rows, None
    rows[found.bad] = -1
    broken = found.bad & (wanted != 0)
    if not context.lenient:
        column.refuse_rows(broken, "location.mapping_id points at no mapping")
    return rows, broken


@dataclass(frozen=True)
class _Identity:
    """What makes a location what it is, beside its lines: `address` is 0 where there are lines."""

    kind: U64Array
    module: U64Array
    address: U64Array

    def hash(self, lines: U64Array) -> U64Array:
        """The hash of each location; `lines` is that of its lines, `ROOT_PATH` where there are none."""
        return identity.combine(self.kind, self.module, self.address, lines)


def _identify(column: Column, lines: Lines, mapping_row: IntArray, context: Context) -> _Identity:
    strings = context.strings
    filename = np.append(context.mappings.filename, strings.empty)[mapping_row]
    kind = np.full(len(mapping_row), _LINED)
    module, address = strings.hash[filename], np.zeros(len(mapping_row), np.uint64)
    bare = np.flatnonzero(lines.column.lengths == 0)
    if len(bare):
        build_id = np.append(context.mappings.build_id, strings.empty)[mapping_row[bare]]
        file_known = filename[bare] != strings.empty
        named = np.where(file_known, module[bare], column.spread(context.service_hash)[bare])
        by_build = build_id != strings.empty
        module[bare] = np.where(by_build, strings.hash[build_id], named)
        kind[bare] = np.where(by_build, _BY_BUILD_ID, np.where(file_known, _BY_FILE, _BY_SERVICE))
        shift = np.append(context.mappings.load_shift, np.uint64(0))[mapping_row[bare]]
        address[bare] = column.numbers("address")[bare] - shift
    kind |= column.numbers("is_folded").astype(np.uint64) << np.uint64(8)
    return _Identity(kind, module, address)


def _verify(known: Distinct, column: Column, who: _Identity, lines: Lines) -> None:
    """Rows of one hash are one location, line by line. Raises `BadProfiles`."""
    lengths = lines.column.lengths
    require_same(known, column, [who.kind, who.module, who.address, lengths], "locations")
    items, _ = gather(lines.column.offsets[known.leader], lengths)
    owners = Column(lines.column.values, lines.column.offsets[column.offsets])
    for content in (lines.function_hash, lines.column.numbers("line"), lines.column.numbers("column")):
        owners.refuse_rows(content[items] != content, "two different locations have one hash")


def _chain(lines: Lines) -> U64Array:
    """Hash of each location's lines, the outermost first, as frames are in a stack."""
    column = lines.column
    contents = identity.combine(
        lines.function_hash, column.numbers("line").view(np.uint64), column.numbers("column").view(np.uint64)
    )
    if not len(contents):
        return np.full(len(column.lengths), identity.ROOT_PATH)
    itself = np.arange(len(contents))
    return Chains(
        itself, np.zeros_like(column.lengths), contents, column.offsets[1:], column.lengths
    ).hashes()
