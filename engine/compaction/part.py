"""One part of several blocks merged into one, a piece at a time: memory holds its profiles and stacks, and few samples.

A part is the profiles of one service and one name. They are in one order in every block, so that the samples of a run
of profiles are a run of rows in each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ...schema import tables
from ...schema.errors import CorruptBlock
from ..query.in_use import in_use
from ..query.opened import OpenBlock, PartStacks
from ..query.stack_totals import expand_ranges
from ..query.visible import VisibleBlock
from ..storage.sample_rows import id_words, sorted_rows
from ..trie import NumberArray, numbers_to, offsets_of
from .tries import MergedTries, TrieMerge, only_used, pruned, with_symbols

IntArray = npt.NDArray[np.int64]
U64Array = npt.NDArray[np.uint64]

PIECE_SAMPLES = 983_040
"""Samples that are merged at a time: two row groups."""

HELD_SAMPLES = 16 << 20
"""Samples of a part at most whose stacks are kept, in 4 bytes each, between counting and merging them."""


@dataclass(frozen=True)
class PartInput:
    """The part of one block, and the numbers in the merged one of the block's series, label sets and locations."""

    block: OpenBlock
    part: int
    series: IntArray
    labelsets: IntArray
    locations: NumberArray

    @property
    def profiles(self) -> pa.Table:
        """Its visible profiles as they are stored."""
        first, last = self.block.meta.parts[self.part].profiles
        stored = self.block.block.table("profiles", tables.PROFILES.names, (first, last))
        if isinstance(self.block, VisibleBlock):
            return stored.filter(pa.array(self.block.is_shown(first, last)))
        return stored

    @property
    def stacks(self) -> PartStacks:
        """Its stacks, over the locations of the merged block."""
        stacks = self.block.read_stacks(self.part)
        if isinstance(self.block, VisibleBlock):
            # What is not used may have locations that the merged block lacks.
            stacks = only_used(stacks, in_use(self.block).stacks[self.part])
        return with_symbols(stacks, self.locations)


@dataclass(frozen=True)
class _Kept:
    """The profiles of the merged part in order: the input of each, its row among those of all inputs, its samples."""

    source: IntArray
    row: IntArray
    series: IntArray
    ts: IntArray
    start: IntArray
    n: IntArray
    total: IntArray

    def __len__(self) -> int:
        return len(self.row)

    def take(self, rows: IntArray) -> _Kept:
        return _Kept(*(getattr(self, field.name)[rows] for field in fields(self)))

    @classmethod
    def of(cls, stored: pa.Table, source: IntArray, series: IntArray) -> _Kept:
        """Of profiles that come several times, the one of the first input."""
        ts, start, n, total = (
            stored.column(name).to_numpy().astype(np.int64) for name in ("ts", "start", "n", "total")
        )
        every = cls(source, np.arange(len(source)), series, ts, start, n, total)
        key = (series, ts, *id_words(stored.column("profile_id").combine_chunks().storage))
        order = np.lexsort((source, *reversed(key)))
        is_new = np.append(True, np.logical_or.reduce([k[order][1:] != k[order][:-1] for k in key]))
        return every.take(order[is_new[: len(order)]])


