"""Compaction of one tenant's blocks, level by level, until nothing is left to do."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ...schema.block import BlockMeta
from ...schema.catalog import BlockEntry
from ...schema.errors import CommitConflict, CorruptBlock, StorageError
from ..storage.blocks import read_meta
from ..storage.verify import broken_promises
from .levels import LevelPolicy, plan_levels
from .plan import MergeJob
from .run import BlockStore, replace_blocks


@dataclass(frozen=True)
class Compacted:
    """What became of a job for a level: the block that was made; None where another process was first, none could be,
    or everything in its blocks was deleted.
    """

    level: int | None
    inputs: Sequence[BlockEntry]
    made: BlockMeta | None
    seconds: float
    problems: Sequence[str] = ()


def compact(
    store: BlockStore, policy: LevelPolicy, clock_ns: Callable[[], int] = time.time_ns
) -> Iterator[Compacted]:
    """Run jobs until there are none. A block that does not hold is left alone and told, and the others are compacted.

    Raises `StorageError` when the catalog or the store cannot be used at all.
    """
    broken: set[str] = set()
    while True:
        blocks = store.catalog.load().blocks
        jobs = plan_levels(
            [entry for ulid, entry in blocks.items() if ulid not in broken], policy, clock_ns()
        )
        if not jobs:
            return
        for job in jobs:
            yield _run(store, job, [blocks[ulid] for ulid in job.ulids], broken)


def _run(store: BlockStore, job: MergeJob, inputs: Sequence[BlockEntry], broken: set[str]) -> Compacted:
    start_s = time.monotonic()
    made: BlockMeta | None = None
    problems: Sequence[str] = ()
    try:
        made = replace_blocks(store, job, "compact")
    except CommitConflict:
        pass
    except CorruptBlock as error:
        found = dict(_broken(store, job.ulids))
        if not found:
            # Each block holds by itself, so what is wrong is between them: none of them is tried again.
            found = dict.fromkeys(job.ulids, str(error))
        broken.update(found)
        problems = [f"block {ulid}: {reason}" for ulid, reason in found.items()]
    return Compacted(job.level, inputs, made, time.monotonic() - start_s, problems)


def _broken(store: BlockStore, ulids: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Which blocks do not hold, and why."""
    for ulid in ulids:
        try:
            meta = read_meta(store.objects, store.tenant, ulid)
            problems = list(broken_promises(store.objects, meta, store.spill_directory))
        except StorageError as error:
            problems = [str(error)]
        if problems:
            yield ulid, "; ".join(problems)
