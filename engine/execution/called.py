"""What a worker of a cluster does with an item: it runs in a process beside the worker, which the item may well kill.

This module is imported by the scheduler and the workers of a cluster, so it imports little.
"""

from __future__ import annotations

import pickle
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from . import Death
from .local import LocalExecutor
from .worker import pickled_answer, pickled_error

PACKAGE = "flameduck"


@dataclass(frozen=True)
class Software:
    """What must be the same where work comes from and where it is done: `3.11`, and the version of flameduck."""

    python: str
    flameduck: str

    def __str__(self) -> str:
        return f"Python {self.python} and flameduck {self.flameduck}"


class _OfThread(threading.local):
    """The process that a thread of the worker has its items done by: one thread, one item at a time."""

    def __init__(self) -> None:
        self.executor = LocalExecutor(1, inline=False)


_OF_THREAD = _OfThread()


def own_software() -> Software:
    """That of this process."""
    try:
        installed = version(PACKAGE)
    except PackageNotFoundError:
        installed = "(not installed)"
    return Software(f"{sys.version_info.major}.{sys.version_info.minor}", installed)


def call(payload: bytes, limit_s: float, software: Software) -> bytes | Death:
    """What becomes of a pickled (task, item): a pickled `Reply`, or how the processes died that were at it."""
    from ...schema.errors import Unavailable

    own = own_software()
    if own != software:
        return pickled_error(Unavailable(f"a worker of the cluster runs {own}, this is {software}"))
    executor = _OF_THREAD.executor
    executor.limit_s = limit_s
    (answer,) = executor.map(_answer, [payload], _died)
    return answer


def _answer(payload: bytes) -> bytes | Death:
    return pickled_answer(_unpacked, payload)


def _unpacked(payload: bytes) -> Any:
    task: Callable[[Any], Any]
    task, item = pickle.loads(payload)
    return task(item)


def _died(payload: bytes, death: Death) -> bytes | Death:
    return death
