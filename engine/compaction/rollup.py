"""Rollups of a block that was just written: the values of each part and type by bucket of time and stack.

They are made from the finished samples by a DuckDB of their own, which spills beyond its share of memory. A part for
which a rollup would save little, since few of its profiles fall into one bucket, has none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from ...schema import tables
from ...schema.block import BlockMeta, PartMeta, RollupMeta
from ...schema.times import FIRST_NS
from ..database import DatabaseLimits, Session, connect, query_file
from ..storage.table_files import ROW_GROUP_ROWS, TableWriter

SMALLER = 4
"""A part has a rollup only if that has so many times fewer rows than the part has samples."""

SMALLER_THAN_NARROWER = 2
"""And so many times fewer than its rollup of narrower buckets has, if there is one."""

MEMORY_BYTES = 256 << 20
"""What DuckDB may hold while it groups samples; the rest is spilled."""

_SAMPLES_AT_A_TIME = 4_000_000
_SQL = f"{__package__}.sql"


def write_rollups(directory: Path, meta: BlockMeta) -> BlockMeta:
    """Write the rollups of a block whose other files are in `directory` beside them; returns its metadata with these.

    Raises `Unavailable` when the disk does not take what is spilled, and `OSError` when not what is written.
    """
    parts = [part for part in meta.parts if _is_eligible(part)]
    if not parts:
        return meta
    limits = DatabaseLimits(memory_bytes=MEMORY_BYTES, temp_directory=str(directory / "spilled"))
    with ExitStack() as stack:
        session = stack.enter_context(stack.enter_context(connect(limits)).session())
        writers = {
            name: stack.enter_context(_Rollup(directory / f"{name}.parquet", name, meta.block))
            for name in tables.ROLLUP_WIDTHS_NS
        }
        for together in _batches(parts):
            _roll_up(session, directory, together, writers)
    return replace(meta, rollups=tuple(made for one in writers.values() if (made := one.finished())))


def _is_eligible(part: PartMeta) -> bool:
    """Not a part without samples, nor one of times so early that a bucket would begin before the first time."""
    widest_ns = max(tables.ROLLUP_WIDTHS_NS.values())
    return part.samples[0] < part.samples[1] and part.min_ts >= FIRST_NS + widest_ns


def _batches(parts: Sequence[PartMeta]) -> Iterator[Sequence[PartMeta]]:
    """Neighbours with few samples together, so that many small parts are read at once."""
    together: list[PartMeta] = []
    samples = 0
    for part in parts:
        mine = part.samples[1] - part.samples[0]
        if together and (samples + mine > _SAMPLES_AT_A_TIME or part.part != together[-1].part + 1):
            yield together
            together, samples = [], 0
        together.append(part)
        samples += mine
    yield together


def _roll_up(
    session: Session, directory: Path, parts: Sequence[PartMeta], writers: Mapping[str, _Rollup]
) -> None:
    bounds = {
        "samples": str(directory / "samples.parquet"),
        "index": str(directory / "index.parquet"),
        "first_series": parts[0].series[0],
        "last_series": parts[-1].series[1] - 1,
    }
    most = {part.part: (part.samples[1] - part.samples[0]) // SMALLER for part in parts}
    for number, (name, width_ns) in enumerate(tables.ROLLUP_WIDTHS_NS.items()):
        script = "rollup_wider" if number else "rollup_cells"
        session.run(query_file(_SQL, script), bounds | {"width_ns": width_ns})
        counted = session.arrow(query_file(_SQL, "rollup_rows"))
        cells = dict(zip(*(counted.column(column).to_pylist() for column in ("part", "cells")), strict=True))
        chosen = {part: rows for part, rows in cells.items() if rows is not None and rows <= most[part]}
        if chosen:
            writers[name].write(session, chosen)
        most |= {part: rows // SMALLER_THAN_NARROWER for part, rows in chosen.items()}


class _Rollup:
    """One rollup of a block while it is written; a file that would have no rows is not left behind."""

    def __init__(self, path: Path, name: str, block: int) -> None:
        self._path, self._name, self._block = path, name, block
        self._writer = TableWriter(str(path), name, tables.ROLLUP)
        self._parts: list[tuple[int, int, int]] = []

    def __enter__(self) -> _Rollup:
        self._writer.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._writer.__exit__(*error)  # type: ignore[arg-type]
        if not self._parts:
            self._path.unlink()

    def write(self, session: Session, cells: Mapping[int, int]) -> None:
        """Take the rows of some parts, which have so many each."""
        first = self._writer.rows
        query = query_file(_SQL, "rollup_of_parts")
        pieces = session.pieces(query, {"parts": list(cells), "block": self._block}, ROW_GROUP_ROWS)
        self._writer.write_part(
            (pa.Table.from_batches([piece]).cast(tables.ROLLUP) for piece in pieces), sum(cells.values())
        )
        for part, rows in cells.items():
            self._parts.append((part, first, first + rows))
            first += rows
        assert first == self._writer.rows

    def finished(self) -> RollupMeta | None:
        """What the metadata says of it; None when no part has one."""
        if not self._parts:
            return None
        return RollupMeta(
            self._name, tables.ROLLUP_WIDTHS_NS[self._name], self._writer.rows, tuple(self._parts)
        )
