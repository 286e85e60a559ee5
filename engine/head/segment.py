"""A block in memory of what the head collected, whose tries are built when a question needs them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from threading import RLock

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ...schema.block import BlockMeta
from ..query.function_tree import PartTree
from ..query.opened import OpenBlock
from ..storage.layout import TRIES, BlockTables, LaidOut
from .growing_tree import GrowingTree, GrowingTrees, NamedPaths, Nodes

IntArray = npt.NDArray[np.int64]


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

    def place_stacks(self, part: int, tree: GrowingTree) -> Nodes:
        """The node of a growing tree that each stack of a part ends at, after it grew where it lacks some.

        Raises `CorruptBlock` when a location is referred to and is not there.
        """
        tries = self._laid_out.tries

        def paths_of(stacks: IntArray) -> NamedPaths:
            return NamedPaths(tries.name_paths(part, stacks), self._laid_out.names)

        return tree.nodes_of(tries.rows_of_stacks(part), paths_of)

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


class OpenSegment(OpenBlock):
    """A segment to ask, whose parts share call trees with those of the other segments of their generation."""

    def __init__(self, block: SegmentBlock, trees: GrowingTrees) -> None:
        super().__init__(block)
        self._segment = block
        self._trees = trees

    def tree(self, part: int) -> PartTree:
        """The function-level tree of a part, with nodes that other segments need."""
        facts = self.meta.parts[part]
        growing = self._trees.of(facts.service_name, facts.name)
        return growing.part(
            self._once("nodes of stacks", part, lambda: self._segment.place_stacks(part, growing))
        )
