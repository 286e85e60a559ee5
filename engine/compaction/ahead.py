"""A block that is read once from its beginning to its end, and work that is done while its predecessor is used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pyarrow as pa

from ...schema.block import BlockMeta
from ...schema.errors import CorruptBlock
from ..execution.start import has_one_core
from ..storage.blocks import Block
from ..storage.table_cursor import TableCursor

Item = TypeVar("Item")


def one_ahead(items: Iterator[Item]) -> Iterator[Item]:
    """The items, of which none is None; the next is made in another thread while one is used, where a core is free."""
    if has_one_core():
        yield from items
        return
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = thread.submit(next, items, None)
            yield item


class AheadBlock:
    """A `Block` whose tables are asked for in the order of their rows; each set of columns by one thread at a time."""

    def __init__(self, block: Block) -> None:
        self._block = block
        self._cursors: dict[tuple[str, tuple[str, ...]], TableCursor] = {}

    @property
    def meta(self) -> BlockMeta:
        """What the block holds."""
        return self._block.meta

    def table(self, name: str, columns: Sequence[str], rows: tuple[int, int] | None = None) -> pa.Table:
        """Columns of one table, all rows or a half-open range."""
        path = self._block.path(name)
        if path is None or rows is None or rows[0] >= rows[1]:
            return self._block.table(name, columns, rows)
        key = name, tuple(columns)
        try:
            if key not in self._cursors:
                self._cursors[key] = TableCursor(path, columns)
            return self._cursors[key].read(*rows)
        except (pa.ArrowInvalid, OSError) as error:
            raise CorruptBlock(f"block {self.meta.ulid}: {name}.parquet: {error}") from None

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
