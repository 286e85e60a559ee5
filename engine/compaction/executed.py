"""Compaction by the workers of an executor: the jobs of one round side by side, each in the memory of one worker."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from ..execution import Death, Executor
from .compact import Compacted, PlannedJob, run_job
from .run import BlockStore


class Place(Protocol):
    """A store that a worker can open. Picklable."""

    def blocks(self) -> BlockStore:
        """The blocks, opened by the process that calls. Raises `StorageError` or `Unavailable`."""
        ...


@dataclass(frozen=True)
class PlacedJob:
    """A job, and where its blocks are: all that a worker needs to know."""

    place: Place
    planned: PlannedJob


@dataclass(frozen=True)
class OnExecutor:
    """Runs the jobs of a round by an executor."""

    executor: Executor
    place: Place

    def __call__(self, jobs: Sequence[PlannedJob]) -> Iterator[Compacted]:
        """What became of each, the largest first. A job whose workers die is told, and is not run again."""
        # So that no large one is left to a single worker at the end.
        largest_first = sorted(jobs, key=lambda job: -sum(entry.size_bytes for entry in job.inputs))
        yield from self.executor.map(run_placed, [PlacedJob(self.place, job) for job in largest_first], died)


def run_placed(placed: PlacedJob) -> Compacted:
    """Run a job in a worker. One that was done already, by a worker that is lost or by somebody else, changes nothing."""
    store, planned = placed.place.blocks(), placed.planned
    if not store.catalog.load().blocks.keys() >= set(planned.job.ulids):
        return Compacted(planned.job.level, planned.inputs, None, 0.0)
    return run_job(store, planned)


def died(placed: PlacedJob, death: Death) -> Compacted:
    """What is told of a job that took its workers with it."""
    planned = placed.planned
    ulids = planned.job.ulids
    how = f"did not end within {death.limit_s:g} s" if death.limit_s else "died, each time it was tried"
    problem = f"the worker that made one block of it and {len(ulids) - 1} others {how}"
    return Compacted(planned.job.level, planned.inputs, None, 0.0, dict.fromkeys(ulids, problem))
