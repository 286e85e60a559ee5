"""The catalog as values: numbered entries, and the state they add up to. No I/O.

An entry adds and removes blocks and tombstones in one step. The state after entry `n` is version `n`, a query's
snapshot. Readers accept entries of this format and of older ones: format 1 had no tombstones.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any

from .block import BlockMeta
from .errors import CommitConflict, CorruptBlock
from .tombstone import Tombstone, tombstone_from_fields

CATALOG_FORMAT = 2


@dataclass(frozen=True)
class BlockEntry:
    """What the catalog knows of a block without opening it; `min_ts` and `max_ts` are inclusive.

    Tombstones of version `applied` and before do not concern it: its profiles came later, or went when it was made.
    """

    ulid: str
    level: int
    min_ts: int
    max_ts: int
    profiles: int
    samples: int
    size_bytes: int
    applied: int = 0


def entry_of(meta: BlockMeta) -> BlockEntry:
    """What the catalog keeps of a block."""
    return BlockEntry(
        ulid=meta.ulid,
        level=meta.level,
        min_ts=meta.min_ts,
        max_ts=meta.max_ts,
        profiles=meta.profiles,
        samples=meta.samples,
        size_bytes=meta.size_bytes,
        applied=meta.applied,
    )


@dataclass(frozen=True)
class CatalogEntry:
    """One commit: blocks that become visible and blocks that cease to be, at `time_ns`, for `reason`; and tombstones
    that come into force, or have done what they are for.

    `commit_id` is the committer's own, by which it knows its entry again. An entry that `resets` forgets all
    before it: the log was rebuilt.
    """

    version: int
    time_ns: int
    reason: str
    added: tuple[BlockEntry, ...] = ()
    removed: tuple[str, ...] = ()
    commit_id: str = ""
    resets: bool = False
    format: int = CATALOG_FORMAT
    tombstones_added: tuple[Tombstone, ...] = ()
    tombstones_removed: tuple[str, ...] = ()

    def to_json(self) -> bytes:
        """The bytes of `catalog/<version>.json`."""
        return json.dumps(asdict(self), separators=(",", ":"), sort_keys=True).encode()


@dataclass(frozen=True)
class CatalogState:
    """The live blocks by ULID at one version; version 0 is the empty store.

    `tombstones` are in force, by id: live blocks may hold what they are about. `spent` ones were: no live block does,
    but a head that was begun before them may.
    """

    version: int = 0
    blocks: Mapping[str, BlockEntry] = field(default_factory=lambda: MappingProxyType({}))
    tombstones: Mapping[str, Tombstone] = field(default_factory=lambda: MappingProxyType({}))
    spent: Mapping[str, Tombstone] = field(default_factory=lambda: MappingProxyType({}))

    def overlapping(self, start_ns: int | None, end_ns: int | None) -> tuple[BlockEntry, ...]:
        """The blocks with profiles in `[start_ns, end_ns)`, oldest first."""
        chosen = [
            entry
            for entry in self.blocks.values()
            if (end_ns is None or entry.min_ts < end_ns) and (start_ns is None or entry.max_ts >= start_ns)
        ]
        return tuple(sorted(chosen, key=lambda entry: (entry.min_ts, entry.ulid)))

    def in_force(self, applied: int) -> tuple[Tombstone, ...]:
        """The tombstones that concern a live block, oldest first."""
        return _later(self.tombstones.values(), applied)

    def made_since(self, applied: int) -> tuple[Tombstone, ...]:
        """The tombstones that concern what is not a live block yet, oldest first: spent ones too."""
        return _later([*self.tombstones.values(), *self.spent.values()], applied)

    @cached_property
    def last_tombstone(self) -> int:
        """The version of the newest tombstone, in force or spent; 0: there never was one."""
        every = [*self.tombstones.values(), *self.spent.values()]
        return max((one.version for one in every), default=0)


def _later(tombstones: Iterable[Tombstone], applied: int) -> tuple[Tombstone, ...]:
    later = [one for one in tombstones if one.version > applied]
    return tuple(sorted(later, key=lambda one: (one.version, one.id)))


def apply_entries(state: CatalogState, entries: Iterable[CatalogEntry]) -> CatalogState:
    """The state after `entries`, which follow it without a gap.

    Raises `CommitConflict` when one removes a block or a tombstone that is not there, `CorruptBlock` on a gap.
    """
    blocks = dict(state.blocks)
    tombstones, spent = dict(state.tombstones), dict(state.spent)
    version = state.version
    for entry in entries:
        if entry.version != version + 1:
            raise CorruptBlock(f"catalog entry {entry.version} follows {version}")
        if entry.resets:
            blocks.clear()
            tombstones.clear()
            spent.clear()
        gone = [ulid for ulid in entry.removed if blocks.pop(ulid, None) is None]
        gone += [one for one in entry.tombstones_removed if one not in tombstones]
        if gone:
            raise CommitConflict(
                f"catalog entry {entry.version} removes blocks or tombstones that are not there: {', '.join(gone)}"
            )
        blocks.update((block.ulid, block) for block in entry.added)
        for one in entry.tombstones_removed:
            spent[one] = tombstones.pop(one)
        for tombstone in entry.tombstones_added:
            spent.pop(tombstone.id, None)
            tombstones[tombstone.id] = tombstone
        version = entry.version
    return replace(
        state,
        version=version,
        blocks=MappingProxyType(blocks),
        tombstones=MappingProxyType(tombstones),
        spent=MappingProxyType(spent),
    )


def live_blocks(metas: Iterable[BlockMeta]) -> tuple[BlockEntry, ...]:
    """The blocks to list when only the blocks are left to go by: those that no other one was merged from."""
    by_ulid = {meta.ulid: meta for meta in metas}
    replaced = {parent for meta in by_ulid.values() for parent in meta.parents}
    return tuple(entry_of(meta) for ulid, meta in sorted(by_ulid.items()) if ulid not in replaced)


def _checked(entry: BlockEntry) -> BlockEntry:
    """Raises `ValueError` where a value is of another kind than its field."""
    for name, value in vars(entry).items():
        if not isinstance(value, str if name == "ulid" else int):
            raise ValueError(f"block {entry.ulid}: {name} is {value!r}")
    return entry


def entry_from_json(data: bytes, origin: str) -> CatalogEntry:
    """Read one entry. Raises `CorruptBlock`."""
    try:
        fields: dict[str, Any] = json.loads(data)
        if int(fields.get("format", 1)) > CATALOG_FORMAT:
            raise CorruptBlock(f"{origin}: catalog format {fields['format']} is newer than {CATALOG_FORMAT}")
        fields["added"] = tuple(_checked(BlockEntry(**block)) for block in fields["added"])
        fields["removed"] = tuple(fields["removed"])
        fields["tombstones_added"] = tuple(map(tombstone_from_fields, fields.get("tombstones_added", ())))
        fields["tombstones_removed"] = tuple(fields.get("tombstones_removed", ()))
        return CatalogEntry(**fields)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CorruptBlock(f"{origin}: not a catalog entry: {error}") from None
