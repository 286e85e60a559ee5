"""Blocks without the profiles that tombstones are about: to every question as if these had never been there.

Rows keep their numbers, and tries and symbols are those of the whole block: what only hidden profiles use has no value
in a call tree, and is not shown. `unused.py` says what that is, for SQL.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ...schema.block import BlockMeta
from ...schema.labels import Matcher, parse_selector
from ...schema.tombstone import Tombstone
from ..storage.blocks import Block
from .function_tree import PartTree
from .opened import NoteRead, OpenBlock, ProfileRows, SeriesIndex

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


def rows_of(block: OpenBlock, tombstone: Tombstone) -> IntArray:
    """The profiles of a block that a tombstone is about, whether or not it concerns the block; ascending."""
    if not tombstone.touches(block.meta.min_ts, block.meta.max_ts):
        return np.zeros(0, np.int64)
    matchers = [*parse_selector(tombstone.selector)]
    if tombstone.profile_type:
        matchers.append(Matcher("__profile_type__", "=", tombstone.profile_type))
    series = block.index.choose(matchers, tombstone.start_ns, tombstone.end_ns)
    return block.profiles(series, tombstone.start_ns, tombstone.end_ns).row


def hidden_rows(block: OpenBlock, tombstones: Iterable[Tombstone]) -> IntArray:
    """The profiles of a block that any of some tombstones is about, ascending."""
    found = [block.once(f"tombstone {one.id}", partial(rows_of, block, one)) for one in tombstones]
    return np.unique(np.concatenate([np.zeros(0, np.int64), *found]))


def without_hidden(block: OpenBlock, tombstones: Sequence[Tombstone]) -> OpenBlock | None:
    """A block without what the tombstones, which concern it, are about; None when nothing else is in it."""
    if not tombstones:
        return block
    rows = hidden_rows(block, tombstones)
    if not len(rows):
        return block
    if len(rows) == block.meta.profiles:
        return None
    key = f"without {' '.join(one.id for one in tombstones)}"
    visible: VisibleBlock = block.once(key, lambda: VisibleBlock(block, rows, key))
    return visible


@dataclass(frozen=True)
class Hidden:
    """Which profiles of a block are hidden, ascending, and the name of this choice. Picklable."""

    key: str
    rows: IntArray


def hide(block: OpenBlock, hidden: Hidden) -> OpenBlock:
    """A block with some profiles hidden, as another process has it."""
    visible: VisibleBlock = block.once(hidden.key, lambda: VisibleBlock(block, hidden.rows, hidden.key))
    return visible


class VisibleBlock(OpenBlock):
    """A block with some profiles hidden. What it reads is kept by the whole block; `key` says which are hidden."""

    def __init__(self, whole: OpenBlock, hidden: IntArray, key: str) -> None:
        super().__init__(whole.block)
        self.whole = whole
        self.hidden = hidden
        self.key = key
        self._index = _index_without(whole, hidden)
        self._meta = _meta_without(whole, hidden, self._index)

    @property
    def meta(self) -> BlockMeta:
        """What the block holds: its counts and times are those of what is visible, its rows and files all."""
        return self._meta

    @property
    def index(self) -> SeriesIndex:
        """The block's series; those without visible profiles have none, at no time."""
        return self._index

    def profiles(self, series: IntArray, start_ns: int | None, end_ns: int | None) -> ProfileRows:
        """Visible profiles of the given series (ascending) in `[start_ns, end_ns)`, in stored order."""
        rows = self.whole.profiles(series, start_ns, end_ns)
        return rows.take(~self._is_hidden(rows))

    def hidden_profiles(self, series: IntArray, start_ns: int | None, end_ns: int | None) -> ProfileRows:
        """The hidden ones."""
        rows = self.whole.profiles(series, start_ns, end_ns)
        return rows.take(self._is_hidden(rows))

    def is_shown(self, first: int, last: int) -> BoolArray:
        """Which of a range of profile rows are visible."""
        shown = np.ones(last - first, np.bool_)
        low, high = np.searchsorted(self.hidden, (first, last))
        shown[self.hidden[low:high] - first] = False
        return shown

    def _is_hidden(self, rows: ProfileRows) -> BoolArray:
        place = np.searchsorted(self.hidden, rows.row)
        hidden: BoolArray = self.hidden[np.minimum(place, len(self.hidden) - 1)] == rows.row
        return hidden

    def tree(self, part: int) -> PartTree:
        """The function-level trie of a part."""
        return self.whole.tree(part)

    def watched(self, block: Block, note_read: NoteRead) -> Self:
        """The same, for one question whose reads go through `block` and are told."""
        view = super().watched(block, note_read)
        view.whole = self.whole.watched(block, note_read)
        return view

    def _once(self, kind: str, part: int, read: Callable[[], Any]) -> Any:
        return self.whole.once(kind, read, part)


def _visible(whole: OpenBlock, hidden: IntArray) -> ProfileRows:
    rows = whole.profiles(np.arange(len(whole.index.series_id)), None, None)
    keep = np.ones(len(rows), np.bool_)
    keep[hidden] = False
    return rows.take(keep)


def _index_without(whole: OpenBlock, hidden: IntArray) -> SeriesIndex:
    index, rows = whole.index, _visible(whole, hidden)
    count = len(index.series_id)
    profiles = np.bincount(rows.series, minlength=count)
    min_ts, max_ts = np.full(count, np.iinfo(np.int64).max), np.full(count, np.iinfo(np.int64).min)
    np.minimum.at(min_ts, rows.series, rows.ts)
    np.maximum.at(max_ts, rows.series, rows.ts)
    min_ts[profiles == 0] = max_ts[profiles == 0] = 0
    samples = np.zeros(count, np.int64)
    np.add.at(samples, rows.series, rows.n)
    columns: Mapping[str, IntArray] = {
        "min_ts": min_ts,
        "max_ts": max_ts,
        "profiles": profiles,
        "samples": samples,
    }
    table = index.table
    for name, values in columns.items():
        at = table.schema.get_field_index(name)
        field = table.schema.field(at)
        table = table.set_column(at, field, pa.array(values, field.type))
    return replace(index, table=table, min_ts=min_ts, max_ts=max_ts, profiles=profiles)


def _meta_without(whole: OpenBlock, hidden: IntArray, index: SeriesIndex) -> BlockMeta:
    used = index.table.column("profiles").to_numpy() > 0
    samples = int(index.table.column("samples").to_numpy().sum())
    return replace(
        whole.meta,
        profiles=whole.meta.profiles - len(hidden),
        samples=samples,
        series=int(used.sum()),
        min_ts=int(index.min_ts[used].min()),
        max_ts=int(index.max_ts[used].max()),
    )
