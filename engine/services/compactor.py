"""The compactor: keeps the blocks of every tenant of the store few and large, gives up old ones, removes leftovers.

It looks on a schedule, plans from the catalog alone, and has the work done one job at a time, by default in a process of
its own. Blocks that were merged away leave the catalog and stay on disk for a while: questions that began before go on
reading them.
"""

from __future__ import annotations

import logging
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock, Thread

from ...schema.catalog import CatalogState
from ...schema.errors import FlameduckError, Overloaded
from ..block_set import BlockSet
from ..compaction.plan import MergePolicy
from ..compaction.retention import Retention
from ..settings import Settings
from .job import COMPACT, EXPIRE, MERGE, SWEEP, Job, JobOrder, JobRules, Step
from .job_book import BY_REQUEST, BY_SCHEDULE, JobBook
from .job_plan import plan_kinds
from .job_process import InlineRunner, JobRunner
from .metrics import Metrics

log = logging.getLogger(__name__)

_GONE = {EXPIRE: "were given up", SWEEP: "were removed"}
_FAILED = {
    MERGE: "small blocks of {} were not merged",
    EXPIRE: "old blocks of {} were not given up",
    COMPACT: "blocks of {} were not compacted",
    SWEEP: "leftovers of {} were not removed",
}

TURN_S = 300.0
"""A job that takes longer lets others go first, between two steps."""


@dataclass(frozen=True)
class CompactorBounds:
    """How often to look, 0: never; and how many samples a merged block may have.

    `every_s` is for small blocks of tenants that got more, `levels_every_s` for hours, days and what is to be given up,
    `sweep_every_s` for files that nothing names and that have been there for `sweep_older_s`.
    """

    every_s: float = 30
    samples: int = 2_000_000
    levels_every_s: float = 0
    grace_s: float = 600
    sweep_every_s: float = 0
    sweep_older_s: float = 86_400

    @property
    def policy(self) -> MergePolicy:
        """What is worth merging: blocks a good deal smaller than what they are merged into."""
        return MergePolicy(small_bytes=2 * self.samples, max_samples=self.samples)


@dataclass(frozen=True)
class CompactorParts:
    """What the role works with: which tenants there are and how long each keeps its blocks, where the store is and
    where jobs run; without a `runner`, in this process.
    """

    tenants: Callable[[], Sequence[str]] = tuple
    retention_of: Callable[[str], Retention] = lambda _: Retention()
    store: str = ""
    settings: Settings = field(default_factory=Settings)
    runner: JobRunner | None = None


