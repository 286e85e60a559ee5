"""Deletions in a store: a tombstone takes effect with one commit, then the blocks that it touches are written anew.

Whatever is interrupted is taken up again by `finish`: what remains to be done is what the catalog says. A tombstone goes
when no live block that it concerns can hold anything of it; blocks that come late from before bring it back into force.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from ...schema.catalog import CatalogState
from ...schema.errors import CommitConflict, CorruptBlock, ObjectMissing
from ...schema.tombstone import Tombstone
from ..query.visible import hidden_rows
from ..storage.catalog_change import Change
from .manifest import (
    DONE,
    IN_FORCE,
    Manifest,
    create_manifest,
    gathered_changes,
    new_manifest,
    read_manifest,
    write_manifest,
)
from .plan import MergeJob
from .removals import read_records
from .run import BlockStore, replace_blocks


@dataclass(frozen=True)
class Rewritten:
    """A block of which something was deleted, and what it became, None: nothing; or what is in the way."""

    ulid: str
    became: str | None = None
    problem: str = ""


class Deletions:
    """The deletions of one tenant of a store. Other processes may write, compact and delete meanwhile."""

    def __init__(self, store: BlockStore, clock_ns: Callable[[], int] = time.time_ns) -> None:
        self._store = store
        self._clock_ns = clock_ns
        # The version of the newest tombstone that was found to touch nothing of a block.
        self._examined: dict[str, int] = {}
        self._broken: set[str] = set()

    def begin(self, tombstone: Tombstone) -> Tombstone:
        """Bring a tombstone into force: once this returns, no question that begins later sees what it is about.

        Raises `StorageError`; it is in force all the same if that comes after the commit.
        """
        state = self._store.catalog.commit_change(Change("delete", tombstones_added=(tombstone,)))
        begun = replace(tombstone, version=state.tombstones[tombstone.id].version)
        create_manifest(self._store.objects, self._store.tenant, begun)
        return begun

    def in_force(self) -> Sequence[Tombstone]:
        """The tombstones that are in force, oldest first."""
        return self._store.catalog.load().in_force(0)

    def manifest(self, tombstone: str) -> Manifest | None:
        """What is known of a deletion, if there was one of this id. Raises `CorruptBlock`."""
        return read_manifest(self._store.objects, self._store.tenant, tombstone)

    def finish(self) -> Iterator[Rewritten]:
        """Write the blocks anew that hold what was deleted, and drop the tombstones that concern none any more.

        A block that cannot be read is told, and keeps its tombstones in force. Raises `StorageError`.
        """
        while True:
            state = self._store.catalog.load()
            if not state.tombstones:
                return
            touched = self._next_touched(state)
            if isinstance(touched, Rewritten):
                yield touched
            elif touched is not None:
                yield from self._rewrite(touched)
            elif self._drop(state):
                return

    def _next_touched(self, state: CatalogState) -> str | Rewritten | None:
        """A live block that holds something of a tombstone, or one that cannot be read."""
        for ulid, entry in state.blocks.items():
            known = max(entry.applied, self._examined.get(ulid, 0))
            left = [one for one in state.in_force(known) if one.touches(entry.min_ts, entry.max_ts)]
            if not left or ulid in self._broken:
                continue
            try:
                if len(hidden_rows(self._store.block(ulid), left)):
                    return ulid
            except ObjectMissing:
                # Replaced and swept meanwhile, or lost.
                if ulid in self._store.catalog.load().blocks:
                    return self._note_broken(ulid, "its files are not there")
                return None
            except CorruptBlock as error:
                return self._note_broken(ulid, str(error))
            self._examined[ulid] = max(one.version for one in left)
        return None

    def _note_broken(self, ulid: str, problem: str) -> Rewritten:
        self._broken.add(ulid)
        return Rewritten(ulid, problem=problem)

    def _rewrite(self, ulid: str) -> Iterator[Rewritten]:
        try:
            made = replace_blocks(self._store, MergeJob((ulid,)), "delete")
        except CommitConflict:
            # Compacted or rewritten by another process, which applied what this one would have.
            return
        except CorruptBlock as error:
            yield self._note_broken(ulid, str(error))
        else:
            yield Rewritten(ulid, None if made is None else made.ulid)

    def _is_clear(self, state: CatalogState, tombstone: Tombstone) -> bool:
        """Whether no live block that a tombstone concerns can hold anything of it, as far as they were examined."""
        return not any(
            tombstone.version > max(entry.applied, self._examined.get(ulid, 0))
            and tombstone.touches(entry.min_ts, entry.max_ts)
            for ulid, entry in state.blocks.items()
        )

    def _drop(self, state: CatalogState) -> bool:
        """Drop the tombstones that have done what they are for; false when there may be more to do."""
        clear = [one for one in state.tombstones.values() if self._is_clear(state, one)]
        if not clear:
            return self._store.catalog.load().version == state.version

        def guard(before: CatalogState) -> None:
            if not all(self._is_clear(before, one) for one in clear):
                raise CommitConflict("a block was committed that may hold what was deleted")

        # Before, in case this process is killed after; and after, in case another one did the last of it meanwhile.
        for one in clear:
            self._write_manifest(one, DONE, state)
        ids = tuple(one.id for one in clear)
        with suppress(CommitConflict):
            self._store.catalog.commit_change(Change("deleted", tombstones_removed=ids, guard=guard))
        now = self._store.catalog.load()
        for one in clear:
            self._write_manifest(one, IN_FORCE if one.id in now.tombstones else DONE, now)
        return False

    def _write_manifest(self, tombstone: Tombstone, stage: str, state: CatalogState) -> None:
        store = self._store
        commits = store.catalog.commits_since(tombstone.version)
        known = self.manifest(tombstone.id)
        records = read_records(store.objects, store.tenant, tombstone.id)
        changes = gathered_changes(known, records, commits, state.blocks)
        if known is not None and known["state"] == stage and known["changes"] == changes:
            # It was done when that was written first.
            return
        manifest = new_manifest(tombstone, stage, changes, self._clock_ns())
        write_manifest(store.objects, store.tenant, manifest)
