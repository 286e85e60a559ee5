"""Worker processes of this machine, started when there is enough to do and replaced when they die."""

from __future__ import annotations

import itertools
import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from types import MappingProxyType
from typing import Any, Self, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

WORKER_ENVIRONMENT: Mapping[str, str] = MappingProxyType(
    {
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
_INLINE_ITEMS = 2
_QUEUED_PER_WORKER = 2


class LocalExecutor:
    """Spawned processes. One or two items run in this process, since starting workers costs more, as long as no
    worker has died: what killed one must not come here.
    """

    def __init__(self, jobs: int = 0) -> None:
        self._jobs = jobs or os.cpu_count() or 1
        self._pool: ProcessPoolExecutor | None = None
        self._lost_a_worker = False

    def map(
        self, task: Callable[[Item], Result], items: Iterable[Item], died: Callable[[Item], Result]
    ) -> Iterator[Result]:
        """The results in the order of the items; see `Executor`."""
        iterator = iter(items)
        first = list(itertools.islice(iterator, _INLINE_ITEMS + 1))
        if len(first) <= _INLINE_ITEMS and not self._lost_a_worker:
            yield from map(task, first)
            return
        waiting: deque[tuple[Item, Future[Result]]] = deque()
        for item in itertools.chain(first, iterator):
            waiting.append((item, self._submit(task, item)))
            if len(waiting) >= self._jobs * _QUEUED_PER_WORKER:
                yield self._result(task, waiting, died)
        while waiting:
            yield self._result(task, waiting, died)

    def _result(
        self,
        task: Callable[[Item], Result],
        waiting: deque[tuple[Item, Future[Result]]],
        died: Callable[[Item], Result],
    ) -> Result:
        item, future = waiting.popleft()
        try:
            return future.result()
        except BrokenProcessPool:
            # Everything in flight fell with the worker: run the item alone to see whether it is to blame.
            self._restart()
            others = [other for other, _ in waiting]
            result = self._alone(task, item, died)
            waiting.clear()
            waiting.extend((other, self._submit(task, other)) for other in others)
            return result

    def _alone(self, task: Callable[[Item], Result], item: Item, died: Callable[[Item], Result]) -> Result:
        try:
            return self._submit(task, item).result()
        except BrokenProcessPool:
            self._restart()
            return died(item)

    def _submit(self, task: Callable[[Item], Result], item: Item) -> Future[Result]:
        if self._pool is None:
            self._pool = ProcessPoolExecutor(self._jobs, mp_context=multiprocessing.get_context("spawn"))
        before = {name: os.environ.get(name) for name in WORKER_ENVIRONMENT}
        os.environ.update(WORKER_ENVIRONMENT)
        try:
            return self._pool.submit(task, item)
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value

    def _restart(self) -> None:
        self._lost_a_worker = True
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None

    def close(self) -> None:
        """Stop the workers."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: Any) -> None:
        self.close()
