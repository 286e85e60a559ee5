"""Run merge jobs: several blocks in, one out, committed as one catalog entry.

The inputs stay in the catalog until the output is whole, and the commit fails if one of them is gone: a job that
is killed, or loses to another, changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol

from ...schema.block import BlockMeta
from ...schema.catalog import entry_of
from ...schema.errors import CommitConflict, CorruptBlock
from ..query.opened import OpenBlock
from ..storage.blocks import put_block, require_checksums
from ..storage.builder import BlockBuilder
from ..storage.catalog import Catalog
from ..storage.catalog_change import Change
from ..storage.layout import BlockOrigin, BlockTables
from ..storage.objects import Objects
from ..storage.quarantine import Quarantine
from ..storage.spill import work_directory
from .inputs import MergeInput
from .plan import MergeJob, MergePolicy, plan_merges
from .removals import recorded, removal_of
from .stream import merge_into
from .unpack import unpack

DEFAULT_POLICY = MergePolicy()


class BlockStore(Protocol):
    """Where blocks go, and which are there."""

    @property
    def tenant(self) -> str:
        """Whose blocks these are."""
        ...

    @property
    def objects(self) -> Objects:
        """The files."""
        ...

    @property
    def catalog(self) -> Catalog:
        """The commits."""
        ...

    @property
    def spill_directory(self) -> str:
        """Where blocks are made before they are put into place."""
        ...

    def live_blocks(self) -> Sequence[OpenBlock]:
        """The blocks of the newest catalog version."""
        ...

    def block(self, ulid: str) -> OpenBlock:
        """One block, in the catalog or not."""
        ...


def merge_blocks(blocks: Sequence[OpenBlock], origin: BlockOrigin) -> BlockTables:
    """One block in memory with the profiles of all, copies dropped. Raises `CorruptBlock` when it does not add up."""
    builder = BlockBuilder()
    for block in blocks:
        builder.add(unpack(block))
    built = builder.build(origin)
    before, dropped = builder.profiles, builder.profiles - built.meta.profiles
    if dropped < 0 or before != sum(block.meta.profiles for block in blocks):
        raise CorruptBlock(
            f"merging {', '.join(b.ulid for b in blocks)}: {before} profiles became {built.meta.profiles}"
        )
    return built


def replace_blocks(store: BlockStore, job: MergeJob, reason: str) -> BlockMeta | None:
    """Run a job: write the one block, without what was deleted, and commit it in place of the others.

    None when everything in them was deleted. Raises `CommitConflict` when another process was first, `CorruptBlock`
    when checksums or sums do not hold, and `Unavailable` when a disk or the store is in the way. Whatever it raises, the
    catalog is as before, or the job done.
    """
    # Of this version are the tombstones; what is deleted later concerns the new block as it does these.
    state = store.catalog.load()
    gone = [ulid for ulid in job.ulids if ulid not in state.blocks]
    if gone:
        raise CommitConflict(f"blocks {', '.join(gone)} are not live")
    inputs = [MergeInput.of(store.block(ulid), state) for ulid in job.ulids]
    visible = [one.visible for one in inputs if one.visible is not None]
    meta = _merged(store, job, visible, state.version) if visible else None
    change = Change(reason, () if meta is None else (entry_of(meta),), job.ulids)
    with recorded(store.objects, store.tenant, removal_of(change.commit_id, inputs, meta)):
        store.catalog.commit_change(change)
    return meta


def _merged(store: BlockStore, job: MergeJob, blocks: Sequence[OpenBlock], applied: int) -> BlockMeta:
    """The block that a job makes, written and not committed."""
    from ulid import ULID

    for block in blocks:
        require_checksums(block.block)
    level = max(block.meta.level for block in blocks) if job.level is None else job.level
    origin = BlockOrigin(str(ULID()), store.tenant, level, job.ulids, applied=applied)
    with work_directory(store.spill_directory) as directory:
        return put_block(store.objects, merge_into(directory, blocks, origin), directory)


def merge_small_blocks(store: BlockStore, policy: MergePolicy = DEFAULT_POLICY) -> None:
    """Turn many small blocks into few, so that ingesting file by file costs readers little.

    Where another process does the same, one of the two commits and the other's work is dropped. Blocks that were set
    aside as corrupt are left alone. Raises `CorruptBlock` for one that is so, and was not yet.
    """
    blocks = store.catalog.load().blocks
    if not plan_merges(blocks.values(), policy):
        return
    set_aside = Quarantine(store.objects, store.tenant).blocks()
    for job in plan_merges([one for ulid, one in blocks.items() if ulid not in set_aside], policy):
        with suppress(CommitConflict):
            replace_blocks(store, job, "merge")
