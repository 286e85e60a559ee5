"""The tries of a block: for each part, the location trie of its stacks and the function trie above it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ..trie import (
    NumberArray,
    Ragged,
    Trie,
    build_trie,
    first_occurrences,
    numbers_to,
    offsets_of,
    project_trie,
    width_of,
)
from .numbering import first_rows, known_rows, ragged, repeated

IntArray = npt.NDArray[np.int64]
U64Array = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class SymbolTables:
    """What tries need of the symbols: names are numbered in byte order.

    `location_names` lists the names of a location's lines root first, or its display name; `function_of_name`
    is the function that stands for a name.
    """

    location_ids: pa.Array
    location_names: Ragged
    function_of_name: IntArray

    def numbered(self, lists: pa.ChunkedArray) -> Ragged:
        """Locations by hash as locations by number. Raises `CorruptBlock` when one is not there."""
        flat = lists.combine_chunks()
        return Ragged(known_rows(self.location_ids, flat.flatten()), ragged(flat).offsets)

    @classmethod
    def of(cls, functions: pa.Table, lines: Ragged, display: pa.Array, locations: pa.Table) -> SymbolTables:
        """From numbered functions (sorted by name), each location's functions leaf first, and display names."""
        encoded = functions.column("name").combine_chunks().dictionary_encode()
        name_of_function = encoded.indices.to_numpy().astype(np.int64)
        function_of_name = first_rows(
            encoded.indices, pa.array(np.arange(len(encoded.dictionary)), pa.int32())
        )
        shown = pc.fill_null(pc.index_in(display, value_set=encoded.dictionary), -1).to_numpy()
        lengths = np.where(lines.lengths > 0, lines.lengths, 1)
        count = int(lengths.sum())
        width = width_of(max(count + 1, len(functions)))
        names = Ragged(np.empty(count, width), offsets_of(lengths, width))
        bare = lines.lengths == 0
        names.values[names.offsets[:-1][bare]] = shown[bare]
        names.values[np.repeat(~bare, lengths)] = name_of_function[lines.reversed().values]
        return cls(locations.column("location_id").combine_chunks(), names, function_of_name)


@dataclass(frozen=True)
class PartTries:
    """The `stacks`, `stacktraces` and `frames` tables of a block, without the `block` column, and each part's rows."""

    stacks: pa.Table
    stacktraces: pa.Table
    frames: pa.Table
    stack_spans: Sequence[tuple[int, int]]
    node_spans: Sequence[tuple[int, int]]
    frame_spans: Sequence[tuple[int, int]]


class PartTrieBuilder:
    """Makes the tries of each part from the rows of `stacks` that it uses, in the order of its stack numbers."""

    def __init__(self, part_stacks: Sequence[IntArray], stacks: pa.Table, symbols: SymbolTables) -> None:
        self._part_stacks = part_stacks
        self._stacks = stacks
        self._symbols = symbols

    def part(self, part: int) -> tuple[pa.Table, pa.Table, pa.Table]:
        """`stacks`, `stacktraces` and `frames` of one part.

        Raises `CorruptBlock` when a location is referred to and is not there.
        """
        rows = pa.array(self._part_stacks[part])
        return self._part(part, self._symbols.numbered(self._stacks.column("locations").take(rows)))

    def name_paths(self, part: int, stacks: IntArray) -> Ragged:
        """The names on the paths of some stacks of a part, root first; `SymbolTables` numbers them.

        Raises `CorruptBlock` when a location is referred to and is not there.
        """
        rows = pa.array(self._part_stacks[part][stacks])
        paths = self._symbols.numbered(self._stacks.column("locations").take(rows)).reversed()
        names = self._symbols.location_names.take(paths.values)
        return Ragged(names.values, names.offsets[paths.offsets])

    def rows_of_stacks(self, part: int) -> IntArray:
        """Where the stacks of a part are among all that were collected."""
        return self._part_stacks[part]

    @property
    def function_of_name(self) -> IntArray:
        """The function that stands for each name."""
        return self._symbols.function_of_name

    def _part(self, part: int, leaf_first: Ragged) -> tuple[pa.Table, pa.Table, pa.Table]:
        ids = self._stacks.column("stack_id").to_numpy()[self._part_stacks[part]]
        trie, node_of_stack = build_trie(leaf_first.reversed(), len(self._symbols.location_ids))
        return trie_tables(part, trie, node_of_stack, ids, self._symbols)

    def all(self) -> PartTries:
        """Those of all parts, one after the other. Raises `CorruptBlock` as `part` does."""
        # A part without stacks goes first, so that a block without parts has its (empty) tables too.
        leaf_first = self._symbols.numbered(self._stacks.column("locations"))
        no_stacks = Ragged(leaf_first.values[:0], np.zeros(1, np.int64))
        trie, node_of_stack = build_trie(no_stacks, 0)
        nothing = trie_tables(0, trie, node_of_stack, np.zeros(0, np.uint64), self._symbols)
        parts = [tuple(table.slice(0, 0) for table in nothing)]
        parts += [self._part(part, leaf_first.take(rows)) for part, rows in enumerate(self._part_stacks)]
        columns = [list(column) for column in zip(*parts, strict=True)]
        joined = (pa.concat_tables(column) for column in columns)
        return PartTries(*joined, *(_spans(column[1:]) for column in columns))


def _spans(tables: Sequence[pa.Table]) -> Sequence[tuple[int, int]]:
    """The rows of each of some tables among those of all."""
    return list(pairwise(np.cumsum([0, *map(len, tables)]).tolist()))


def trie_tables(
    part: int, trie: Trie, node_of_stack: NumberArray, stack_ids: U64Array, symbols: SymbolTables
) -> tuple[pa.Table, pa.Table, pa.Table]:
    """`stacks`, `stacktraces` and `frames` of a part from the trie of its locations, by number."""
    frames, frame_of_node = project_trie(
        trie, node_names(trie, symbols.location_names), len(symbols.function_of_name)
    )
    first = pa.array(first_occurrences(frames))
    stacks = _table(part, stack=numbers_to(len(stack_ids)), node=node_of_stack)
    nodes = _table(
        part,
        node=numbers_to(len(trie)),
        parent=trie.parent,
        size=trie.size,
        location=trie.symbol,
        frame=frame_of_node,
    )
    shown = _table(
        part,
        frame=numbers_to(len(frames)),
        parent=frames.parent,
        size=frames.size,
        function=np.append(symbols.function_of_name, -1).astype(frames.symbol.dtype)[frames.symbol],
        depth=frames.depth,
    )
    stacks = stacks.append_column("stack_id", pa.array(stack_ids, pa.uint64()))
    return stacks, nodes, shown.append_column("first", first)


def node_names(trie: Trie, symbol_names: Ragged) -> Ragged:
    """For each node the names of its symbol, and none for the root."""
    padded = Ragged(symbol_names.values, np.append(symbol_names.offsets, symbol_names.offsets[-1]))
    last = len(symbol_names.offsets) - 1
    return padded.take(np.where(trie.symbol < 0, last, trie.symbol))


def _table(part: int, **columns: NumberArray) -> pa.Table:
    """A table of dense ids; numbers of 32 bits share their memory with it."""
    length = len(next(iter(columns.values())))
    dense = {name: pa.array(_dense_ids(numbers)) for name, numbers in columns.items()}
    return pa.table({"part": repeated(part, length, pa.uint32()), **dense})


def _dense_ids(numbers: NumberArray) -> npt.NDArray[np.uint32]:
    """The same numbers as unsigned ones; -1 becomes `NO_ID`, its bits."""
    return numbers.astype(np.int32, copy=False).view(np.uint32)
