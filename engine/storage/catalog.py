"""Which blocks exist: a log of numbered entries, each made by an exclusive create.

`<tenant>/catalog/<number>.json`. Number n + 1 can be taken once, so commits of any number of processes stand in
one order. Every 64 entries the state is written down whole, so that a new reader need not read them all; a
reader does without where that is missing or broken.
"""

from __future__ import annotations

import contextlib
import json
import random
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from threading import Lock
from types import MappingProxyType

from ...schema.catalog import BlockEntry, CatalogEntry, CatalogState, apply_entries, entry_from_json
from ...schema.errors import ObjectExists, ObjectMissing, StorageError, Unavailable
from .objects import Objects

CHECKPOINT_EVERY = 64
_ATTEMPTS = 64
_TENANT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")


def checked_tenant(tenant: str) -> str:
    """The tenant's name, if it is one: letters, digits, `_`, `-`, `.`; at most 128. Raises `StorageError`."""
    if not _TENANT.fullmatch(tenant) or tenant in (".", ".."):
        raise StorageError(f"tenant {tenant[:200]!r}: expected 1 to 128 letters, digits, `_`, `-` or `.`")
    return tenant


class Catalog:
    """One tenant's log. Safe for several threads; several processes may each have their own."""

    def __init__(self, objects: Objects, tenant: str, clock_ns: Callable[[], int] = time.time_ns) -> None:
        self._objects = objects
        self._prefix = f"{checked_tenant(tenant)}/catalog"
        self._clock_ns = clock_ns
        self._lock = Lock()
        self._state: CatalogState | None = None

    def load(self) -> CatalogState:
        """The newest version. Entries are looked for by number, so that a listing that lags does not matter."""
        with self._lock:
            state = self._state if self._state is not None else self._checkpointed()
            while (entry := self._entry(state.version + 1)) is not None:
                state = apply_entries(state, [entry])
            self._state = state
            return state

    def commit(self, added: Sequence[BlockEntry], removed: Sequence[str], reason: str) -> CatalogState:
        """Add and remove blocks in one step; returns a version that has them.

        Raises `CommitConflict` when a removed block is gone, `Unavailable` when others keep winning.
        """
        for attempt in range(_ATTEMPTS):
            before = self.load()
            entry = CatalogEntry(before.version + 1, self._clock_ns(), reason, tuple(added), tuple(removed))
            after = apply_entries(before, [entry])
            try:
                self._objects.create(self._path(entry.version), entry.to_json())
            except ObjectExists:
                time.sleep(random.uniform(0, 0.002 * min(attempt + 1, 20)))
                continue
            self._write_checkpoint(after)
            return self.load()
        raise Unavailable(f"{self._prefix}: {_ATTEMPTS} commits in a row lost against others")

    def _entry(self, version: int) -> CatalogEntry | None:
        path = self._path(version)
        try:
            return entry_from_json(self._objects.read(path), path)
        except ObjectMissing:
            return None

    def _path(self, version: int) -> str:
        return f"{self._prefix}/{version:020d}.json"

    def _write_checkpoint(self, state: CatalogState) -> None:
        """Best effort: the log is the truth."""
        if state.version % CHECKPOINT_EVERY:
            return
        blocks = [asdict(block) for block in state.blocks.values()]
        data = json.dumps({"version": state.version, "blocks": blocks}, separators=(",", ":")).encode()
        with contextlib.suppress(StorageError):
            self._objects.write(f"{self._prefix}/checkpoints/{state.version:020d}.json", data)

    def _checkpointed(self) -> CatalogState:
        """The newest state written down that can be read, or the empty one."""
        try:
            listed = self._objects.list(f"{self._prefix}/checkpoints")
        except StorageError:
            return CatalogState()
        for info in reversed(listed):
            try:
                fields = json.loads(self._objects.read(info.path))
                blocks = {block["ulid"]: BlockEntry(**block) for block in fields["blocks"]}
                return CatalogState(int(fields["version"]), MappingProxyType(blocks))
            except (StorageError, ValueError, KeyError, TypeError):
                continue
        return CatalogState()
