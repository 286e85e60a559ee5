"""A store as another process can open it, and what such a process keeps open between its pieces of work."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from threading import Lock

from ..schema.errors import RequestError, Unavailable
from .block_set import BlockSet
from .database import DuckDB, connect_within
from .execution import Executor
from .query.overlay import Overlays
from .query.snapshot import Snapshot
from .query.visible import Hidden, hide
from .settings import Settings, load_settings
from .storage.cache import block_locator
from .storage.catalog import Catalog
from .storage.objects import open_objects

_KEPT_OPEN = 4
"""Places that a worker keeps open: it works for one or two at a time."""


@dataclass(frozen=True)
class StorePlace:
    """One tenant of a store. Picklable.

    `settings` None means those of the process that opens it: memory and directories are a machine's own.
    """

    store: str
    tenant: str
    settings: Settings | None = None

    def blocks(self) -> BlockSet:
        """The blocks, opened anew: what merges them needs each once, and the catalog as it is.

        Raises `StorageError`, and `Unavailable` where this machine has no such directory.
        """
        if "://" not in self.store and not os.path.isdir(self.store):
            raise Unavailable(
                f"{self.store}: no such directory on {os.uname().nodename}; workers on other machines need a store "
                "that all of them share"
            )
        return open_blocks(self.store, self.tenant, self.own_settings)

    @property
    def own_settings(self) -> Settings:
        """Those of a worker, which does one item at a time: its threads would only fight over the core of another."""
        return replace(self.settings or load_settings(), threads=1)

    def snapshot(self, ulids: Iterable[str], hidden: Mapping[str, Hidden]) -> Snapshot:
        """Some blocks, in the catalog or not, kept open by this process, with profiles of some hidden.

        Raises `ObjectMissing`, `CorruptBlock` and as `blocks`.
        """
        opened = _opened(self)
        found = {ulid: opened.blocks.block(ulid) for ulid in ulids}
        found |= {ulid: hide(found[ulid], rows) for ulid, rows in hidden.items()}
        return Snapshot(found, opened.database, overlays=opened.overlays)


def place_of(store: str, tenant: str, settings: Settings, executor: Executor) -> StorePlace:
    """How an executor's workers are told of a store. Raises `RequestError` for one that only this process has."""
    if store.startswith("memory://"):
        raise RequestError(f"{store} is in the memory of this process: an executor's workers do not see it")
    if "://" not in store.removeprefix("file://"):
        store = os.path.abspath(store.removeprefix("file://"))
    return StorePlace(store, tenant, None if executor.remote else settings)


def open_blocks(store: str, tenant: str, settings: Settings) -> BlockSet:
    """The blocks of one tenant of the store at a path or URL; it need not exist yet. Raises `StorageError`."""
    objects = open_objects(store)
    locate = block_locator(objects, settings.block_cache, settings.cache_bytes)
    return BlockSet(objects, Catalog(objects, tenant), tenant, locate, settings)


class _Opened:
    """What one process has of a place."""

    def __init__(self, place: StorePlace) -> None:
        self.blocks = place.blocks()
        self.overlays = Overlays()
        self._settings = place.own_settings
        self._database: DuckDB | None = None
        self._lock = Lock()

    def database(self) -> DuckDB:
        """The one DuckDB, whichever thread is first to need it."""
        with self._lock:
            if self._database is None:
                self._database = connect_within(self._settings)
            return self._database


@lru_cache(_KEPT_OPEN)
def _opened(place: StorePlace) -> _Opened:
    return _Opened(place)
