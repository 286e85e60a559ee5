"""What one commit is to change in a catalog, whatever the version that it comes to follow."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from ...schema.catalog import BlockEntry, CatalogEntry, CatalogState
from ...schema.tombstone import Tombstone


def _anything(state: CatalogState) -> None:
    """Whatever is there already, the change may be made."""


@dataclass(frozen=True)
class Change:
    """Blocks and tombstones that come and go in one step.

    `guard` is shown the state that the change would follow, and raises `CommitConflict` when it must not.
    """

    reason: str
    added: tuple[BlockEntry, ...] = ()
    removed: tuple[str, ...] = ()
    tombstones_added: tuple[Tombstone, ...] = ()
    tombstones_removed: tuple[str, ...] = ()
    guard: Callable[[CatalogState], None] = _anything
    commit_id: str = field(default_factory=lambda: secrets.token_hex(8))

    def entry_after(self, before: CatalogState, time_ns: int) -> CatalogEntry:
        """The entry that makes the change after a version.

        A spent tombstone that concerns an added block, which was begun before it, comes into force again: so that one
        in force is all that a reader of blocks must look at.
        """
        version = before.version + 1
        new = [one if one.version else replace(one, version=version) for one in self.tombstones_added]
        oldest = min((block.applied for block in self.added), default=before.version)
        revived = [one for one in before.spent.values() if one.version > oldest]
        return CatalogEntry(
            version,
            time_ns,
            self.reason,
            self.added,
            self.removed,
            self.commit_id,
            tombstones_added=(*new, *revived),
            tombstones_removed=self.tombstones_removed,
        )
