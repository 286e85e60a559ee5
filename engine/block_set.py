"""The blocks of one tenant of one store: the catalog's newest version, and what was read of its blocks."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from threading import Lock

from ..schema.catalog import CatalogState
from ..schema.errors import CorruptBlock
from .query.opened import OpenBlock
from .query.visible import without_hidden
from .settings import Settings
from .storage.blocks import Locate, StoredBlock, read_meta
from .storage.catalog import Catalog
from .storage.objects import Objects
from .storage.quarantine import Quarantine, QuarantinedBlock


class BlockSet:
    """Opens blocks on demand and keeps as many as the settings allow. Safe for several threads."""

    def __init__(
        self,
        objects: Objects,
        catalog: Catalog,
        tenant: str,
        locate: Locate,
        settings: Settings,
    ) -> None:
        self.objects = objects
        self.catalog = catalog
        self.tenant = tenant
        self._settings = settings
        self._locate = locate
        self._budget_bytes = settings.open_blocks_bytes
        self._open: OrderedDict[str, OpenBlock] = OrderedDict()
        self._version = 0
        self._set_aside: Mapping[str, QuarantinedBlock] = {}
        self._lock = Lock()

    @property
    def spill_directory(self) -> str:
        """Where blocks are made before they are put into place. Raises `Unavailable`."""
        # Not looked up before it is needed: the system's directory is found by writing to it.
        return self._settings.spill_directory

    def state(self) -> CatalogState:
        """The newest catalog version. Blocks that left the catalog are forgotten; who asks them goes on doing so."""
        state = self.catalog.load()
        if state.version > self._version:
            # As seldom as the catalog changes: to list costs a request.
            self._set_aside = self.quarantined()
        with self._lock:
            if state.version > self._version:
                self._version = state.version
                for ulid in [ulid for ulid in self._open if ulid not in state.blocks]:
                    del self._open[ulid]
        return state

    def blocks(self, state: CatalogState, start_ns: int | None, end_ns: int | None) -> dict[str, OpenBlock]:
        """The blocks of one version with profiles in a range, oldest first, without what its tombstones are about.

        Raises `CorruptBlock` when one of them was set aside: an answer without it, or with it, would be wrong.
        """
        chosen = state.overlapping(start_ns, end_ns)
        for entry in chosen:
            record = self._set_aside.get(entry.ulid)
            if record is not None:
                raise CorruptBlock(
                    f"block {entry.ulid} was set aside as corrupt (flameduck blocks quarantine): {record.reason}"
                )
        if not state.tombstones:
            return {entry.ulid: self.block(entry.ulid) for entry in chosen}
        found: dict[str, OpenBlock] = {}
        for entry in chosen:
            visible = without_hidden(self.block(entry.ulid), state.in_force(entry.applied))
            if visible is not None:
                found[entry.ulid] = visible
        return found

    def live_blocks(self) -> Sequence[OpenBlock]:
        """The blocks of the newest version, also those that were set aside."""
        return [self.block(entry.ulid) for entry in self.state().overlapping(None, None)]

    def quarantined(self) -> Mapping[str, QuarantinedBlock]:
        """The blocks that were set aside as corrupt, by ULID."""
        return Quarantine(self.objects, self.tenant).blocks()

    def block(self, ulid: str) -> OpenBlock:
        """One block, open. Raises `ObjectMissing` or `CorruptBlock`."""
        with self._lock:
            block = self._open.get(ulid)
            if block is not None:
                self._open.move_to_end(ulid)
                return block
        block = OpenBlock(StoredBlock(read_meta(self.objects, self.tenant, ulid), self._locate))
        with self._lock:
            block = self._open.setdefault(ulid, block)
            self._shrink()
        return block

    def _shrink(self) -> None:
        """Forget the blocks used longest ago until the rest fits; the newest stays whatever its size."""
        total_bytes = sum(block.held_bytes for block in self._open.values())
        while total_bytes > self._budget_bytes and len(self._open) > 1:
            _, oldest = self._open.popitem(last=False)
            total_bytes -= oldest.held_bytes
