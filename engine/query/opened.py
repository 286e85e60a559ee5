"""An open block: its series, profiles and tries as arrays, read once and kept while memory allows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, field, fields, is_dataclass
from threading import RLock
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ...schema.block import BlockMeta
from ...schema.identity import NO_ID
from ...schema.labels import Matcher
from ..storage.blocks import Block
from ..storage.sample_rows import id_words
from ..trie import NumberArray, Ragged, Trie, depths_in
from .function_tree import FunctionTree, PartTree

IntArray = npt.NDArray[np.int64]
U64Array = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class SeriesIndex:
    """The series of a block, one entry each, in stored order."""

    table: pa.Table
    part: IntArray
    series_id: U64Array
    min_ts: IntArray
    max_ts: IntArray
    profile_type: pa.Array
    type: IntArray
    profiles: IntArray

    def choose(self, matchers: Sequence[Matcher], start_ns: int | None, end_ns: int | None) -> IntArray:
        """Series that satisfy all matchers and have profiles between `start_ns` and `end_ns`."""
        keep = self.profiles > 0
        if start_ns is not None:
            keep &= self.max_ts >= start_ns
        if end_ns is not None:
            keep &= self.min_ts < end_ns
        for matcher in matchers:
            keep &= matcher.mask(self.label(matcher.name)).to_numpy(zero_copy_only=False)
        return np.flatnonzero(keep)

    def label(self, name: str) -> pa.Array:
        """The values of one label, null where a series lacks it."""
        if name == "__profile_type__":
            return self.profile_type
        values = pc.map_lookup(self.table.column("labels"), name, "first")
        return values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values


@dataclass(frozen=True)
class ProfileRows:
    """Profiles of some series of a block. `start` and `n` address their rows in samples."""

    series: IntArray
    ts: IntArray
    id_high: U64Array
    id_low: U64Array
    start: IntArray
    n: IntArray
    total: IntArray
    row: IntArray

    def take(self, rows: IntArray | npt.NDArray[np.bool_]) -> ProfileRows:
        """A selection of the profiles."""
        return ProfileRows(*(getattr(self, f.name)[rows] for f in fields(self)))

    def __len__(self) -> int:
        return len(self.ts)


@dataclass(frozen=True)
class PartStacks:
    """The location-level trie of one part; `trie.symbol` is a location, -1 at the root."""

    trie: Trie
    node_of_stack: NumberArray
    stack_id: U64Array


@dataclass(frozen=True)
class Symbols:
    """Locations, functions and mappings of a block as arrays; lines are leaf first."""

    location_id: U64Array
    address: U64Array
    mapping: IntArray
    line_function: Ragged
    line_number: IntArray
    display: IntArray
    function_name: pa.Array
    filename: pa.Array
    mapping_filename: pa.Array


@dataclass(frozen=True)
class RollupRuns:
    """The buckets of one part in a rollup, in stored order: `first` has the first row of each, and the end of all."""

    type: IntArray
    bucket: IntArray
    first: IntArray


NoteRead = Callable[[str, int, int], None]
"""Takes the table that was read, the rows, and the bytes of its file."""


@dataclass
class _Held:
    """The pieces that were read of a block, and their size."""

    pieces: dict[tuple[str, int], Any] = field(default_factory=dict)
    size_bytes: int = 0


class OpenBlock:
    """One block and what was read of it, `held_bytes` in all. Safe for several threads.

    Each piece is read at most once at a time.
    """

    def __init__(self, block: Block) -> None:
        self.block = block
        # Tombstones up to this catalog version do not concern it.
        self.applied = block.meta.applied
        self._lock = RLock()
        self._held = _Held()
        self.note_read: NoteRead | None = None
        """Told of what is read around the block, where somebody asks."""

    @property
    def held_bytes(self) -> int:
        """The size of what was read and is kept."""
        return self._held.size_bytes

    def watched(self, block: Block, note_read: NoteRead) -> Self:
        """The same open block, for one question whose reads go through `block` and are told. What is kept is shared."""
        view = copy(self)
        view.block, view.note_read = block, note_read
        return view

    @property
    def meta(self) -> BlockMeta:
        """What the block holds."""
        return self.block.meta

    @property
    def ulid(self) -> str:
        """The block's name."""
        return self.block.meta.ulid

    def once(self, kind: str, make: Callable[[], Any], part: int = 0) -> Any:
        """What `make` gives, which is kept with the block as the piece of this kind."""
        return self._once(kind, part, make)

    def _once(self, kind: str, part: int, read: Callable[[], Any]) -> Any:
        with self._lock:
            if (kind, part) not in self._held.pieces:
                self._held.pieces[kind, part] = piece = read()
                self._held.size_bytes += _size_bytes(piece)
            return self._held.pieces[kind, part]

    @property
    def index(self) -> SeriesIndex:
        """The block's series."""
        index: SeriesIndex = self._once("index", 0, self._read_index)
        return index

    def tree(self, part: int) -> PartTree:
        """The function-level trie of a part."""
        tree: PartTree = self._once("tree", part, lambda: self._read_tree(part))
        return tree

    def stacks(self, part: int) -> PartStacks:
        """The location-level trie of a part."""
        stacks: PartStacks = self._once("stacks", part, lambda: self.read_stacks(part))
        return stacks

    @property
    def function_names(self) -> pa.Array:
        """The names of the block's functions, in byte order: all of its symbols that most questions need."""
        names: pa.Array = self._once("function names", 0, self._read_function_names)
        return names

    @property
    def symbols(self) -> Symbols:
        """The block's symbols."""
        symbols: Symbols = self._once("symbols", 0, self._read_symbols)
        return symbols

    def table(self, name: str, columns: Sequence[str]) -> pa.Table:
        """Columns of one of the small tables, in one chunk."""

        def read() -> pa.Table:
            return self.block.table(name, columns).combine_chunks()

        table: pa.Table = self._once(f"{name} {' '.join(columns)}", 0, read)
        return table

    def profile_ranges(self, rows: IntArray) -> tuple[IntArray, IntArray]:
        """Where the samples of some profiles are: first row and number of rows."""
        every: ProfileRows = self._once("profiles", 0, self._read_profiles)
        return every.start[rows], every.n[rows]

    def profiles(self, series: IntArray, start_ns: int | None, end_ns: int | None) -> ProfileRows:
        """Profiles of the given series (ascending) in `[start_ns, end_ns)`, in stored order."""
        every: ProfileRows = self._once("profiles", 0, self._read_profiles)
        slot = np.searchsorted(series, every.series)
        keep = (
            (slot < len(series)) & (series[np.minimum(slot, len(series) - 1)] == every.series)
            if len(series)
            else np.zeros(len(every), np.bool_)
        )
        if start_ns is not None:
            keep &= every.ts >= start_ns
        if end_ns is not None:
            keep &= every.ts < end_ns
        return every.take(keep)

    def rollup_runs(self, rollup: str, part: int) -> RollupRuns:
        """Where the buckets of a part are in a rollup that it has. Raises `CorruptBlock`."""
        runs: RollupRuns = self._once(rollup, part, lambda: self._read_rollup_runs(rollup, part))
        return runs

    def _read_rollup_runs(self, rollup: str, part: int) -> RollupRuns:
        (span,) = (one.span(part) for one in self.meta.rollups if one.name == rollup)
        table = self.block.table(rollup, ["type", "bucket"], span)
        kind, bucket = (table.column(name).to_numpy().astype(np.int64) for name in ("type", "bucket"))
        is_new = (kind[1:] != kind[:-1]) | (bucket[1:] != bucket[:-1])
        first = np.flatnonzero(np.append(True, is_new)[: len(kind)])
        start = span[0] if span else 0
        return RollupRuns(kind[first], bucket[first], np.append(first, len(kind)) + start)

    def _read_index(self) -> SeriesIndex:
        columns = [
            "part",
            "series_id",
            "type",
            "service_name",
            "profile_type",
            "labels",
            "min_ts",
            "max_ts",
            "profiles",
            "samples",
        ]
        table = self.block.table("index", columns).combine_chunks()
        return SeriesIndex(
            table,
            table.column("part").to_numpy().astype(np.int64),
            table.column("series_id").to_numpy(),
            pc.fill_null(table.column("min_ts"), 0).to_numpy(),
            pc.fill_null(table.column("max_ts"), 0).to_numpy(),
            table.column("profile_type").combine_chunks(),
            *(table.column(name).to_numpy().astype(np.int64) for name in ("type", "profiles")),
        )

    def _read_profiles(self) -> ProfileRows:
        table = self.block.table(
            "profiles", ["series", "ts", "profile_id", "start", "n", "total"]
        ).combine_chunks()
        high, low = id_words(table.column("profile_id").combine_chunks().storage)
        numbers = {
            name: table.column(name).to_numpy().astype(np.int64)
            for name in ("series", "ts", "start", "n", "total")
        }
        return ProfileRows(
            numbers["series"],
            numbers["ts"],
            high,
            low,
            numbers["start"],
            numbers["n"],
            numbers["total"],
            np.arange(len(table)),
        )

    def _read_tree(self, part: int) -> PartTree:
        frames = self.block.part_table("frames", ["parent", "size", "function", "depth", "first"], part)
        nodes = self.block.part_table("stacktraces", ["frame"], part)
        stacks = self.block.part_table("stacks", ["node"], part)
        function = _numbers(frames, "function")
        used = np.zeros(len(self.function_names) + 1, np.bool_)
        used[function] = True
        used[-1] = False
        symbol = np.append(np.cumsum(used[:-1]) - 1, -1).astype(np.int32)
        names = self.function_names.take(pa.array(np.flatnonzero(used)))
        parent, size, depth = (_numbers(frames, name) for name in ("parent", "size", "depth"))
        trie = Trie(parent, symbol[function], size, depth)
        functions = FunctionTree.of(trie, names, frames.column("first").to_numpy())
        frame_of_stack = _numbers(nodes, "frame")[_numbers(stacks, "node")]
        return PartTree((self.ulid, part), functions, frame_of_stack)

    def read_stacks(self, part: int) -> PartStacks:
        """The same for who needs it once: it is not kept."""
        nodes = self.block.part_table("stacktraces", ["parent", "size", "location"], part)
        stacks = self.block.part_table("stacks", ["node", "stack_id"], part)
        parent, size, location = (_numbers(nodes, name) for name in ("parent", "size", "location"))
        trie = Trie(parent, location, size, depths_in(size))
        return PartStacks(trie, _numbers(stacks, "node"), stacks.column("stack_id").to_numpy())

    def _read_function_names(self) -> pa.Array:
        return self.block.table("functions", ["name"]).column("name").combine_chunks()

    def _read_symbols(self) -> Symbols:
        locations = self.block.table(
            "locations", ["location_id", "address", "mapping", "lines"]
        ).combine_chunks()
        functions = self.block.table("functions", ["filename", "synthetic"]).combine_chunks()
        mappings = self.block.table("mappings", ["filename"]).combine_chunks()
        lines = locations.column("lines").combine_chunks()
        mapping = _integers(locations, "mapping")
        return Symbols(
            location_id=locations.column("location_id").to_numpy(),
            address=locations.column("address").to_numpy(),
            mapping=np.where(mapping == NO_ID, -1, mapping),
            line_function=Ragged(
                lines.values.field("function").to_numpy().astype(np.int64),
                lines.offsets.to_numpy().astype(np.int64),
            ),
            line_number=lines.values.field("line").to_numpy(),
            display=_display_functions(
                self.function_names, functions.column("synthetic"), mappings.column("filename"), mapping
            ),
            function_name=self.function_names,
            filename=functions.column("filename").combine_chunks(),
            mapping_filename=mappings.column("filename").combine_chunks(),
        )


