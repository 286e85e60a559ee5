"""The querier: questions about the head and the blocks of a tenant, as one snapshot."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from threading import Lock, Semaphore

import pyarrow as pa
from ulid import ULID

from ...schema.errors import RequestError
from ...schema.profile import Upload
from ...schema.request import DEFAULT_INGEST, Answer, IngestOptions, IngestReport, Request, SqlRequest
from ...schema.tenant import checked_tenant
from ..block_set import BlockSet
from ..compaction.run import merge_blocks
from ..database import DatabaseLimits, DuckDB, connect
from ..database_face import FaceContents
from ..embedded import Engine
from ..head.head import Head
from ..query.opened import OpenBlock
from ..query.snapshot import Snapshot
from ..query.sql_face import face_contents
from ..settings import Settings
from ..storage.blocks import MemoryBlock
from ..storage.builder import BlockOrigin
from .metrics import Metrics
from .sql_runner import SqlRunner
from .sql_sandbox import SqlBounds, SqlJob
from .table_formats import checked_format
from .tenant_blocks import MOST_TENANTS


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
        return self._over(self._head.segments(self.blocks.tenant), start_ns, end_ns)

    def _over(self, segments: dict[str, OpenBlock], start_ns: int | None, end_ns: int | None) -> Snapshot:
        state = self.blocks.state()
        found = {
            ulid: block
            for ulid, block in segments.items()
            if (end_ns is None or block.meta.min_ts < end_ns)
            and (start_ns is None or block.meta.max_ts >= start_ns)
        }
        found |= self.blocks.blocks(state, start_ns, end_ns)
        ordered = dict(sorted(found.items(), key=lambda item: (item[1].meta.min_ts, item[0])))
        return Snapshot(ordered, self._shared_database, state.version, overlays=self._overlays)

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
        if len(segments) > 1:
            # SQL reads one block in memory beside those in files.
            merged = merge_blocks(
                list(segments.values()), BlockOrigin(str(ULID()), self.blocks.tenant, level=0)
            )
            segments = {merged.meta.ulid: OpenBlock(MemoryBlock(merged))}
        contents = face_contents(self._over(segments, None, None), text)
        return replace(contents, metas=list(contents.metas))

    def ingest(self, uploads: Iterable[Upload], options: IngestOptions = DEFAULT_INGEST) -> IngestReport:
        """Refused: pushes come in through the ingester. Raises `RequestError`."""
        raise RequestError("a querier takes no uploads")

    def close(self) -> None:
        """Nothing of its own is held: DuckDB is the querier's."""


@dataclass(frozen=True)
class QuerierParts:
    """What a querier needs."""

    head: Head
    blocks_of: Callable[[str], BlockSet]
    settings: Settings
    metrics: Metrics
    concurrency: int = 4
    sql: SqlBounds = field(default_factory=SqlBounds)
    sql_concurrency: int = 2


class Querier:
    """Answers questions of any tenant, so many at a time. Safe for several threads."""

    def __init__(self, parts: QuerierParts) -> None:
        self._parts = parts
        self._lock = Lock()
        self._databases: OrderedDict[str, TenantDatabase] = OrderedDict()
        self._duckdb: DuckDB | None = None
        self._admitted = Semaphore(parts.concurrency)
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

    def ask(self, tenant: str, request: Request) -> Answer:
        """Answer a request. Raises `RequestError` or `StorageError`."""
        with self._measured(type(request).__name__.removesuffix("Request").lower()):
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
        answer.add_done_callback(lambda done: self._note_sql(database, done, begun))
        return answer

    def _forget_empty(self, database: TenantDatabase) -> None:
        """Keep nothing of a tenant that was only asked about."""
        if database.is_empty:
            with self._lock:
                if self._databases.get(database.blocks.tenant) is database:
                    del self._databases[database.blocks.tenant]

    def _note_sql(self, database: TenantDatabase, answer: Future[bytes], begun: float) -> None:
        self._forget_empty(database)
        self._parts.metrics.query_seconds.labels("sql").observe(time.monotonic() - begun)
        if answer.cancelled() or answer.exception() is not None:
            self._parts.metrics.query_errors.labels("sql").inc()

    @contextmanager
    def _measured(self, kind: str) -> Iterator[None]:
        """One of the places for questions, and a note of how long it was taken."""
        metrics = self._parts.metrics
        seconds, errors = metrics.query_seconds.labels(kind), metrics.query_errors.labels(kind)
        with seconds.time(), errors.count_exceptions(), self._admitted:
            yield

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
        """Release DuckDB, and end SQL."""
        self._sql.close()
        with self._lock:
            if self._duckdb is not None:
                self._duckdb.close()
                self._duckdb = None
