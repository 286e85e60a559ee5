"""Which blocks exist: a log of numbered entries, each made by an exclusive create.

`<tenant>/catalog/<number>.json`. Number n + 1 can be taken once, so the commits of any number of processes
stand in one order. New entries are found by reading the next number, so that a listing that lags does not
matter. Every 64 entries a version is written down whole in `catalog/checkpoint/`, so that a new reader need
not read them all; a reader does without where that is missing or broken.
"""

from __future__ import annotations

import contextlib
import random
import re
import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Lock

from ...schema.block import BlockMeta
from ...schema.catalog import (
    BlockEntry,
    CatalogEntry,
    CatalogState,
    apply_entries,
    entry_from_json,
    live_blocks,
)
from ...schema.errors import (
    CommitConflict,
    CorruptBlock,
    ObjectExists,
    ObjectMissing,
    StorageError,
    Unavailable,
)
from ...schema.tenant import checked_tenant
from ...schema.tombstone import Tombstone
from .catalog_change import Change
from .catalog_checkpoint import decode_checkpoint, encode_checkpoint
from .objects_protocol import Objects

CHECKPOINT_EVERY = 64
COMMIT_TIMEOUT_S = 60.0
_KEPT_CHECKPOINTS = 3
_SHOWN_WITHIN_S = 20.0
_NUMBERED = re.compile(r"(?P<number>[0-9]{20})\.json|checkpoint/(?P<checkpoint>[0-9]{20})\.parquet")
_READ_AHEAD = 16