def _size_bytes(piece: Any) -> int:
    """What the arrays of a piece hold."""
    if is_dataclass(piece):
        return sum(_size_bytes(getattr(piece, f.name)) for f in fields(piece))
    return int(getattr(piece, "nbytes", 0))


def _display_functions(
    names: pa.Array, synthetic: pa.ChunkedArray, filenames: pa.ChunkedArray, mapping: IntArray
) -> IntArray:
    """For each location the synthetic function that names it when it has no lines; -1 where there is none."""
    rows = np.flatnonzero(synthetic.to_numpy())
    base = pc.replace_substring_regex(filenames, r"^.*/", "")
    shown = pc.binary_join_element_wise("[", base, "]", "").combine_chunks()
    shown = pc.if_else(pc.equal(shown, "[]"), "<unknown>", shown)
    of_location = shown.take(pa.array(mapping, mask=mapping == NO_ID))
    found = pc.index_in(pc.fill_null(of_location, "<unknown>"), value_set=names.take(pa.array(rows)))
    slot = pc.fill_null(found, -1).to_numpy(zero_copy_only=False)
    functions_of_locations: IntArray = np.append(rows, -1)[slot]
    return functions_of_locations


def _integers(table: pa.Table, name: str) -> IntArray:
    values: IntArray = table.column(name).to_numpy().astype(np.int64)
    return values


def _numbers(table: pa.Table, name: str) -> NumberArray:
    """A column of dense ids as it is stored, `NO_ID` as -1. No block that fits on a machine has 2^31 of anything."""
    values: NumberArray = table.column(name).to_numpy().view(np.int32)
    return values
