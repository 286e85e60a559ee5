"""All roles in one process: made from settings, started and stopped in order."""

from __future__ import annotations

import fcntl
import os
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import IO

from ...schema.errors import SettingsError, StorageError
from ...schema.tenant import HEAD, SERVER_NOTE, checked_tenant
from ..block_set import BlockSet
from ..head.head import Head
from ..served import RunningServer
from ..settings import ServerSettings, Settings
from ..storage.cache import block_locator
from ..storage.catalog import Catalog
from ..storage.objects import open_objects
from ..storage.tenants import tenants_of
from ..uploads import is_url
from .adhoc import AdhocProfiles
from .compactor import Compactor, CompactorBounds, CompactorParts
from .decoding import GroupBounds
from .deleter import Deleter, moment_of
from .distributor import Distributor
from .ingester import FlushBounds, Ingester, IngesterBounds
from .job import QUEUED, RUNNING
from .job_process import ProcessBounds, ProcessRunner
from .limits import Overrides, RateLimits
from .metrics import Metrics
from .querier import Querier, QuerierParts
from .self_profile import SelfProfiler
from .sql_sandbox import SqlBounds
from .tenant_blocks import TenantBlocks

_LOCK_PAUSES_S = (0.05, 0.1, 0.2, 0)
"""A command that looks whether a server is alive holds the lock for a moment."""


class Server:
    """The roles over one store. `start` recovers the head; `stop` drains and flushes."""

    def __init__(self, store: str, settings: Settings, server: ServerSettings) -> None:
        """Open the store and the head. Raises `SettingsError`, `StorageError`."""
        self.objects = open_objects(store)
        self._settings = settings
        self._local = None if is_url(store) else Path(store.removeprefix("file://"))
        self._lock_file = _lock(_head_directory(store, server.data_dir))
        self._locate = block_locator(self.objects, settings.block_cache, settings.cache_bytes)
        self.tenant_blocks = TenantBlocks(self._block_set)
        head = Head(
            _head_directory(store, server.data_dir),
            moment_of=lambda tenant: moment_of(self.tenant_blocks.of(tenant)),
        )
        self.metrics = Metrics(server.metrics_tenants)
        self._register_gauges(head)
        self.limits = Overrides(server.limits_file)
        self.compactor = self._make_compactor(store, server)
        bounds = IngesterBounds(
            _groups(server, settings.decode_seconds),
            _flush(server),
            lambda tenant: self.limits.of(tenant).decode_limits(),
            self._note_stored,
        )
        self.ingester = Ingester(head, self.tenant_blocks.of, bounds, self.metrics)
        self.deleter = Deleter(head, self.tenant_blocks.of, self.ingester.flush)
        self._multitenancy = server.multitenancy
        self._stopping = False
        self._self_profiler = SelfProfiler(self.ingester) if server.self_profile else None
        self.distributor = Distributor(self.ingester, RateLimits(self.limits), self.metrics)
        self.adhoc = AdhocProfiles(self.objects, settings)
        self.querier = Querier(
            QuerierParts(
                head,
                self.tenant_blocks.of,
                settings,
                self.metrics,
                server.query_concurrency,
                server.max_waiting_queries,
                _sql_bounds(server, settings),
                server.sql_concurrency,
            )
        )

    def _block_set(self, tenant: str) -> BlockSet:
        catalog = Catalog(self.objects, checked_tenant(tenant))
        return BlockSet(self.objects, catalog, tenant, self._locate, self._settings)

    def _note_stored(self, tenant: str) -> None:
        """A tenant has one block more: its blocks are kept from now on."""
        self.tenant_blocks.of(tenant)
        self.compactor.note(tenant)
        self.deleter.note(tenant)

    def _make_compactor(self, store: str, server: ServerSettings) -> Compactor:
        bounds = CompactorBounds(
            server.merge_every_s,
            server.merge_samples,
            server.compaction_every_s,
            server.compaction_grace_s,
            server.sweep_every_s if server.compaction_every_s else 0,
            server.sweep_older_s,
        )
        threads = max(server.compaction_threads, 1)
        process = ProcessBounds(server.compaction_memory_bytes, threads, server.compaction_seconds)
        parts = CompactorParts(
            lambda: tenants_of(self.objects),
            lambda tenant: self.limits.of(tenant).retention,
            store,
            replace(
                self._settings,
                memory_bytes=server.compaction_memory_bytes or self._settings.memory_bytes,
                threads=threads,
            ),
            # What is in this process's memory no other process can see.
            None if store.startswith("memory:") else ProcessRunner(process),
        )
        made = Compactor(self.tenant_blocks.of, bounds, self.metrics, parts)
        for state, text in ((QUEUED, "Jobs that wait."), (RUNNING, "Jobs that run.")):
            self.metrics.gauge(f"jobs_{state}", text, partial(made.book.count, state))
        self.metrics.gauge(
            "blocks_left_alone", "Blocks that jobs found not to hold.", lambda: len(made.left_alone(None))
        )
        return made

    def _register_gauges(self, head: Head) -> None:
        self.metrics.gauge("head_bytes", "Memory that the head holds.", lambda: head.size_bytes)
        self.metrics.gauge("head_tenants", "Tenants with profiles in the head.", lambda: len(head.tenants()))
        self.metrics.gauge(
            "head_closed_generations", "Generations that wait to be stored.", lambda: head.closed_generations
        )

    def start(self, url: str) -> None:
        """Begin to work; beside a local store it leaves a note of the server's URL."""
        self.ingester.start()
        if self._self_profiler is not None:
            self._self_profiler.start()
        self.compactor.start()
        self.deleter.start()
        if self._local is not None:
            RunningServer(os.getpid(), url, os.path.abspath(self._lock_file.name), self._multitenancy).write(
                self._local
            )

    def fault(self) -> str:
        """Why it takes no requests now; empty when it does."""
        return "not ready: the server is stopping" if self._stopping else self.ingester.fault()

    def stop(self) -> None:
        """Answer what waits, flush, release everything."""
        if self._local is not None:
            (self._local / SERVER_NOTE).unlink(missing_ok=True)
        self._stopping = True
        if self._self_profiler is not None:
            self._self_profiler.stop()
        self.compactor.stop()
        self.deleter.stop()
        self.ingester.stop()
        self.distributor.stop()
        self.querier.stop()
        self._lock_file.close()