class Compactor:
    """The role. Safe for several threads; jobs are done in a thread of its own, one after the other."""

    def __init__(
        self,
        blocks_of: Callable[[str], BlockSet],
        bounds: CompactorBounds,
        metrics: Metrics,
        parts: CompactorParts | None = None,
    ) -> None:
        self._blocks_of = blocks_of
        self._bounds = bounds
        self._metrics = metrics.jobs
        self._parts = parts or CompactorParts()
        self._runner = self._parts.runner or InlineRunner(blocks_of)
        self.book = JobBook()
        # Guards what is below.
        self._lock = Lock()
        self._grown: set[str] = set()
        self._left_alone: dict[str, dict[str, str]] = {}
        self._set_aside: dict[str, dict[str, str]] = {}
        now = time.monotonic()
        self._next_merge_s = now + bounds.every_s
        # Not all servers of a store at once, and not at once after a start.
        self._next_levels_s = now + bounds.levels_every_s * random.uniform(0.1, 1)
        self._next_sweep_s: dict[str, float] = {}
        self._stopped = False
        self._thread = Thread(target=self._run, name="compact", daemon=True)

    def note(self, tenant: str) -> None:
        """A tenant has one block more."""
        if self._bounds.every_s:
            with self._lock:
                self._grown.add(tenant)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Break off what is under way; a job that is interrupted changes nothing, or is done."""
        self._stopped = True
        self.book.close()
        self._runner.stop()
        if self._thread.is_alive():
            self._thread.join()
        self._runner.rest()

    def request(self, tenant: str) -> tuple[Job | None, bool]:
        """Have a tenant's blocks compacted now: the job that does it, and whether it is new; no job when there is
        nothing to do. Blocks that were left alone and are not in quarantine are tried again.

        Raises `Overloaded` when too much is asked for, `StorageError`.
        """
        with self._lock:
            self._left_alone.pop(tenant, None)
        kinds = self._kinds(tenant, self._blocks_of(tenant).state())
        for kind in (COMPACT, MERGE):
            if kind in kinds:
                return self.book.add(tenant, kind, BY_REQUEST)
        return None, False

    @property
    def pid(self) -> int:
        """The process that is at a job; 0: none of its own."""
        return self._runner.pid

    def left_alone(self, tenant: str | None) -> Mapping[str, tuple[str, str]]:
        """The blocks that do not hold, of a tenant or of all, those in quarantine included: (tenant, reason) by block."""
        with self._lock:
            return {
                ulid: (name, reason)
                for every in (self._left_alone, self._set_aside)
                for name, reasons in every.items()
                if tenant is None or name == tenant
                for ulid, reason in reasons.items()
            }

    def _run(self) -> None:
        while not self._stopped:
            self.run_once()
            self.book.wait(self._until_next_look_s())

    def run_once(self) -> None:
        """Look at what has grown, and do what is due; what fails is tried again later."""
        self._look_at_grown()
        while not self._stopped:
            self._look_if_due()
            job = self.book.take()
            if job is None:
                break
            try:
                self._perform(job)
            except FlameduckError as error:
                self._failed(job, str(error))
            except Exception as error:  # the boundary of a thread
                log.exception("job %s: %s of %s failed", job.ulid, job.kind, job.tenant)
                self._failed(job, f"{type(error).__name__}, see the log")
        self._runner.rest()

    def _until_next_look_s(self) -> float:
        next_s = [
            then_s
            for every_s, then_s in (
                (self._bounds.every_s, self._next_merge_s),
                (self._bounds.levels_every_s, self._next_levels_s),
            )
            if every_s
        ]
        return max(min(next_s, default=float("inf")) - time.monotonic(), 0.1) if next_s else 3600.0

    def _look_if_due(self) -> None:
        now_s = time.monotonic()
        if self._bounds.every_s and now_s >= self._next_merge_s:
            self._look_at_grown()
        if self._bounds.levels_every_s and now_s >= self._next_levels_s:
            self._next_levels_s = now_s + self._bounds.levels_every_s * random.uniform(0.9, 1.1)
            self._look_at_all()

    def _look_at_grown(self) -> None:
        self._next_merge_s = time.monotonic() + self._bounds.every_s
        with self._lock:
            grown, self._grown = self._grown, set()
        for tenant in sorted(grown):
            self._look(tenant, (MERGE,))

    def _look_at_all(self) -> None:
        try:
            tenants = list(self._parts.tenants())
        except FlameduckError as error:
            log.warning("the tenants of the store are not known: %s", error)
            return
        # So that the last ones get their turn too, where more is to do than there is room for.
        random.shuffle(tenants)
        levels: Counter[int] = Counter()
        for tenant in tenants:
            if self._stopped:
                return
            levels.update(self._look(tenant, None))
        self._metrics.note_levels(levels)

    def _look(self, tenant: str, only: Sequence[str] | None) -> Counter[int]:
        """Queue what there is to do, of some kinds or of all; how many blocks there are of each level."""
        levels: Counter[int] = Counter()
        try:
            state = self._blocks_of(tenant).state()
            levels.update(entry.level for entry in state.blocks.values())
            for kind in self._kinds(tenant, state):
                if only is None or kind in only:
                    self.book.add(tenant, kind, BY_SCHEDULE)
            if only is None and self._is_sweep_due(tenant, state):
                self.book.add(tenant, SWEEP, BY_SCHEDULE)
        except Overloaded as error:
            log.info("jobs of %s wait for the next look: %s", tenant, error)
        except FlameduckError as error:
            log.warning("there is no telling what to do for %s: %s", tenant, error)
        except Exception:  # the boundary of a thread
            log.exception("there is no telling what to do for %s", tenant)
        return levels

    def _is_sweep_due(self, tenant: str, state: CatalogState) -> bool:
        """Where there is no catalog, every block looks like a leftover: it is left to people."""
        every_s = self._bounds.sweep_every_s
        if not every_s or not state.version:
            return False
        now_s = time.monotonic()
        # Servers that are restarted often come to it as well, and not all tenants at once.
        due_s = self._next_sweep_s.setdefault(tenant, now_s + every_s * random.uniform(0, 0.5))
        if now_s < due_s:
            return False
        self._next_sweep_s[tenant] = now_s + every_s
        return True

    def _kinds(self, tenant: str, state: CatalogState) -> Sequence[str]:
        set_aside = {
            ulid: record.reason
            for ulid, record in self._blocks_of(tenant).quarantined().items()
            if ulid in state.blocks
        }
        with self._lock:
            # What is in the quarantine is left alone for as long as it is there, the rest until it is asked for.
            known = self._left_alone.get(tenant, {})
            broken = {ulid: known[ulid] for ulid in known.keys() & state.blocks.keys() - set_aside.keys()}
            for kept, found in ((self._left_alone, broken), (self._set_aside, set_aside)):
                kept.pop(tenant, None)
                if found:
                    kept[tenant] = found
        return plan_kinds(state, self._rules(tenant), {*broken, *set_aside}, time.time_ns())

    def _rules(self, tenant: str) -> JobRules:
        bounds = self._bounds
        retention = self._parts.retention_of(tenant)
        return JobRules(
            bounds.policy,
            bounds.levels_every_s > 0,
            round(bounds.grace_s * 1e9),
            retention,
            round(bounds.sweep_older_s * 1e9),
        )

    def _perform(self, job: Job) -> None:
        with self._lock:
            left_alone = dict(self._left_alone.get(job.tenant, {}))
        order = JobOrder(
            job.kind,
            self._parts.store,
            job.tenant,
            self._parts.settings,
            self._rules(job.tenant),
            left_alone,
            TURN_S,
        )
        begun_s, steps = time.monotonic(), 0
        for step in self._runner.run(order):
            self.book.note(job, step)
            self._note(job, step)
            steps += 1
        if steps and time.monotonic() - begun_s > TURN_S:
            self.book.put_back(job)
            return
        self.book.finish(job)
        self._metrics.ended(job.kind, job.state, time.monotonic() - begun_s)
        before, after = job.before, job.after
        became = f"became {after.blocks} of {after.samples} samples and {after.size_bytes} bytes"
        log.info(
            "job %s: %s of %s: %d blocks of %d samples and %d bytes %s",
            *(job.ulid, job.kind, job.tenant, before.blocks, before.samples, before.size_bytes),
            _GONE.get(job.kind, became),
            extra={"fields": {"seconds": round(time.monotonic() - begun_s, 3), "trigger": job.trigger}},
        )

    def _note(self, job: Job, step: Step) -> None:
        self._metrics.step(job.kind, step.before, step.after)
        for ulid in step.problems.keys() & job.problems.keys():
            reason = step.problems[ulid]
            log.warning("job %s: %s of %s: block %s: %s", job.ulid, job.kind, job.tenant, ulid, reason)
        if step.problems and job.kind != SWEEP:
            with self._lock:
                self._left_alone.setdefault(job.tenant, {}).update(step.problems)

    def _failed(self, job: Job, error: str) -> None:
        if self._stopped:
            self.book.put_back(job)
            return
        pause_s = self.book.retry(job, error)
        self._metrics.failed(job.kind)
        log.warning(
            "job %s: %s: %s",
            *(job.ulid, _FAILED[job.kind].format(job.tenant), error),
            extra={"fields": {"attempt": job.attempts, "retry_s": round(pause_s)}},
        )
