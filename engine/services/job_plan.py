"""What there is to do to a tenant's blocks: a version of the catalog in, kinds of jobs out, no I/O."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence

from ...schema.catalog import BlockEntry, CatalogState
from ..compaction.levels import LevelPolicy, plan_levels
from ..compaction.plan import MergeJob, plan_merges
from ..compaction.retention import plan_expiry
from .job import COMPACT, EXPIRE, MERGE, JobRules


def plan_kinds(
    state: CatalogState, rules: JobRules, left_alone: Container[str], now_ns: int
) -> Sequence[str]:
    """The kinds of jobs that would change something; blocks that are `left_alone` count for retention only."""
    sound = [entry for ulid, entry in state.blocks.items() if ulid not in left_alone]
    levels = _levels(sound, rules, now_ns)
    kinds: list[str] = []
    if _merges(sound, levels if rules.has_levels else (), rules):
        kinds.append(MERGE)
    if plan_expiry(state.blocks.values(), rules.retention, now_ns):
        kinds.append(EXPIRE)
    if levels:
        kinds.append(COMPACT)
    return kinds


def plan_small(entries: Iterable[BlockEntry], rules: JobRules, now_ns: int) -> Sequence[MergeJob]:
    """Merges of small blocks. Those of hours that are over wait for a level, where there are levels: or they would be
    written twice.
    """
    known = list(entries)
    return _merges(known, _levels(known, rules, now_ns) if rules.has_levels else (), rules)


def _levels(entries: Iterable[BlockEntry], rules: JobRules, now_ns: int) -> Sequence[MergeJob]:
    return plan_levels(entries, LevelPolicy(grace_ns=rules.grace_ns), now_ns)


def _merges(entries: Iterable[BlockEntry], levels: Iterable[MergeJob], rules: JobRules) -> Sequence[MergeJob]:
    ripe = {ulid for job in levels for ulid in job.ulids}
    return plan_merges((entry for entry in entries if entry.ulid not in ripe), rules.merge)
