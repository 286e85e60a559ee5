"""The querier: questions about the head and the blocks of a tenant, as one snapshot.

Questions have threads of their own, those about labels others than those about samples: a graph of everything holds up
neither what fills a list of services nor a push. What waits is bounded.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import TypeVar

import pyarrow as pa
from ulid import ULID

from ...schema.block import BlockMeta
from ...schema.catalog import BlockEntry, CatalogState
from ...schema.errors import Overloaded, RequestError
from ...schema.profile import Upload
from ...schema.request import (
    DEFAULT_INGEST,
    Answer,
    BlocksRequest,
    IngestOptions,
    IngestReport,
    LabelNamesRequest,
    LabelValuesRequest,
    ProfileTypesRequest,
    Request,
    SeriesLabelsRequest,
    SqlRequest,
)
from ...schema.tenant import checked_tenant
from ..block_set import BlockSet
from ..compaction.run import merge_blocks
from ..database import DatabaseLimits, DuckDB, connect
from ..database_face import FaceContents
from ..embedded import Engine, time_hull
from ..head.generation import UNKNOWN
from ..head.head import Head
from ..query.opened import OpenBlock
from ..query.run import answer
from ..query.snapshot import Snapshot
from ..query.sql_face import face_contents
from ..query.visible import VisibleBlock, without_hidden
from ..settings import Settings
from ..storage.blocks import MemoryBlock
from ..storage.layout import BlockOrigin
from ..storage.quarantine import QuarantinedBlock
from .bounded_threads import BoundedThreads
from .metrics import Metrics
from .sql_runner import SqlRunner
from .sql_sandbox import SqlBounds, SqlJob
from .table_formats import checked_format
from .tenant_blocks import MOST_TENANTS

_ABOUT_SERIES = (LabelNamesRequest, LabelValuesRequest, ProfileTypesRequest, SeriesLabelsRequest)
"""Questions that are answered from indexes."""

_LIGHT = (BlocksRequest, *_ABOUT_SERIES)
"""Questions that are answered from metadata."""

_LIGHT_THREADS = 2

Made = TypeVar("Made")


class TenantDatabase(Engine):
    """One tenant as a `Database`: what the head holds, and the blocks. Each call sees one snapshot."""

    def __init__(
        self, head: Head, blocks: BlockSet, settings: Settings, duckdb: Callable[[], DuckDB]
    ) -> None:
        super().__init__(settings)
        self._head = head
        self.blocks = blocks
        self._duckdb = duckdb

    def _shared_database(self) -> DuckDB:
        return self._duckdb()

    def _snapshot(self, start_ns: int | None, end_ns: int | None) -> Snapshot:
        # The head first: what it stores meanwhile is then found in the catalog. Both call it by one name.
        segments = self._head.segments(self.blocks.tenant, start_ns, end_ns)
        return self._over(segments, self.blocks.state(), start_ns, end_ns)

    def ask(self, request: Request) -> Answer:
        """Answer a request. Raises `RequestError` or `StorageError`."""
        if not isinstance(request, _ABOUT_SERIES):
            return super().ask(request)
        outlines = self._head.outlines(self.blocks.tenant)
        return answer(self._over(outlines, self.blocks.state(), *time_hull(request)), request)

    def _over(
        self,
        segments: dict[str, OpenBlock],
        state: CatalogState,
        start_ns: int | None,
        end_ns: int | None,
    ) -> Snapshot:
        self._head.note_tombstone(self.blocks.tenant, state.last_tombstone)
        found = {
            ulid: block
            for ulid, block in visible_segments(segments, state).items()
            if (end_ns is None or block.meta.min_ts < end_ns)
            and (start_ns is None or block.meta.max_ts >= start_ns)
        }
        found |= self.blocks.blocks(state, start_ns, end_ns)
        ordered = dict(sorted(found.items(), key=lambda item: (item[1].meta.min_ts, item[0])))
        return Snapshot(
            ordered, self._shared_database, state.version, overlays=self._overlays, live=len(state.blocks)
        )

    def _listed(self) -> Iterable[BlockMeta | BlockEntry]:
        listed: dict[str, BlockMeta | BlockEntry] = {
            ulid: block.meta for ulid, block in self._head.segments(self.blocks.tenant).items()
        }
        listed |= self.blocks.state().blocks
        return sorted(listed.values(), key=lambda one: (one.min_ts, one.ulid))

    def _set_aside(self) -> Mapping[str, QuarantinedBlock]:
        return self.blocks.quarantined()

    @property
    def is_empty(self) -> bool:
        """Whether nothing of the tenant was seen, in blocks or in the head."""
        return not self.blocks.catalog.known_version and self.blocks.tenant not in self._head.tenants()

    def sql(self, request: SqlRequest) -> pa.Table:
        """Refused: SQL of strangers runs in processes of its own. Raises `RequestError`."""
        raise RequestError("SQL goes through the querier")

    def sql_contents(self, text: str) -> FaceContents:
        """What an SQL query may see."""
        segments = self._head.segments(self.blocks.tenant)
        state = self.blocks.state()
        segments = visible_segments(segments, state)
        if len(segments) > 1 or any(isinstance(one, VisibleBlock) for one in segments.values()):
            # SQL reads one block in memory beside those in files.
            origin = BlockOrigin(str(ULID()), self.blocks.tenant, level=0, applied=state.version)
            merged = merge_blocks(list(segments.values()), origin)
            segments = {merged.meta.ulid: OpenBlock(MemoryBlock(merged))}
        contents = face_contents(self._over(segments, state, None, None), text)
        return replace(contents, metas=list(contents.metas))

    def ingest(self, uploads: Iterable[Upload], options: IngestOptions = DEFAULT_INGEST) -> IngestReport:
        """Refused: pushes come in through the ingester. Raises `RequestError`."""
        raise RequestError("a querier takes no uploads")

    def close(self) -> None:
        """Nothing of its own is held: DuckDB is the querier's."""


