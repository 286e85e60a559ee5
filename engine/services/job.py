"""What is done to the blocks of one tenant in the background, as values: what a process is told, and what it tells."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ...schema.catalog import BlockEntry
from ..compaction.plan import MergePolicy
from ..compaction.retention import Retention
from ..settings import Settings

MERGE, EXPIRE, COMPACT, SWEEP = "merge", "expire", "compact", "sweep"
KINDS = (MERGE, EXPIRE, COMPACT, SWEEP)
"""What is quick and helps questions most comes first, among jobs that wait about as long."""

QUEUED, RUNNING, DONE, PARTLY = "queued", "running", "done", "partly"
"""States. `partly`: done but for blocks that do not hold, which were left alone. A job that failed is queued again."""

_KEPT_STEPS = 100
KEPT_PROBLEMS = 100
"""More of one job are not told one by one."""


@dataclass(frozen=True)
class Amount:
    """How much went into something, or came out."""

    blocks: int = 0
    profiles: int = 0
    samples: int = 0
    size_bytes: int = 0

    @classmethod
    def of(cls, entries: Iterable[BlockEntry]) -> Amount:
        """All of some blocks."""
        found = list(entries)
        return cls(
            len(found),
            sum(entry.profiles for entry in found),
            sum(entry.samples for entry in found),
            sum(entry.size_bytes for entry in found),
        )

    def __add__(self, other: Amount) -> Amount:
        return Amount(
            self.blocks + other.blocks,
            self.profiles + other.profiles,
            self.samples + other.samples,
            self.size_bytes + other.size_bytes,
        )


NOTHING = Amount()


@dataclass(frozen=True)
class Step:
    """A part of a job that is done: blocks that became one, were given up, or whose files are gone.

    `problems` are reasons by block; those blocks were left alone.
    """

    before: Amount
    after: Amount = NOTHING
    level: int | None = None
    block: str = ""
    seconds: float = 0.0
    problems: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class JobRules:
    """What is worth doing to a tenant's blocks, and how."""

    merge: MergePolicy
    has_levels: bool
    grace_ns: int
    retention: Retention
    sweep_older_ns: int


@dataclass(frozen=True)
class JobOrder:
    """A job as a process is told it. After `turn_s` it ends between two steps, though there be more to do."""

    kind: str
    store: str
    tenant: str
    settings: Settings
    rules: JobRules
    left_alone: Mapping[str, str]
    turn_s: float


@dataclass(frozen=True)
class Finished:
    """A job has come to its end; `error` says why it failed. A `bug` is an error that nobody foresaw."""

    error: str = ""
    bug: bool = False


@dataclass
class Job:
    """A job as the server keeps it. Times are Unix nanoseconds, 0: not yet; it waits since `queued_ns`."""

    ulid: str
    tenant: str
    kind: str
    trigger: str
    created_ns: int
    queued_ns: int
    state: str = QUEUED
    attempts: int = 0
    error: str = ""
    retry_ns: int = 0
    started_ns: int = 0
    ended_ns: int = 0
    before: Amount = NOTHING
    after: Amount = NOTHING
    steps: deque[Step] = field(default_factory=lambda: deque(maxlen=_KEPT_STEPS))
    problems: dict[str, str] = field(default_factory=dict)

    def note(self, step: Step) -> None:
        """A step more is done."""
        self.steps.append(step)
        self.before += step.before
        self.after += step.after
        for ulid, reason in step.problems.items():
            if len(self.problems) < KEPT_PROBLEMS:
                self.problems[ulid] = reason
