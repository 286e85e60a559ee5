"""SQL of strangers: one statement, in a process of its own that can read one snapshot's files and nothing else.

A process costs about a second to start. So after the first statement another is made ready for the next, and kept for
some minutes; each serves one statement and ends. Statements run a few at a time and wait in a bounded queue of their
own, so that slow ones hold up no other question.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from typing import Any

from ...schema.errors import InvalidSql
from ..execution import Death
from ..execution.local import LocalExecutor
from .bounded_threads import BoundedThreads
from .sql_sandbox import Place, SqlBounds, SqlJob, answer, make_ready

WAITING = 32
"""Statements that wait at most; more are refused with 429."""

SPARE_IDLE_S = 600
"""A spare process that nobody needed for so long exits."""

START_S = 60
"""A process that is not ready by then is not used; the time is not the statement's."""


class SqlRunner:
    """Runs statements. Safe for several threads."""

    def __init__(self, bounds: SqlBounds, concurrency: int) -> None:
        self._bounds = bounds
        self._threads = BoundedThreads("sql", concurrency, WAITING, f"{WAITING} SQL statements wait already")
        self._lock = Lock()
        self._spare: Future[_Sandbox] | None = None
        self._behind = ThreadPoolExecutor(1, "sql-spare")
        self._closed = False

    def submit(self, make_job: Callable[[], SqlJob]) -> Future[bytes]:
        """Begin to answer a statement, which `make_job` prepares when its turn comes.

        The future raises `InvalidSql`. Raises `Overloaded` when too many wait, `Unavailable` after `close`.
        """
        return self._threads.submit(lambda: self._run(make_job))

    def _run(self, make_job: Callable[[], SqlJob]) -> bytes:
        job = make_job()
        sandbox = self._take_spare()
        try:
            return sandbox.run(job)
        finally:
            self._replace(sandbox)

    def _take_spare(self) -> _Sandbox:
        """A process for one statement: the spare one, or else a new one."""
        with self._lock:
            spare, self._spare = self._spare, None
        return _Sandbox.ready(self._bounds) if spare is None else spare.result()

    def _replace(self, used: _Sandbox) -> None:
        """End a process behind the answer, and make another ready for the next statement."""
        with self._lock:
            self._behind.submit(used.close)
            if self._spare is None and not self._closed:
                self._spare = self._behind.submit(_Sandbox.ready, self._bounds)

    def close(self) -> None:
        """Take no more statements, wait for those that run, and end the spare process."""
        with self._lock:
            self._closed = True
        self._threads.close()
        self._behind.shutdown()
        if self._spare is not None:
            self._spare.result().close()


class _Sandbox:
    """One process for one statement, and the directory where it may spill."""

    def __init__(self, bounds: SqlBounds) -> None:
        self._bounds = bounds
        self._spill = tempfile.TemporaryDirectory(prefix="flameduck-sql-")
        self._executor = LocalExecutor(1, START_S, inline=False, attempts=1, idle_s=SPARE_IDLE_S)

    @classmethod
    def ready(cls, bounds: SqlBounds) -> _Sandbox:
        """One whose process is there and has everything loaded; where that failed, it is tried when it is used."""
        sandbox = cls(bounds)
        sandbox._in_process(make_ready, sandbox._place, lambda *_: None)
        sandbox._executor.limit_s = bounds.seconds
        return sandbox

    @property
    def _place(self) -> Place:
        return Place(self._bounds, self._spill.name)

    def run(self, job: SqlJob) -> bytes:
        """The answer. Raises `InvalidSql`."""
        found: bytes | InvalidSql = self._in_process(answer, (self._place, job), self._died)
        if isinstance(found, InvalidSql):
            raise found
        return found

    def _in_process(self, task: Callable[[Any], Any], item: Any, died: Callable[[Any, Death], Any]) -> Any:
        return next(iter(self._executor.map(task, [item], died)))

    def _died(self, _: object, death: Death) -> InvalidSql:
        if death.limit_s is not None:
            return InvalidSql(f"sql: it took more than {death.limit_s:g} s, and was stopped")
        return InvalidSql(
            f"sql: its process died, probably for want of memory; limit {self._bounds.memory_bytes} bytes"
        )

    def close(self) -> None:
        """End the process and remove what it spilt."""
        self._executor.close()
        self._spill.cleanup()
