"""What must hold in the rollups of a block: orders, ids in range, and the sums of samples and of profiles."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ...schema import tables
from ...schema.block import PartMeta, RollupMeta
from .blocks import Block

IntArray = npt.NDArray[np.int64]

_WINDOW_ROWS = 1 << 22
_TYPE_BITS = 40
"""Bucket numbers are below 2^26 in size: a type and a bucket share one number."""


def broken_rollups(block: Block) -> Iterator[str]:
    """What does not hold, where nothing is wrong with the rest. Raises `CorruptBlock` for a file that cannot be read."""
    listed = {f"{rollup.name}.parquet" for rollup in block.meta.rollups}
    for name in tables.ROLLUP_WIDTHS_NS:
        if f"{name}.parquet" in block.meta.files and f"{name}.parquet" not in listed:
            yield f"{name}: it has a file, and meta.json does not list it"
    for rollup in block.meta.rollups:
        broken = [*_columns(block, rollup)] or [*_spans(block, rollup)]
        yield from broken
        if not broken:
            for part, first, last in rollup.parts:
                problems = _part(block, rollup, block.meta.parts[part], (first, last))
                yield from (f"{problem} in part {part}" for problem in problems)


def _columns(block: Block, rollup: RollupMeta) -> Iterator[str]:
    found = block.table(rollup.name, tables.ROLLUP.names, (0, 1)).schema
    for field in tables.ROLLUP:
        if field.name not in found.names:
            yield f"{rollup.name}: {field.name} is missing"
        elif found.field(field.name).type != field.type:
            yield f"{rollup.name}: {field.name} is {found.field(field.name).type} and not {field.type}"


def _spans(block: Block, rollup: RollupMeta) -> Iterator[str]:
    """The rows of parts follow each other from the first to the last."""
    table = block.table(rollup.name, ["block", "part"])
    parts = [part for part, _, _ in rollup.parts]
    if parts != sorted(set(parts)) or not set(parts) <= set(range(len(block.meta.parts))):
        yield f"meta.json: the parts of {rollup.name} are not parts of the block in order"
        return
    ends = [0, *chain.from_iterable((first, last) for _, first, last in rollup.parts), len(table)]
    if ends[0::2] != ends[1::2] or ends != sorted(ends) or rollup.rows != len(table):
        yield f"meta.json: the rows of parts are not the {len(table)} rows of {rollup.name}"
        return
    if (table.column("block").to_numpy() != block.meta.block).any():
        yield f"{rollup.name}: block is not {block.meta.block} everywhere"
    lengths = [last - first for _, first, last in rollup.parts]
    if (table.column("part").to_numpy() != np.repeat(np.array(parts, np.int64), lengths)).any():
        yield f"{rollup.name}: part is not that of the metadata"


@dataclass(frozen=True)
class _Cells:
    """The rows of one part: one number for type and bucket together, and one for these and the stack."""

    group: IntArray
    key: IntArray
    value: IntArray
    groups: IntArray
    stacks: int

    @classmethod
    def of(cls, stored: pa.Table, width_ns: int, stacks: int) -> _Cells:
        """As they are stored."""
        kind, bucket, stack, value = (
            stored.column(name).to_numpy().astype(np.int64) for name in ("type", "bucket", "stack", "value")
        )
        group = _grouped(kind, bucket, width_ns)
        groups = np.unique(group)
        return cls(group, np.searchsorted(groups, group) * stacks + stack, value, groups, stacks)

    def rows_of(self, group: IntArray, stack: IntArray) -> IntArray:
        """Where the row for each sample is; -1: there is none."""
        slot = np.minimum(np.searchsorted(self.groups, group), len(self.groups) - 1)
        key = slot * self.stacks + stack
        row = np.minimum(np.searchsorted(self.key, key), len(self.key) - 1)
        return np.where((self.groups[slot] == group) & (self.key[row] == key), row, -1)


def _grouped(kind: IntArray, ts: IntArray, width_ns: int) -> IntArray:
    return (kind << _TYPE_BITS) + ts // width_ns


def _part(block: Block, rollup: RollupMeta, part: PartMeta, span: tuple[int, int]) -> Iterator[str]:
    stored = block.table(rollup.name, ["type", "bucket", "stack", "value"], span)
    stacks = part.stacks[1] - part.stacks[0]
    index = block.table("index", ["type"], part.series).column("type").to_numpy()
    if not len(stored):
        yield f"{rollup.name}: there are no rows"
        return
    broken = False
    for column, is_wrong in (
        ("type", ~np.isin(stored.column("type").to_numpy(), index)),
        ("bucket", stored.column("bucket").to_numpy() % rollup.width_ns != 0),
        ("stack", stored.column("stack").to_numpy() >= stacks),
    ):
        if is_wrong.any():
            broken = True
            what = "not where a bucket begins" if column == "bucket" else "out of range"
            yield f"{rollup.name}: {column} is {what}"
    if broken:
        return
    cells = _Cells.of(stored, rollup.width_ns, stacks)
    if (np.diff(cells.group) < 0).any() or (np.diff(cells.key) <= 0).any():
        yield f"{rollup.name}: not sorted by type, bucket and stack, each once"
        return
    yield from (f"{rollup.name}: {problem}" for problem in _sums(block, part, cells, rollup.width_ns))


def _sums(block: Block, part: PartMeta, cells: _Cells, width_ns: int) -> Iterator[str]:
    """Each row is the sum of its samples, and the rows of a bucket that of its profiles."""
    first_series = part.series[0]
    kinds = block.table("index", ["type"], part.series).column("type").to_numpy().astype(np.int64)
    found, is_used = np.zeros(len(cells.value), np.int64), np.zeros(len(cells.value), np.bool_)
    for start in range(*part.samples, _WINDOW_ROWS):
        rows = start, min(start + _WINDOW_ROWS, part.samples[1])
        samples = block.table("samples", ["series", "ts", "stack", "value"], rows)
        series, ts, stack, value = (column.to_numpy().astype(np.int64) for column in samples.columns)
        if (series - first_series >= len(kinds)).any() or (series < first_series).any():
            return
        row = cells.rows_of(_grouped(kinds[series - first_series], ts, width_ns), stack)
        if (row < 0).any():
            yield "a sample has no row"
            return
        is_used[row] = True
        np.add.at(found, row, value)
    if not is_used.all():
        yield "a row has no samples"
    if (found != cells.value).any():
        yield "value is not the sum of the samples"
    if not _adds_up(block, part, cells, kinds, width_ns):
        yield "value does not add up to the totals of the profiles"


def _adds_up(block: Block, part: PartMeta, cells: _Cells, kinds: IntArray, width_ns: int) -> bool:
    """Whether the rows of each type and bucket have the sum of its profiles."""
    profiles = block.table("profiles", ["series", "ts", "total"], part.profiles)
    series, ts, total = (column.to_numpy().astype(np.int64) for column in profiles.columns)
    group = _grouped(kinds[series - part.series[0]], ts, width_ns)
    # A bucket whose profiles are all empty has no rows.
    has_rows = np.isin(group, cells.groups)
    if total[~has_rows].any():
        return False
    sums = np.zeros((2, len(cells.groups)), np.int64)
    np.add.at(sums[0], np.searchsorted(cells.groups, cells.group), cells.value)
    np.add.at(sums[1], np.searchsorted(cells.groups, group[has_rows]), total[has_rows])
    return bool((sums[0] == sums[1]).all())
