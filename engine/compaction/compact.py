"""Compaction of one tenant's blocks, level by level, until nothing is left to do."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ...schema.block import BlockMeta
from ...schema.catalog import BlockEntry
from ...schema.errors import CommitConflict, CorruptBlock, ObjectMissing
from ..storage.quarantine import Quarantine
from .examine import examine
from .levels import LevelPolicy, plan_levels
from .plan import MergeJob
from .run import BlockStore, replace_blocks


@dataclass(frozen=True)
class Compacted:
    """What became of a job for a level: the block that was made; None where another process was first, or none could
    be.
    """

    level: int | None
    inputs: Sequence[BlockEntry]
    made: BlockMeta | None
    seconds: float
    problems: Sequence[str] = ()


def compact(
    store: BlockStore, policy: LevelPolicy, clock_ns: Callable[[], int] = time.time_ns
) -> Iterator[Compacted]:
    """Run jobs until there are none. A block that does not hold is told and set aside, and the others are compacted.

    Raises `StorageError` when the catalog or the store cannot be used at all.
    """
    quarantine = Quarantine(store.objects, store.tenant, clock_ns)
    set_aside = set(quarantine.blocks())
    while True:
        blocks = store.catalog.load().blocks
        jobs = plan_levels(
            [entry for ulid, entry in blocks.items() if ulid not in set_aside], policy, clock_ns()
        )
        if not jobs:
            return
        for job in jobs:
            start_s = time.monotonic()
            made, reasons = _run(store, job, quarantine)
            set_aside.update(reasons)
            problems = [f"block {ulid}: {reason}" for ulid, reason in reasons.items()]
            inputs = [blocks[ulid] for ulid in job.ulids]
            yield Compacted(job.level, inputs, made, time.monotonic() - start_s, problems)


def _run(
    store: BlockStore, job: MergeJob, quarantine: Quarantine
) -> tuple[BlockMeta | None, Mapping[str, str]]:
    """The block that was made, if one was, and why which inputs are not to be tried again in this run."""
    try:
        return _replaced(store, job), {}
    except (CorruptBlock, ObjectMissing):
        found = examine(store, job.ulids)
        if not found:
            # Each block holds by itself: what came may have been the answer to another question.
            try:
                return _replaced(store, job), {}
            except CorruptBlock as error:
                found = examine(store, job.ulids, str(error))
    for ulid, finding in found.items():
        if finding.is_corrupt:
            quarantine.add(ulid, finding.reason, "compact")
    return None, {ulid: finding.reason for ulid, finding in found.items()}


def _replaced(store: BlockStore, job: MergeJob) -> BlockMeta | None:
    """The block that was made; None where another process was first."""
    try:
        return replace_blocks(store, job, "compact")
    except CommitConflict:
        return None
