"""A worker process: takes (task, item) from a pipe, answers with what comes of it, until the pipe closes."""

from __future__ import annotations

import os
import pickle
import select
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from .start import start_without_pandas

IDLE_S = 60
"""A worker without work for so long exits, unless it is told otherwise; the next item starts another."""


@dataclass(frozen=True)
class Reply:
    """What a task returned, or the error that it raised."""

    value: Any = None
    error: Exception | None = None


def main(file_descriptor: int, idle_s: float = IDLE_S) -> None:
    """Serve the pipe at a file descriptor."""
    start_without_pandas()
    # Ctrl-C goes to the whole process group; the parent decides what it means, and closes the pipe.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    at_work = threading.Event()
    threading.Thread(target=_end_with, args=(file_descriptor, at_work), daemon=True).start()
    with Connection(file_descriptor) as pipe:
        while pipe.poll(idle_s):
            try:
                task, item = pipe.recv()
            except (EOFError, ConnectionResetError):
                return
            at_work.set()
            pipe.send_bytes(pickled_answer(task, item))
            at_work.clear()


def _end_with(file_descriptor: int, at_work: threading.Event) -> None:
    """End this process when nobody holds the other end of the pipe, and so nobody waits for what it does.

    Without work it ends by itself, as it should.
    """
    gone = select.poll()
    gone.register(file_descriptor, 0)
    gone.poll()
    if at_work.is_set():
        os._exit(1)


def pickled_answer(task: Callable[[Any], Any], item: Any) -> bytes:
    """The `Reply` of a task about an item."""
    try:
        return pickle.dumps(Reply(task(item)), pickle.HIGHEST_PROTOCOL)
    except Exception as error:  # a process boundary: the parent raises it
        return pickled_error(error)


def pickled_error(error: Exception) -> bytes:
    """The `Reply` that raises an error."""
    try:
        return pickle.dumps(Reply(error=error), pickle.HIGHEST_PROTOCOL)
    except Exception:  # an error that cannot travel is told by its text
        return pickle.dumps(
            Reply(error=RuntimeError(f"{type(error).__name__}: {error}")), pickle.HIGHEST_PROTOCOL
        )
