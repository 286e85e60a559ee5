"""What operators do to the blocks of a store: rebuild a lost catalog, give up old blocks, remove what nothing names."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from ..schema.catalog import live_blocks
from ..schema.errors import CommitConflict, CorruptBlock, StorageError, Unavailable
from ..schema.tombstone import Tombstone
from .compaction.manifest import known_tombstones
from .compaction.retention import Expired, Retention, plan_expiry
from .storage.block_directories import BlockDirectory, find_blocks, find_leftovers, remove_leftover
from .storage.catalog import Catalog
from .storage.objects import open_objects
from .storage.quarantine import Quarantine
from .storage.reindex import read_metas

_ATTEMPTS = 10


@dataclass(frozen=True)
class Listed:
    """A block that is there, and whether a rebuilt catalog names it; if not, why."""

    ulid: str
    profiles: int
    size_bytes: int
    reason: str = ""


@dataclass(frozen=True)
class Removed:
    """A block that was removed, or would be; with a reason where that failed."""

    block: BlockDirectory
    problem: str = ""


class Upkeep:
    """The blocks of one tenant of a store."""

    def __init__(self, store: str, tenant: str) -> None:
        self._objects = open_objects(store)
        self._tenant = tenant
        self._catalog = Catalog(self._objects, tenant)

    def reindex(self, act: bool) -> Sequence[Listed]:
        """Make the live blocks those that are whole and that no other was merged from; without `act`, only say which.

        To be run alone: a block that is committed meanwhile is forgotten. All deletions are in force again. Raises
        `StorageError`, also for a manifest of a deletion that cannot be read.
        """
        named: Iterable[str] = ()
        with suppress(CorruptBlock):
            named = self._catalog.load().blocks
        found = read_metas(self._objects, self._tenant, named)
        if act:
            self._catalog.reindex(found.metas, self._tombstones())
        live = {entry.ulid for entry in live_blocks(found.metas)}
        children = {parent: meta.ulid for meta in found.metas for parent in meta.parents}
        whole = [
            Listed(
                meta.ulid,
                meta.profiles,
                meta.size_bytes,
                "" if meta.ulid in live else f"merged into {children[meta.ulid]}",
            )
            for meta in found.metas
        ]
        return [*whole, *(Listed(ulid, 0, 0, reason) for ulid, reason in found.left_out.items())]

    def _tombstones(self) -> Sequence[Tombstone]:
        """All that ever were: blocks that hold what they are about may come back. Raises `CorruptBlock`."""
        known = {one.id: one for one in known_tombstones(self._objects, self._tenant)}
        with suppress(CorruptBlock):
            state = self._catalog.load()
            known |= {**state.spent, **state.tombstones}
        return list(known.values())

    def expire(self, retention: Retention, act: bool) -> Sequence[Expired]:
        """Give up blocks by age and size; without `act`, only say which. Their files stay until a sweep.

        Questions that began before go on reading them. Raises `StorageError`.
        """
        for _ in range(_ATTEMPTS):
            expired = plan_expiry(self._catalog.load().blocks.values(), retention, time.time_ns())
            if not act:
                return expired
            # Another process may have merged some of them away.
            with suppress(CommitConflict):
                self._catalog.commit((), [one.entry.ulid for one in expired], "retention")
                return expired
        raise Unavailable("blocks are being replaced all the time by other processes")

    def sweep(self, older_ns: int, act: bool) -> Iterator[Removed]:
        """Remove blocks that are not live and have not been for so long; without `act`, only say which.

        What was noted of corrupt blocks that are gone is removed too.
        One that cannot be removed is told, and the others are. Raises `StorageError` when they cannot be found.
        """
        for block in find_leftovers(self._objects, self._catalog, self._tenant, time.time_ns() - older_ns):
            problem = ""
            if act:
                try:
                    remove_leftover(self._objects, self._tenant, block)
                except StorageError as error:
                    problem = str(error)
            yield Removed(block, problem)
        if act:
            self._forget_gone()

    def _forget_gone(self) -> None:
        """Remove the records of corrupt blocks that are neither live nor there."""
        quarantine = Quarantine(self._objects, self._tenant)
        records = quarantine.blocks()
        if not records:
            return
        kept = {block.ulid for block in find_blocks(self._objects, self._tenant)}
        for ulid in records.keys() - kept - self._catalog.load().blocks.keys():
            quarantine.release(ulid)
