"""Worker processes of this machine, started when there is enough to do and replaced when they die.

They are fresh interpreters that never import the caller's main module, so a script needs no guard around its
calls. Each holds one item at a time, so when one dies it is known of what; one that is at an item for too long is
killed.
"""

from __future__ import annotations

import itertools
import math
import os
import pickle
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from multiprocessing import Pipe
from multiprocessing.connection import wait
from types import MappingProxyType
from typing import Any, ClassVar, Self, TypeVar

from . import Death
from .worker import IDLE_S, Reply

Item = TypeVar("Item")
Result = TypeVar("Result")

WORKER_ENVIRONMENT: Mapping[str, str] = MappingProxyType(
    {
        "FLAMEDUCK_WORKER": "1",
        # One worker a core: threads inside a worker would only fight over it.
        "POLARS_MAX_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        # Large batches come and go: keep their pages instead of faulting them in each time.
        "MALLOC_MMAP_THRESHOLD_": "1073741824",
        "MALLOC_TRIM_THRESHOLD_": "268435456",
        "MALLOC_TOP_PAD_": "67108864",
        "ARROW_DEFAULT_MEMORY_POOL": "system",
    }
)
ATTEMPTS = 2
"""An item that has killed so many workers is given up. The first may have fallen to something else."""

_INLINE_ITEMS = 2
_QUEUED_PER_WORKER = 2
_CLOSE_S = 5
_BOOT = (
    "import sys; sys.path[:] = sys.argv[3:]; from {package}.worker import main; "
    "main(int(sys.argv[1]), float(sys.argv[2]))"
)


@dataclass(eq=False)
class _Job:
    """One item on its way; `reply` is pickled."""

    task: Callable[[Any], Any]
    item: Any
    attempts: int = ATTEMPTS
    reply: bytes | None = None
    deaths: int = 0
    too_long: bool = False

    @property
    def done(self) -> bool:
        """Whether there is a reply, or no hope of one."""
        return self.reply is not None or self.too_long or self.deaths >= self.attempts


class _Worker:
    """One process and its pipe."""

    def __init__(self, idle_s: float) -> None:
        self.pipe, theirs = Pipe()
        boot = _BOOT.format(package=__package__)
        command = [sys.executable, "-c", boot, str(theirs.fileno()), str(idle_s), *sys.path]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            env={**os.environ, **WORKER_ENVIRONMENT},
        )
        theirs.close()
        self.job: _Job | None = None
        self.deadline = math.inf

    def start(self, job: _Job, limit_s: float) -> bool:
        """Give it an item, to be done with in `limit_s` seconds; False if it has exited."""
        try:
            self.pipe.send((job.task, job.item))
        except (BrokenPipeError, ConnectionResetError):
            return False
        self.job = job
        self.deadline = time.monotonic() + (limit_s or math.inf)
        return True

    def receive(self) -> bool:
        """Take the reply that is ready; False if the process died instead."""
        assert self.job is not None
        try:
            self.job.reply = self.pipe.recv_bytes()
        except (EOFError, ConnectionResetError):
            return False
        self.job = None
        return True

    def stop(self) -> None:
        """End the process: at once if it is at work, else by closing its pipe."""
        self.pipe.close()
        if self.job is not None:
            self._process.kill()
        try:
            self._process.wait(_CLOSE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@dataclass(eq=False)
class LocalExecutor:
    """Worker processes. Not for use by several threads at once; `map` may be called while another is under way.

    With `inline`, one or two items run in this process, since starting workers costs more, as long as no worker has
    died: what killed one must not come here. `limit_s` is how many seconds an item may take in a worker; 0: any number.
    An item that has killed `attempts` workers is given up; a worker without work for `idle_s` seconds exits.
    """

    remote: ClassVar[bool] = False

    jobs: int = 0
    limit_s: float = 0
    inline: bool = True
    attempts: int = ATTEMPTS
    idle_s: float = IDLE_S
    _workers: list[_Worker] = field(default_factory=list)
    _queue: deque[_Job] = field(default_factory=deque)
    _lost_a_worker: bool = False

    def map(
        self, task: Callable[[Item], Result], items: Iterable[Item], died: Callable[[Item, Death], Result]
    ) -> Iterator[Result]:
        """The results in the order of the items; see `Executor`."""
        iterator = iter(items)
        first = list(itertools.islice(iterator, _INLINE_ITEMS + 1))
        if self.inline and len(first) <= _INLINE_ITEMS and not self._lost_a_worker:
            yield from map(task, first)
            return
        waiting: deque[_Job] = deque()
        try:
            for item in itertools.chain(first, iterator):
                waiting.append(_Job(task, item, self.attempts))
                self._queue.append(waiting[-1])
                self._assign()
                if len(waiting) >= self._most_workers * _QUEUED_PER_WORKER:
                    yield self._finish(waiting.popleft(), died)
            while waiting:
                yield self._finish(waiting.popleft(), died)
        finally:
            self._forget(waiting)

    @property
    def _most_workers(self) -> int:
        return self.jobs or len(os.sched_getaffinity(0))

    def _finish(self, job: _Job, died: Callable[[Any, Death], Result]) -> Result:
        """The result of a job, when it is there."""
        while not job.done:
            self._assign()
            self._receive()
        if job.reply is None:
            return died(job.item, Death(self.limit_s if job.too_long else None))
        reply: Reply = pickle.loads(job.reply)
        if reply.error is not None:
            raise reply.error
        result: Result = reply.value
        return result

    def _assign(self) -> None:
        """Give queued jobs to idle workers, starting as many as may be."""
        while self._queue:
            idle = next((worker for worker in self._workers if worker.job is None), None)
            if idle is None:
                if len(self._workers) >= self._most_workers:
                    return
                idle = _Worker(self.idle_s)
                self._workers.append(idle)
            if idle.start(self._queue[0], self.limit_s):
                self._queue.popleft()
            else:
                self._discard(idle)

    def _receive(self) -> None:
        """Wait until some worker replies, dies, or has been at its item for too long."""
        busy: dict[Any, _Worker] = {worker.pipe: worker for worker in self._workers if worker.job is not None}
        deadline = min(worker.deadline for worker in busy.values())
        left_s = None if deadline == math.inf else max(deadline - time.monotonic(), 0)
        ready = wait(list(busy), left_s)
        for pipe in ready:
            if not busy[pipe].receive():
                self._lose(busy[pipe])
        now = time.monotonic()
        # While this process was busy elsewhere, a reply may have come in time and not been taken: that is no delay.
        for worker in [w for pipe, w in busy.items() if pipe not in ready and w.deadline <= now]:
            self._lose(worker, too_long=True)

    def _lose(self, worker: _Worker, too_long: bool = False) -> None:
        """Do without a worker; its item gets another, unless there is no hope for it."""
        job = worker.job
        self._lost_a_worker = True
        self._discard(worker)
        if job is not None:
            job.deaths += 1
            job.too_long = too_long
            if not job.done:
                self._queue.appendleft(job)

    def _discard(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        worker.stop()

    def _forget(self, jobs: Iterable[_Job]) -> None:
        """Nobody waits for these any more: unqueue them, and end the workers that are at them."""
        for job in jobs:
            if job in self._queue:
                self._queue.remove(job)
            for worker in [worker for worker in self._workers if worker.job is job]:
                self._discard(worker)

    def close(self) -> None:
        """Stop the workers."""
        for worker in list(self._workers):
            self._discard(worker)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
