"""Which blocks become blocks of hours and days: values in, jobs out, no I/O.

Blocks of level 0 are what a flush wrote; level 1 is about an hour of profile time, or what an ingest wrote; level 2 is
a day.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from ...schema.catalog import BlockEntry
from .plan import MergeJob

HOUR_NS = 3600 * 10**9
DAY_NS = 24 * HOUR_NS


@dataclass(frozen=True)
class LevelPolicy:
    """How wide the windows of a level are, and when one is over: `grace_ns` after its end, for what comes late.

    Neighbours are joined across windows as long as they hold less than `smallest_bytes`, and no block is made of more
    than `most_bytes`, nor of more than `most_blocks`, each of which takes some megabytes while it is read.
    """

    widths_ns: Mapping[int, int] = field(default_factory=lambda: MappingProxyType({1: HOUR_NS, 2: DAY_NS}))
    grace_ns: int = 600 * 10**9
    smallest_bytes: int = 64 << 20
    most_bytes: int = 4 << 30
    most_blocks: int = 48


def plan_levels(entries: Iterable[BlockEntry], policy: LevelPolicy, now_ns: int) -> Sequence[MergeJob]:
    """Jobs for the lowest level that has any. Done and planned again, they come to an end: each leaves fewer blocks."""
    known = list(entries)
    for level, width_ns in sorted(policy.widths_ns.items()):
        jobs = [
            MergeJob(tuple(entry.ulid for entry in group), level)
            for group in _groups(_ripe(known, level, width_ns, policy, now_ns), width_ns, policy)
            if len(group) > 1
        ]
        if jobs:
            return jobs
    return ()


def _ripe(
    entries: Iterable[BlockEntry], level: int, width_ns: int, policy: LevelPolicy, now_ns: int
) -> Sequence[BlockEntry]:
    """Blocks of windows that are over, which are below the level or small for it, oldest first."""
    chosen = [
        entry
        for entry in entries
        if (entry.level < level or (entry.level == level and entry.size_bytes < policy.smallest_bytes))
        and (entry.max_ts // width_ns + 1) * width_ns + policy.grace_ns <= now_ns
    ]
    return sorted(chosen, key=lambda entry: (entry.min_ts, entry.ulid))


def _groups(
    entries: Sequence[BlockEntry], width_ns: int, policy: LevelPolicy
) -> Iterable[Sequence[BlockEntry]]:
    group: list[BlockEntry] = []
    size_bytes = 0
    for entry in entries:
        is_next = bool(group) and entry.min_ts // width_ns != group[-1].min_ts // width_ns
        is_enough = is_next and size_bytes >= policy.smallest_bytes
        is_full = size_bytes + entry.size_bytes > policy.most_bytes or len(group) == policy.most_blocks
        if is_enough or is_full:
            yield group
            group, size_bytes = [], 0
        group.append(entry)
        size_bytes += entry.size_bytes
    yield group
