"""The jobs of a server: those that wait, the one that runs, and what became of the last ones. All bounded."""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from threading import Condition
from typing import TypeVar

from ulid import ULID

from ...schema.errors import Overloaded
from .job import DONE, KINDS, PARTLY, QUEUED, RUNNING, Job, Step

Shown = TypeVar("Shown")

MOST_QUEUED = 1000
KEPT = 500
"""Jobs that are done and still told of."""

_HEAD_START_NS = 120 * 10**9
"""What each kind has before the next one, so that none waits for ever."""

FIRST_PAUSE_S = 5.0
LONGEST_PAUSE_S = 3600.0
"""Before a job that failed is tried again: twice as long each time."""

REQUESTS_A_MINUTE = 10
"""Jobs that one tenant may ask for."""

BY_REQUEST, BY_SCHEDULE = "request", "schedule"


class JobBook:
    """Safe for several threads. There is one job of a tenant and kind at a time, waiting or running."""

    def __init__(self, clock_ns: Callable[[], int] = time.time_ns) -> None:
        self._clock_ns = clock_ns
        self._changed = Condition()
        self._open: dict[tuple[str, str], Job] = {}
        self._ended: deque[Job] = deque(maxlen=KEPT)
        self._closed = False

    def add(self, tenant: str, kind: str, trigger: str) -> tuple[Job, bool]:
        """A new job, or else the one that is there already; and whether it is new. One that is asked for by request
        is due at once, though it failed before.

        Raises `Overloaded` when there are too many.
        """
        with self._changed:
            job = self._open.get((tenant, kind))
            is_new = job is None
            if job is None:
                self._check_room(tenant, trigger)
                now_ns = self._clock_ns()
                job = Job(str(ULID()), tenant, kind, trigger, now_ns, now_ns)
                self._open[tenant, kind] = job
            elif trigger == BY_REQUEST:
                job.retry_ns = 0
            self._changed.notify_all()
            return job, is_new

    def _check_room(self, tenant: str, trigger: str) -> None:
        if len(self._open) >= MOST_QUEUED:
            raise Overloaded(f"{MOST_QUEUED} jobs wait already")
        if trigger == BY_REQUEST:
            since_ns = self._clock_ns() - 60 * 10**9
            asked = sum(
                job.tenant == tenant and job.trigger == BY_REQUEST and job.created_ns > since_ns
                for job in (*self._open.values(), *self._ended)
            )
            if asked >= REQUESTS_A_MINUTE:
                raise Overloaded(
                    f"{tenant} asked for {asked} jobs within a minute; limit {REQUESTS_A_MINUTE}"
                )

    def take(self) -> Job | None:
        """The next job that is due, which runs from now on."""
        with self._changed:
            now_ns = self._clock_ns()
            due = [job for job in self._open.values() if job.state == QUEUED and job.retry_ns <= now_ns]
            if not due:
                return None
            job = min(due, key=lambda job: job.queued_ns + KINDS.index(job.kind) * _HEAD_START_NS)
            job.state, job.started_ns, job.attempts = RUNNING, now_ns, job.attempts + 1
            return job

    def note(self, job: Job, step: Step) -> None:
        """A step of a job is done."""
        with self._changed:
            job.note(step)

    def finish(self, job: Job) -> None:
        """A job came to its end."""
        with self._changed:
            job.state = PARTLY if job.problems else DONE
            job.error, job.retry_ns, job.ended_ns = "", 0, self._clock_ns()
            del self._open[job.tenant, job.kind]
            self._ended.append(job)

    def retry(self, job: Job, error: str) -> float:
        """A job failed: it waits, for longer each time; returns for how many seconds."""
        with self._changed:
            pause_s: float = min(FIRST_PAUSE_S * 2.0 ** min(job.attempts - 1, 20), LONGEST_PAUSE_S)
            pause_s *= random.uniform(0.8, 1.2)
            job.state, job.error = QUEUED, error
            job.retry_ns = self._clock_ns() + round(pause_s * 1e9)
            return pause_s

    def put_back(self, job: Job) -> None:
        """A job has more to do, and lets others go first."""
        with self._changed:
            job.state, job.queued_ns, job.attempts = QUEUED, self._clock_ns(), job.attempts - 1

    def wait(self, timeout_s: float) -> None:
        """Return when a job is due, when the book is closed, or after some time."""
        with self._changed:
            now_ns = self._clock_ns()
            waiting = [job.retry_ns - now_ns for job in self._open.values() if job.state == QUEUED]
            left_s = min([timeout_s, *(left_ns / 1e9 for left_ns in waiting)])
            if left_s > 0 and not self._closed:
                self._changed.wait(left_s)

    def close(self) -> None:
        """Nobody waits from now on."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def count(self, state: str) -> int:
        """How many jobs wait, or run."""
        with self._changed:
            return sum(job.state == state for job in self._open.values())

    def listed(self, tenant: str | None, show: Callable[[Job], Shown]) -> Sequence[Shown]:
        """What `show` makes of the jobs of a tenant, None: of all; the newest first."""
        with self._changed:
            jobs = [
                show(job)
                for job in (*self._ended, *self._open.values())
                if tenant is None or job.tenant == tenant
            ]
        return jobs[::-1]
