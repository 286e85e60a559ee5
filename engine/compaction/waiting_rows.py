"""Rows of a rollup of one part, which wait until it is known whether there are few enough: many of them in a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from ...schema import tables

HELD_ROWS = 1 << 20
"""Rows that wait in memory, 22 bytes each; with more, all go to the file."""

_COLUMNS = [tables.ROLLUP.field(name) for name in ("type", "bucket", "stack", "value")]
SCHEMA = pa.schema(_COLUMNS)
"""What a row is beside its block and part."""


class WaitingRows:
    """Takes rows, and gives them back in the same order, as long as they are not more than `most`."""

    def __init__(self, path: Path, most: int) -> None:
        """`path` is where the file goes, which is gone after `drop`."""
        self.rows = 0
        self._path, self._most = path, most
        self._held: list[pa.Table] = []
        self._writer: pa.ipc.RecordBatchFileWriter | None = None

    @property
    def is_worth_it(self) -> bool:
        """Whether there are few enough."""
        return self.rows <= self._most

    def add(self, piece: pa.Table) -> None:
        """Take more; all are forgotten when there are too many. Raises `OSError` when the disk does not take them."""
        if not self.is_worth_it:
            return
        self.rows += len(piece)
        if not self.is_worth_it:
            self.drop()
            return
        self._held.append(piece)
        if self._writer is None and self.rows > HELD_ROWS:
            self._writer = pa.ipc.new_file(str(self._path), SCHEMA)
        if self._writer is not None:
            for one in self._held:
                self._writer.write_table(one)
            self._held = []

    def pieces(self) -> Iterator[pa.Table]:
        """What was taken; nothing more may be added."""
        if self._writer is None:
            yield from self._held
            return
        self._writer.close()
        with pa.OSFile(str(self._path)) as file, pa.ipc.open_file(file) as reader:
            for number in range(reader.num_record_batches):
                yield pa.Table.from_batches([reader.get_batch(number)])

    def drop(self) -> None:
        """Forget all, and remove the file."""
        self._held = []
        if self._writer is not None:
            self._writer.close()
            self._writer = None
            self._path.unlink()
