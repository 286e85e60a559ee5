"""A block whose tables are read once from their beginning to their end, though a part or a few profiles at a time.

A file is decoded by row groups, which small parts share: what is decoded and not asked for yet is kept for the next.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from ...schema.block import BlockMeta
from ..storage.blocks import Block


@dataclass(frozen=True)
class _Held:
    first: int
    last: int
    table: pa.Table


class AheadBlock:
    """A `Block` for one thread that reads `ahead_rows` of a table at a time."""

    def __init__(self, block: Block, ahead_rows: int) -> None:
        self._block = block
        self._ahead_rows = ahead_rows
        self._held: dict[tuple[str, tuple[str, ...]], _Held] = {}

    @property
    def meta(self) -> BlockMeta:
        """What the block holds."""
        return self._block.meta

    def table(self, name: str, columns: Sequence[str], rows: tuple[int, int] | None = None) -> pa.Table:
        """Columns of one table, all rows or a half-open range."""
        if rows is None:
            return self._block.table(name, columns)
        first, last = rows
        key = name, tuple(columns)
        held = self._held.get(key)
        if held is None or first < held.first or last > held.last:
            last_read = max(last, first + self._ahead_rows)
            held = _Held(first, last_read, self._block.table(name, columns, (first, last_read)))
            self._held[key] = held
        return held.table.slice(first - held.first, last - first)

    def part_table(self, name: str, columns: Sequence[str], part: int) -> pa.Table:
        """Columns of one part's rows of `stacks`, `stacktraces` or `frames`."""
        return self.table(name, columns, self.meta.parts[part].trie_rows(name))

    def path(self, name: str) -> str | None:
        """As the block has it."""
        return self._block.path(name)

    @property
    def tables(self) -> Mapping[str, pa.Table] | None:
        """As the block has them."""
        return self._block.tables
