"""Compaction of one tenant's blocks, level by level, until nothing is left to do."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from types import MappingProxyType

from ...schema.block import BlockMeta
from ...schema.catalog import BlockEntry
from ...schema.errors import CommitConflict, CorruptBlock, ObjectMissing
from ..storage.quarantine import Quarantine
from .examine import examine
from .levels import LevelPolicy, plan_levels
from .plan import MergeJob
from .run import BlockStore, replace_blocks

NO_BLOCKS: Mapping[str, str] = MappingProxyType({})

_MOST_LOST = 3
"""How often the same job may be lost to another process."""


@dataclass(frozen=True)
class Compacted:
    """What became of a job: the block that was made; None where another process was first, none could be, or everything
    in its blocks was deleted.

    `problems` says of blocks why they are not to be tried again.
    """

    level: int | None
    inputs: Sequence[BlockEntry]
    made: BlockMeta | None
    seconds: float
    problems: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class PlannedJob:
    """A job, what the catalog says of its blocks, and what it is told of the reason."""

    job: MergeJob
    inputs: Sequence[BlockEntry]
    reason: str


RunJobs = Callable[[Sequence[PlannedJob]], Iterator[Compacted]]
"""Runs the jobs of one round, which have no block in common, and says what became of each."""

Plan = Callable[[Sequence[BlockEntry]], Sequence[MergeJob]]


def compact(
    store: BlockStore,
    policy: LevelPolicy,
    clock_ns: Callable[[], int] = time.time_ns,
    run_jobs: RunJobs | None = None,
    left_alone: Mapping[str, str] = NO_BLOCKS,
) -> Iterator[Compacted]:
    """Run jobs until there are none. A block that does not hold is told and set aside, and the others are compacted.

    So are those that `left_alone` names from the start. Without `run_jobs` jobs are run here, one after the other.
    Raises `StorageError` when the catalog or the store cannot be used at all.
    """

    def plan(blocks: Sequence[BlockEntry]) -> Sequence[MergeJob]:
        return plan_levels(blocks, policy, clock_ns())

    return run_planned(store, plan, "compact", run_jobs or run_here(store), left_alone)


def run_planned(
    store: BlockStore, plan: Plan, reason: str, run_jobs: RunJobs, left_alone: Mapping[str, str] = NO_BLOCKS
) -> Iterator[Compacted]:
    """Plan and run until nothing is planned, as `compact` does; `reason` is what the catalog is told."""
    alone = {*left_alone, *Quarantine(store.objects, store.tenant).blocks()}
    lost: Counter[Sequence[str]] = Counter()
    while True:
        blocks = store.catalog.load().blocks
        jobs = plan([entry for ulid, entry in blocks.items() if ulid not in alone])
        if not jobs:
            return
        planned = [PlannedJob(job, [blocks[ulid] for ulid in job.ulids], reason) for job in jobs]
        for outcome in run_jobs(planned):
            is_lost = outcome.made is None and not outcome.problems
            one = _lost(outcome, lost) if is_lost else outcome
            alone.update(one.problems)
            yield one


def _lost(one: Compacted, lost: Counter[Sequence[str]]) -> Compacted:
    """The outcome of a job that another process was first with, unless that is said again and again of the same blocks,
    which the catalog goes on to have: then it is a problem, and they are left alone.
    """
    ulids = tuple(entry.ulid for entry in one.inputs)
    lost[ulids] += 1
    if lost[ulids] < _MOST_LOST:
        return one
    return replace(
        one, problems=dict.fromkeys(ulids, "replaced by others, it is said, and yet in the catalog")
    )


def run_here(store: BlockStore) -> RunJobs:
    """Runs jobs in this process, one after the other."""
    return partial(map, partial(run_job, store))


def run_job(store: BlockStore, planned: PlannedJob) -> Compacted:
    """Run one job. Blocks that do not hold are set aside. Raises `StorageError` when the store cannot be used."""
    start_s = time.monotonic()
    made, problems = _run(store, planned)
    return Compacted(planned.job.level, planned.inputs, made, time.monotonic() - start_s, problems)


def _run(store: BlockStore, planned: PlannedJob) -> tuple[BlockMeta | None, Mapping[str, str]]:
    """The block that was made, if one was, and why which inputs are not to be tried again in this run."""
    ulids = planned.job.ulids
    try:
        return _replaced(store, planned), {}
    except (CorruptBlock, ObjectMissing):
        found = examine(store, ulids)
        if not found:
            # Each block holds by itself: what came may have been the answer to another question.
            try:
                return _replaced(store, planned), {}
            except CorruptBlock as error:
                found = examine(store, ulids, str(error))
    quarantine = Quarantine(store.objects, store.tenant)
    for ulid, finding in found.items():
        if finding.is_corrupt:
            quarantine.add(ulid, finding.reason, planned.reason)
    return None, {ulid: finding.reason for ulid, finding in found.items()}


def _replaced(store: BlockStore, planned: PlannedJob) -> BlockMeta | None:
    """The block that was made; None where another process was first."""
    try:
        return replace_blocks(store, planned.job, planned.reason)
    except CommitConflict:
        return None
