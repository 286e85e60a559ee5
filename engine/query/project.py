"""From stacks of locations to stacks of names: granularity, and the filters on frames.

The filters have pprof's meaning: `focus` and `ignore` look for a function, file or mapping name anywhere in a
stack; `show` and `hide` remove single lines, and a location without any line left; a stack without any frame
left is dropped.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ...schema.errors import RequestError
from ...schema.request import FrameFilter, Granularity
from ..trie import Ragged, Trie, levels_of, offsets_of
from .opened import Symbols

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

SOURCE_SEPARATOR = "\x00"
"""Between function, file and line in the names of the granularity `source`, which only `list` uses."""


@dataclass(frozen=True)
class Frames:
    """Every line of every location of a block; a location without lines has one frame. Leaf first.

    `name` numbers `names`, which are distinct and in byte order. `kept` are the lines that show and hide leave;
    `focused` and `ignored` are per location.
    """

    lines: Ragged
    names: pa.Array
    kept: BoolArray
    focused: BoolArray
    ignored: BoolArray

    def root_first(self) -> Ragged:
        """The kept frames of each location by name number, root first."""
        kept = offsets_of(self.kept.astype(np.int64))
        offsets = kept[self.lines.offsets]
        return Ragged(self.lines.values[self.kept], offsets).reversed()


def frames_of(symbols: Symbols, granularity: Granularity, chosen: FrameFilter) -> Frames:
    """Name the lines of all locations, and mark what the filters say of them."""
    table = _line_table(symbols)
    encoded = _names(table, granularity).dictionary_encode()
    order = pc.sort_indices(encoded.dictionary)
    rank = np.empty(len(order), np.int64)
    rank[order.to_numpy()] = np.arange(len(order))
    offsets = table.offsets
    lines = Ragged(rank[encoded.indices.to_numpy()], offsets)
    everything = np.ones(len(table.function), np.bool_)
    locations = len(offsets) - 1
    kept = everything.copy()
    if chosen.show:
        kept &= _finds_line(table, chosen.show)
    if chosen.hide:
        kept &= ~_finds_line(table, chosen.hide)
    focused, ignored = np.ones(locations, np.bool_), np.zeros(locations, np.bool_)
    if chosen.focus:
        focused = _any_line(_finds_line(table, chosen.focus), offsets)
    if chosen.ignore:
        ignored = _any_line(_finds_line(table, chosen.ignore), offsets)
    return Frames(lines, encoded.dictionary.take(order), kept, focused, ignored)


def surviving_nodes(trie: Trie, frames: Frames, chosen: FrameFilter) -> BoolArray:
    """Nodes whose stacks pass focus and ignore and keep at least one frame."""
    focused, ignored = _inherited(trie, frames.focused), _inherited(trie, frames.ignored)
    shown = _inherited(trie, _any_line(frames.kept, frames.lines.offsets))
    keep = shown & ~ignored if chosen.ignore else shown
    return keep & focused if chosen.focus else keep


def _inherited(trie: Trie, flag: BoolArray) -> BoolArray:
    """For each node, whether its location or any ancestor's has the flag."""
    found = np.append(flag, False)[trie.symbol]
    for nodes in levels_of(trie.depth):
        found[nodes] |= found[trie.parent[nodes]]
    return found


@dataclass(frozen=True)
class _LineTable:
    """One row a frame: strings, and line and address as numbers."""

    offsets: IntArray
    function: pa.Array
    filename: pa.Array
    mapping: pa.Array
    line: IntArray
    address: npt.NDArray[np.uint64]
    bare: BoolArray


def _line_table(symbols: Symbols) -> _LineTable:
    lengths = symbols.line_function.lengths
    bare = lengths == 0
    lengths = np.where(bare, 1, lengths)
    location = np.repeat(np.arange(len(lengths)), lengths)
    function = np.empty(len(location), np.int64)
    line = np.zeros(len(location), np.int64)
    with_lines = ~bare[location]
    function[with_lines] = symbols.line_function.values
    line[with_lines] = symbols.line_number
    function[~with_lines] = symbols.display[bare]
    mapping = symbols.mapping[location]
    return _LineTable(
        offsets_of(lengths),
        symbols.function_name.take(pa.array(function)),
        symbols.filename.take(pa.array(function)),
        pc.fill_null(symbols.mapping_filename.take(pa.array(mapping, mask=mapping < 0)), ""),
        line,
        symbols.address[location],
        ~with_lines,
    )


def _names(table: _LineTable, granularity: Granularity) -> pa.Array:
    """What each frame is called."""
    line = pc.cast(pa.array(table.line), pa.string())
    place = pc.binary_join_element_wise(table.filename, line, ":")
    match granularity:
        case "function":
            return table.function
        case "line":
            return pc.if_else(
                table.bare, table.function, pc.binary_join_element_wise(table.function, place, " ")
            )
        case "file":
            return pc.if_else(pc.equal(table.filename, ""), _file_of(table), table.filename)
        case "mapping":
            return pc.if_else(pc.equal(table.mapping, ""), "<unknown>", table.mapping)
        case "address":
            address = pa.array([f"0x{value:x}" for value in table.address.tolist()], pa.string())
            return pc.binary_join_element_wise(address, table.function, " ")
        case "source":
            return pc.binary_join_element_wise(table.function, table.filename, line, SOURCE_SEPARATOR)
    raise RequestError(f"granularity {granularity!r}: expected function, line, file, mapping or address")


def _file_of(table: _LineTable) -> pa.Array:
    """What stands in for an empty file name: the display name of a bare location, else `<unknown>`."""
    return pc.if_else(table.bare, table.function, "<unknown>")


def _finds_line(table: _LineTable, pattern: str) -> BoolArray:
    """Which frames have the pattern in their function, file or mapping name. A display name is no function name."""
    found = np.zeros(len(table.function), np.bool_)
    for column, present in (
        (table.function, ~table.bare),
        (table.filename, ~table.bare),
        (table.mapping, True),
    ):
        try:
            hit = pc.match_substring_regex(column, pattern)
        except pa.ArrowInvalid as error:
            raise RequestError(f"regular expression {pattern!r}: {error}") from None
        found |= hit.to_numpy(zero_copy_only=False) & present
    return found


def _any_line(flag: BoolArray, offsets: IntArray) -> BoolArray:
    """For each location, whether any of its frames has the flag."""
    return np.diff(offsets_of(flag.astype(np.int64))[offsets]) > 0
