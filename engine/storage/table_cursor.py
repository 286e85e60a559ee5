"""Read one Parquet file from its beginning to its end, a few rows at a time, decoding each row once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from .table_files import row_group_starts

BATCH_ROWS = 32_768
"""Rows that are decoded at a time: what a cursor holds beyond what it was asked for."""

_BUFFER_BYTES = 65_536
"""Of each column's file bytes that are read at a time: a row group would be read whole otherwise."""


class TableCursor:
    """Some columns of one file. What is asked for should begin where the last answer ended, or later.

    Raises `pyarrow.ArrowInvalid` and `OSError` where the file does not hold.
    """

    def __init__(self, path: str, columns: Sequence[str]) -> None:
        # Imported where files are read, which blocks in memory are not.
        import pyarrow.parquet as pq

        self._columns = list(columns)
        self._file: Any = pq.ParquetFile(path, pre_buffer=False, buffer_size=_BUFFER_BYTES)
        self._starts = row_group_starts(self._file.metadata)
        self._held: list[pa.RecordBatch] = []
        self._begin = self._end = 0
        self._coming: Iterator[pa.RecordBatch] = iter(())
        self._go_to(0)

    def read(self, first: int, last: int) -> pa.Table:
        """The rows `[first, last)`, of which there is at least one."""
        if first < self._begin or self._group(first) > self._group(self._end):
            self._go_to(first)
        while self._end < last:
            self._drop_before(first)
            batch = next(self._coming, None)
            if batch is None:
                raise pa.ArrowInvalid(f"has {self._end} rows, and {last} were asked for")
            self._held.append(batch)
            self._end += len(batch)
            if self._end == self._starts[-1]:
                # Its decoders take more than a small table itself.
                self._coming = iter(())
        self._drop_before(first)
        table = pa.Table.from_batches(self._held).slice(first - self._begin, last - first)
        self._drop_before(last)
        return table

    def _group(self, row: int) -> int:
        """The row group that a row is in."""
        return int(np.searchsorted(self._starts, row, side="right")) - 1

    def _go_to(self, row: int) -> None:
        group = self._group(row)
        self._held = []
        self._begin = self._end = int(self._starts[group])
        groups = range(group, len(self._starts) - 1)
        self._coming = self._file.iter_batches(
            BATCH_ROWS, row_groups=list(groups), columns=self._columns, use_threads=False
        )

    def _drop_before(self, row: int) -> None:
        """Forget what lies before a row."""
        while self._held and self._begin + len(self._held[0]) <= row:
            self._begin += len(self._held.pop(0))
