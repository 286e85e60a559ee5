"""Compaction of one tenant's blocks, level by level, until nothing is left to do."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from ...schema.block import BlockMeta
from ...schema.catalog import BlockEntry
from ...schema.errors import CommitConflict, CorruptBlock, StorageError
from ..storage.blocks import read_meta
from ..storage.verify import broken_promises
from .levels import LevelPolicy, plan_levels
from .plan import MergeJob
from .run import BlockStore, replace_blocks

_MOST_LOST = 3
"""How often the same job may be lost to another process."""


@dataclass(frozen=True)
class Compacted:
    """What became of a job for a level: the block that was made; None where another process was first, or none could
    be. `broken` are blocks that are not to be tried again.
    """

    level: int | None
    inputs: Sequence[BlockEntry]
    made: BlockMeta | None
    seconds: float
    problems: Sequence[str] = ()
    broken: frozenset[str] = frozenset()


@dataclass(frozen=True)
class PlannedJob:
    """A job, and what the catalog says of its blocks."""

    job: MergeJob
    inputs: Sequence[BlockEntry]


RunJobs = Callable[[Sequence[PlannedJob]], Iterator[Compacted]]
"""Runs the jobs of one round, which have no block in common, and says what became of each."""


def compact(
    store: BlockStore,
    policy: LevelPolicy,
    clock_ns: Callable[[], int] = time.time_ns,
    run_jobs: RunJobs | None = None,
) -> Iterator[Compacted]:
    """Run jobs until there are none. A block that does not hold is left alone and told, and the others are compacted.

    Without `run_jobs` they are run here, one after the other. Raises `StorageError` when the catalog or the store cannot
    be used at all.
    """
    broken: set[str] = set()
    lost: Counter[Sequence[str]] = Counter()
    run = run_jobs or run_here(store)
    while True:
        blocks = store.catalog.load().blocks
        jobs = plan_levels(
            [entry for ulid, entry in blocks.items() if ulid not in broken], policy, clock_ns()
        )
        if not jobs:
            return
        for outcome in run([PlannedJob(job, [blocks[ulid] for ulid in job.ulids]) for job in jobs]):
            is_lost = outcome.made is None and not outcome.broken
            one = _lost(outcome, lost) if is_lost else outcome
            broken.update(one.broken)
            yield one


def _lost(one: Compacted, lost: Counter[Sequence[str]]) -> Compacted:
    """The outcome of a job that another process was first with, unless that is said again and again of the same blocks,
    which the catalog goes on to have: then it is a problem, and they are left alone.
    """
    ulids = tuple(entry.ulid for entry in one.inputs)
    lost[ulids] += 1
    if lost[ulids] < _MOST_LOST:
        return one
    problem = f"blocks {', '.join(ulids)}: replaced by others, it is said, and yet in the catalog: left alone"
    return replace(one, problems=[problem], broken=frozenset(ulids))


def run_here(store: BlockStore) -> RunJobs:
    """Runs jobs in this process, one after the other."""
    return partial(map, partial(run_job, store))


def run_job(store: BlockStore, planned: PlannedJob) -> Compacted:
    """Run one job. Raises `StorageError` when the store cannot be used."""
    start_s = time.monotonic()
    job = planned.job
    made: BlockMeta | None = None
    found: dict[str, str] = {}
    try:
        made = replace_blocks(store, job, "compact")
    except CommitConflict:
        pass
    except CorruptBlock as error:
        # Where each block holds by itself, what is wrong is between them: none of them is tried again.
        found = dict(_broken(store, job.ulids)) or dict.fromkeys(job.ulids, str(error))
    problems = [f"block {ulid}: {reason}" for ulid, reason in found.items()]
    seconds = time.monotonic() - start_s
    return Compacted(job.level, planned.inputs, made, seconds, problems, frozenset(found))


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
