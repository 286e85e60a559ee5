"""What the head took in between two flushes, by tenant.

A tenant's profiles gather in a block builder. A question lays out what it holds as a small block in memory, so that it
sees a snapshot and asks blocks like any other; a builder that has become large is put aside as such a block for good,
and another one begun, with the same symbols. The flush makes one block of everything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from threading import Lock

from ulid import ULID

from ...schema.profile import NormalisedBatch
from ..query.opened import OpenBlock
from ..storage.blocks import MemoryBlock
from ..storage.builder import BlockBuilder, CollectedSymbols
from ..storage.layout import BlockOrigin, BlockTables, Collection, lay_out
from .growing_tree import GrowingTrees
from .segment import OpenSegment, SegmentBlock

SEGMENT_SAMPLES = 100_000
"""A builder with more is put aside at the next question: the layout of a smaller one is made anew for each."""

MOST_SEGMENTS = 5
"""Blocks put aside that a question may find, per tenant and generation; more are joined first."""


UNKNOWN = -1
"""Of a catalog that was not looked at: its version."""


@dataclass(frozen=True)
class _Segment:
    """A block in memory, and what it was made of; the symbols are those of the generation."""

    block: SegmentBlock
    opened: OpenBlock
    collection: Collection

    @classmethod
    def of(cls, collection: Collection, tenant: str, trees: GrowingTrees) -> _Segment:
        """What was collected, laid out."""
        block = SegmentBlock(lay_out(collection, BlockOrigin(str(ULID()), tenant, level=0)))
        return cls(block, OpenSegment(block, trees), replace(collection, symbols={}))

    @property
    def size_bytes(self) -> int:
        """With what was read of it."""
        return self.block.size_bytes + self.opened.held_bytes + self.collection.size_bytes

    @property
    def samples(self) -> int:
        """Samples, copies included."""
        return len(self.collection.samples.value)


Pieces = Sequence[NormalisedBatch]
"""A batch, in one piece or several of the same profiles."""


class TenantRows:
    """One tenant's profiles in one generation. Safe for several threads; one at a time commits.

    Tombstones after the catalog version `applied` concern them; it is `UNKNOWN` while the catalog was not looked at.
    """

    def __init__(self, tenant: str, applied: int = 0) -> None:
        self._tenant = tenant
        self.applied = applied
        # Guards the builder and the symbols; never held while the disk is waited for.
        self._lock = Lock()
        # Lets one thread at a time build; taken before `_lock`.
        self._building = Lock()
        self._symbols = CollectedSymbols()
        self._trees = GrowingTrees()
        self._builder = BlockBuilder(self._symbols)
        # Blocks put aside, and the one of what the builder held at the last question.
        self._segments: list[_Segment] = []
        self._latest: _Segment | None = None
        # The outline of what is in neither a builder nor a block for the moment.
        self._moving: Collection | None = None
        self._built: OpenBlock | None = None
        self._built_tables: BlockTables | None = None
        self.profiles = 0
        self.samples = 0

    @property
    def size_bytes(self) -> int:
        """About what is held in memory."""
        built, opened = self._built_tables, self._built
        size_bytes = (
            self._builder.size_bytes
            + self._trees.size_bytes
            + sum(one.size_bytes for one in self._everything())
        )
        if built is not None and opened is not None:
            size_bytes += built.size_bytes + opened.held_bytes
        return size_bytes

    def lean(self, pieces: Pieces) -> Pieces:
        """A batch without symbols that are here. Raises `CorruptBlock`."""
        with self._lock:
            return [self._symbols.without_known(one) for one in pieces]

    def add(self, pieces: Pieces) -> None:
        """Take a durable batch that is lean: nothing was added since. Raises `CorruptBlock`."""
        with self._lock:
            for number, piece in enumerate(pieces):
                if number:
                    # What the piece before brought is known by now.
                    self._builder.add(piece, continues=True)
                else:
                    self._builder.add_lean(piece)
                self.profiles += len(piece.profiles)
                self.samples += len(piece.samples)

    def settle(self, version: int) -> None:
        """The catalog is at a version: what it was at when the first profile came, as far as anybody can tell."""
        if self.applied == UNKNOWN:
            self.applied = version

    def segments(self, start_ns: int | None = None, end_ns: int | None = None) -> Sequence[OpenBlock]:
        """Everything that was added and is in `[start_ns, end_ns)`, and maybe more, as a few blocks in memory."""
        with self._building:
            if self._built is not None:
                return self._marked([self._built])
            if self._touches(start_ns, end_ns):
                self._look()
            if len(self._segments) > MOST_SEGMENTS:
                self._join_smallest()
            return self._marked([one.opened for one in self._everything()])

    def _marked(self, blocks: Sequence[OpenBlock]) -> Sequence[OpenBlock]:
        """Blocks that say which tombstones concern them."""
        for block in blocks:
            block.applied = self.applied
        return blocks

    def _touches(self, start_ns: int | None, end_ns: int | None) -> bool:
        with self._lock:
            return self._builder.touches(start_ns, end_ns)

    def outlines(self) -> Sequence[OpenBlock]:
        """Everything that was added, as blocks that know series and times but no samples; waits for no layout."""
        with self._lock:
            if self._built is not None:
                return self._marked([self._built])
            aside = [one.opened for one in self._segments]
            outlines = [self._builder.outline(), *([self._moving] if self._moving is not None else [])]
        laid_out = [lay_out(one, self._origin()) for one in outlines if len(one.profiles)]
        return self._marked([*aside, *(OpenBlock(SegmentBlock(one)) for one in laid_out)])

    def _origin(self) -> BlockOrigin:
        return BlockOrigin(str(ULID()), self._tenant, level=0)

    def build(self, ulid: str, source: str) -> BlockTables | None:
        """Everything that was added as a block that names its `source`, to be stored; None where there is nothing.

        Nothing may be added any more. Called again, it returns the same block; questions see it until it is stored.
        """
        origin = BlockOrigin(ulid, self._tenant, level=0, sources=(source,), applied=max(self.applied, 0))
        with self._building:
            if self._built_tables is not None or not self.profiles:
                return self._built_tables
            with self._lock:
                collections = [one.collection for one in self._segments] + [self._builder.collected()]
        # Questions go on meanwhile, and find everything where it was; it stays there if this fails.
        built = lay_out(self._joined(collections), origin).finish()
        with self._building:
            return self._keep(built)

    def _keep(self, built: BlockTables) -> BlockTables:
        with self._lock:
            self._built_tables = built
            self._built = OpenBlock(MemoryBlock(built))
            self._symbols, self._trees = CollectedSymbols(), GrowingTrees()
            self._builder, self._segments, self._latest = BlockBuilder(self._symbols), [], None
        return built

    def _everything(self) -> list[_Segment]:
        latest = self._latest
        return [*self._segments, latest] if latest is not None else list(self._segments)

    def _look(self) -> None:
        """Lay out what came since the last question, with the rest of what the builder holds."""
        with self._lock:
            builder = self._builder
            seen = self._latest.collection.profiles.num_rows if self._latest is not None else 0
            if builder.profiles == seen:
                return
            collection = builder.collected()
            is_full = builder.samples > SEGMENT_SAMPLES
            if is_full:
                self._builder, self._moving = BlockBuilder(self._symbols), builder.outline()
        segment = None
        try:
            segment = _Segment.of(collection, self._tenant, self._trees)
        finally:
            if segment is None and is_full:
                self._put_back(collection)
        with self._lock:
            if is_full:
                self._segments, self._latest, self._moving = [*self._segments, segment], None, None
            else:
                self._latest = segment

    def _put_back(self, collection: Collection) -> None:
        """What was collected could not be laid out: the builder has it again, with what came meanwhile."""
        with self._lock:
            builder = BlockBuilder(self._symbols)
            builder.add_collection(collection)
            builder.add_collection(self._builder.collected())
            self._builder, self._moving = builder, None

    def _join_smallest(self) -> None:
        """Half of what was put aside, the smallest, becomes one: so a profile is laid out a few times at most."""
        ordered = sorted(self._segments, key=lambda one: one.samples)
        half = len(ordered) // 2 + 1
        collection = self._joined([one.collection for one in ordered[:half]])
        joined = _Segment.of(collection, self._tenant, self._trees)
        with self._lock:
            self._segments = [*ordered[half:], joined]

    def _joined(self, collections: Sequence[Collection]) -> Collection:
        if len(collections) == 1:
            return collections[0]
        with self._lock:
            symbols = self._symbols.tables()
        builder = BlockBuilder(self._symbols)
        for one in collections:
            builder.add_collection(one)
        return builder.collected(symbols)
