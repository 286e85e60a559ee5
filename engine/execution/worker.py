"""A worker process: takes (task, item) from a pipe, answers with what comes of it, until the pipe closes."""

from __future__ import annotations

import pickle
import signal
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
    with Connection(file_descriptor) as pipe:
        while pipe.poll(idle_s):
            try:
                task, item = pipe.recv()
            except (EOFError, ConnectionResetError):
                return
            pipe.send_bytes(_answer(task, item))


def _answer(task: Callable[[Any], Any], item: Any) -> bytes:
    try:
        return pickle.dumps(Reply(task(item)), pickle.HIGHEST_PROTOCOL)
    except Exception as error:  # a process boundary: the parent raises it
        return _pickled_error(error)


def _pickled_error(error: Exception) -> bytes:
    try:
        return pickle.dumps(Reply(error=error), pickle.HIGHEST_PROTOCOL)
    except Exception:  # an error that cannot travel is told by its text
        return pickle.dumps(
            Reply(error=RuntimeError(f"{type(error).__name__}: {error}")), pickle.HIGHEST_PROTOCOL
        )
