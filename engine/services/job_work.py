"""The work of a job, step by step: the same that `flameduck compact`, `blocks expire` and `blocks sweep` do."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from ...schema.catalog import BlockEntry, entry_of
from ..compaction.compact import Compacted, compact, run_here, run_planned
from ..compaction.levels import LevelPolicy
from ..compaction.plan import MergeJob
from ..compaction.run import BlockStore
from ..upkeep import Upkeep
from .job import COMPACT, EXPIRE, MERGE, NOTHING, SWEEP, Amount, JobOrder, Step
from .job_plan import plan_small


def perform(order: JobOrder, blocks: BlockStore) -> Iterator[Step]:
    """Do a job until nothing is left to do, or its turn is over. Raises `StorageError`, `Unavailable`."""
    begun_s = time.monotonic()
    for step in _steps(order, blocks):
        yield step
        if time.monotonic() - begun_s > order.turn_s:
            return


def _steps(order: JobOrder, blocks: BlockStore) -> Iterator[Step]:
    rules, left_alone = order.rules, order.left_alone
    if order.kind == MERGE:

        def plan(entries: Sequence[BlockEntry]) -> Sequence[MergeJob]:
            return plan_small(entries, rules, time.time_ns())

        yield from map(_compacted, run_planned(blocks, plan, MERGE, run_here(blocks), left_alone))
    elif order.kind == COMPACT:
        policy = LevelPolicy(grace_ns=rules.grace_ns)
        yield from map(_compacted, compact(blocks, policy, left_alone=left_alone))
    elif order.kind == EXPIRE:
        yield _expired(order)
    elif order.kind == SWEEP:
        yield from _swept(order)


def _compacted(one: Compacted) -> Step:
    if one.made is None:
        # Another process was first, or the blocks do not hold: nothing was taken in.
        return Step(NOTHING, level=one.level, seconds=one.seconds, problems=one.problems)
    made = Amount.of([entry_of(one.made)])
    return Step(Amount.of(one.inputs), made, one.made.level, one.made.ulid, one.seconds, one.problems)


def _expired(order: JobOrder) -> Step:
    begun_s = time.monotonic()
    expired = Upkeep(order.store, order.tenant).expire(order.rules.retention, act=True)
    return Step(Amount.of(one.entry for one in expired), seconds=time.monotonic() - begun_s)


def _swept(order: JobOrder) -> Iterator[Step]:
    """A step a block, so that a long sweep is seen to go on."""
    begun_s = time.monotonic()
    for one in Upkeep(order.store, order.tenant).sweep(order.rules.sweep_older_ns, act=True):
        ended_s = time.monotonic()
        removed = NOTHING if one.problem else Amount(1, size_bytes=one.block.size_bytes)
        problems = {one.block.ulid: one.problem} if one.problem else {}
        yield Step(removed, seconds=ended_s - begun_s, problems=problems)
        begun_s = ended_s
