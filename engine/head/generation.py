"""What the head took in between two flushes, by tenant.

A tenant's profiles gather in a block builder. A question turns what gathered since the last one into a small block
in memory, so that it sees a snapshot and asks blocks like any other; such blocks are merged as they become many.
The flush makes one block of everything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock

from ulid import ULID

from ...schema.profile import NormalisedBatch
from ..compaction.run import merge_blocks
from ..query.opened import OpenBlock
from ..storage.blocks import MemoryBlock
from ..storage.builder import BlockBuilder
from ..storage.layout import BlockOrigin, BlockTables

MOST_SEGMENTS = 8
"""Blocks in memory that a question may find, per tenant and generation; more are merged first."""


@dataclass(frozen=True)
class _Segment:
    """A block in memory, and what its tables take."""

    opened: OpenBlock
    table_bytes: int

    @classmethod
    def of(cls, built: BlockTables) -> _Segment:
        """A block that was built."""
        return cls(OpenBlock(MemoryBlock(built)), built.size_bytes)

    @property
    def size_bytes(self) -> int:
        """With what was read of it."""
        return self.table_bytes + self.opened.held_bytes


Pieces = Sequence[NormalisedBatch]
"""A batch, in one piece or several of the same profiles."""


@dataclass(frozen=True)
class LeanBatch:
    """A batch without the symbols that `builder` had, and as it was before."""

    pieces: Pieces
    whole: Pieces
    builder: BlockBuilder


class TenantRows:
    """One tenant's profiles in one generation. Safe for several threads; one at a time commits."""

    def __init__(self, tenant: str) -> None:
        self._tenant = tenant
        # Guards the builder; never held while the disk is waited for.
        self._lock = Lock()
        # Lets one thread at a time build; taken before `_lock`.
        self._building = Lock()
        self._builder = BlockBuilder()
        self._segments: list[_Segment] = []
        self._built: BlockTables | None = None
        self.profiles = 0
        self.samples = 0

    @property
    def size_bytes(self) -> int:
        """About what is held in memory."""
        return self._builder.size_bytes + sum(one.size_bytes for one in list(self._segments))

    def lean(self, pieces: Pieces) -> LeanBatch:
        """A batch without symbols that are here. Raises `CorruptBlock`."""
        with self._lock:
            return LeanBatch([self._builder.without_known(one) for one in pieces], pieces, self._builder)

    def add(self, batch: LeanBatch) -> None:
        """Take a durable batch. Raises `CorruptBlock`."""
        with self._lock:
            # A question may have taken the builder, and the symbols in it, while the disk was waited for.
            pieces = batch.pieces if self._builder is batch.builder else batch.whole
            for number, piece in enumerate(pieces):
                self._builder.add(piece, continues=number > 0)
                self.profiles += len(piece.profiles)
                self.samples += len(piece.samples)

    def segments(self) -> Sequence[OpenBlock]:
        """Everything that was added, as a few blocks in memory."""
        with self._building:
            self._close_builder()
            if len(self._segments) > MOST_SEGMENTS:
                self._merge_smallest()
            return [one.opened for one in self._segments]

    def segment(self) -> OpenBlock | None:
        """Everything that was added as one block in memory; None where there is nothing."""
        with self._building:
            self._close_builder()
            if len(self._segments) > 1:
                self._segments = [self._merged(self._segments)]
            return self._segments[0].opened if self._segments else None

    def build(self, ulid: str, source: str) -> BlockTables | None:
        """Everything that was added as a block that names its `source`, to be stored; None where there is nothing.

        Nothing may be added any more. Called again, it returns the same block; questions see it until it is stored.
        """
        origin = BlockOrigin(ulid, self._tenant, level=0, sources=(source,))
        with self._building:
            if self._built is not None or not self.profiles:
                return self._built
            if not self._segments:
                return self._keep(self._take_builder().build(origin))
            self._close_builder()
            segments = list(self._segments)
        # Questions go on meanwhile: they find the segments.
        built = merge_blocks([one.opened for one in segments], origin)
        with self._building:
            return self._keep(built)

    def _keep(self, built: BlockTables) -> BlockTables:
        self._built = built
        self._segments = [_Segment.of(built)]
        return built

    def _take_builder(self) -> BlockBuilder:
        with self._lock:
            taken, self._builder = self._builder, BlockBuilder()
        return taken

    def _close_builder(self) -> None:
        if self._builder.profiles:
            built = self._take_builder().build(BlockOrigin(str(ULID()), self._tenant, level=0))
            self._segments.append(_Segment.of(built))

    def _merge_smallest(self) -> None:
        """Half of the segments, the smallest ones, become one: so a profile is merged a few times at most."""
        ordered = sorted(self._segments, key=lambda one: one.opened.meta.samples)
        half = len(ordered) // 2 + 1
        self._segments = [*ordered[half:], self._merged(ordered[:half])]

    def _merged(self, segments: Sequence[_Segment]) -> _Segment:
        origin = BlockOrigin(str(ULID()), self._tenant, level=0)
        return _Segment.of(merge_blocks([one.opened for one in segments], origin))
