"""Blocks of older format versions, rewritten one by one as the newest version has them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ...schema.block import BlockMeta
from ...schema.errors import CommitConflict, CorruptBlock, StorageError
from ...schema.tables import FORMAT_VERSION
from ..storage.blocks import read_meta
from .plan import MergeJob
from .run import BlockStore, replace_blocks

_AT_A_TIME = 16


@dataclass(frozen=True)
class Upgraded:
    """A block of an older version and what became of it.

    `made` is None where nothing was done, another process replaced it first, or `problem` says why it stays.
    """

    old: BlockMeta
    made: BlockMeta | None = None
    problem: str = ""


def old_blocks(store: BlockStore) -> Sequence[BlockMeta]:
    """The live blocks of older versions, oldest first.

    Raises `StorageError` when the catalog or one of their metas cannot be read.
    """
    blocks = store.catalog.load().blocks.values()
    ordered = sorted(blocks, key=lambda entry: (entry.min_ts, entry.ulid))
    with ThreadPoolExecutor(_AT_A_TIME) as threads:
        metas = threads.map(lambda entry: read_meta(store.objects, store.tenant, entry.ulid), ordered)
        return [meta for meta in metas if meta.version < FORMAT_VERSION]


def upgrade(store: BlockStore, old: Sequence[BlockMeta]) -> Iterator[Upgraded]:
    """Rewrite blocks, with a commit each; blocks of level 1 and up get rollups.

    The samples of every profile are added up on the way. A block that does not hold is left alone and told, the others
    are rewritten. Killed at any moment, each block is the old or the new one, and what is left is done the next time.
    """
    for meta in old:
        yield _upgrade(store, meta)


def _upgrade(store: BlockStore, old: BlockMeta) -> Upgraded:
    try:
        return Upgraded(old, replace_blocks(store, MergeJob((old.ulid,)), "upgrade"))
    except CommitConflict:
        return Upgraded(old)
    except CorruptBlock as error:
        return Upgraded(old, problem=str(error))
    except StorageError as error:
        # A compaction may have replaced it, and a sweep removed it, since the blocks were listed.
        if old.ulid not in store.catalog.load().blocks:
            return Upgraded(old)
        return Upgraded(old, problem=str(error))
