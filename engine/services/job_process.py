"""Where jobs are done: in a process beside the server, which is started for the first and ends after the last."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from threading import Lock
from typing import Protocol

from ...schema.errors import Unavailable
from ..compaction.run import BlockStore
from .job import Finished, JobOrder, Step
from .job_work import perform

_CLOSE_S = 5
_BOOT = "import sys; sys.path[:] = sys.argv[4:]; from {package}.job_child import main; main(*map(int, sys.argv[1:4]))"


class JobRunner(Protocol):
    """Does one job at a time."""

    @property
    def pid(self) -> int:
        """The process that is at it; 0: this one."""
        ...

    def run(self, order: JobOrder) -> Iterator[Step]:
        """Do a job, and tell of each step. Raises `FlameduckError` when it fails."""
        ...

    def rest(self) -> None:
        """There is nothing to do for now."""
        ...

    def stop(self) -> None:
        """Break off what is under way, whatever thread is at it, and do no more."""
        ...


class InlineRunner:
    """In this process, for stores that are in its memory."""

    pid = 0

    def __init__(self, blocks_of: Callable[[str], BlockStore]) -> None:
        self._blocks_of = blocks_of
        self._stopped = False

    def run(self, order: JobOrder) -> Iterator[Step]:
        """Do a job."""
        for step in perform(order, self._blocks_of(order.tenant)):
            yield step
            if self._stopped:
                raise Unavailable("the server stops")

    def rest(self) -> None:
        """Nothing is kept."""

    def stop(self) -> None:
        """Break off after the step that is under way."""
        self._stopped = True


@dataclass(frozen=True)
class ProcessBounds:
    """What the process may take: memory, threads of libraries, and time for one step."""

    memory_bytes: int
    threads: int
    step_s: float


class ProcessRunner:
    """In a process of lowest priority. It holds one end of a pipe, and ends when the other is closed."""

    def __init__(self, bounds: ProcessBounds) -> None:
        self._bounds = bounds
        self._lock = Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe: Connection | None = None
        self._stopped = False

    @property
    def pid(self) -> int:
        """The process, if there is one."""
        process = self._process
        return process.pid if process else 0

    def run(self, order: JobOrder) -> Iterator[Step]:
        """Do a job. Raises `Unavailable` when it failed, took too long or too much, or was killed."""
        finished = False
        try:
            pipe = self._started()
            pipe.send(order)
            while not isinstance(message := self._received(pipe), Finished):
                yield message
            finished = True
        except OSError:
            raise self._died() from None
        finally:
            if not finished:
                self._end(at_once=True)
        if message.bug:
            raise RuntimeError(message.error)
        if message.error:
            raise Unavailable(message.error)

    def _received(self, pipe: Connection) -> Step | Finished:
        limit_s = self._bounds.step_s
        if limit_s and not pipe.poll(limit_s):
            raise Unavailable(
                f"a step took more than {limit_s:g} s, and was stopped; limit compaction_seconds"
            )
        try:
            message: Step | Finished = pipe.recv()
        except EOFError:
            raise self._died() from None
        return message

    def _died(self) -> Unavailable:
        if self._stopped:
            return Unavailable("the server stops")
        process = self._process
        code = None
        if process is not None:
            try:
                code = process.wait(_CLOSE_S)
            except subprocess.TimeoutExpired:
                code = None
        how = f"by signal {-code}" if code is not None and code < 0 else f"with code {code}"
        return Unavailable(f"its process ended {how}")

    def _started(self) -> Connection:
        """The pipe to the process, which is started unless it is there. Raises `Unavailable`, `OSError`."""
        with self._lock:
            if self._stopped:
                raise Unavailable("the server stops")
            if self._pipe is None:
                ours, theirs = Pipe()
                try:
                    self._process = self._start(theirs.fileno())
                except OSError as error:
                    ours.close()
                    raise Unavailable(f"no process for it: {error.strerror or error}") from None
                finally:
                    theirs.close()
                self._pipe = ours
            return self._pipe

    def _start(self, descriptor: int) -> subprocess.Popen[bytes]:
        numbers = (descriptor, self._bounds.memory_bytes, self._bounds.threads)
        boot = _BOOT.format(package=__package__)
        threads = str(self._bounds.threads)
        return subprocess.Popen(
            [sys.executable, "-c", boot, *map(str, numbers), *sys.path],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[descriptor],
            # Ctrl-C goes to a whole process group: what it means the server decides, and closes the pipe.
            process_group=0,
            env={**os.environ, "POLARS_MAX_THREADS": threads, "OMP_NUM_THREADS": threads},
        )

    def rest(self) -> None:
        """Let the process end: nothing stays of it while there is nothing to do."""
        self._end(at_once=False)

    def stop(self) -> None:
        """Kill the process: a job that is killed has changed nothing, or is done."""
        with self._lock:
            self._stopped = True
            process = self._process
        if process is not None:
            process.kill()

    def _end(self, at_once: bool) -> None:
        with self._lock:
            process, self._process = self._process, None
            pipe, self._pipe = self._pipe, None
        if pipe is not None:
            pipe.close()
        if process is None:
            return
        if at_once:
            process.kill()
        try:
            process.wait(_CLOSE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
