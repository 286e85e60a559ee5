"""The catalog as values: numbered entries, and the state they add up to. No I/O.

An entry adds and removes blocks in one step. The state after entry `n` is version `n`, a query's snapshot.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from types import MappingProxyType
from typing import Any

from .errors import CommitConflict, CorruptBlock


@dataclass(frozen=True)
class BlockEntry:
    """What the catalog knows of a block without opening it; `min_ts` and `max_ts` are inclusive."""

    ulid: str
    level: int
    min_ts: int
    max_ts: int
    profiles: int
    samples: int
    size_bytes: int


@dataclass(frozen=True)
class CatalogEntry:
    """One commit: blocks that become visible and blocks that cease to be, at `time_ns`, for `reason`."""

    version: int
    time_ns: int
    reason: str
    added: tuple[BlockEntry, ...] = ()
    removed: tuple[str, ...] = ()

    def to_json(self) -> bytes:
        """The bytes of `catalog/<version>.json`."""
        return json.dumps(asdict(self), separators=(",", ":"), sort_keys=True).encode()


@dataclass(frozen=True)
class CatalogState:
    """The live blocks by ULID at one version; version 0 is the empty store."""

    version: int = 0
    blocks: Mapping[str, BlockEntry] = field(default_factory=lambda: MappingProxyType({}))

    def overlapping(self, start_ns: int | None, end_ns: int | None) -> tuple[BlockEntry, ...]:
        """The blocks with profiles in `[start_ns, end_ns)`, oldest first."""
        chosen = [
            entry
            for entry in self.blocks.values()
            if (end_ns is None or entry.min_ts < end_ns) and (start_ns is None or entry.max_ts >= start_ns)
        ]
        return tuple(sorted(chosen, key=lambda entry: (entry.min_ts, entry.ulid)))


def apply_entries(state: CatalogState, entries: Iterable[CatalogEntry]) -> CatalogState:
    """The state after `entries`, which follow it without a gap.

    Raises `CommitConflict` when one removes a block that is not live, `CorruptBlock` on a gap.
    """
    blocks = dict(state.blocks)
    version = state.version
    for entry in entries:
        if entry.version != version + 1:
            raise CorruptBlock(f"catalog entry {entry.version} follows {version}")
        gone = [ulid for ulid in entry.removed if blocks.pop(ulid, None) is None]
        if gone:
            raise CommitConflict(f"catalog entry {entry.version} removes blocks that are not live: {', '.join(gone)}")
        blocks.update((block.ulid, block) for block in entry.added)
        version = entry.version
    return replace(state, version=version, blocks=MappingProxyType(blocks))


def entry_from_json(data: bytes, origin: str) -> CatalogEntry:
    """Read one entry. Raises `CorruptBlock`."""
    try:
        fields: dict[str, Any] = json.loads(data)
        fields["added"] = tuple(BlockEntry(**block) for block in fields["added"])
        fields["removed"] = tuple(fields["removed"])
        return CatalogEntry(**fields)
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptBlock(f"{origin}: not a catalog entry: {error}") from None