def visible_segments(segments: Mapping[str, OpenBlock], state: CatalogState) -> dict[str, OpenBlock]:
    """What the head holds without what tombstones are about."""
    found: dict[str, OpenBlock] = {}
    for ulid, block in segments.items():
        since = state.version if block.applied == UNKNOWN else block.applied
        visible = without_hidden(block, state.made_since(since))
        if visible is not None:
            found[ulid] = visible
    return found


@dataclass(frozen=True)
class QuerierParts:
    """What a querier needs."""

    head: Head
    blocks_of: Callable[[str], BlockSet]
    settings: Settings
    metrics: Metrics
    concurrency: int = 4
    most_waiting: int = 100
    sql: SqlBounds = field(default_factory=SqlBounds)
    sql_concurrency: int = 2


class Querier:
    """Answers questions of any tenant, so many at a time. Safe for several threads."""

    def __init__(self, parts: QuerierParts) -> None:
        self._parts = parts
        self._lock = Lock()
        self._databases: OrderedDict[str, TenantDatabase] = OrderedDict()
        self._duckdb: DuckDB | None = None
        most = parts.most_waiting
        refusal = f"{most} questions wait already; limit max_waiting_queries"
        self._heavy = BoundedThreads("query", parts.concurrency, most, refusal)
        self._light = BoundedThreads("query-labels", _LIGHT_THREADS, most, refusal)
        self._sql = SqlRunner(parts.sql, parts.sql_concurrency)

    def database(self, tenant: str) -> TenantDatabase:
        """One tenant's database. Raises `RequestError` for a name that is none."""
        with self._lock:
            known = self._databases.get(tenant)
            if known is None:
                blocks = self._parts.blocks_of(checked_tenant(tenant))
                known = TenantDatabase(self._parts.head, blocks, self._parts.settings, self._shared_duckdb)
                self._databases[tenant] = known
                while len(self._databases) > MOST_TENANTS:
                    self._databases.popitem(last=False)
            self._databases.move_to_end(tenant)
            return known

    def submit(self, tenant: str, request: Request, make: Callable[[Answer], Made]) -> Future[Made]:
        """Begin to answer a request; the future becomes what `make` makes of the answer, in the same thread.

        The future raises `RequestError` or `StorageError`. Raises `Overloaded` when too many questions wait.
        """
        begun = time.monotonic()
        threads = self._light if isinstance(request, _LIGHT) else self._heavy
        try:
            made = threads.submit(lambda: make(self.ask(tenant, request)))
        except Overloaded:
            self._parts.metrics.query_overloads.inc()
            raise
        kind = type(request).__name__.removesuffix("Request").lower()
        made.add_done_callback(lambda done: self._note(kind, done, begun))
        return made

    def ask(self, tenant: str, request: Request) -> Answer:
        """Answer a request here and now. Raises `RequestError` or `StorageError`."""
        database = self.database(tenant)
        try:
            return database.ask(request)
        finally:
            self._forget_empty(database)

    def sql(self, tenant: str, request: SqlRequest, table_format: str) -> Future[bytes]:
        """Begin to answer one SQL query, as JSON, CSV or Arrow. The future raises `InvalidSql` or `StorageError`.

        Raises `RequestError` for a format or a tenant that is none, `Overloaded` when too many queries wait.
        """
        checked_format(table_format)
        database = self.database(tenant)
        begun = time.monotonic()
        answer = self._sql.submit(lambda: SqlJob(request, database.sql_contents(request.text), table_format))
        answer.add_done_callback(lambda _: self._forget_empty(database))
        answer.add_done_callback(lambda done: self._note("sql", done, begun))
        return answer

    def _forget_empty(self, database: TenantDatabase) -> None:
        """Keep nothing of a tenant that was only asked about."""
        if database.is_empty:
            with self._lock:
                if self._databases.get(database.blocks.tenant) is database:
                    del self._databases[database.blocks.tenant]

    def _note(self, kind: str, answer: Future[Made], begun: float) -> None:
        """Count an answer, with the time that it waited."""
        self._parts.metrics.query_seconds.labels(kind).observe(time.monotonic() - begun)
        if answer.cancelled() or answer.exception() is not None:
            self._parts.metrics.query_errors.labels(kind).inc()

    def _shared_duckdb(self) -> DuckDB:
        with self._lock:
            if self._duckdb is None:
                settings = self._parts.settings
                self._duckdb = connect(
                    DatabaseLimits(
                        threads=settings.threads or None,
                        memory_bytes=settings.memory_bytes,
                        temp_directory=settings.spill_directory,
                    )
                )
            return self._duckdb

    def stop(self) -> None:
        """Answer what is under way, release DuckDB, and end SQL."""
        self._heavy.close()
        self._light.close()
        self._sql.close()
        with self._lock:
            if self._duckdb is not None:
                self._duckdb.close()
                self._duckdb = None
