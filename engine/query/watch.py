"""Collects what the execution of one question reads, for who asks: every other question has `UNWATCHED`."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from threading import Lock
from typing import Protocol

import pyarrow as pa

from ...schema.block import BlockMeta
from ...schema.explanation import BlockRead, Explanation, TableRead
from ..storage.blocks import Block, StoredBlock
from .opened import NoteRead, OpenBlock, SeriesIndex
from .plan import BlockScan
from .rollups import Divided

IN_TIME, SERVICE, SERIES = "time", "service", "series"
"""Why a block is not read: nothing of it is in the range, of the services, or of the series that are asked for."""


class Watch(Protocol):
    """What those who answer a question tell."""

    def phase(self, name: str) -> None:
        """What follows is this phase, until the next."""
        ...

    def pruned(self, ulid: str, reason: str) -> None:
        """A block is not read."""
        ...

    def scanned(self, scan: BlockScan, index: SeriesIndex) -> None:
        """A block is read, in one plan."""
        ...

    def copies(self, ulid: str, profiles: int) -> None:
        """Profiles of a block are left out."""
        ...

    def divided(self, ulid: str, divided: Divided) -> None:
        """Parts of a block are read from rollups, from samples, or from both."""
        ...

    def from_samples(self, scan: BlockScan, reason: str) -> None:
        """All of a block is read from samples."""
        ...


class _Unwatched:
    """Nobody asks."""

    def phase(self, name: str) -> None:
        """Not noted."""

    def pruned(self, ulid: str, reason: str) -> None:
        """Not noted."""

    def scanned(self, scan: BlockScan, index: SeriesIndex) -> None:
        """Not noted."""

    def copies(self, ulid: str, profiles: int) -> None:
        """Not noted."""

    def divided(self, ulid: str, divided: Divided) -> None:
        """Not noted."""

    def from_samples(self, scan: BlockScan, reason: str) -> None:
        """Not noted."""


UNWATCHED: Watch = _Unwatched()


class Collector:
    """A `Watch` that remembers. Safe for several threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._phases_ns: dict[str, int] = {}
        self._phase, self._since_ns = "", time.perf_counter_ns()
        self._pruned: dict[str, str] = {}
        self._scanned: dict[str, tuple[int, int, int]] = {}
        self._copies: Counter[str] = Counter()
        self._rollups: dict[str, Counter[str]] = defaultdict(Counter)
        self._samples: dict[str, Counter[str]] = defaultdict(Counter)
        self._tables: dict[str, dict[str, TableRead]] = defaultdict(dict)

    def phase(self, name: str) -> None:
        """What follows is this phase, until the next."""
        now_ns = time.perf_counter_ns()
        with self._lock:
            if self._phase:
                spent_ns = self._phases_ns.get(self._phase, 0)
                self._phases_ns[self._phase] = spent_ns + now_ns - self._since_ns
            self._phase, self._since_ns = name, now_ns

    def pruned(self, ulid: str, reason: str) -> None:
        """A block is not read."""
        with self._lock:
            self._pruned[ulid] = reason

    def scanned(self, scan: BlockScan, index: SeriesIndex) -> None:
        """A block is read. Of several plans, as a diff has two, the larger numbers stay."""
        series = scan.series
        found = len(scan.parts), len(series), int(index.profiles[series].sum())
        with self._lock:
            before = self._scanned.get(scan.ulid, found)
            self._scanned[scan.ulid] = (
                max(before[0], found[0]),
                max(before[1], found[1]),
                max(before[2], found[2]),
            )

    def copies(self, ulid: str, profiles: int) -> None:
        """Profiles of a block are left out."""
        with self._lock:
            self._copies[ulid] = max(self._copies[ulid], profiles)

    def divided(self, ulid: str, divided: Divided) -> None:
        """Parts of a block are read from rollups, from samples, or from both."""
        with self._lock:
            self._rollups[ulid].update(
                name for name, _ in {(one.rollup, one.part) for one in divided.rollups}
            )
            self._samples[ulid].update(reason for _, reason in divided.reasons)

    def from_samples(self, scan: BlockScan, reason: str) -> None:
        """All of a block is read from samples."""
        with self._lock:
            self._samples[scan.ulid][reason] += len(scan.parts)

    def _table_read(self, ulid: str, table: str, rows: int, size_bytes: int) -> None:
        """Rows of a table were read."""
        with self._lock:
            known = self._tables[ulid].get(table, TableRead(table, 0, 0, 0))
            self._tables[ulid][table] = replace(
                known,
                reads=known.reads + 1,
                rows=known.rows + rows,
                size_bytes=known.size_bytes + size_bytes,
            )

    def over(self, blocks: Mapping[str, OpenBlock]) -> dict[str, OpenBlock]:
        """The same blocks, whose reads are collected here; what they hold already stays known."""
        return {ulid: self._watched(block) for ulid, block in blocks.items()}

    def _watched(self, block: OpenBlock) -> OpenBlock:
        def note(table: str, rows: int, size_bytes: int) -> None:
            self._table_read(block.ulid, table, rows, size_bytes)

        return block.watched(WatchedBlock(block.block, note), note)

    def explanation(self, version: int, live: int, blocks: Mapping[str, OpenBlock]) -> Explanation:
        """What was collected: of `live` blocks that there are in files, `blocks` were looked at, and those in memory."""
        self.phase("")
        pruned = Counter(reason for ulid, reason in self._pruned.items() if ulid not in self._scanned)
        in_files = sum(bool(block.meta.files) for block in blocks.values())
        if live > in_files:
            pruned[IN_TIME] += live - in_files
        read = [block for ulid, block in blocks.items() if ulid in self._scanned or ulid not in self._pruned]
        return Explanation(
            version,
            live + len(blocks) - in_files,
            {reason: pruned[reason] for reason in (IN_TIME, SERVICE, SERIES) if pruned[reason]},
            tuple(map(self._block_read, read)),
            {name: spent_ns / 1e6 for name, spent_ns in self._phases_ns.items()},
        )

    def _block_read(self, block: OpenBlock) -> BlockRead:
        ulid = block.ulid
        parts, series, profiles = self._scanned.get(ulid, (0, 0, 0))
        return BlockRead(
            ulid,
            block.meta.level,
            not block.meta.files,
            parts,
            series,
            profiles,
            self._copies[ulid],
            dict(self._rollups[ulid]),
            dict(self._samples[ulid]),
            tuple(self._tables[ulid].values()),
        )


class WatchedBlock:
    """A `Block` that tells what is read of it: the table, rows, and bytes of its file."""

    def __init__(self, block: Block, note: NoteRead) -> None:
        self._block = block
        self._note = note

    @property
    def meta(self) -> BlockMeta:
        """What the block holds."""
        return self._block.meta

    def table(self, name: str, columns: Sequence[str], rows: tuple[int, int] | None = None) -> pa.Table:
        """As the block has it."""
        table = self._block.table(name, columns, rows)
        size_bytes = (
            self._block.read_bytes(name, columns, rows) if isinstance(self._block, StoredBlock) else 0
        )
        self._note(name, len(table), size_bytes)
        return table

    def part_table(self, name: str, columns: Sequence[str], part: int) -> pa.Table:
        """As the block has it."""
        if isinstance(self._block, StoredBlock):
            return self.table(name, columns, self.meta.parts[part].trie_rows(name))
        table = self._block.part_table(name, columns, part)
        self._note(name, len(table), 0)
        return table

    def path(self, name: str) -> str | None:
        """As the block has it."""
        return self._block.path(name)

    @property
    def tables(self) -> Mapping[str, pa.Table] | None:
        """As the block has them."""
        return self._block.tables
