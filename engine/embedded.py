"""The whole engine in one process: a store, or files without a store, as a `Database`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..schema.errors import InputError, RequestError
from ..schema.explanation import Explanation
from ..schema.profile import Upload
from ..schema.request import (
    DEFAULT_INGEST,
    Answer,
    BlocksRequest,
    DiffRequest,
    DiffTopRequest,
    ExplainRequest,
    ExportRequest,
    IngestOptions,
    IngestReport,
    Request,
    Rows,
    Selection,
    SqlRequest,
)
from .ingest.decode import DecodeLimits, Outcome, decode_and_normalise, group_uploads
from .query.executed import Elsewhere
from .query.opened import OpenBlock
from .query.overlay import Overlays
from .query.run import answer
from .query.snapshot import Snapshot
from .query.watch import Collector
from .settings import Settings
from .storage.blocks import MemoryBlock
from .storage.builder import BlockBuilder
from .storage.layout import BlockOrigin

if TYPE_CHECKING:
    # Imported where a store is opened or SQL is run: a question about a few files must not wait for them.
    from ..schema.block import BlockMeta
    from ..schema.catalog import BlockEntry
    from .block_set import BlockSet
    from .database import DuckDB
    from .execution import Executor
    from .storage.quarantine import QuarantinedBlock

_FILES_ULID = "0" * 26
"""The name of the one block that files are, which is never stored."""


class Engine:
    """What a store and loose files have in common: one DuckDB, and answers from a snapshot."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._overlays = Overlays()
        self._opening = Lock()

    def _shared_database(self) -> DuckDB:
        """The one DuckDB, whichever thread is first to need it."""
        with self._opening:
            return self._database

    @cached_property
    def _database(self) -> DuckDB:
        from .database import connect_within

        return connect_within(self._settings)

    def _snapshot(self, start_ns: int | None, end_ns: int | None) -> Snapshot:
        raise NotImplementedError

    def ask(self, request: Request) -> Answer:
        """Answer a request. Raises `RequestError` or `StorageError`."""
        if isinstance(request, ExplainRequest):
            return self._explain(request.request)
        if isinstance(request, BlocksRequest):
            return Rows(_block_rows(self._listed(), self._set_aside()))
        return answer(self._snapshot(*time_hull(request)), request)

    def _listed(self) -> Iterable[BlockMeta | BlockEntry]:
        """What is known of the blocks, oldest first."""
        return [block.meta for block in self._snapshot(None, None).blocks.values()]

    def _set_aside(self) -> Mapping[str, QuarantinedBlock]:
        """The blocks that are known to be corrupt."""
        return {}

    def _explain(self, request: Request) -> Explanation:
        if isinstance(request, ExplainRequest | BlocksRequest):
            raise RequestError(f"{type(request).__name__} reads nothing that could be explained")
        collector = Collector()
        collector.phase("open")
        snapshot = self._snapshot(*time_hull(request))
        watched = replace(snapshot, blocks=collector.over(snapshot.blocks), watch=collector)
        answered = answer(watched, request)
        found = collector.explanation(snapshot.version, snapshot.live, snapshot.blocks)
        return replace(found, profile_type=answered.profile_type, notes=answered.notes)

    def sql(self, request: SqlRequest) -> pa.Table:
        """Run one SQL query over the documented views. Raises `InvalidSql`."""
        from .query.sql_face import run_sql

        return run_sql(self._snapshot(None, None), request)

    def close(self) -> None:
        """Release DuckDB, if it was used."""
        if "_database" in self.__dict__:
            self._database.close()


