"""Numeric columns of a Parquet file, read forwards by runs of rows; neighbours that share a row group decode it once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..storage.table_files import row_group_starts

Columns = tuple[npt.NDArray[np.integer], ...]


class RowGroups:
    """Some columns of one file. Not thread-safe."""

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        # Imported where files are read or written.
        import pyarrow.parquet as pq

        self._file = pq.ParquetFile(path)
        self._columns = list(columns)
        self._starts = row_group_starts(self._file.metadata)
        self._held: tuple[int, Columns] = -1, ()

    @property
    def rows(self) -> int:
        """How many there are."""
        return int(self._starts[-1])

    def pieces(self, first: int, last: int) -> Iterator[tuple[int, Columns]]:
        """The rows from `first` up to `last`, a row group at a time: where each piece begins, and its columns."""
        group = int(np.searchsorted(self._starts, first, side="right")) - 1
        while first < last:
            start, end = int(self._starts[group]), min(int(self._starts[group + 1]), last)
            if first < end:
                yield first, tuple(column[first - start : end - start] for column in self._group(group))
                first = end
            group += 1

    def read(self, first: int, last: int) -> list[npt.NDArray[np.int64]]:
        """The same in one piece."""
        pieces = [piece for _, piece in self.pieces(first, last)]
        empty = [np.zeros(0, np.int64) for _ in self._columns]
        columns = zip(empty, *pieces, strict=True)
        return [np.concatenate(column).astype(np.int64) for column in columns]

    def _group(self, number: int) -> Columns:
        if self._held[0] != number:
            table = self._file.read_row_group(number, self._columns, use_threads=False)
            self._held = number, tuple(table.column(name).to_numpy() for name in self._columns)
        return self._held[1]