class Catalog:
    """One tenant's log. Safe for several threads; any number of processes may each have their own.

    A state is a snapshot: it holds all commits that had returned, anywhere, before it was loaded.
    """

    def __init__(self, objects: Objects, tenant: str, clock_ns: Callable[[], int] = time.time_ns) -> None:
        self._objects = objects
        self._prefix = f"{checked_tenant(tenant)}/catalog"
        self._clock_ns = clock_ns
        # Guards `_state` and `_loads_done`, and lets one thread at a time look for new entries.
        self._load_lock = Lock()
        # Lets one thread at a time commit: threads of one process need not race each other.
        self._commit_lock = Lock()
        self._state: CatalogState | None = None
        self._loads_begun = 0
        self._loads_done = 0
        self._outage = ""

    def load(self) -> CatalogState:
        """The newest version. Raises `CorruptBlock` when an entry cannot be read; `reindex` repairs that."""
        asked = self._loads_begun
        with self._load_lock:
            if self._loads_done > asked:
                # Another thread looked, and began to after this one asked. Where the store did not answer it, all
                # that wait are told at once: each would take as long to find out, one after the other.
                if self._outage:
                    raise Unavailable(self._outage)
                if self._state is not None:
                    return self._state
            self._loads_begun += 1
            try:
                self._state = self._newest(self._state or self._checkpointed())
            except Unavailable as error:
                self._outage = str(error)
                self._loads_done = self._loads_begun
                raise
            self._outage = ""
            self._loads_done = self._loads_begun
            return self._state

    @property
    def known_version(self) -> int:
        """The version that was seen last; 0 as long as none was, or while nothing was ever stored."""
        state = self._state
        return 0 if state is None else state.version

    @property
    def known(self) -> CatalogState | None:
        """What was seen last, without a look at the store; None as long as nothing was."""
        return self._state

    def commit(self, added: Sequence[BlockEntry], removed: Sequence[str], reason: str) -> CatalogState:
        """Add and remove blocks in one step; returns the version that this made.

        Raises `CommitConflict` when a removed block is gone, and `Unavailable` when others keep winning or
        the store does not answer: the commit may then have been made.
        """
        if not added and not removed:
            return self.load()
        return self.commit_change(Change(reason, tuple(added), tuple(removed)))

    def commit_change(self, change: Change) -> CatalogState:
        """The same with tombstones; raises what the change's guard raises, too."""
        give_up = time.monotonic() + COMMIT_TIMEOUT_S
        attempt = 0
        with self._commit_lock:
            while time.monotonic() < give_up:
                before = self.load()
                change.guard(before)
                entry = change.entry_after(before, self._clock_ns())
                after = apply_entries(before, [entry])
                if self._take(entry):
                    self._note(after)
                    return after
                time.sleep(random.uniform(0, min(0.001 * 2**attempt, 0.25)))
                attempt = min(attempt + 1, 10)
        raise Unavailable(f"{self._prefix}: commits of others won for {COMMIT_TIMEOUT_S:.0f} s")

    def removed_since(self, time_ns: int) -> frozenset[str]:
        """The blocks that were removed at a time or later.

        Raises `CorruptBlock` when an entry cannot be read, or is not there: what it removed may still be in use.
        """
        removed: set[str] = set()
        version = self.load().version
        while version > 0:
            first, count = max(version - _READ_AHEAD, 0) + 1, min(version, _READ_AHEAD)
            entries = self._entries_from(first, count)
            if len(entries) < count:
                # It was there: this version was made of it, or of a checkpoint that was.
                raise CorruptBlock(f"{self._path(first + len(entries))}: is not there")
            removed.update(ulid for entry in entries if entry.time_ns >= time_ns for ulid in entry.removed)
            if any(entry.time_ns < time_ns or entry.resets for entry in entries):
                break
            version -= _READ_AHEAD
        return frozenset(removed)

    def commits_since(self, version: int) -> frozenset[str]:
        """The ids of the commits after a version. Raises `CorruptBlock` when an entry cannot be read."""
        last = self.load().version
        commits: set[str] = set()
        while version < last:
            entries = self._entries_from(version + 1, min(last - version, _READ_AHEAD))
            commits.update(entry.commit_id for entry in entries)
            # Numbers that are missing went with what was before the log was rebuilt.
            version += len(entries) or 1
        return frozenset(commits)

    def reindex(self, metas: Iterable[BlockMeta], tombstones: Iterable[Tombstone] = ()) -> CatalogState:
        """Make the live blocks those of `metas`, but for blocks that others of them were merged from.

        One entry that replaces all before it, also ones that are unreadable or missing. `tombstones` are in force
        afterwards. To be run alone: a block that is committed meanwhile is forgotten. Blocks that were written and
        never committed appear.
        """
        with self._commit_lock:
            blocks, known = live_blocks(metas), tuple(tombstones)
            # Versions go on where blocks and tombstones have them, also when no number is left of the log.
            seen = [*(block.applied for block in blocks), *(one.version for one in known)]
            version = max(self._last_number(), *seen, 0) + 1
            entry = CatalogEntry(
                version,
                self._clock_ns(),
                "reindex",
                blocks,
                commit_id=secrets.token_hex(8),
                resets=True,
                tombstones_added=known,
            )
            state = apply_entries(CatalogState(version - 1), [entry])
            if not self._take(entry):
                raise CommitConflict(f"{self._prefix}: another commit was made while the log was rebuilt")
            # Not at best effort here: it is the way around what is unreadable.
            self._objects.write(self._checkpoint_path(version), encode_checkpoint(state))
            with self._load_lock:
                self._state = state
            return state

    def _newest(self, state: CatalogState) -> CatalogState:
        """The state with all later entries, by way of a checkpoint where one of them is unreadable."""
        try:
            return self._advanced(state)
        except CorruptBlock:
            beyond = self._checkpointed()
            if beyond.version <= state.version:
                raise
            return self._advanced(beyond)

    def _advanced(self, state: CatalogState) -> CatalogState:
        """The state with all later entries, read ahead more and more at once."""
        entries: list[CatalogEntry] = []
        ahead = 1
        while True:
            found = self._entries_from(state.version + len(entries) + 1, ahead)
            entries += found
            if len(found) < ahead:
                break
            ahead = min(2 * ahead, _READ_AHEAD)
        try:
            return apply_entries(state, entries) if entries else state
        except CommitConflict as error:
            raise CorruptBlock(f"{self._prefix}: the log contradicts itself: {error}") from None

    def _entries_from(self, version: int, count: int) -> list[CatalogEntry]:
        """The entries of up to `count` numbers, up to the first that is not there."""
        if count == 1:
            entry = self._entry(version)
            return [] if entry is None else [entry]
        with ThreadPoolExecutor(count) as threads:
            entries = list(threads.map(self._entry, range(version, version + count)))
        missing = entries.index(None) if None in entries else count
        return [entry for entry in entries[:missing] if entry is not None]

    def _entry(self, version: int) -> CatalogEntry | None:
        try:
            return self._read_entry(version)
        except ObjectMissing:
            return None
        except CorruptBlock:
            # What came may have been the answer to another question.
            return self._read_entry(version)

    def _read_entry(self, version: int) -> CatalogEntry:
        path = self._path(version)
        entry = entry_from_json(self._objects.read(path), path)
        if entry.version != version:
            raise CorruptBlock(f"{path}: is entry {entry.version}")
        return entry

    def _take(self, entry: CatalogEntry) -> bool:
        """Try to make an entry; false when its number is another's."""
        try:
            self._objects.create(self._path(entry.version), entry.to_json())
            return True
        except ObjectExists:
            # Perhaps by ourselves: the answer was lost and the request repeated.
            return self._entry_there(entry.version).commit_id == entry.commit_id
        except Unavailable:
            there = self._entry(entry.version)
            if there is None:
                raise
            return there.commit_id == entry.commit_id

    def _entry_there(self, version: int) -> CatalogEntry:
        """An entry that exists, though a store that shows late what was written may not have it at once."""
        pause_s = 0.01
        give_up = time.monotonic() + _SHOWN_WITHIN_S
        while True:
            entry = self._entry(version)
            if entry is not None:
                return entry
            if time.monotonic() > give_up:
                raise Unavailable(
                    f"{self._path(version)}: the store has it and did not show it for {_SHOWN_WITHIN_S:.0f} s"
                )
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, 1)

    def _note(self, state: CatalogState) -> None:
        """Remember a version that this process made, and write it down when its turn has come."""
        with self._load_lock:
            if self._state is None or self._state.version < state.version:
                self._state = state
        if state.version % CHECKPOINT_EVERY == 0:
            # The log is the truth: it is as good without.
            with contextlib.suppress(StorageError, Unavailable):
                self._objects.write(self._checkpoint_path(state.version), encode_checkpoint(state))
                for path in self._checkpoints()[:-_KEPT_CHECKPOINTS]:
                    self._objects.delete(path)

    def _checkpointed(self) -> CatalogState:
        """The newest version written down that can be read, or the empty one."""
        for path in reversed(self._checkpoints()):
            with contextlib.suppress(ObjectMissing, CorruptBlock):
                return decode_checkpoint(self._objects.read(path), path)
        return CatalogState()

    def _checkpoints(self) -> list[str]:
        """By number; what else lies there is not ours."""
        paths = [info.path for info in self._objects.list(f"{self._prefix}/checkpoint")]
        return [path for path in paths if _NUMBERED.fullmatch(path.removeprefix(f"{self._prefix}/"))]

    def _last_number(self) -> int:
        """The highest number that an entry or a checkpoint has."""
        names = [info.path.removeprefix(f"{self._prefix}/") for info in self._objects.list(self._prefix)]
        found = [match for name in names if (match := _NUMBERED.fullmatch(name)) is not None]
        return max((int(match["number"] or match["checkpoint"]) for match in found), default=0)

    def _path(self, version: int) -> str:
        return f"{self._prefix}/{version:020d}.json"

    def _checkpoint_path(self, version: int) -> str:
        return f"{self._prefix}/checkpoint/{version:020d}.parquet"
