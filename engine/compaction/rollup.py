"""Rollups of a block that was just written: the values of each part and type by bucket of time and stack.

They are made from the finished samples. A part for which a rollup would save little, since few of its profiles fall
into one bucket, has none.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType

import pyarrow as pa

from ...schema import tables
from ...schema.block import BlockMeta, PartMeta, RollupMeta
from ...schema.times import FIRST_NS
from ..storage.numbering import repeated
from ..storage.table_files import TableWriter
from .rollup_cells import IN_WIDE, MOST_CELLS, WIDE_NS, Profiles, cells_of
from .row_groups import RowGroups
from .waiting_rows import WaitingRows

SMALLER = 4
"""A part has a rollup only if that has so many times fewer rows than the part has samples."""

SMALLER_THAN_NARROWER = 2
"""And so many times fewer than its rollup of narrower buckets has, if there is one."""

_NARROW, _WIDE = tables.ROLLUP_WIDTHS_NS
_TOO_LARGE = 2.0**62
"""What the sizes of all values of a part may add up to, so that no sum overflows."""


def write_rollups(directory: Path, meta: BlockMeta) -> BlockMeta:
    """Write the rollups of a block whose other files are in `directory` beside them; returns its metadata with these.

    Raises `OSError` when the disk does not take them.
    """
    parts = [part for part in meta.parts if _is_eligible(part)]
    if not parts:
        return meta
    (kinds,) = (index.read(0, index.rows)[0] for index in [RowGroups(directory / "index.parquet", ["type"])])
    profiles = RowGroups(directory / "profiles.parquet", ["series", "ts", "n"])
    samples = RowGroups(directory / "samples.parquet", ["stack", "value"])
    with ExitStack() as stack:
        writers = {
            name: stack.enter_context(_Rollup(directory / f"{name}.parquet", name, meta.block))
            for name in tables.ROLLUP_WIDTHS_NS
        }
        for part in parts:
            series, ts, n = profiles.read(*part.profiles)
            _roll_up(part, Profiles(kinds[series], ts, n, part.samples[0]), samples, writers)
    return replace(meta, rollups=tuple(made for one in writers.values() if (made := one.finished())))


def _is_eligible(part: PartMeta) -> bool:
    """Not a part without samples, with more stacks than fit, or of times before which no bucket can begin."""
    stacks = part.stacks[1] - part.stacks[0]
    fits = stacks * IN_WIDE <= MOST_CELLS and part.min_ts >= FIRST_NS + WIDE_NS
    return part.samples[0] < part.samples[1] and fits


def _roll_up(part: PartMeta, profiles: Profiles, samples: RowGroups, writers: Mapping[str, _Rollup]) -> None:
    """Write the rollups that are worth having of a part."""
    most = (part.samples[1] - part.samples[0]) // SMALLER
    narrow, wide = (WaitingRows(writer.path.with_suffix(".waiting"), most) for writer in writers.values())
    size = 0.0
    for cells in cells_of(profiles, samples, part.stacks[1] - part.stacks[0]):
        size += cells.size
        if narrow.is_worth_it:
            narrow.add(cells.narrow())
        wide.add(cells.wide())
        if size >= _TOO_LARGE or not wide.is_worth_it:
            break
    if size < _TOO_LARGE:
        if narrow.is_worth_it:
            writers[_NARROW].write(part.part, narrow)
        if wide.is_worth_it and not (narrow.is_worth_it and wide.rows * SMALLER_THAN_NARROWER > narrow.rows):
            writers[_WIDE].write(part.part, wide)
    narrow.drop()
    wide.drop()


class _Rollup:
    """One rollup of a block while it is written; a file that would have no rows is not left behind."""

    def __init__(self, path: Path, name: str, block: int) -> None:
        self.path, self._name, self._block = path, name, block
        self._writer = TableWriter(str(path), name, tables.ROLLUP)
        self._parts: list[tuple[int, int, int]] = []

    def __enter__(self) -> _Rollup:
        self._writer.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.__exit__(kind, error, trace)
        if not self._parts:
            self.path.unlink()

    def write(self, part: int, waiting: WaitingRows) -> None:
        """Take the rows of a part."""
        first = self._writer.rows
        self._writer.write_part((self._stored(part, piece) for piece in waiting.pieces()), waiting.rows)
        self._parts.append((part, first, self._writer.rows))

    def _stored(self, part: int, piece: pa.Table) -> pa.Table:
        columns = [
            repeated(self._block, len(piece), pa.uint64()),
            repeated(part, len(piece), pa.uint32()),
            *piece.columns,
        ]
        return pa.table(columns, schema=tables.ROLLUP)

    def finished(self) -> RollupMeta | None:
        """What the metadata says of it; None when no part has one."""
        if not self._parts:
            return None
        return RollupMeta(
            self._name, tables.ROLLUP_WIDTHS_NS[self._name], self._writer.rows, tuple(self._parts)
        )