class PartMerge:
    """Merges one part. `pieces` is to be read once, to its end.

    `trie` is over the locations of the merged block; of each stack, by number, `node_of_stack` says where it ends in it,
    and `stack_ids` what it is.
    """

    def __init__(self, inputs: Sequence[PartInput], extras: Sequence[str], location_ids: U64Array) -> None:
        """`extras` are the nullable columns of samples that the merged block has, `location_ids` its locations."""
        self._inputs = inputs
        self._extras = extras
        stored = [one.profiles for one in inputs]
        self._stored = pa.concat_tables(stored).combine_chunks()
        lengths = [len(one) for one in stored]
        series = [
            one.series[table.column("series").to_numpy()] for one, table in zip(inputs, stored, strict=True)
        ]
        self._kept = _Kept.of(
            self._stored, np.repeat(np.arange(len(inputs)), lengths), np.concatenate(series)
        )
        self._n = np.zeros(len(self._kept), np.int64)
        self._offsets = offsets_of(self._kept.n)
        self._held = np.zeros(self.most_samples, np.uint32) if self.most_samples <= HELD_SAMPLES else None
        tries = TrieMerge(location_ids)
        for one in inputs:
            tries.add(one.block.ulid, one.stacks)
        self._number_stacks(tries.finish())

    @property
    def most_samples(self) -> int:
        """How many there will be at most: rows that are equal become one."""
        return int(self._kept.n.sum())

    def _number_stacks(self, tries: MergedTries) -> None:
        """Number the stacks that are used, the most used first, and keep what they need of the trie."""
        uses, order = (np.zeros(len(tries.trie), np.int64) for _ in range(2))
        for source, node in reversed(list(enumerate(tries.node_of_stack))):
            # Of equal use, as the first input has them: stacks that came together pack better side by side.
            order[node] = source << 32 | np.arange(len(node))
            # Stacks that only hidden profiles use share the node of another.
            np.add.at(uses, node, self._uses(source, len(node)))
        by_use = np.lexsort((order, -uses))[: np.count_nonzero(uses)]
        number = np.full(len(uses), -1, np.int32)
        number[by_use] = numbers_to(len(by_use))
        self._number_of = [number[node] for node in tries.node_of_stack]
        self.stack_ids = tries.path_hash[by_use]
        self.trie, place = pruned(tries.trie, uses > 0)
        self.node_of_stack = place[by_use]

    def _uses(self, source: int, stacks: int) -> IntArray:
        """How often each stack of an input is in the samples that are merged; these are held where there is room."""
        uses = np.zeros(stacks, np.int64)
        mine = np.flatnonzero(self._kept.source == source)
        for run in _runs(self._kept.n[mine]):
            profiles = self._kept.take(mine[run])
            stack = _samples_of(self._inputs[source], ("stack",), profiles).column("stack").to_numpy()
            uses += np.bincount(stack, minlength=stacks)
            if self._held is not None:
                self._held[self._rows_of(mine[run])] = stack
        return uses

    def _rows_of(self, profiles: IntArray) -> IntArray:
        """Where the samples of some profiles are among those of all, before equal ones are joined."""
        rows, _ = expand_ranges(self._offsets[profiles], self._kept.n[profiles])
        return rows

    def pieces(self) -> Iterator[pa.Table]:
        """The samples in their final order: `profile`, which counts the part's, `stack`, `value` and the extras."""
        for run in _runs(self._kept.n):
            yield self._piece(run)

    def _piece(self, run: slice) -> pa.Table:
        first = int(self._offsets[run.start])
        owner = np.repeat(np.arange(run.start, run.stop), self._kept.n[run])
        stack, value = (np.zeros(len(owner), np.int64) for _ in range(2))
        places, extras = [np.zeros(0, np.int64)], [self._no_extras]
        for source, one in enumerate(self._inputs):
            mine = np.flatnonzero(self._kept.source[run] == source) + run.start
            if len(mine):
                rows = self._rows_of(mine)
                samples = _samples_of(one, self._columns, self._kept.take(mine))
                held = samples.column("stack").to_numpy() if self._held is None else self._held[rows]
                stack[rows - first] = self._number_of[source][held]
                value[rows - first] = samples.column("value").to_numpy()
                places.append(rows - first)
                extras.append(self._extras_of(source, samples))
        found = {}
        if self._extras:
            by_place = pa.array(np.argsort(np.concatenate(places)))
            table = pa.concat_tables(extras).combine_chunks()
            found = {name: table.column(name).combine_chunks().take(by_place) for name in self._extras}
        owner, stack, value, found = sorted_rows(owner, stack, value, found)
        self._check(run, owner, value)
        return pa.table({"profile": owner, "stack": stack.astype(np.uint32), "value": value, **found})

    @property
    def _columns(self) -> Sequence[str]:
        """What is read of samples when they are merged."""
        return [*(("stack",) if self._held is None else ()), "value", *self._extras]

    @property
    def _no_extras(self) -> pa.Table:
        return pa.schema([tables.SAMPLE_EXTRAS.field(name) for name in self._extras]).empty_table()

    def _extras_of(self, source: int, samples: pa.Table) -> pa.Table:
        """All extras of the merged part under its numbers, null where the input has none."""
        columns = {}
        for name in self._extras:
            kind = tables.SAMPLE_EXTRAS.field(name).type
            column = samples.column(name) if name in samples.column_names else pa.nulls(len(samples), kind)
            if name == "labelset" and name in samples.column_names:
                column = pa.array(self._inputs[source].labelsets, kind).take(column.combine_chunks())
            columns[name] = column
        return pa.table(columns, schema=self._no_extras.schema)

    def _check(self, run: slice, owner: IntArray, value: IntArray) -> None:
        """Remember how many samples each profile has now. Raises `CorruptBlock` where they do not add up."""
        local = owner - run.start
        kept = self._kept.take(np.arange(run.start, run.stop))
        self._n[run] = np.bincount(local, minlength=len(kept))
        sums = np.zeros(len(kept), np.int64)
        np.add.at(sums, local, value)
        wrong = np.flatnonzero(sums != kept.total)
        if len(wrong):
            first = int(wrong[0])
            ulid = self._inputs[int(kept.source[first])].block.ulid
            raise CorruptBlock(
                f"block {ulid}: the samples of a profile at {int(kept.ts[first])} ns add up to {int(sums[first])}, "
                f"and it says {int(kept.total[first])}"
            )

    @property
    def samples_of_profiles(self) -> IntArray:
        """How many samples each profile has, once all pieces were read."""
        return self._n

    @property
    def series(self) -> IntArray:
        """The series of each profile, in order."""
        return self._kept.series

    @property
    def ts(self) -> IntArray:
        """The time of each profile, in order."""
        return self._kept.ts

    def profiles(self) -> pa.Table:
        """The profiles as they are stored, but for the numbers of parts, series and samples."""
        return self._stored.take(pa.array(self._kept.row))


def _samples_of(one: PartInput, columns: Sequence[str], profiles: _Kept) -> pa.Table:
    """The samples of some profiles of an input, in their order."""
    known = ("stack", "value", *one.block.meta.sample_extras)
    low, high = int(profiles.start[0]), int(profiles.start[-1] + profiles.n[-1])
    samples = one.block.block.table("samples", [name for name in columns if name in known], (low, high))
    if int(profiles.n.sum()) == len(samples):
        return samples
    rows, _ = expand_ranges(profiles.start - low, profiles.n)
    return samples.take(pa.array(rows))


def _runs(n: IntArray) -> Iterator[slice]:
    """Runs of profiles with about `PIECE_SAMPLES` samples each; a larger profile is one alone."""
    ends = np.cumsum(n)
    first, before = 0, 0
    while first < len(n):
        last = max(int(np.searchsorted(ends, before + PIECE_SAMPLES, side="right")), first + 1)
        yield slice(first, last)
        first, before = last, int(ends[last - 1])
