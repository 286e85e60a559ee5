"""Run merge jobs: several blocks in, one out, committed as one catalog entry.

The inputs stay in the catalog until the output is whole, and the commit fails if one of them is gone: a job that
is killed, or loses to another, changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...schema.block import BlockMeta
from ...schema.errors import CorruptBlock
from ..query.opened import OpenBlock
from ..storage.blocks import put_block
from ..storage.builder import BlockBuilder
from ..storage.layout import BlockOrigin, BlockTables
from ..storage.objects import Objects
from ..storage.spill import work_directory
from .stream import merge_into
from .unpack import unpack


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


def write_merged(objects: Objects, blocks: Sequence[OpenBlock], ulid: str, spill_directory: str) -> BlockMeta:
    """Merge and write; the new block still has to be committed in place of the old ones.

    Raises `CorruptBlock` when the sums do not add up, and `Unavailable` when a disk or the store is in the way.
    """
    level = max(block.meta.level for block in blocks)
    parents = tuple(block.ulid for block in blocks)
    origin = BlockOrigin(ulid, blocks[0].meta.tenant, level, parents)
    with work_directory(spill_directory) as directory:
        return put_block(objects, merge_into(directory, blocks, origin), directory)
