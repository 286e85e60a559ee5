"""A block in memory of what the head collected, whose tries are built when a question needs them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from threading import RLock

import pyarrow as pa

from ...schema.block import BlockMeta
from ..storage.layout import TRIES, BlockTables, LaidOut


class SegmentBlock:
    """A `Block`. Safe for several threads: each part's tries, and all of them, are built once."""

    def __init__(self, laid_out: LaidOut) -> None:
        self._laid_out = laid_out
        self._lock = RLock()
        self._parts: dict[int, Mapping[str, pa.Table]] = {}
        self._whole: BlockTables | None = None

    @property
    def meta(self) -> BlockMeta:
        """What the block holds."""
        return self._laid_out.meta

    @cached_property
    def _laid_out_bytes(self) -> int:
        return self._laid_out.size_bytes

    @property
    def size_bytes(self) -> int:
        """About what is held in memory."""
        if self._whole is not None:
            return self._whole.size_bytes
        built = [table for tables in list(self._parts.values()) for table in tables.values()]
        return self._laid_out_bytes + sum(int(table.nbytes) for table in built)

    def table(self, name: str, columns: Sequence[str], rows: tuple[int, int] | None = None) -> pa.Table:
        """Columns of one table, all rows or a half-open range."""
        if name == "samples":
            return self._laid_out.samples(columns, rows)
        tables = self.tables if name in TRIES else self._laid_out.tables
        table = tables[name].select(list(columns))
        return table if rows is None else table.slice(rows[0], rows[1] - rows[0])

    def part_table(self, name: str, columns: Sequence[str], part: int) -> pa.Table:
        """Columns of one part's rows of a table of its tries."""
        with self._lock:
            if part not in self._parts:
                self._parts[part] = self._laid_out.part_tables(part)
            return self._parts[part][name].select(list(columns))

    def path(self, name: str) -> str | None:
        """None: there is no file."""
        return None

    @property
    def tables(self) -> Mapping[str, pa.Table]:
        """All tables by name."""
        with self._lock:
            if self._whole is None:
                self._whole = self._laid_out.finish()
            return self._whole.tables
