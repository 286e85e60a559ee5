"""Which blocks to merge: values in, jobs out, no I/O."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ...schema.catalog import BlockEntry


@dataclass(frozen=True)
class MergePolicy:
    """When small blocks are worth merging: `enough` of them, each smaller than `small_bytes`.

    What is merged into one stays below `max_samples`, and below `max_bytes` of files: stacks that have little in
    common take far more memory than samples do.
    """

    enough: int = 8
    small_bytes: int = 16 << 20
    max_samples: int = 8_000_000
    max_bytes: int = 64 << 20


@dataclass(frozen=True)
class MergeJob:
    """Blocks to turn into one of a level; None: the highest among them."""

    ulids: tuple[str, ...]
    level: int | None = None


def plan_merges(entries: Iterable[BlockEntry], policy: MergePolicy) -> tuple[MergeJob, ...]:
    """Jobs for small blocks, neighbours in time together; blocks that are large already are left alone."""
    small = sorted(
        (
            entry
            for entry in entries
            if entry.size_bytes < policy.small_bytes and entry.samples < policy.max_samples
        ),
        key=lambda entry: (entry.min_ts, entry.ulid),
    )
    jobs: list[MergeJob] = []
    group: list[BlockEntry] = []
    samples = size_bytes = 0
    for entry in small:
        samples += entry.samples
        size_bytes += entry.size_bytes
        if samples > policy.max_samples or size_bytes > policy.max_bytes:
            jobs += _job(group, policy)
            group, samples, size_bytes = [], entry.samples, entry.size_bytes
        group.append(entry)
    return tuple(jobs + _job(group, policy))


def _job(group: list[BlockEntry], policy: MergePolicy) -> list[MergeJob]:
    return [MergeJob(tuple(entry.ulid for entry in group))] if len(group) >= policy.enough else []