class StoreDatabase(Engine):
    """One tenant of a store. Each call sees one catalog version; safe for several threads."""

    def __init__(self, blocks: BlockSet, settings: Settings, elsewhere: Elsewhere | None = None) -> None:
        super().__init__(settings)
        self.blocks = blocks
        self._elsewhere = elsewhere

    def _snapshot(self, start_ns: int | None, end_ns: int | None) -> Snapshot:
        state = self.blocks.state()
        chosen = self.blocks.blocks(state, start_ns, end_ns)
        return Snapshot(
            chosen,
            self._shared_database,
            state.version,
            overlays=self._overlays,
            elsewhere=self._elsewhere,
            live=len(state.blocks),
        )

    def _listed(self) -> Iterable[BlockMeta | BlockEntry]:
        # No block need be opened, so that a corrupt one is listed too.
        return self.blocks.state().overlapping(None, None)

    def _set_aside(self) -> Mapping[str, QuarantinedBlock]:
        return self.blocks.quarantined()

    def ingest(self, uploads: Iterable[Upload], options: IngestOptions = DEFAULT_INGEST) -> IngestReport:
        """Store uploads, durably when it returns; a bad one is refused and the others are stored."""
        from .execution import open_executor
        from .ingest.run import IngestBounds, ingest

        jobs = options.jobs or self._settings.jobs
        limits = DecodeLimits(max_inflated_bytes=self._settings.max_file_bytes)
        memory_bytes = self._settings.memory_bytes
        bounds = IngestBounds(self._settings.block_samples, memory_bytes // 3, memory_bytes // 2, limits)
        with open_executor(jobs, self._settings.decode_seconds) as executor:
            return ingest(self.blocks, uploads, executor, options, bounds)

    def close(self) -> None:
        """Release DuckDB, if it was used, and the workers."""
        super().close()
        if self._elsewhere is not None:
            self._elsewhere.executor.close()


class FilesDatabase(Engine):
    """Profile files without a store: one block in memory. `refused` and `warnings` are about the files."""

    def __init__(self, block: OpenBlock, settings: Settings, read: Outcome) -> None:
        super().__init__(settings)
        self._block = block
        self._default_type = _default_type(block)
        self.refused = tuple(read.refused)
        self.warnings = tuple(read.warnings)

    @property
    def profile_types(self) -> list[str]:
        """The types of the profiles, in the order of the files."""
        profiles = self._block.block.table("profiles", ["series", "type_no"])
        types = self._block.index.profile_type.take(profiles.column("series").combine_chunks())
        order = np.argsort(profiles.column("type_no").to_numpy(), kind="stable")
        found: list[str] = types.take(pa.array(order)).unique().to_pylist()
        return found

    def _snapshot(self, start_ns: int | None, end_ns: int | None) -> Snapshot:
        blocks = {self._block.ulid: self._block}
        return Snapshot(blocks, self._shared_database, 0, self._default_type, self._overlays)

    def ingest(self, uploads: Iterable[Upload], options: IngestOptions = DEFAULT_INGEST) -> IngestReport:
        """Refused: there is no store. Raises `RequestError`."""
        raise RequestError("files were opened, not a store: there is nowhere to ingest to")


def open_embedded(
    store: str, tenant: str, settings: Settings, executor: Executor | None = None
) -> StoreDatabase:
    """One tenant of the store at a path or URL; it need not exist yet. Raises `StorageError`.

    With an `executor`, which is closed with the database, its workers add up samples and profiles; raises `RequestError`
    for a store that they cannot see.
    """
    from .store_place import open_blocks, place_of

    elsewhere = None if executor is None else Elsewhere(executor, place_of(store, tenant, settings, executor))
    return StoreDatabase(open_blocks(store, tenant, settings), settings, elsewhere)


def open_files(uploads: Iterable[Upload], settings: Settings | None = None) -> FilesDatabase:
    """Profile files as a database of their own. Raises `InputError` when every one is refused."""
    settings = settings or Settings()
    builder = BlockBuilder()
    limits = DecodeLimits(max_inflated_bytes=settings.max_file_bytes)
    read = Outcome()
    accepted = 0
    for group in group_uploads(uploads):
        outcome = decode_and_normalise(group, limits)
        read.refused += outcome.refused
        read.warnings += outcome.warnings
        accepted += len(outcome.batches)
        for batch, continues in outcome.batches:
            builder.add(batch, continues)
    if read.refused and not accepted:
        others = f" (and {len(read.refused) - 1} more)" if len(read.refused) > 1 else ""
        raise InputError(f"{read.refused[0].origin}: {read.refused[0].reason}{others}")
    built = builder.build(BlockOrigin(_FILES_ULID, "files", level=0))
    return FilesDatabase(OpenBlock(MemoryBlock(built)), settings, read)


def _default_type(block: OpenBlock) -> str:
    """The type that every file would show by itself: its default_sample_type, else its last type; else none."""
    profiles = block.block.table("profiles", ["series", "profile_id", "type_no", "default_sample_type"])
    types = block.index.profile_type.take(profiles.column("series").combine_chunks())
    sample_types = pc.list_element(pc.split_pattern(types, ":"), 1)
    is_default = pc.equal(sample_types, profiles.column("default_sample_type").combine_chunks())
    rank = np.where(
        is_default.to_numpy(zero_copy_only=False), np.int64(2**16), profiles.column("type_no").to_numpy()
    )
    ids = profiles.column("profile_id").combine_chunks().storage.dictionary_encode().indices.to_numpy()
    order = np.lexsort((rank, ids))
    last = np.append(ids[order][1:] != ids[order][:-1], True)[: len(order)]
    chosen = set(types.take(pa.array(order[last])).to_pylist())
    return chosen.pop() if len(chosen) == 1 else ""


def _block_rows(
    listed: Iterable[BlockMeta | BlockEntry], set_aside: Mapping[str, QuarantinedBlock]
) -> pa.Table:
    metas = list(listed)
    reasons = [record.reason if (record := set_aside.get(meta.ulid)) else "" for meta in metas]
    names = ("ulid", "level", "min_ts", "max_ts", "profiles", "samples", "size_bytes")
    kinds = (pa.string(), *[pa.int64()] * 6)
    return pa.table(
        {
            name: pa.array([getattr(meta, name) for meta in metas], kind)
            for name, kind in zip(names, kinds, strict=True)
        }
        | {"quarantined": pa.array(reasons, pa.string())}
    )


def time_hull(request: Request) -> tuple[int | None, int | None]:
    """The smallest range that holds every range a request names."""
    selections = _selections(request)
    starts, ends = [s.start_ns for s in selections], [s.end_ns for s in selections]
    known_starts, known_ends = [s for s in starts if s is not None], [e for e in ends if e is not None]
    step_ns = getattr(request, "step_ns", 0)
    start = min(known_starts) - step_ns if starts and len(known_starts) == len(starts) else None
    end = max(known_ends) if ends and len(known_ends) == len(ends) else None
    return start, end


def _selections(request: Request) -> list[Selection]:
    if isinstance(request, DiffRequest | DiffTopRequest):
        return [request.left.selection, request.right.selection]
    if isinstance(request, ExportRequest) and request.versus is not None:
        return [request.tree.selection, request.versus.selection]
    tree = getattr(request, "tree", None)
    return [tree.selection if tree is not None else request.selection]  # type: ignore[union-attr]
