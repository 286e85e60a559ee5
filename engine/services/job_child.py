"""A process that does jobs: modest, bounded, and gone when the server is.

It takes `JobOrder`s from a pipe and answers each with `Step`s and a `Finished`. The door to psutil.
"""

from __future__ import annotations

import os
from contextlib import suppress
from multiprocessing.connection import Connection
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any

import psutil

from ..execution.start import give_memory_back, start_giving_memory_back, start_without_pandas
from .job import Finished

NICENESS = 19
_LOOK_S = 0.25
_OOM_SCORE = 500
"""Where memory runs out, the system ends this process before the server."""


class _Answers:
    """The way back, for two threads."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._lock = Lock()

    def send(self, message: object) -> None:
        """Tell the server; where it is gone, the process ends."""
        with self._lock:
            try:
                self._pipe.send(message)
            except OSError:
                os._exit(0)


def main(file_descriptor: int, memory_bytes: int, threads: int) -> None:
    """Do what comes through the pipe at a file descriptor, until it closes; also in the midst of a job."""
    _be_modest()
    start_giving_memory_back()
    start_without_pandas()
    import pyarrow as pa

    pa.set_cpu_count(threads)
    pa.set_io_thread_count(threads)
    pipe = Connection(file_descriptor)
    answers = _Answers(pipe)
    orders: SimpleQueue[Any] = SimpleQueue()
    Thread(target=_watch, args=(pipe, orders, answers, memory_bytes), daemon=True).start()
    while True:
        answers.send(_done(orders.get(), answers))
        give_memory_back()


def _be_modest() -> None:
    """Take only what nobody else wants of processors and disks."""
    process = psutil.Process()
    if hasattr(psutil, "IOPRIO_CLASS_IDLE"):
        with suppress(OSError):
            process.ionice(psutil.IOPRIO_CLASS_IDLE)
    with suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write(str(_OOM_SCORE))
    process.nice(NICENESS)


def _watch(pipe: Connection, orders: SimpleQueue[Any], answers: _Answers, memory_bytes: int) -> None:
    """Pass orders on; end the process when the server is gone, however it went, or when it grows beyond its bound.

    What a killed job has begun is not in the catalog.
    """
    process = psutil.Process()
    while True:
        try:
            if pipe.poll(_LOOK_S):
                orders.put(pipe.recv())
        except (EOFError, OSError):
            os._exit(0)
        held_bytes = process.memory_info().rss
        if memory_bytes and held_bytes > memory_bytes:
            answers.send(
                Finished(
                    f"it took {held_bytes} bytes of memory; limit compaction_memory_bytes {memory_bytes}"
                )
            )
            os._exit(1)


def _done(order: Any, answers: _Answers) -> Finished:
    from ...schema.errors import FlameduckError
    from ..embedded import open_embedded
    from .job_work import perform

    try:
        blocks = open_embedded(order.store, order.tenant, order.settings).blocks
        for step in perform(order, blocks):
            answers.send(step)
    except FlameduckError as error:
        return Finished(str(error))
    except MemoryError:
        return Finished("no memory was to be had")
    except Exception:  # a process boundary: the server logs it
        import traceback

        return Finished(traceback.format_exc(), bug=True)
    return Finished()