def _lock(directory: Path) -> IO[bytes]:
    """The head's directory for this process alone, until the file is closed. Raises `StorageError`."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        file = (directory / "lock").open("ab")
    except OSError as error:
        raise StorageError(f"{directory}: {error.strerror or error}") from None
    for pause_s in _LOCK_PAUSES_S:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            time.sleep(pause_s)
        else:
            return file
    file.close()
    raise StorageError(f"{directory}: another server is at work here")


def _head_directory(store: str, data_dir: str) -> Path:
    """Where the head's log is: a directory of a local disk. Raises `SettingsError`."""
    if data_dir:
        return Path(data_dir) / "head"
    if is_url(store):
        raise SettingsError(
            f"data_dir: the store {store} is not local, so the head needs a directory of its own"
        )
    return Path(store.removeprefix("file://")) / HEAD


def _groups(server: ServerSettings, limit_s: float) -> GroupBounds:
    return GroupBounds(
        window_s=server.group_window_ms / 1000,
        profiles=server.group_profiles,
        size_bytes=server.group_bytes,
        queue_bytes=server.queue_bytes,
        workers=server.decode_workers,
        limit_s=limit_s,
    )


def _sql_bounds(server: ServerSettings, settings: Settings) -> SqlBounds:
    return SqlBounds(
        memory_bytes=server.sql_memory_bytes,
        threads=settings.threads or len(os.sched_getaffinity(0)),
        seconds=server.sql_seconds,
        rows=server.sql_rows,
        answer_bytes=server.sql_answer_bytes,
        temp_bytes=server.sql_temp_bytes,
    )


def _flush(server: ServerSettings) -> FlushBounds:
    return FlushBounds(server.flush_age_s, server.flush_samples, server.flush_bytes, server.head_bytes)
